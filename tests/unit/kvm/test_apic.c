/* A local APIC of ours: priorities, what comes from outside, the timer, what it sends, its state. Needs no /dev/kvm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "apic.h"

enum { ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100,
       TMR = 0x180, IRR = 0x200, ICR = 0x300, ICR_HIGH = 0x310, LVT_TIMER = 0x320, LVT_LINT0 = 0x350, INITIAL = 0x380,
       CURRENT = 0x390, DIVIDE = 0x3e0, ENABLED = 0x100, MASKED = 1 << 16, PERIODIC = 1 << 17 };

struct bench {
    struct apic a;
    struct apic_message sent;
    unsigned nr_sent, nr_addressed, nr_eoi;
    uint8_t eoi;
};

static void on_send(void *opaque, const struct apic_message *m)
{
    struct bench *b = opaque;

    b->sent = *m;
    b->nr_sent++;
}

static void on_eoi(void *opaque, uint8_t vector)
{
    struct bench *b = opaque;

    b->eoi = vector;
    b->nr_eoi++;
}

static void on_addressed(void *opaque)
{
    ((struct bench *)opaque)->nr_addressed++;
}

static const struct apic_ops ops = {.send = on_send, .eoi = on_eoi, .addressed = on_addressed};

static void bench_init(struct bench *b)
{
    memset(b, 0, sizeof *b);
    b->a = (struct apic){.id = 5, .ops = &ops, .opaque = b};
    apic_reset(&b->a, true);
    apic_write(&b->a, SVR, ENABLED | 0xff, 0);
    b->nr_addressed = 0;
}

static void come(struct bench *b, uint8_t vector, bool level)
{
    const struct apic_message m = {.vector = vector, .level = level};

    apic_accept(&b->a, &m);
}

static void event(struct bench *b, uint8_t mode, uint8_t vector)
{
    const struct apic_message m = {.mode = mode, .vector = vector};

    apic_accept(&b->a, &m);
}

static void test_registers(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    assert_int_equal(apic_read(&b.a, ID, 0), 5 << 24);
    assert_int_equal(apic_read(&b.a, VERSION, 0), 0x50014);
    assert_int_equal(apic_read(&b.a, DFR, 0), UINT32_MAX);
    apic_write(&b.a, LVT_LINT0, UINT32_MAX, 0);
    assert_int_equal(apic_read(&b.a, LVT_LINT0, 0), 0x1a7ff);
    apic_write(&b.a, SVR, 0xff, 0); /* off: everything is masked, and stays so */
    apic_write(&b.a, LVT_LINT0, 0x700, 0);
    assert_int_equal(apic_read(&b.a, LVT_LINT0, 0), MASKED | 0x700);
    for (uint32_t offset = 0; offset < APIC_BYTES; offset += 4) /* a guest may write anything anywhere */
        apic_write(&b.a, offset, UINT32_MAX, 1000), (void)apic_read(&b.a, offset, 2000);
}

static void test_the_highest_vector_comes_first(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    come(&b, 0x41, false);
    come(&b, 0x93, false);
    come(&b, 0x95, false);
    come(&b, 15, false); /* belongs to exceptions */
    assert_int_equal(apic_pending(&b.a), 0x95);
    apic_take(&b.a, 0x95);
    assert_int_equal(apic_read(&b.a, PPR, 0), 0x90);
    assert_int_equal(apic_read(&b.a, ISR + 0x40, 0), 1 << 0x15);
    assert_int_equal(apic_pending(&b.a), -1); /* 0x93 is of the class that is being served */
    come(&b, 0xa0, false);
    assert_int_equal(apic_pending(&b.a), 0xa0);
    apic_take(&b.a, 0xa0);
    apic_write(&b.a, EOI, 0, 0);
    assert_int_equal(apic_pending(&b.a), -1);
    apic_write(&b.a, EOI, 0, 0);
    assert_int_equal(apic_pending(&b.a), 0x93);
    apic_write(&b.a, TPR, 0x9f, 0);
    assert_int_equal(apic_pending(&b.a), -1);
    apic_write(&b.a, TPR, 0x8f, 0);
    assert_int_equal(apic_pending(&b.a), 0x93);
    assert_int_equal(b.nr_eoi, 0);
}

static void test_the_end_of_a_level_is_told(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    apic_write(&b.a, EOI, 0, 0); /* of nothing */
    come(&b, 0x50, true);
    apic_take(&b.a, apic_pending(&b.a));
    apic_write(&b.a, EOI, 0, 0);
    assert_int_equal(b.nr_eoi, 1);
    assert_int_equal(b.eoi, 0x50);
    come(&b, 0x50, false); /* the same vector, an edge now */
    apic_take(&b.a, apic_pending(&b.a));
    apic_write(&b.a, EOI, 0, 0);
    assert_int_equal(b.nr_eoi, 1);
}

