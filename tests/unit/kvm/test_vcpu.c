/* Running: accesses, budgets, kicks, interrupt lines, ends. */
#include <sys/eventfd.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "kvm_fixture.h"
#include "skip.h"

/* --- accesses --- */

GUEST_CODE(accesses, "  mov (%rsi), %eax; inc %eax; mov %eax, (%rsi)\n"      /* 4 bytes of memory */
                     "  movb $0x77, 1(%rsi); movw $0x1122, 2(%rsi)\n"
                     "  movabs $0x1122334455667788, %rax; mov %rax, (%rsi)\n"
                     "  mov $0xe000, %edx; in %dx, %eax; inc %eax; out %eax, %dx\n" /* 4 bytes of ports */
                     "  in %dx, %al; out %al, %dx; mov $0xe002, %edx; mov $0x4142, %ax; out %ax, %dx\n"
                     "  mov 0x2000(%rsi), %ebx; mov $0x1000, %edx; in %dx, %ax\n"  /* nobody is there */
                     "  mov %ebx, 4(%rsi); mov %ax, 4(%rsi); movl $5, 8(%rsi)\n");

static void assert_written(const struct registers *r, unsigned n, uint64_t offset, unsigned size, uint64_t value)
{
    assert_true(n < r->nr_writes);
    assert_int_equal(r->write[n].offset, offset);
    assert_int_equal(r->write[n].size, size);
    assert_int_equal(r->write[n].value, value);
}

static void test_accesses_reach_regions(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    f.memory.data = 0x01020304;
    f.ports.data = 0xa0b0c0d0;
    BOOT(&f, accesses);
    run_to_end(&f);
    assert_written(&f.memory, 0, 0, 4, 0x01020305);
    assert_written(&f.memory, 1, 1, 1, 0x77);
    assert_written(&f.memory, 2, 2, 2, 0x1122);
    assert_written(&f.memory, 3, 0, 8, 0x1122334455667788);
    assert_written(&f.ports, 0, 0, 4, 0xa0b0c0d1);
    assert_written(&f.ports, 1, 0, 1, 0xd0);
    assert_written(&f.ports, 2, 2, 2, 0x4142);
    assert_written(&f.memory, 4, 4, 4, 0xffffffff);
    assert_written(&f.memory, 5, 4, 2, 0xffff);
    assert_int_equal(f.memory.end, 5);
    fixture_fini(&f);
}

GUEST_CODE(strings, "  mov $0x7f000, %rsp; lea 2f(%rip), %rsi; mov $0xe000, %edx; mov $5, %ecx; cld; rep outsb\n"
                    "  mov $0x20000, %edi; mov $3, %ecx; rep insw; mov $0xe008, %edx; mov 0x20004, %ax; out %ax, %dx\n"
                    "2: .ascii \"hello\"\n");

static void test_string_accesses_come_one_by_one(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    f.ports.data = 0x1234;
    BOOT(&f, strings);
    run_to_end(&f);
    for (unsigned i = 0; i < 5; i++)
        assert_written(&f.ports, i, 0, 1, (uint64_t)"hello"[i]);
    assert_int_equal(f.ports.nr_reads, 3);
    assert_int_equal(f.ports.end, 0x1234);
    fixture_fini(&f);
}

/* String instructions that begin, end or go over into what is no RAM, and over pages with items in two halves. */
GUEST_CODE(odd_strings,
           "  mov %rsi, %rbp; mov $0x7f000, %rsp; cld; mov $0xe000, %edx\n"
           "  movabs $0x0807060504030201, %rax; mov %rax, 0x20ffc\n"
           "  mov $0x20ffe, %esi; mov $4, %ecx; rep outsb\n"             /* 3 4 | 5 6 */
           "  mov $0x20fff, %esi; mov $2, %ecx; rep outsw\n"             /* 0504 | 0706 */
           "  mov %rbp, %rsi; mov $2, %ecx; rep outsl; mov %rbp, %rsi\n" /* from a device's registers (4 bytes), and behind them */
           "  mov %rbp, %rdi; mov $1, %ecx; rep insl\n"                  /* into them */
           "  mov $0x20ffc, %esi; mov $0x7ffff8, %edi; mov $2, %ecx; rep movsq\n" /* the end of RAM, and behind it */
           "  mov $0x7ffffc, %esi; mov $0x21100, %edi; mov $2, %ecx; rep movsl\n"
           "  mov $0x7ffffe, %edi; mov $5, %ecx; rep insb\n"
           "  mov 0x7ffff8, %rax; mov %rax, (%rbp); mov 0x21100, %rax; mov %rax, (%rbp)\n"
           "  mov 0x7ffffc, %rax; mov %rax, (%rbp)\n"                     /* an item in two halves, of which one is nobody's */
           "  movl $1, 8(%rbp)\n");

