/* Interrupts that are edges: by eventfd, and by two ioctls where a host has none. None is lost, whoever sends it and whenever a machine
 * is saved.
 *
 * The device of these tests counts its events in RAM (USED), and has a status, which the guest's handler reads and acknowledges before
 * it looks at the count (SEEN), as drivers of virtio do. Who has lost an edge never sees the last count. */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../launch/capture.h"
#include "hkvm_priv.h"
#include "kvm_fixture.h"

enum { PIN = 20, VECTOR = 0x35, USED = 0x400000, SEEN = USED + 4, WANTED = USED + 8, REG_STATUS = 4 };
enum { EVENTS = 1000, MOVES = 6 };

/* Pin 20 by edge at vector 0x35; ends when it has seen what is wanted. */
GUEST_CODE(edges, "  mov $0x7f000, %rsp; lea 93f(%rip), %rax; mov $0x20000, %edi\n"
                  "  movw %ax, 0x350(%rdi); movw $0x10, 0x352(%rdi); movw $0x8e00, 0x354(%rdi)\n"
                  "  shr $16, %rax; movw %ax, 0x356(%rdi); movq $0, 0x358(%rdi)\n"
                  "  lidt 94f(%rip)\n"
                  "  mov $0xfee00000, %edi; movl $0x1ff, 0xf0(%rdi)\n"
                  "  mov $0xfec00000, %edx; movl $0x39, (%rdx); movl $0, 0x10(%rdx); movl $0x38, (%rdx); movl $0x35, 0x10(%rdx)\n"
                  "  mov $0x400000, %ebp; movl $1, (%rsi)\n" /* ready */
                  "92: mov 4(%rbp), %eax; cmp 8(%rbp), %eax; je 95f; sti; hlt; cli; jmp 92b\n"
                  "93: mov 4(%rsi), %eax; mov %eax, 4(%rsi); mov (%rbp), %eax; mov %eax, 4(%rbp); movl $0, 0xb0(%rdi); iretq\n"
                  "94: .word 0xfff; .quad 0x20000\n"
                  "95: movl $1, 8(%rsi); hlt\n");

struct event_device {
    struct fixture *f;
    struct irq_line line;
    struct sim_mutex lock;
    uint32_t status;
    bool is_ready, lost;
};

static _Atomic uint32_t *word(struct fixture *f, gpa_t at)
{
    return (_Atomic uint32_t *)(f->space->vram + at);
}

static bool device_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct event_device *d = opaque;

    (void)offset, (void)size;
    sim_mutex_lock(&d->lock);
    *value = d->status;
    sim_mutex_unlock(&d->lock);
    return true;
}

static bool device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct event_device *d = opaque;

    if (offset == REG_END)
        return registers_write(&d->f->memory, offset, size, value);
    sim_mutex_lock(&d->lock);
    if (offset == REG_STATUS) {
        d->status &= ~(uint32_t)value;
        irq_set(&d->line, d->status != 0);
    } else {
        d->is_ready = true;
    }
    sim_mutex_unlock(&d->lock);
    return true;
}

static const struct mem_ops device_ops = {.read = device_read, .write = device_write};

/* `ioctls`: as on a host that refuses eventfds. */
static void attach(struct event_device *d, struct fixture *f, bool ioctls)
{
    d->f = f;
    d->line = hkvm_machine_edge_irq(f->m, PIN);
    f->memory.region.ops = &device_ops;
    f->memory.region.opaque = d;
    assert_int_equal(f->m->pin[PIN].fd >= 0, ioctl(f->m->vm, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD) > 0);
    if (!ioctls || f->m->pin[PIN].fd < 0)
        return;
    close(f->m->pin[PIN].fd);
    f->m->pin[PIN].fd = -1;
}

static void event(struct event_device *d)
{
    sim_mutex_lock(&d->lock);
    atomic_fetch_add(word(d->f, USED), 1);
    d->status = 1;
    irq_set(&d->line, true);
    sim_mutex_unlock(&d->lock);
}

