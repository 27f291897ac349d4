/* What leaving and faulting cost a KVM vCPU of this host, and whether ring 3 runs at the CPU's speed.
 *
 *   kvm_exits [repeats [row]]      needs /dev/kvm; ends with 77 where it cannot be used; rows that begin so, else all
 *
 * Each line is the median of the repeats; by the vCPU thread's CPU time, where another thread takes part (notifications, the guard)
 * by the clock. Guests are the fixture's of the unit tests: 8 MiB, two loops of assembler. */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "kvm_fixture.h"
#include "sim-core/alloc.h"
#include "sim-core/guard.h"

enum { ROUNDS = 2000, LOOP = 1600000000, PAGES = 512, FIRST_PAGE = 0x200 };
enum { MAX_REPEATS = 99 };

/* --- exits --- */

GUEST_CODE(ports, "  mov $2000, %ecx; mov $0xe000, %edx\n1: out %al, %dx; dec %ecx; jnz 1b\n"
                  "  movl $1, 8(%rsi)\n");
GUEST_CODE(memory0, "  mov $2000, %ecx\n1: mov %eax, (%rsi); dec %ecx; jnz 1b\n  movl $1, 8(%rsi)\n");
GUEST_CODE(memory3, TO_RING3 "  mov $2000, %ecx\n2: mov %eax, (%rsi); dec %ecx; jnz 2b\n"
                             "3: movl $1, 8(%rsi); jmp 3b\n");
/* One write to each of 512 pages from 2 MiB on. */
GUEST_CODE(writes, TO_RING3 "  mov $0x200000, %edi; mov $512, %ecx\n2: incl (%rdi); add $0x1000, %rdi; dec %ecx; jnz 2b\n"
                            "3: movl $1, 8(%rsi); jmp 3b\n");
GUEST_CODE(compute, TO_RING3 "  mov $1600000000, %ecx\n2: lea (%rax,%rcx), %rax; dec %ecx; jnz 2b\n"
                             "3: movl $1, 8(%rsi); jmp 3b\n");

static void run_natively(void)
{
    uint64_t sum = 0, n = LOOP;

    __asm__ volatile("2: lea (%0,%1), %0; dec %k1; jnz 2b" : "+r"(sum), "+r"(n));
}

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void run_guest(struct fixture *f)
{
    while (!sim_ending(f->sim))
        f->v->ops->run(f->v, 100000000);
}

/* Microseconds of a whole run: of the thread's CPU time, which other load of the host does not change much. */
static double run_us(struct fixture *f)
{
    double begin = cpu_us();

    run_guest(f);
    return cpu_us() - begin;
}

/* The same by the clock, for what other threads do meanwhile. */
static double wait_us(struct fixture *f)
{
    uint64_t begin = sim_host_ns();

    run_guest(f);
    return (double)(sim_host_ns() - begin) / 1e3;
}

static double measure_exits(const uint8_t *begin, const uint8_t *end)
{
    struct fixture f;

    fixture_init(&f, 1);
    boot_guest(&f, begin, end);
    double us = run_us(&f) / ROUNDS;
    fixture_fini(&f);
    return us;
}

static double measure_ports(void) { return measure_exits(guest_ports, guest_ports_end); }
static double measure_memory0(void) { return measure_exits(guest_memory0, guest_memory0_end); }
static double measure_memory3(void) { return measure_exits(guest_memory3, guest_memory3_end); }

/* --- what eventfds would do instead: a write that another thread hears of, a line that a write raises --- */

/* Each write waits until whoever is notified has said so in memory. */
GUEST_CODE(notify, TO_RING3 "  mov $2000, %ecx\n2: mov %eax, (%rsi)\n4: cmp %ecx, 0x300000; jne 4b; dec %ecx; jnz 2b\n"
                            "3: movl $1, 8(%rsi); jmp 3b\n");

struct listener {
    struct fixture *f;
    int fd;
};

static void *listen(void *arg)
{
    struct listener *l = arg;
    volatile uint32_t *said = (uint32_t *)(l->f->space->vram + 0x300000);

    for (uint32_t n = ROUNDS; n; n--) {
        uint64_t count;
        if (read(l->fd, &count, sizeof count) != sizeof count)
            break;
        *said = n;
    }
    return NULL;
}

static int eventfd_at_registers(struct fixture *f)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    struct kvm_ioeventfd k = {.addr = REGISTERS, .len = 4, .fd = fd};

    assert_int_equal(ioctl(f->m->vm, KVM_IOEVENTFD, &k), 0);
    return fd;
}

