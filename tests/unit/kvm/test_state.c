/* Guests are saved in the middle and restored into new VMs again and again, and end as if nothing had been. */
#include "kvm_fixture.h"

#include "hkvm_priv.h"
#include "skip.h"

/* --- the moves --- */

static void save(struct fixture *f, struct state_buf *buf)
{
    state_save(hkvm_machine_state_desc(), f->m, buf);
    state_save(f->v->ops->state, hkvm_vcpu_state_object(f->v), buf);
}

static void load(struct fixture *f, const struct state_buf *buf)
{
    size_t used, more;

    assert_int_equal(state_load(hkvm_machine_state_desc(), f->m, buf->data, buf->len, &used), SIM_OK);
    assert_int_equal(state_load(f->v->ops->state, hkvm_vcpu_state_object(f->v), buf->data + used, buf->len - used, &more),
                     SIM_OK);
    assert_int_equal(used + more, buf->len);
}

static void copy_registers(struct registers *to, const struct registers *from)
{
    to->data = from->data;
    to->nr_writes = from->nr_writes;
    memcpy(to->write, from->write, sizeof to->write);
}

/* From one machine into a new one, as another process would. */
static void move_on(struct fixture *from, struct fixture *to)
{
    struct state_buf buf = {0};

    save(from, &buf);
    fixture_init(to, 1);
    memcpy(to->space->ram, from->space->ram, RAM_SIZE);
    copy_registers(&to->memory, &from->memory);
    to->memory.kicked = from->memory.kicked ? to->v : NULL;
    load(to, &buf);
    state_buf_fini(&buf);
    fixture_fini(from);
}

/* Runs to the end, in a new machine for each turn; how many there were. Turns become longer: on a busy host little is done in one, and
 * a machine takes long to make. */
static unsigned run_and_move(struct fixture f[2], unsigned *last)
{
    unsigned moves = 0;

    for (; moves < 1000; moves++) {
        f[moves % 2].v->ops->run(f[moves % 2].v, 20000000 * (1 + moves / 4));
        if (sim_ending(f[moves % 2].sim))
            break;
        move_on(&f[moves % 2], &f[(moves + 1) % 2]);
    }
    *last = moves % 2;
    return moves;
}

/* --- a computation in ring 3, in integer and vector registers --- */

enum { ROUNDS = 100000000 };
#define SEED 0x9e3779b97f4a7c15

GUEST_CODE(compute, "  mov $100000000, %r8; movabs $0x9e3779b97f4a7c15, %r9\n" TO_RING3
                    "  mov %r9, %rax; movq %r9, %xmm0; movq %r9, %xmm1\n"
                    "2: mov %rax, %rdx; shl $13, %rdx; xor %rdx, %rax; mov %rax, %rdx; shr $7, %rdx; xor %rdx, %rax\n"
                    "  mov %rax, %rdx; shl $17, %rdx; xor %rdx, %rax; paddq %xmm1, %xmm0; dec %r8; jnz 2b\n"
                    "  movq %xmm0, %rdx; xor %rdx, %rax; mov %rax, 8(%rsi)\n"
                    "3: jmp 3b\n");

static uint64_t checksum(void)
{
    uint64_t x = SEED, sum = SEED;

    for (unsigned i = 0; i < ROUNDS; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        sum += SEED;
    }
    return x ^ sum;
}

static void test_computation_survives_moves(void **state)
{
    struct fixture f[2];
    unsigned last;

    (void)state;
    fixture_init(&f[0], 1);
    BOOT(&f[0], compute);
    assert_true(run_and_move(f, &last) >= 2);
    assert_true(f[last].memory.end == checksum());
    fixture_fini(&f[last]);
}

/* --- accesses: each exactly once, wherever a turn ended --- */

GUEST_CODE(counting, "  xor %eax, %eax\n" TO_RING3 "  xor %eax, %eax\n"
                     "2: mov (%rsi), %ebx; add %ebx, %eax; mov %eax, (%rsi); cmp $12, %eax; jb 2b\n"
                     "  mov %eax, 8(%rsi)\n");

static void test_accesses_under_way_are_finished(void **state)
{
    struct fixture f[2];
    unsigned last;

    (void)state;
    fixture_init(&f[0], 1);
    f[0].memory.data = 1;
    f[0].memory.kicked = f[0].v;
    BOOT(&f[0], counting);
    assert_true(run_and_move(f, &last) >= 24);
    assert_int_equal(f[last].memory.end, 12);
    assert_int_equal(f[last].memory.nr_writes, 13);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(f[last].memory.write[i].value, i + 1);
    fixture_fini(&f[last]);
}

