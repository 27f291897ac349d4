/* The serial port, driven as Linux' 8250 driver does. Line 0 is its interrupt. */
#include "device_fixture.h"

enum { BASE = 0x10000000, THR = 0, RBR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5,
       MSR = 6, SCR = 7 };

static struct fixture *uart_new(const struct dev_prop_row *props)
{
    struct fixture *f = sim_new(struct fixture);

    fixture_init(f);
    assert_int_equal(chardev_create(f->sim, "mem", &f->chardev), SIM_OK);
    fixture_device(f, "ns16550a", BASE, 0x100, 1, props);
    return f;
}

static int setup(void **state)
{
    *state = uart_new(NULL);
    return 0;
}

static void uart_free(struct fixture *f)
{
    fixture_fini(f);
    sim_free(f);
}

static int teardown(void **state)
{
    uart_free(*state);
    return 0;
}

static uint8_t in(struct fixture *f, unsigned reg)
{
    return (uint8_t)reg_read(f, BASE + reg, 1);
}

static void out(struct fixture *f, unsigned reg, uint8_t value)
{
    reg_write(f, BASE + reg, 1, value);
}

static void test_transmit_reaches_chardev(void **state)
{
    struct fixture *f = *state;
    size_t len;

    for (const char *s = "hello\nx"; *s; s++)
        out(f, THR, (uint8_t)*s);
    assert_string_equal(chardev_mem_text(f->chardev, &len), "hello\nx");
    assert_int_equal(len, 7);
    assert_int_equal(in(f, LSR), 0x60);
}

static void test_divisor_latch_hides_data(void **state)
{
    struct fixture *f = *state;
    size_t len;

    out(f, LCR, 0x83);
    out(f, 0, 0x01);
    out(f, 1, 0x02);
    assert_int_equal(in(f, 0), 0x01);
    assert_int_equal(in(f, 1), 0x02);
    out(f, LCR, 0x03);
    assert_int_equal(in(f, LCR), 0x03);
    assert_int_equal(in(f, IER), 0);
    chardev_mem_text(f->chardev, &len);
    assert_int_equal(len, 0);
}

/* serial8250 autoconfig: IER holds 4 bits, the loop shows OUT2|RTS as DCD|CTS, FCR makes a 16550A. */
static void test_probe_finds_16550a(void **state)
{
    struct fixture *f = *state;

    out(f, IER, 0xff);
    assert_int_equal(in(f, IER), 0x0f);
    out(f, IER, 0);
    out(f, SCR, 0xa5);
    assert_int_equal(in(f, SCR), 0xa5);
    out(f, MCR, 0x10 | 0x0a);
    assert_int_equal(in(f, MSR) & 0xf0, 0x90);
    out(f, MCR, 0x10 | 0x05);
    assert_int_equal(in(f, MSR) & 0xf0, 0x60);
    out(f, MCR, 0x08);
    assert_int_equal(in(f, MSR) & 0xf0, 0xb0);
    assert_int_equal(in(f, IIR), 0x01);
    out(f, FCR, 0x01);
    assert_int_equal(in(f, IIR), 0xc1);
    out(f, FCR, 0xe1); /* bit 5 (64-byte FIFO of a 16750) does not stick */
    assert_int_equal(in(f, IIR), 0xc1);
    out(f, FCR, 0);
    assert_int_equal(in(f, IIR), 0x01);
}

/* Enabling THRI raises the cause, reading IIR takes it back, enabling again raises it again. */
static void test_thri_cause(void **state)
{
    struct fixture *f = *state;

    assert_false(line_is_high(f, 0));
    out(f, IER, 2);
    assert_true(line_is_high(f, 0));
    assert_int_equal(in(f, IIR), 0x02);
    assert_false(line_is_high(f, 0));
    assert_int_equal(in(f, IIR), 0x01);
    out(f, IER, 0);
    out(f, IER, 2);
    assert_true(line_is_high(f, 0));
    assert_int_equal(in(f, IIR), 0x02);
    out(f, IER, 2); /* no edge of the enable bit: no new cause */
    assert_false(line_is_high(f, 0));
    out(f, THR, 'a');
    assert_true(line_is_high(f, 0));
    out(f, IER, 0);
    assert_false(line_is_high(f, 0));
    assert_int_equal(f->probe.edges[0], 3);
}

static void inject(struct fixture *f, const char *s)
{
    chardev_inject(f->chardev, (const uint8_t *)s, strlen(s));
}

static bool gets_data(struct fixture *f)
{
    for (int ms = 0; ms < 60000; ms++) {
        if (in(f, LSR) & 1)
            return true;
        poll(NULL, 0, 1);
    }
    return false;
}

static void test_receive_trigger_and_timeout(void **state)
{
    struct fixture *f = *state;

    out(f, FCR, 0x41); /* trigger at 4 */
    out(f, IER, 1);
    inject(f, "ab");
    assert_true(line_becomes(f, 0, true));
    assert_int_equal(in(f, IIR), 0xcc);
    inject(f, "cd");
    while (in(f, IIR) != 0xc4)
        poll(NULL, 0, 1);
    assert_int_equal(in(f, RBR), 'a');
    assert_int_equal(in(f, IIR), 0xcc);
    assert_int_equal(in(f, RBR), 'b');
    assert_int_equal(in(f, RBR), 'c');
    assert_true(line_is_high(f, 0));
    assert_int_equal(in(f, RBR), 'd');
    assert_false(line_is_high(f, 0));
    assert_int_equal(in(f, LSR), 0x60);
    assert_int_equal(in(f, RBR), 0);
}