static bool all_seen(struct event_device *d)
{
    return atomic_load(word(d->f, SEEN)) == atomic_load(word(d->f, USED));
}

/* Until the guest waits for events. */
static void run_until_ready(struct event_device *d)
{
    for (uint64_t begin = sim_host_ns(); !d->is_ready && sim_host_ns() - begin < HANGS_NS;)
        d->f->v->ops->run(d->f->v, 0);
    assert_true(d->is_ready);
}

static void start(struct event_device *d, struct fixture *f, bool ioctls, uint32_t wanted)
{
    *d = (struct event_device){0};
    sim_mutex_init(&d->lock, SIM_RANK_DEVICE);
    fixture_init(f, 1);
    attach(d, f, ioctls);
    atomic_store(word(f, WANTED), wanted);
    BOOT(f, edges);
    run_until_ready(d);
}

/* In bursts; between two of them the guest has seen all. */
static void *send_events(void *arg)
{
    struct event_device *d = arg;

    for (uint32_t i = 1; i <= EVENTS && !d->lost; i++) {
        event(d);
        if (i % 5 && i < EVENTS)
            continue;
        uint64_t begin = sim_host_ns();
        while (!all_seen(d) && !(d->lost = sim_host_ns() - begin > HANGS_NS))
            sim_thread_yield();
    }
    if (d->lost)
        sim_request_end(d->f->sim, SIM_END_ERROR, 0);
    return NULL;
}

static void test_no_edge_of_another_thread_is_lost(void **state)
{
    (void)state;
    for (unsigned ioctls = 0; ioctls < 2; ioctls++) {
        struct event_device d;
        struct sim_thread thread;
        struct fixture f;

        start(&d, &f, ioctls, EVENTS);
        assert_int_equal(sim_thread_start(&thread, "events", send_events, &d), SIM_OK);
        run_to_end(&f);
        sim_thread_join(&thread);
        assert_false(d.lost);
        assert_int_equal(atomic_load(word(&f, SEEN)), EVENTS);
        assert_int_equal(hkvm_machine_edges_by_eventfd(f.m) >= EVENTS, f.m->pin[PIN].fd >= 0);
        sim_mutex_fini(&d.lock);
        fixture_fini(&f);
    }
}

/* Into a new machine, as a restore does it: devices first, which drive their lines again, then interrupt controllers, then vCPUs. */
static void move_on(struct event_device *d, struct fixture *from, struct fixture *to, bool ioctls)
{
    struct state_buf buf = {0};
    size_t used, more;

    state_save(hkvm_machine_state_desc(), from->m, &buf);
    state_save(from->v->ops->state, hkvm_vcpu_state_object(from->v), &buf);
    fixture_init(to, 1);
    memcpy(to->space->ram, from->space->ram, RAM_SIZE);
    attach(d, to, ioctls);
    irq_set(&d->line, d->status != 0);
    assert_int_equal(state_load(hkvm_machine_state_desc(), to->m, buf.data, buf.len, &used), SIM_OK);
    assert_int_equal(state_load(to->v->ops->state, hkvm_vcpu_state_object(to->v), buf.data + used, buf.len - used, &more), SIM_OK);
    state_buf_fini(&buf);
    fixture_fini(from);
}

static void run_until_seen(struct event_device *d)
{
    for (uint64_t begin = sim_host_ns(); !all_seen(d) && sim_host_ns() - begin < HANGS_NS;)
        d->f->v->ops->run(d->f->v, 0);
    assert_true(all_seen(d));
}

/* Each event is followed by a move before any vCPU has run: its edge is in what was saved, or on its way there. In every second one it is
 * lost for certain: it was never sent. */