static void test_strings_over_the_end_of_memory(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    f.memory.data = 0x11223344;
    f.ports.data = 0xa1a2a3a4;
    BOOT(&f, odd_strings);
    run_to_end(&f);
    assert_int_equal(f.memory.end, 1);
    for (unsigned i = 0; i < 4; i++)
        assert_written(&f.ports, i, 0, 1, 3 + i);
    assert_written(&f.ports, 4, 0, 2, 0x0504);
    assert_written(&f.ports, 5, 0, 2, 0x0706);
    assert_written(&f.ports, 6, 0, 4, 0x11223344);
    assert_written(&f.memory, 0, 0, 4, 0xa1a2a3a4);
    assert_written(&f.memory, 1, 0, 8, 0xa4a4060504030201);
    assert_written(&f.memory, 2, 0, 8, 0xffffffff08070605);
    assert_written(&f.memory, 3, 0, 8, 0xffffffffa4a40605);
    fixture_fini(&f);
}

/* Accesses of all sizes and alignments where nobody is: reads are ones, writes are lost, and the guest goes on. From 16 bytes before a
 * page's end, and in each of the holes of the machine. */
GUEST_CODE(nobody, "  mov %rsi, %rbp; mov $0x7f000, %rsp; lea 9f(%rip), %rbx\n"
                   "1: mov (%rbx), %rdi; test %rdi, %rdi; jz 3f; mov $32, %ecx\n"
                   "2: movb $5, (%rdi); movw $5, (%rdi); movl $5, (%rdi); movq $5, (%rdi); lock incl (%rdi); xchg %eax, (%rdi)\n"
                   "  mov (%rdi), %al; cmp $0xff, %al; jne 4f; mov (%rdi), %ax; cmp $0xffff, %ax; jne 4f\n"
                   "  mov (%rdi), %eax; cmp $-1, %eax; jne 4f; mov (%rdi), %rax; cmp $-1, %rax; jne 4f\n"
                   "  inc %rdi; dec %ecx; jnz 2b; add $8, %rbx; jmp 1b\n"
                   "3: movl $1, 8(%rbp)\n"
                   "4: mov %edi, 8(%rbp)\n"
                   ".balign 8\n"
                   "9: .quad 0x800000, 0xfffff0, 0xbffffff0, 0xd0fffff0, 0xd1000000, 0xe0000ff0, 0xfedfffd0, 0xffffffd0, 0\n");

static void test_nobody_is_there(void **state)
{
    struct fixture f;

    (void)state;
    for (unsigned own = 0; own < 2; own++) {
        fixture_init_as(&f, 1, own);
        BOOT(&f, nobody);
        run_to_end(&f);
        assert_int_equal(f.memory.end, 1);
        assert_int_equal(f.memory.nr_writes, 1); /* END's alone */
        fixture_fini(&f);
    }
}

/* --- leaving guest code --- */

GUEST_CODE(spin, TO_RING3 "  jmp 1b\n");

static void test_run_comes_back_when_the_budget_is_used(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    BOOT(&f, spin);
    for (unsigned i = 0; i < 5; i++) {
        uint64_t begin = sim_host_ns();
        assert_int_equal(f.v->ops->run(f.v, 20000000), VCPU_EXIT_BUDGET);
        assert_true(sim_host_ns() - begin >= 15000000 || i == 0);
        assert_int_equal(f.v->running, 0);
    }
    fixture_fini(&f);
}