static void test_one_that_is_off_takes_no_vectors(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    apic_write(&b.a, SVR, 0xff, 0);
    come(&b, 0x50, false);
    assert_int_equal(apic_pending(&b.a), -1);
    event(&b, APIC_NMI, 0);
    assert_true(apic_has_work(&b.a));
}

static void test_init_and_startup(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    event(&b, APIC_STARTUP, 0x12);
    event(&b, APIC_INIT, 0); /* voids it */
    assert_int_equal(atomic_load(&b.a.events), APIC_EVENT_INIT);
    event(&b, APIC_STARTUP, 0x34);
    assert_int_equal(atomic_load(&b.a.events),
                     APIC_EVENT_INIT | APIC_EVENT_STARTUP | 0x34 << APIC_EVENT_VECTOR_SHIFT);
    come(&b, 0x50, false);
    apic_init(&b.a);
    assert_int_equal(atomic_load(&b.a.waits), 1);
    assert_int_equal(apic_pending(&b.a), -1);
    apic_reset(&b.a, false);
    assert_int_equal(atomic_load(&b.a.events), 0);
    assert_false(apic_has_work(&b.a));
    apic_reset(&b.a, true);
    assert_int_equal(atomic_load(&b.a.waits), 0);
}

static void test_who_halted_with_interrupts_off_sleeps_on(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    come(&b, 0x50, false);
    atomic_store(&b.a.halted, APIC_HALTED);
    assert_true(apic_has_work(&b.a));
    atomic_store(&b.a.halted, APIC_HALTED_DEAF);
    assert_false(apic_has_work(&b.a));
    event(&b, APIC_NMI, 0);
    assert_true(apic_has_work(&b.a));
}

static void test_destinations(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    assert_true(apic_matches(&b.a, &(struct apic_message){.dest = 5}));
    assert_false(apic_matches(&b.a, &(struct apic_message){.dest = 4}));
    assert_true(apic_matches(&b.a, &(struct apic_message){.dest = APIC_BROADCAST}));
    apic_write(&b.a, LDR, 0x22000000, 0);
    assert_int_equal(b.nr_addressed, 1);
    assert_true(apic_matches(&b.a, &(struct apic_message){.dest = 0x20, .logical = true}));
    assert_false(apic_matches(&b.a, &(struct apic_message){.dest = 0x11, .logical = true}));
    apic_write(&b.a, DFR, 0x0fffffff, 0); /* clusters: 2, and the second of it */
    assert_int_equal(b.nr_addressed, 2);
    assert_true(apic_matches(&b.a, &(struct apic_message){.dest = 0x23, .logical = true}));
    assert_false(apic_matches(&b.a, &(struct apic_message){.dest = 0x21, .logical = true}));
    assert_false(apic_matches(&b.a, &(struct apic_message){.dest = 0x32, .logical = true}));
}

static void test_what_it_sends(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    apic_write(&b.a, ICR_HIGH, 7u << 24, 0);
    apic_write(&b.a, ICR, 0x4000 | 0x800 | 0xfd, 0);
    assert_int_equal(b.nr_sent, 1);
    assert_int_equal(b.sent.dest, 7);
    assert_true(b.sent.logical);
    assert_int_equal(b.sent.vector, 0xfd);
    apic_write(&b.a, ICR, 3 << 18 | 6 << 8 | 0x9a, 0);
    assert_int_equal(b.sent.shorthand, APIC_TO_OTHERS);
    assert_int_equal(b.sent.mode, APIC_STARTUP);
    apic_write(&b.a, ICR, 0x8500, 0); /* INIT's end */
    assert_int_equal(b.nr_sent, 2);
    apic_write(&b.a, ICR, 0xc500, 0);
    assert_int_equal(b.sent.mode, APIC_INIT);
}

static void test_one_shot(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    apic_write(&b.a, LVT_TIMER, 0x40, 0);
    apic_write(&b.a, DIVIDE, 3, 0); /* by 16 */
    apic_write(&b.a, INITIAL, 1000, 50);
    assert_int_equal(apic_deadline(&b.a), 16050);
    assert_int_equal(apic_read(&b.a, CURRENT, 50 + 160), 990);
    apic_expire(&b.a, 16049);
    assert_int_equal(apic_pending(&b.a), -1);
    apic_expire(&b.a, 16050);
    assert_int_equal(apic_pending(&b.a), 0x40);
    assert_true(apic_deadline(&b.a) == VTIME_NEVER);
    assert_int_equal(apic_read(&b.a, CURRENT, 17000), 0);
}