/* --- what an image may bring --- */

static void test_impossible_counts_are_refused(void **state)
{
    struct fixture f;
    struct state_buf buf = {0};
    struct state_desc plain = hkvm_vcpu_state;
    size_t used;

    (void)state;
    fixture_init(&f, 1);
    struct hkvm_vcpu *h = hkvm_vcpu_of(f.v);
    plain.pre_save = NULL;
    h->state = h->initial;
    h->state.nr_msrs = HKVM_MAX_MSRS + 1;
    state_save(&plain, h, &buf);
    assert_int_equal(state_load(f.v->ops->state, h, buf.data, buf.len, &used), SIM_ERR_FORMAT);
    buf.len = 0;
    h->state = h->initial;
    h->state.nr_cpuid = HKVM_MAX_CPUID + 1;
    state_save(&plain, h, &buf);
    assert_int_equal(state_load(f.v->ops->state, h, buf.data, buf.len, &used), SIM_ERR_FORMAT);
    state_buf_fini(&buf);
    fixture_fini(&f);
}

GUEST_CODE(goes_on, "  mov $7, %eax; mov %eax, 8(%rsi)\n");

/* KVM takes no other CPUID once the guest has run. */
static void test_cpuid_of_elsewhere_outlives_resets(void **state)
{
    enum { BRAND = 0x80000004, WORDS_BEFORE_EAX = 3 };
    struct fixture f;
    struct state_buf buf = {0};
    struct state_desc plain = hkvm_vcpu_state;
    uint32_t *changed = NULL, want;
    size_t used;

    (void)state;
    fixture_init(&f, 1);
    struct hkvm_vcpu *h = hkvm_vcpu_of(f.v);
    plain.pre_save = NULL;
    h->state = h->initial;
    for (uint32_t i = 0; i < h->state.nr_cpuid; i++)
        if (h->state.cpuid[i][0] == BRAND)
            changed = &h->state.cpuid[i][WORDS_BEFORE_EAX];
    assert_non_null(changed);
    want = *changed ^= 1;
    state_save(&plain, h, &buf);
    assert_int_equal(state_load(f.v->ops->state, h, buf.data, buf.len, &used), SIM_OK);
    BOOT(&f, goes_on);
    run_to_end(&f);
    assert_int_equal(hkvm_machine_reset(f.m), SIM_OK);
    assert_int_equal(hkvm_vcpu_get(h, &h->state), SIM_OK);
    assert_int_equal(*changed, want);
    state_buf_fini(&buf);
    fixture_fini(&f);
}

/* An MSR that this host's KVM refuses: a value that means something is an error, nothing is not. */
static void test_unknown_msrs(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    struct hkvm_vcpu *h = hkvm_vcpu_of(f.v);
    h->state = h->initial;
    h->state.msr_index[0] = 0x7fffff;
    h->state.msr_value[0] = 0;
    assert_int_equal(hkvm_vcpu_set(h, &h->state), SIM_OK);
    h->state.msr_value[0] = 1;
    assert_int_equal(hkvm_vcpu_set(h, &h->state), SIM_ERR_FORMAT);
    fixture_fini(&f);
}

/* Ring 0: the numbers at 0x30000 get the values at 0x31000; what is refused (a general protection fault) is left out. */
GUEST_CODE(write_msrs, "  mov %rsi, %rbp; mov $0x7f000, %rsp; lea 93f(%rip), %rax; mov $0x20000, %edi\n"
                       "  movw %ax, 0xd0(%rdi); movw $0x10, 0xd2(%rdi); movw $0x8e00, 0xd4(%rdi)\n"
                       "  shr $16, %rax; movw %ax, 0xd6(%rdi); movq $0, 0xd8(%rdi)\n"
                       "  lidt 94f(%rip); mov $0x30000, %ebx; mov $0x31000, %edi\n"
                       "1: mov (%rbx), %ecx; test %ecx, %ecx; jz 2f; mov (%rdi), %eax; mov 4(%rdi), %edx\n"
                       "  wrmsr; add $4, %rbx; add $8, %rdi; jmp 1b\n"
                       "2: movl $1, 8(%rbp)\n"
                       "93: add $8, %rsp; addq $2, (%rsp); iretq\n"
                       "94: .word 0xfff; .quad 0x20000\n");