static void *run_long(void *arg)
{
    struct fixture *f = arg;

    while (!sim_ending(f->sim))
        f->v->ops->run(f->v, 3600000000000ull); /* an hour: only kicks end it */
    return NULL;
}

/* It has left guest code, and may be back there: what was asked of it is done on its way. */
static bool has_looked(struct vcpu *v, void *opaque)
{
    (void)opaque;
    return !atomic_load_explicit(&v->kick, memory_order_seq_cst);
}

/* While another is exclusive a vCPU may look in at the door (running for a moment), but does not go through: from
 * guest code it would not come back by itself. */
static bool stands(const struct vcpu *v)
{
    for (uint64_t end = sim_host_ns() + 5000000000u; sim_host_ns() < end; sim_thread_yield())
        if (!atomic_load_explicit(&v->running, memory_order_seq_cst))
            return true;
    return false;
}

static void test_kicks_get_a_vcpu_out_of_guest_code(void **state)
{
    struct fixture f;
    struct sim_thread thread;

    (void)state;
    fixture_init(&f, 1);
    BOOT(&f, spin);
    assert_int_equal(sim_thread_start(&thread, "vcpu", run_long, &f), SIM_OK);
    for (unsigned i = 0; i < 200; i++) {
        vcpu_wait(NULL, f.v, has_looked, NULL);
        sim_exclusive_begin(f.sim, NULL);
        assert_true(stands(f.v));
        sim_exclusive_end(f.sim);
        if (i % 16 == 0)
            sim_thread_sleep(1000000);
    }
    sim_request_end(f.sim, SIM_END_USER, 0);
    sim_thread_join(&thread);
    fixture_fini(&f);
}

/* The APIC's page and the first one of messages, at all alignments, by accesses of all sizes; then storms of INIT and STARTUP to all
 * others. */
GUEST_CODE(odd, "  mov $0xfee00000, %edi; xor %eax, %eax\n"
                "1: mov (%rdi), %cl; mov (%rdi), %cx; mov (%rdi), %ecx; mov (%rdi), %rcx\n"
                "  mov %al, (%rdi); mov %ax, (%rdi); mov %eax, (%rdi); mov %rax, (%rdi)\n"
                "  add $5, %edi; cmp $0xfee02000, %edi; jb 1b\n"
                "  mov $0xfee00300, %edi; mov $300, %ecx\n"
                "2: movl $0xc0400, (%rdi); movl $0xc0200, (%rdi); movl $0xc0300, (%rdi); movl $0xc0100, (%rdi)\n"
                "  movl $0xc4500, (%rdi); movl $0xc4610, (%rdi); movl $0xc0700, (%rdi); dec %ecx; jnz 2b\n"
                "  movl $1, 8(%rsi)\n");

/* Nothing that a guest does to its APIC ends anything but itself. The other vCPU gets storms of INIT and STARTUP, and stands where the
 * last one left it. */
static void test_odd_accesses_of_our_apics(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init_as(&f, 2, true);
    BOOT(&f, odd);
    run_to_end(&f);
    assert_int_equal(f.memory.end, 1);
    assert_int_not_equal(atomic_load(&f.m->vcpu[1]->apic.events), 0);
    enum hkvm_readiness readiness = hkvm_interrupts_take(f.m->vcpu[1]);
    assert_int_equal(readiness, HKVM_READY); /* STARTUP was last */
    fixture_fini(&f);
}

/* Three notifications, of which one is not the eventfd's: another value. */
GUEST_CODE(bells, "  movl $5, (%rsi); movl $6, (%rsi); movl $5, (%rsi); movl $1, 8(%rsi)\n");