/* More than the FIFO holds waits in the chardev: nothing is lost, nothing overruns. */
static void receive_hundred(struct fixture *f)
{
    for (unsigned i = 0; i < 100; i++) {
        uint8_t byte = (uint8_t)(i + 1);
        chardev_inject(f->chardev, &byte, 1);
    }
    for (unsigned i = 0; i < 100; i++) {
        assert_true(gets_data(f));
        assert_int_equal(in(f, LSR) & 0x02, 0);
        assert_int_equal(in(f, RBR), i + 1);
    }
}

static void test_receive_flow_control(void **state)
{
    struct fixture *f = *state;

    receive_hundred(f); /* one byte at a time */
    out(f, FCR, 0xc1);
    receive_hundred(f);
}

static void test_loopback_and_overrun(void **state)
{
    struct fixture *f = *state;
    size_t len;

    out(f, FCR, 0x01);
    out(f, MCR, 0x10);
    out(f, IER, 4);
    for (unsigned i = 0; i < 16; i++)
        out(f, THR, (uint8_t)('a' + i));
    assert_false(line_is_high(f, 0));
    out(f, THR, '!');
    assert_true(line_is_high(f, 0));
    assert_int_equal(in(f, IIR), 0xc6);
    assert_int_equal(in(f, LSR), 0x63);
    assert_int_equal(in(f, LSR), 0x61); /* reading has cleared the error */
    assert_false(line_is_high(f, 0));
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in(f, RBR), 'a' + i);
    assert_int_equal(in(f, LSR), 0x60);
    chardev_mem_text(f->chardev, &len);
    assert_int_equal(len, 0);
}

static void test_modem_status_interrupt(void **state)
{
    struct fixture *f = *state;

    out(f, IER, 8);
    assert_false(line_is_high(f, 0));
    out(f, MCR, 0x10); /* loopback: DCD, DSR and CTS fall */
    assert_true(line_is_high(f, 0));
    assert_int_equal(in(f, IIR), 0x00);
    assert_int_equal(in(f, MSR), 0x0b);
    assert_false(line_is_high(f, 0));
    out(f, MCR, 0x14); /* RI rises: counts only when it falls */
    assert_false(line_is_high(f, 0));
    out(f, MCR, 0x10);
    assert_int_equal(in(f, MSR), 0x04);
}

static void test_undecoded_accesses_fault(void **state)
{
    struct fixture *f = *state;

    assert_true(reg_faults(f, BASE + 8, 1));
    assert_true(reg_faults(f, BASE + 0xff, 1));
    assert_true(reg_faults(f, BASE + 0x100, 1));
}

static void test_reg_shift(void **state)
{
    static const struct dev_prop_row props[] = {{"reg-shift", 2}, {"reg-io-width", 4}, {NULL, 0}};
    struct fixture *f = uart_new(props);

    (void)state;
    reg_write(f, BASE + 7 * 4, 4, 0x5a);
    assert_int_equal(reg_read(f, BASE + 7 * 4, 4), 0x5a);
    assert_int_equal(reg_read(f, BASE + 7 * 4, 1), 0x5a);
    assert_true(reg_faults(f, BASE + 7 * 4 + 1, 1));
    assert_true(reg_faults(f, BASE + 8 * 4, 4));
    uart_free(f);
}

static void test_state_round_trip(void **state)
{
    struct fixture *a = *state, *b = uart_new(NULL);

    out(a, LCR, 0x83);
    out(a, 0, 0x34);
    out(a, 1, 0x12);
    out(a, LCR, 0x1b);
    out(a, FCR, 0x81);
    out(a, SCR, 0x77);
    out(a, IER, 1);
    inject(a, "abc");
    while (in(a, IIR) != 0xcc)
        poll(NULL, 0, 1);
    assert_int_equal(in(a, RBR), 'a');
    while (line_is_high(a, 0) && a->probe.edges[0] == 0)
        poll(NULL, 0, 1);
    poll(NULL, 0, 20); /* all three have arrived */
    assert_int_equal(fixture_copy_state(a, b), SIM_OK);
    assert_true(line_is_high(b, 0));
    assert_int_equal(in(b, LCR), 0x1b);
    assert_int_equal(in(b, SCR), 0x77);
    assert_int_equal(in(b, IIR), 0xcc);
    assert_int_equal(in(b, RBR), 'b');
    assert_int_equal(in(b, RBR), 'c');
    assert_false(line_is_high(b, 0));
    out(b, LCR, 0x80);
    assert_int_equal(in(b, 0), 0x34);
    assert_int_equal(in(b, 1), 0x12);
    uart_free(b);
}

static void test_reset_lowers_the_line(void **state)
{
    struct fixture *f = *state;

    out(f, IER, 2);
    assert_true(line_is_high(f, 0));
    dev_reset(f->dev);
    assert_false(line_is_high(f, 0));
    assert_int_equal(in(f, IER), 0);
    assert_int_equal(in(f, MCR), 8);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_transmit_reaches_chardev), T(test_divisor_latch_hides_data),
        T(test_probe_finds_16550a),       T(test_thri_cause),
        T(test_receive_trigger_and_timeout), T(test_receive_flow_control),
        T(test_loopback_and_overrun),     T(test_modem_status_interrupt),
        T(test_undecoded_accesses_fault), T(test_reg_shift),
        T(test_state_round_trip),         T(test_reset_lowers_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