/* By the vCPU's CPU time, as exits. */
static double measure_ioeventfd(void)
{
    struct fixture f;

    fixture_init(&f, 1);
    int fd = eventfd_at_registers(&f);
    BOOT(&f, memory0);
    double us = run_us(&f) / ROUNDS;
    fixture_fini(&f);
    close(fd);
    return us;
}

/* By the clock, until the listener has said so. */
static double measure_heard(void)
{
    struct sim_thread thread;
    struct fixture f;

    fixture_init(&f, 1);
    struct listener l = {&f, eventfd_at_registers(&f)};
    BOOT(&f, notify);
    assert_int_equal(sim_thread_start(&thread, "listener", listen, &l), SIM_OK);
    double us = wait_us(&f) / ROUNDS;
    sim_thread_join(&thread);
    fixture_fini(&f);
    close(l.fd);
    return us;
}

/* The device says so in the exit. */
static bool say_written(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct fixture *f = opaque;
    volatile uint32_t *said = (uint32_t *)(f->space->vram + 0x300000);

    if (offset == REG_END)
        return registers_write(&f->memory, offset, size, value);
    *said = *said ? *said - 1 : ROUNDS;
    return true;
}

static double measure_answered(void)
{
    static const struct mem_ops ops = {.read = registers_read, .write = say_written};
    struct fixture f;

    fixture_init(&f, 1);
    f.memory.region.ops = &ops;
    f.memory.region.opaque = &f;
    BOOT(&f, notify);
    double us = wait_us(&f) / ROUNDS;
    fixture_fini(&f);
    return us;
}

enum { GSI = 20 };

static double measure_line(void)
{
    struct fixture f;

    fixture_init(&f, 1);
    struct irq_line line = hkvm_machine_irq(f.m, GSI);
    double begin = cpu_us();
    for (unsigned i = 0; i < ROUNDS; i++)
        irq_pulse(&line);
    double us = (cpu_us() - begin) / ROUNDS;
    fixture_fini(&f);
    return us;
}

static double measure_irqfd(void)
{
    const uint64_t one = 1;
    struct fixture f;

    fixture_init(&f, 1);
    struct kvm_irqfd k = {.fd = (uint32_t)eventfd(0, EFD_CLOEXEC), .gsi = GSI};
    assert_int_equal(ioctl(f.m->vm, KVM_IRQFD, &k), 0);
    double begin = cpu_us();
    for (unsigned i = 0; i < ROUNDS; i++)
        assert_int_equal(write((int)k.fd, &one, sizeof one), sizeof one);
    double us = (cpu_us() - begin) / ROUNDS;
    fixture_fini(&f);
    close((int)k.fd);
    return us;
}

/* --- a level-triggered interrupt from the request to its end, as of a virtio-mmio device --- */

/* PIC, line 5 by level at vector 0x25. Each round: a request (DATA), the interrupt, its acknowledgement (DATA + 4), its end. */
GUEST_CODE(levels, "  mov $0x7f000, %rsp; lea 93f(%rip), %rax; mov $0x20000, %edi\n"
                   "  movw %ax, 0x250(%rdi); movw $0x10, 0x252(%rdi); movw $0x8e00, 0x254(%rdi)\n"
                   "  shr $16, %rax; movw %ax, 0x256(%rdi); movq $0, 0x258(%rdi)\n"
                   "  lidt 94f(%rip)\n"
                   "  mov $0x11, %al; out %al, $0x20; out %al, $0xa0; mov $0x20, %al; out %al, $0x21\n"
                   "  mov $0x28, %al; out %al, $0xa1; mov $4, %al; out %al, $0x21; mov $2, %al; out %al, $0xa1\n"
                   "  mov $1, %al; out %al, $0x21; out %al, $0xa1; mov $0xdf, %al; out %al, $0x21\n"
                   "  mov $0xff, %al; out %al, $0xa1; mov $0x4d0, %edx; mov $0x20, %al; out %al, %dx\n"
                   "  mov $2000, %ecx\n"
                   "92: movl $1, (%rsi); sti; hlt; cli; dec %ecx; jnz 92b\n"
                   "  movl $1, 8(%rsi); hlt\n"
                   "93: movl $1, 4(%rsi); mov $0x20, %al; out %al, $0x20; iretq\n"
                   "94: .word 0xfff; .quad 0x20000\n");