static void test_writes_become_events(void **state)
{
    struct fixture f;
    uint64_t times = 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    (void)state;
    fixture_init(&f, 1);
    if (!f.space->doorbells) {
        fixture_fini(&f);
        close(fd);
        skip_because("this host's KVM has no ioeventfds");
    }
    assert_true(f.space->doorbells->set(f.space->doorbells_opaque, REGISTERS, 4, 5, fd, true));
    BOOT(&f, bells);
    run_to_end(&f);
    assert_int_equal(read(fd, &times, sizeof times), sizeof times);
    assert_int_equal(times, 2);
    assert_int_equal(f.memory.nr_writes, 2);
    assert_int_equal(f.memory.write[0].value, 6);
    assert_true(f.space->doorbells->set(f.space->doorbells_opaque, REGISTERS, 4, 5, fd, false));
    close(fd);
    fixture_fini(&f);
}

GUEST_CODE(triple_fault, "  ud2\n");

static void test_triple_fault_is_a_reset(void **state)
{
    struct fixture f;
    int code;

    (void)state;
    fixture_init(&f, 1);
    BOOT(&f, triple_fault);
    run_to_end(&f);
    assert_int_equal(sim_wait_end(f.sim, &code), SIM_END_RESET);
    assert_int_equal(hkvm_machine_reset(f.m), SIM_OK);
    sim_clear_end(f.sim);
    BOOT(&f, accesses);
    run_to_end(&f);
    assert_int_equal(f.memory.end, 5);
    fixture_fini(&f);
}

/* --- interrupts --- */

/* The PICs at vectors 0x20 and 0x28, only line 4 open; a gate for 0x24 whose handler ends the run. */
GUEST_CODE(line, "  mov $0x7f000, %rsp; lea 93f(%rip), %rax; mov $0x20000, %edi\n"
                 "  movw %ax, 0x240(%rdi); movw $0x10, 0x242(%rdi); movw $0x8e00, 0x244(%rdi)\n"
                 "  shr $16, %rax; movw %ax, 0x246(%rdi); movq $0, 0x248(%rdi)\n"
                 "  lidt 94f(%rip)\n"
                 "  mov $0x11, %al; out %al, $0x20; out %al, $0xa0; mov $0x20, %al; out %al, $0x21\n"
                 "  mov $0x28, %al; out %al, $0xa1; mov $4, %al; out %al, $0x21; mov $2, %al; out %al, $0xa1\n"
                 "  mov $1, %al; out %al, $0x21; out %al, $0xa1; mov $0xef, %al; out %al, $0x21\n"
                 "  mov $0xff, %al; out %al, $0xa1\n"
                 "  movl $1, (%rsi)\n"                         /* ready */
                 "92: sti; hlt; jmp 92b\n"
                 "93: movl $7, 8(%rsi); hlt\n"
                 "94: .word 0xfff; .quad 0x20000\n");

static void test_lines_wake_a_halted_vcpu(void **state)
{
    struct fixture f;

    (void)state;
    fixture_init(&f, 1);
    BOOT(&f, line);
    struct irq_line irq = hkvm_machine_irq(f.m, 4);
    for (unsigned i = 0; i < 1000 && !f.memory.nr_writes; i++)
        f.v->ops->run(f.v, 0);
    assert_written(&f.memory, 0, 0, 4, 1);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(f.v->ops->run(f.v, 0), VCPU_EXIT_BUDGET); /* it sleeps */
    irq_set(&irq, true);
    run_to_end(&f);
    assert_int_equal(f.memory.end, 7);
    irq_set(&irq, false);
    assert_null(hkvm_machine_irq(f.m, HKVM_NR_GSIS).set);
    fixture_fini(&f);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accesses_reach_regions),
        cmocka_unit_test(test_string_accesses_come_one_by_one),
        cmocka_unit_test(test_strings_over_the_end_of_memory),
        cmocka_unit_test(test_nobody_is_there),
        cmocka_unit_test(test_run_comes_back_when_the_budget_is_used),
        cmocka_unit_test(test_kicks_get_a_vcpu_out_of_guest_code),
        cmocka_unit_test(test_odd_accesses_of_our_apics),
        cmocka_unit_test(test_writes_become_events),
        cmocka_unit_test(test_triple_fault_is_a_reset),
        cmocka_unit_test(test_lines_wake_a_halted_vcpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_or_skip(run);
}