/* What is left of a count goes on at another pace, also where it is less than one at the pace before. */
static void regress_6_a_divisor_in_the_last_count(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    apic_write(&b.a, LVT_TIMER, PERIODIC | 0x40, 0);
    apic_write(&b.a, DIVIDE, 0xa, 0); /* by 128 */
    apic_write(&b.a, INITIAL, 10000, 0);
    apic_write(&b.a, DIVIDE, 0xb, 10000 * 128 - 64); /* by 1 */
    assert_true(apic_deadline(&b.a) != VTIME_NEVER);
    apic_expire(&b.a, 10000 * 128 + 1);
    assert_int_equal(apic_pending(&b.a), 0x40);
    apic_write(&b.a, INITIAL, 1000000, 2000000);
    apic_write(&b.a, DIVIDE, 0, 2500000); /* by 2 */
    assert_int_equal(apic_deadline(&b.a), 3500000);
    assert_int_equal(apic_read(&b.a, CURRENT, 2500000), 500000);
    apic_write(&b.a, INITIAL, 0, 2500000);
    apic_write(&b.a, DIVIDE, 0xb, 2500000);
    assert_true(apic_deadline(&b.a) == VTIME_NEVER);
}

/* Who would not take a message is known to its sender: of itself, and of APICs elsewhere by their news. */
static void test_what_it_would_take(void **state)
{
    const struct apic_message vector = {.vector = 0x40}, exception = {.vector = 15}, init = {.mode = APIC_INIT},
                              smi = {.mode = 2};
    struct bench b;

    (void)state;
    bench_init(&b);
    assert_true(apic_accepts(&b.a, &vector));
    assert_false(apic_accepts(&b.a, &exception));
    assert_false(apic_accepts(&b.a, &smi));
    apic_write(&b.a, SVR, 0xff, 0);
    apic_write(&b.a, SVR, 0xfe, 0); /* still off */
    assert_int_equal(b.nr_addressed, 1);
    assert_false(apic_accepts(&b.a, &vector));
    assert_true(apic_accepts(&b.a, &init));
    apic_set_remote(&b.a, 1u << 24, UINT32_MAX, true);
    assert_true(apic_accepts(&b.a, &vector) && apic_is_on(&b.a));
    apic_set_remote(&b.a, 1u << 24, UINT32_MAX, false);
    assert_false(apic_accepts(&b.a, &vector));
}

static void test_periods(void **state)
{
    struct bench b;

    (void)state;
    bench_init(&b);
    apic_write(&b.a, LVT_TIMER, PERIODIC | 0x40, 0);
    apic_write(&b.a, DIVIDE, 0xb, 0); /* by 1 */
    apic_write(&b.a, INITIAL, 1000000, 0);
    apic_expire(&b.a, 3500000); /* three are one */
    apic_take(&b.a, apic_pending(&b.a));
    assert_int_equal(apic_deadline(&b.a), 4000000);
    apic_write(&b.a, EOI, 0, 0);
    apic_write(&b.a, LVT_TIMER, MASKED | PERIODIC | 0x40, 0);
    assert_true(apic_deadline(&b.a) == VTIME_NEVER);
    apic_expire(&b.a, 4000000);
    assert_int_equal(apic_pending(&b.a), -1);
    apic_write(&b.a, LVT_TIMER, PERIODIC | 0x40, 0);
    apic_write(&b.a, INITIAL, 1, 5000000); /* a guest that wants all of the host's time */
    apic_expire(&b.a, 5000001);
    assert_int_equal(apic_deadline(&b.a), 5200001);
    apic_write(&b.a, INITIAL, 0, 6000000);
    assert_true(apic_deadline(&b.a) == VTIME_NEVER);
}

static void test_state(void **state)
{
    struct bench b, c;
    struct state_buf buf = {0};
    size_t used;

    (void)state;
    bench_init(&b);
    bench_init(&c);
    apic_write(&b.a, LVT_TIMER, 0x40, 0);
    apic_write(&b.a, INITIAL, 1000, 0);
    come(&b, 0x93, true);
    apic_take(&b.a, apic_pending(&b.a));
    come(&b, 0x41, false);
    state_save(&apic_state, &b.a, &buf);
    assert_int_equal(state_load(&apic_state, &c.a, buf.data, buf.len, &used), SIM_OK);
    state_buf_fini(&buf);
    assert_int_equal(apic_read(&c.a, PPR, 0), 0x90);
    assert_int_equal(apic_deadline(&c.a), apic_deadline(&b.a));
    apic_write(&c.a, EOI, 0, 0);
    assert_int_equal(c.eoi, 0x93);
    assert_int_equal(apic_pending(&c.a), 0x41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registers), cmocka_unit_test(test_the_highest_vector_comes_first),
        cmocka_unit_test(test_the_end_of_a_level_is_told), cmocka_unit_test(test_one_that_is_off_takes_no_vectors),
        cmocka_unit_test(test_init_and_startup), cmocka_unit_test(test_who_halted_with_interrupts_off_sleeps_on),
        cmocka_unit_test(test_destinations), cmocka_unit_test(test_what_it_sends), cmocka_unit_test(test_one_shot),
        cmocka_unit_test(regress_6_a_divisor_in_the_last_count),
        cmocka_unit_test(test_what_it_would_take),
        cmocka_unit_test(test_periods), cmocka_unit_test(test_state),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