static void put_msrs(struct fixture *f, uint64_t value)
{
    uint64_t values[HKVM_MAX_MSRS];

    for (uint32_t i = 0; i < f->m->nr_msrs; i++)
        values[i] = value;
    assert_int_equal(mem_write(f->space, 0x30000, f->m->msr, f->m->nr_msrs * sizeof f->m->msr[0]), MEM_OK);
    assert_int_equal(mem_write(f->space, 0x31000, values, f->m->nr_msrs * sizeof values[0]), MEM_OK);
}

static void assert_goes_on(struct fixture *f)
{
    sim_clear_end(f->sim);
    BOOT(f, goes_on);
    run_to_end(f);
    assert_int_equal(f->memory.end, 7);
}

/* Whatever a guest writes into its MSRs: addresses where nobody is, at a device, over the end of RAM, nonsense. It goes on, and
 * so it does from its state in another machine. (QEMU's CPU, as a host, takes an address that is none for CSTAR, which KVM then
 * refuses.) */
static void test_nonsense_in_msrs(void **state)
{
    static const uint64_t no_address = 1ull << 47 | 1, nor_this = 0x5a5a5a5a5a5a5a5b;
    static const uint64_t values[] = {0, UINT64_MAX, REGISTERS | 1, RAM_SIZE - 15, RAM_SIZE | 1, 0x12345679, no_address, nor_this, 3};

    (void)state;
    for (unsigned i = 0; i < SIM_ARRAY_LEN(values); i++) {
        struct fixture f, other;
        fixture_init(&f, 1);
        fixture_init(&other, 1);
        put_msrs(&f, values[i]);
        BOOT(&f, write_msrs);
        run_to_end(&f);
        assert_int_equal(f.memory.end, 1);
        struct hkvm_vcpu *h = hkvm_vcpu_of(f.v);
        assert_int_equal(hkvm_vcpu_get(h, &h->state), SIM_OK);
        bool loaded = hkvm_vcpu_set(hkvm_vcpu_of(other.v), &h->state) == SIM_OK;
        assert_true(loaded || values[i] == no_address || values[i] == nor_this);
        assert_goes_on(&f);
        if (loaded)
            assert_goes_on(&other);
        fixture_fini(&other);
        fixture_fini(&f);
    }
}

/* Time goes on from where it was: the TSC of a guest that was saved long ago on another host, and kvmclock while the
 * image lay on a disk. (A TSC less than a second away from the present one would be taken for an attempt to
 * synchronize, which is what the other vCPUs' are.) */
static uint64_t *msr(struct hkvm_regs_state *s, uint32_t index)
{
    for (uint32_t i = 0; i < s->nr_msrs; i++)
        if (s->msr_index[i] == index)
            return &s->msr_value[i];
    fail_msg("MSR 0x%x is not part of the state", index);
    return NULL;
}

static uint64_t kvmclock(struct fixture *f)
{
    struct kvm_clock_data clock = {0};

    assert_int_equal(ioctl(f->m->vm, KVM_GET_CLOCK, &clock), 0);
    return clock.clock;
}

/* kvmclock less guest time, as near as two readings can be. */
static int64_t ahead(struct fixture *f)
{
    int64_t least = INT64_MAX;

    for (unsigned i = 0; i < 20; i++) {
        vtime_t now = sim_clock_now(&f->sim->clock);
        int64_t it = (int64_t)(kvmclock(f) - now);
        least = it < least ? it : least;
    }
    return least;
}

static bool are_near(int64_t a, int64_t b)
{
    return a - b < 50000000 && b - a < 50000000;
}

/* Whatever comes between the saving or starting of one clock and the other's: images of a busy machine. */
static void regress_6_kvmclock_and_guest_time_do_not_part(void **state)
{
    struct fixture f;
    struct state_buf buf = {0};
    size_t used;

    (void)state;
    fixture_init(&f, 1);
    int64_t then = ahead(&f);
    state_save(hkvm_machine_state_desc(), f.m, &buf);
    sim_thread_sleep(200000000);
    vtime_t cut = sim_clock_now(&f.sim->clock); /* the last object */
    fixture_fini(&f);

    fixture_init(&f, 1);
    sim_clock_stop(&f.sim->clock);
    sim_clock_set(&f.sim->clock, cut);
    assert_int_equal(state_load(hkvm_machine_state_desc(), f.m, buf.data, buf.len, &used), SIM_OK);
    sim_thread_sleep(200000000); /* drives, executors */
    sim_clock_go(&f.sim->clock);
    hkvm_machine_clock_go(f.m);
    assert_true(are_near(ahead(&f), then));
    state_buf_fini(&buf);
    fixture_fini(&f);
}