static void test_no_edge_is_lost_by_a_move(void **state)
{
    (void)state;
    for (unsigned ioctls = 0; ioctls < 2; ioctls++) {
        struct event_device d;
        struct fixture f[2];

        start(&d, &f[0], ioctls, MOVES + 1);
        for (unsigned i = 0; i < MOVES; i++) {
            if (i % 2)
                d.line = (struct irq_line){0};
            event(&d);
            move_on(&d, &f[i % 2], &f[(i + 1) % 2], ioctls);
            run_until_seen(&d);
        }
        event(&d);
        run_to_end(&f[MOVES % 2]);
        sim_mutex_fini(&d.lock);
        fixture_fini(&f[MOVES % 2]);
    }
}

/* What KVM says of its IOAPIC, after the pin has been masked or opened. */
static uint32_t set_mask(struct fixture *f, bool masked)
{
    struct kvm_irqchip chip = {.chip_id = KVM_IRQCHIP_IOAPIC};

    assert_int_equal(ioctl(f->m->vm, KVM_GET_IRQCHIP, &chip), 0);
    chip.chip.ioapic.redirtbl[PIN].fields.mask = masked;
    assert_int_equal(ioctl(f->m->vm, KVM_SET_IRQCHIP, &chip), 0);
    return chip.chip.ioapic.irr;
}

/* A pin that was saved high and masked, as between an edge's up and down, does not swallow the first edge after it is opened. */
static void test_pin_saved_in_the_middle_of_an_edge(void **state)
{
    struct event_device d;
    struct fixture f[2];

    (void)state;
    start(&d, &f[0], true, 2);
    struct irq_line high = hkvm_machine_irq(f[0].m, PIN);
    set_mask(&f[0], true);
    irq_set(&high, true);
    move_on(&d, &f[0], &f[1], true);
    assert_int_equal(set_mask(&f[1], false), 0);
    for (unsigned i = 0; i < 2; i++) {
        event(&d);
        run_until_seen(&d);
    }
    run_to_end(&f[1]);
    sim_mutex_fini(&d.lock);
    fixture_fini(&f[1]);
}

/* An edge on its way when a machine is reset meets masked pins; those of the next life come. */
static void test_edges_after_a_reset(void **state)
{
    struct event_device d;
    struct fixture f;

    (void)state;
    start(&d, &f, false, 3);
    event(&d);
    assert_int_equal(hkvm_machine_reset(f.m), SIM_OK);
    d.is_ready = false;
    d.status = 0;
    BOOT(&f, edges);
    run_until_ready(&d);
    for (unsigned i = 0; i < 2; i++) {
        event(&d);
        run_until_seen(&d);
    }
    run_to_end(&f);
    sim_mutex_fini(&d.lock);
    fixture_fini(&f);
}

/* A host without descriptors refuses each pin's eventfd. */
static void test_a_refusal_is_said_once(void **state)
{
    struct rlimit before, none;
    struct capture c;
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    capture_begin(&c, STDERR_FILENO);
    getrlimit(RLIMIT_NOFILE, &before);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    for (uint32_t gsi = PIN; gsi < HKVM_NR_GSIS; gsi++)
        hkvm_machine_edge_irq(f.m, gsi);
    setrlimit(RLIMIT_NOFILE, &before);
    const char *first = strstr(capture_end(&c), "irqfd");
    assert_non_null(first);
    assert_null(strstr(first + 1, "irqfd"));
    for (uint32_t gsi = PIN; gsi < HKVM_NR_GSIS; gsi++)
        assert_true(f.m->pin[gsi].is_edge && f.m->pin[gsi].fd < 0);
    fixture_fini(&f);
}

static void test_no_such_pin(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    assert_null(hkvm_machine_edge_irq(f.m, HKVM_NR_GSIS).set);
    assert_int_equal(hkvm_machine_edges_by_eventfd(f.m), 0);
    fixture_fini(&f);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_edge_of_another_thread_is_lost), cmocka_unit_test(test_no_edge_is_lost_by_a_move),
        cmocka_unit_test(test_pin_saved_in_the_middle_of_an_edge), cmocka_unit_test(test_edges_after_a_reset),
        cmocka_unit_test(test_a_refusal_is_said_once), cmocka_unit_test(test_no_such_pin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_or_skip(run);
}