enum { GSI_LEVEL = 5, REG_ACK = 4 };

struct leveller {
    struct fixture *f;
    struct irq_line line;
    int raise, ended; /* eventfds; -1: by KVM_IRQ_LINE */
    _Atomic bool high;
    unsigned wakes;
};

static void raise_level(struct leveller *l)
{
    const uint64_t one = 1;

    if (l->raise < 0)
        irq_set(&l->line, true);
    else
        assert_int_equal(write(l->raise, &one, sizeof one), sizeof one);
}

static bool level_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct leveller *l = opaque;

    if (offset == REG_END)
        return registers_write(&l->f->memory, offset, size, value);
    atomic_store(&l->high, offset == REG_DATA);
    if (offset == REG_DATA)
        raise_level(l);
    else if (l->raise < 0)
        irq_set(&l->line, false);
    return true;
}

/* What KVM asks at each end: is it still high? */
static void *resample(void *arg)
{
    struct leveller *l = arg;
    uint64_t count;

    while (read(l->ended, &count, sizeof count) == sizeof count && count < UINT32_MAX) {
        l->wakes++;
        if (atomic_load(&l->high))
            raise_level(l);
    }
    return NULL;
}

static double process_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* By the CPU time of the whole process. */
static double measure_level(bool by_eventfd)
{
    static const struct mem_ops ops = {.read = registers_read, .write = level_write};
    const uint64_t enough = UINT32_MAX;
    struct sim_thread thread;
    struct fixture f;

    fixture_init(&f, 1);
    struct leveller l = {&f, hkvm_machine_irq(f.m, GSI_LEVEL), -1, -1, false, 0};
    f.memory.region.ops = &ops;
    f.memory.region.opaque = &l;
    if (by_eventfd) {
        l.raise = eventfd(0, EFD_CLOEXEC);
        l.ended = eventfd(0, EFD_CLOEXEC);
        struct kvm_irqfd k = {.fd = (uint32_t)l.raise, .gsi = GSI_LEVEL, .flags = KVM_IRQFD_FLAG_RESAMPLE, .resamplefd = (uint32_t)l.ended};
        assert_int_equal(ioctl(f.m->vm, KVM_IRQFD, &k), 0);
        assert_int_equal(sim_thread_start(&thread, "resample", resample, &l), SIM_OK);
    }
    BOOT(&f, levels);
    double begin = process_us();
    run_guest(&f);
    double us = (process_us() - begin) / ROUNDS;
    if (by_eventfd) {
        assert_int_equal(write(l.ended, &enough, sizeof enough), sizeof enough);
        sim_thread_join(&thread);
        assert_true(l.wakes > 0);
    }
    fixture_fini(&f);
    if (by_eventfd) {
        close(l.raise);
        close(l.ended);
    }
    return us;
}

static double measure_level_line(void) { return measure_level(false); }
static double measure_level_irqfd(void) { return measure_level(true); }

/* --- a virtio-mmio device's interrupt as a notification's answer: from the request, which is an ioeventfd's, to its end --- */

/* IOAPIC, pin 20 at vector 0x35, by edge or level as rbx says. Each round: a request (DATA, no exit), which another thread answers by an
 * interrupt, its acknowledgement (DATA + 4), its end. */
GUEST_CODE(answers, "  mov $0x7f000, %rsp; lea 93f(%rip), %rax; mov $0x20000, %edi\n"
                    "  movw %ax, 0x350(%rdi); movw $0x10, 0x352(%rdi); movw $0x8e00, 0x354(%rdi)\n"
                    "  shr $16, %rax; movw %ax, 0x356(%rdi); movq $0, 0x358(%rdi)\n"
                    "  lidt 94f(%rip)\n"
                    "  mov $0xfee00000, %edi; movl $0x1ff, 0xf0(%rdi)\n"
                    "  mov $0xfec00000, %edx; movl $0x39, (%rdx); movl $0, 0x10(%rdx); movl $0x38, (%rdx); mov %ebx, 0x10(%rdx)\n"
                    "  mov $2000, %ecx\n"
                    "92: movl $1, (%rsi); sti; hlt; cli; dec %ecx; jnz 92b\n"
                    "  movl $1, 8(%rsi); hlt\n"
                    "93: movl $1, 4(%rsi); movl $0, 0xb0(%rdi); iretq\n"
                    "94: .word 0xfff; .quad 0x20000\n");