/* Of before there was more of it than kvmclock itself. */
static void test_older_states_have_a_clock(void **state)
{
    enum { VM_CLOCK_NS = 1000000000 };
    struct fixture f;
    struct hkvm_vm_state vm;

    (void)state;
    fixture_init(&f, 1);
    sim_clock_stop(&f.sim->clock);
    assert_int_equal(hkvm_vm_get(f.m, &vm), SIM_OK);
    vm.clock_ns = sim_clock_now(&f.sim->clock) + VM_CLOCK_NS;
    vm.clock_ahead_ns = HKVM_AHEAD_UNKNOWN;
    assert_int_equal(hkvm_vm_set(f.m, &vm), SIM_OK);
    sim_clock_go(&f.sim->clock);
    hkvm_machine_clock_go(f.m);
    assert_true(are_near(ahead(&f), VM_CLOCK_NS));
    fixture_fini(&f);
}

static void test_kvmclock_stands(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 2);
    int64_t before = ahead(&f);
    uint64_t then = kvmclock(&f), begun = sim_host_ns();
    hkvm_machine_clock_stop(f.m);
    sim_thread_sleep(100000000);
    sim_clock_stop(&f.sim->clock);
    sim_thread_sleep(300000000);
    sim_clock_go(&f.sim->clock);
    sim_thread_sleep(100000000);
    hkvm_machine_clock_go(f.m);
    uint64_t now = kvmclock(&f);
    assert_true(now >= then && now - then + 250000000 < sim_host_ns() - begun);
    assert_true(are_near(ahead(&f), before));
    fixture_fini(&f);
}

static bool nowhere_else(void *opaque, uint32_t index)
{
    (void)opaque, (void)index;
    return false;
}

/* Two ranks stop a quarter of a second apart, since the message took that long, and go on together. */
static void regress_6_kvmclocks_of_ranks_stay_in_step(void **state)
{
    struct fixture f[2];

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        fixture_init(&f[i], 1);
        f[i].m->is_remote = nowhere_else;
        sim_clock_go_with(&f[i].sim->clock, atomic_load(&f[0].sim->clock.host_base_ns));
        hkvm_machine_clock_follow(f[i].m);
    }
    for (unsigned i = 0; i < 2; i++) {
        sim_clock_stop(&f[i].sim->clock);
        hkvm_machine_clock_stop(f[i].m);
        sim_thread_sleep(250000000);
    }
    sim_clock_go(&f[0].sim->clock);
    hkvm_machine_clock_go(f[0].m);
    sim_clock_go_with(&f[1].sim->clock, atomic_load(&f[0].sim->clock.host_base_ns));
    hkvm_machine_clock_go(f[1].m);
    uint64_t before = kvmclock(&f[0]), other = kvmclock(&f[1]), after = kvmclock(&f[0]);
    assert_true(other + 50000000 > before && other < after + 50000000);
    for (unsigned i = 0; i < 2; i++)
        fixture_fini(&f[i]);
}

static void test_tsc_goes_on(void **state)
{
    enum { MSR_TSC = 0x10 };
    const uint64_t then = 1ull << 50;
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    struct hkvm_vcpu *h = hkvm_vcpu_of(f.v);
    uint64_t second = (uint64_t)ioctl(h->fd, KVM_GET_TSC_KHZ, 0) * 1000;
    h->state = h->initial;
    *msr(&h->state, MSR_TSC) = then;
    assert_int_equal(hkvm_vcpu_set(h, &h->state), SIM_OK);
    assert_int_equal(hkvm_vcpu_get(h, &h->state), SIM_OK);
    uint64_t now = *msr(&h->state, MSR_TSC);
    fixture_fini(&f);
    if (now < then)
        skip_because("this host's KVM takes no TSC from us: guests see the host's");
    assert_true(now - then < second / 5);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_computation_survives_moves),
        cmocka_unit_test(test_accesses_under_way_are_finished),
        cmocka_unit_test(test_impossible_counts_are_refused),
        cmocka_unit_test(test_cpuid_of_elsewhere_outlives_resets),
        cmocka_unit_test(test_unknown_msrs),
        cmocka_unit_test(test_nonsense_in_msrs),
        cmocka_unit_test(regress_6_kvmclock_and_guest_time_do_not_part),
        cmocka_unit_test(test_older_states_have_a_clock),
        cmocka_unit_test(test_kvmclock_stands),
        cmocka_unit_test(regress_6_kvmclocks_of_ranks_stay_in_step),
        cmocka_unit_test(test_tsc_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_or_skip(run);
}