enum { GSI_MESSAGE = 24, ENTRY_EDGE = 0x35, ENTRY_LEVEL = 0x8035 };
enum answer { BY_LEVEL, BY_PULSE, BY_IRQFD, BY_MESSAGE };

struct answerer {
    struct fixture *f;
    enum answer how;
    struct irq_line line;
    int asked, edge;
};

static void *answer(void *arg)
{
    const uint64_t one = 1;
    struct answerer *a = arg;
    uint64_t count;

    while (read(a->asked, &count, sizeof count) == sizeof count && count < UINT32_MAX) {
        if (a->how == BY_LEVEL)
            irq_set(&a->line, true);
        else if (a->how == BY_PULSE)
            irq_pulse(&a->line);
        else
            assert_int_equal(write(a->edge, &one, sizeof one), sizeof one);
    }
    return NULL;
}

static bool answer_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct answerer *a = opaque;

    if (offset == REG_END)
        return registers_write(&a->f->memory, offset, size, value);
    if (offset == REG_ACK && a->how == BY_LEVEL)
        irq_set(&a->line, false);
    return true;
}

/* GSI 24 is a message to the first CPU, with the vector of the others' interrupt. */
static void route_message(struct fixture *f)
{
    struct kvm_irq_routing *table = sim_zalloc(sizeof *table + sizeof table->entries[0]);

    table->nr = 1;
    table->entries[0] = (struct kvm_irq_routing_entry){
        .gsi = GSI_MESSAGE, .type = KVM_IRQ_ROUTING_MSI, .u.msi = {.address_lo = 0xfee00000, .data = ENTRY_EDGE}};
    assert_int_equal(ioctl(f->m->vm, KVM_SET_GSI_ROUTING, table), 0);
    sim_free(table);
}

static double measure_answer(enum answer how, double (*now)(void))
{
    static const struct mem_ops ops = {.read = registers_read, .write = answer_write};
    const uint64_t enough = UINT32_MAX;
    struct sim_thread thread;
    struct fixture f;

    fixture_init(&f, 1);
    struct answerer a = {&f, how, hkvm_machine_irq(f.m, GSI), eventfd_at_registers(&f), eventfd(0, EFD_CLOEXEC)};
    struct kvm_irqfd k = {.fd = (uint32_t)a.edge, .gsi = how == BY_MESSAGE ? GSI_MESSAGE : GSI};
    if (how == BY_MESSAGE)
        route_message(&f);
    f.memory.region.ops = &ops;
    f.memory.region.opaque = &a;
    assert_int_equal(ioctl(f.m->vm, KVM_IRQFD, &k), 0);
    boot_guest_with(&f, guest_answers, guest_answers_end, how == BY_LEVEL ? ENTRY_LEVEL : ENTRY_EDGE);
    assert_int_equal(sim_thread_start(&thread, "answer", answer, &a), SIM_OK);
    double begin = now();
    run_guest(&f);
    double us = (now() - begin) / ROUNDS;
    assert_int_equal(write(a.asked, &enough, sizeof enough), sizeof enough);
    sim_thread_join(&thread);
    fixture_fini(&f);
    close(a.asked);
    close(a.edge);
    return us;
}

static double clock_us(void)
{
    return (double)sim_host_ns() / 1e3;
}

static double measure_answer_level(void) { return measure_answer(BY_LEVEL, clock_us); }
static double measure_answer_pulse(void) { return measure_answer(BY_PULSE, clock_us); }
static double measure_answer_irqfd(void) { return measure_answer(BY_IRQFD, clock_us); }
static double measure_answer_message(void) { return measure_answer(BY_MESSAGE, clock_us); }
static double measure_answer_message_cpu(void) { return measure_answer(BY_MESSAGE, process_us); }
static double measure_answer_level_cpu(void) { return measure_answer(BY_LEVEL, process_us); }
static double measure_answer_pulse_cpu(void) { return measure_answer(BY_PULSE, process_us); }
static double measure_answer_irqfd_cpu(void) { return measure_answer(BY_IRQFD, process_us); }

/* --- first writes to pages that are there --- */

static void no_copy(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    (void)g, (void)first, (void)nr, (void)write;
}

enum tracking { UNTRACKED, LOGGED, GUARDED };

/* The guest has written all pages before, so that KVM has them. */
static double measure_writes(enum tracking how)
{
    static struct sim_guard guard = {.before = no_copy};
    struct fixture f;

    fixture_init(&f, 1);
    BOOT(&f, writes);
    run_us(&f);
    sim_clear_end(f.sim);
    if (how != UNTRACKED)
        hkvm_machine_collect_dirty(f.m);
    if (how == GUARDED) {
        mem_set_guard(f.space, &guard);
        hkvm_machine_write_protect(f.m);
    }
    BOOT(&f, writes);
    double us = (how == GUARDED ? wait_us(&f) : run_us(&f)) / PAGES;
    mem_set_guard(f.space, NULL);
    fixture_fini(&f);
    return us;
}

static double measure_untracked(void) { return measure_writes(UNTRACKED); }
static double measure_logged(void) { return measure_writes(LOGGED); }
static double measure_guarded(void) { return measure_writes(GUARDED); }

/* --- ring 3 --- */

/* The speed of the guest's loop over that of the same loop in this process, by the thread's CPU time, one after the other. */
static double measure_ring3(void)
{
    struct fixture f;
    double begin = cpu_us();

    run_natively();
    double native = cpu_us() - begin;
    fixture_init(&f, 1);
    BOOT(&f, compute);
    double guest = run_us(&f);
    fixture_fini(&f);
    return native / guest;
}

static const struct {
    const char *what, *unit;
    double (*measure)(void);
} rows[] = {
    {"port exit, ring 0", "us", measure_ports},
    {"MMIO exit, ring 0", "us", measure_memory0},
    {"MMIO exit, ring 3", "us", measure_memory3},
    {"MMIO write to an ioeventfd, ring 0", "us", measure_ioeventfd},
    {"notification, ring 3: answered in the exit", "us", measure_answered},
    {"notification, ring 3: answered by an eventfd's listener", "us", measure_heard},
    {"a line up and down: KVM_IRQ_LINE", "us", measure_line},
    {"a line up and down: irqfd", "us", measure_irqfd},
    {"a level's interrupt, all threads: KVM_IRQ_LINE", "us", measure_level_line},
    {"a level's interrupt, all threads: irqfd, resampled", "us", measure_level_irqfd},
    {"answered by an interrupt, by the clock: level", "us", measure_answer_level},
    {"answered by an interrupt, by the clock: edge, two ioctls", "us", measure_answer_pulse},
    {"answered by an interrupt, by the clock: edge, irqfd", "us", measure_answer_irqfd},
    {"answered by an interrupt, by the clock: message, irqfd", "us", measure_answer_message},
    {"answered by an interrupt, all threads: level", "us", measure_answer_level_cpu},
    {"answered by an interrupt, all threads: edge, two ioctls", "us", measure_answer_pulse_cpu},
    {"answered by an interrupt, all threads: edge, irqfd", "us", measure_answer_irqfd_cpu},
    {"answered by an interrupt, all threads: message, irqfd", "us", measure_answer_message_cpu},
    {"first write to a page, nothing tracked", "us", measure_untracked},
    {"first write to a page, dirty log", "us", measure_logged},
    {"first write to a page, dirty log and checkpoint guard", "us", measure_guarded},
    {"ring 3 compute, speed over native", "", measure_ring3},
};

static int by_value(const void *a, const void *b)
{
    double d = *(const double *)a - *(const double *)b;

    return d < 0 ? -1 : d > 0;
}

static unsigned repeats = 5;
static const char *only = "";

/* Repeats of all rows in turns, so that what else the host does meanwhile is spread over them. */
static int run(void)
{
    static double values[SIM_ARRAY_LEN(rows)][MAX_REPEATS];

    for (unsigned n = 0; n < repeats; n++)
        for (size_t i = 0; i < SIM_ARRAY_LEN(rows); i++)
            if (strncmp(rows[i].what, only, strlen(only)) == 0)
                values[i][n] = rows[i].measure();
    for (size_t i = 0; i < SIM_ARRAY_LEN(rows); i++) {
        double *value = values[i];
        if (strncmp(rows[i].what, only, strlen(only)) != 0)
            continue;
        qsort(value, repeats, sizeof value[0], by_value);
        printf("%-54s %8.2f %s   (%.2f to %.2f)\n", rows[i].what, value[repeats / 2], rows[i].unit, value[0],
               value[repeats - 1]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        repeats = (unsigned)strtoul(argv[1], NULL, 10);
    if (repeats < 1 || repeats > MAX_REPEATS)
        return 2;
    only = argc > 2 ? argv[2] : only;
    return run_or_skip(run);
}
