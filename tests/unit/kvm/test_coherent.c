/* vCPUs of two ranks on one memory: each rank has its own VM and its own copy of RAM, pages go between them.
 *
 *   page 0x300  the counter that both increment        page 0x301  each CPU's own word, on one page
 *   pages 0x310 + i: written by rank 0, read by rank 1 */
#include <stdlib.h>

#include "kvm_fixture.h"
#include "mem/dsm.h"

enum { COUNTER = 0x300000, FALSELY_SHARED = 0x301000, HANDED_OVER = 0x310000, NR_HANDED = 32, ROUNDS = 8000000 };

struct node {
    struct fixture f; /* its RAM is a copy */
    struct ic *ic;
    struct dsm *dsm;
    struct hkvm_coherence *c;
    struct sim_thread thread;
};

static rank_t home(void *opaque, uint64_t page)
{
    (void)opaque;
    return (rank_t)(page % 2);
}

static void node_init(struct node *n, struct ic_inproc *net, rank_t rank)
{
    struct fixture *f = &n->f;

    *n = (struct node){0};
    assert_int_equal(sim_create(&f->sim), SIM_OK);
    assert_int_equal(mem_space_create(f->sim, &f->space), SIM_OK);
    assert_int_equal(mem_add_ram(f->space, "ram", 0, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(f->space), SIM_OK);
    add_registers(f, &f->memory, REGISTERS, 0x1000);
    assert_int_equal(ic_inproc_join(net, rank, NULL, &n->ic), SIM_OK);
    assert_int_equal(hkvm_coherence_create(f->space, n->ic, &n->c), SIM_OK);
    const struct dsm_config config = {.ic = n->ic,
                                      .nr_pages = RAM_SIZE >> GUEST_PAGE_BITS,
                                      .bytes = f->space->ram,
                                      .home = home,
                                      .ops = &hkvm_enforce_ops,
                                      .opaque = n->c};
    assert_int_equal(dsm_create(&config, &n->dsm), SIM_OK);
    mem_set_dsm(f->space, n->dsm);
    const struct hkvm_config vm = {.sim = f->sim, .space = f->space, .nr_vcpus = 1};
    assert_int_equal(hkvm_machine_create(&vm, &f->m), SIM_OK);
    assert_int_equal(hkvm_machine_add_vcpu(f->m, &f->v), SIM_OK);
    assert_int_equal(hkvm_coherence_start(n->c, n->dsm), SIM_OK);
}

static void node_fini(struct node *n)
{
    mem_set_dsm(n->f.space, NULL);
    hkvm_machine_destroy(n->f.m);
    ic_destroy(n->ic);
    dsm_destroy(n->dsm);
    hkvm_coherence_destroy(n->c);
    mem_space_destroy(n->f.space);
    sim_destroy(n->f.sim);
}

static void *run_node(void *arg)
{
    struct node *n = arg;

    for (uint64_t begin = sim_host_ns(); !sim_ending(n->f.sim) && sim_host_ns() - begin < HANGS_NS;)
        n->f.v->ops->run(n->f.v, 0);
    return NULL;
}

struct pair {
    struct ic_inproc *net;
    struct node node[2];
};

static struct pair *pair_create(const uint8_t *begin, const uint8_t *end, uint64_t argument)
{
    struct pair *p = calloc(1, sizeof *p);

    assert_int_equal(ic_inproc_create(2, NULL, &p->net), SIM_OK);
    for (rank_t i = 0; i < 2; i++)
        node_init(&p->node[i], p->net, i);
    write_tables(&p->node[0].f); /* through the coherent memory: rank 1 gets them when its CPU walks them */
    assert_int_equal(mem_write(p->node[0].f.space, GUEST, begin, (uint64_t)(end - begin)), MEM_OK);
    for (uint64_t i = 0; i < 2; i++) {
        const struct hkvm_entry entry = {.rip = GUEST, .cr3 = TABLES, .gdt = GDT, .rbx = argument | i, .rsi = REGISTERS};
        assert_int_equal(hkvm_vcpu_boot(p->node[i].f.v, &entry), SIM_OK);
    }
    return p;
}

static void pair_run(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(sim_thread_start(&p->node[i].thread, "vcpu", run_node, &p->node[i]), SIM_OK);
    for (unsigned i = 0; i < 2; i++)
        sim_thread_join(&p->node[i].thread);
}

static void pair_destroy(struct pair *p)
{
    for (unsigned i = 0; i < 2; i++)
        hkvm_coherence_stop(p->node[i].c);
    for (unsigned i = 0; i < 2; i++)
        node_fini(&p->node[i]);
    ic_inproc_destroy(p->net);
    free(p);
}

static uint64_t word_at(struct pair *p, gpa_t at)
{
    uint64_t v = 0;

    assert_int_equal(mem_read(p->node[0].f.space, at, &v, sizeof v), MEM_OK);
    return v;
}

/* ebx: which CPU, and above bit 8 how often. A locked increment of the shared counter, and a plain one of the CPU's own word
 * in the other page. Each rank's stack is its own page. */
GUEST_CODE(increments,
           "  lea 90f(%rip), %rax; mov %rax, 92f+2(%rip); lgdt 92f(%rip)\n"
           "  mov %ebx, %ecx; and $1, %ecx; shl $16, %ecx; lea 0x400000(%rcx), %rsp; lea 1f(%rip), %rax\n"
           "  push $0x2b; push $0x7e000; push $2; push $0x33; push %rax; iretq\n"
           "  .balign 8\n"
           "90: .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
           "  .quad 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff\n"
           "92: .word 55; .quad 0\n"
           "1: mov %ebx, %ecx; shr $8, %ecx; mov %ebx, %edx; and $1, %edx\n"
           "2: lock incq 0x300000\n"
           "  incq 0x301000(,%rdx,8)\n"
           "  dec %ecx; jnz 2b\n"
           "3: movl $1, 8(%rsi); jmp 3b\n");

static void test_no_increment_is_lost(void **state)
{
    (void)state;
    struct pair *p = pair_create(guest_increments, guest_increments_end, (uint64_t)ROUNDS << 8);
    struct hkvm_coherence_stats s[2];
    uint64_t begin = sim_host_ns();

    pair_run(p);
    double ms = (double)(sim_host_ns() - begin) / 1e6;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(p->node[i].f.memory.end, 1);
        hkvm_coherence_get_stats(p->node[i].c, &s[i]);
    }
    assert_int_equal(word_at(p, COUNTER), 2ull * ROUNDS);
    assert_int_equal(word_at(p, FALSELY_SHARED), ROUNDS);
    assert_int_equal(word_at(p, FALSELY_SHARED + 8), ROUNDS);
    assert_true(s[0].revoked && s[1].revoked); /* the pages did go to and fro */
    printf("%d increments by each: %.0f ms, %llu pages taken away, %llu faults of %.0f us\n", ROUNDS, ms,
           (unsigned long long)(s[0].revoked + s[1].revoked), (unsigned long long)(s[0].faults + s[1].faults),
           (double)(s[0].wait_ns + s[1].wait_ns) / 1e3 / (double)(s[0].faults + s[1].faults));
    pair_destroy(p);
}

/* CPU 0 reads and then fills pages, and raises a flag for each; CPU 1 waits for the flag and adds up what it finds. */
GUEST_CODE(handover,
           "  lea 90f(%rip), %rax; mov %rax, 92f+2(%rip); lgdt 92f(%rip)\n"
           "  mov %ebx, %ecx; and $1, %ecx; shl $16, %ecx; lea 0x400000(%rcx), %rsp; lea 1f(%rip), %rax\n"
           "  push $0x2b; push $0x7e000; push $2; push $0x33; push %rax; iretq\n"
           "  .balign 8\n"
           "90: .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
           "  .quad 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff\n"
           "92: .word 55; .quad 0\n"
           "1: mov $0x310000, %edi; mov $1, %ecx; xor %eax, %eax; test $1, %ebx; jnz 4f\n"
           "2: mov 0x800(%rdi), %rdx; mov %rcx, 0x800(%rdi); lea (,%rcx,4), %edx; mov %rdx, 0xff8(%rdi); mov %rcx, 0x300000\n"
           "  add $0x1000, %rdi; inc %ecx; cmp $33, %ecx; jne 2b\n"
           "3: movl $1, 8(%rsi); jmp 3b\n"
           "4: cmp %rcx, 0x300000; jb 4b\n"
           "  add 0x800(%rdi), %rax; add 0xff8(%rdi), %rax\n"
           "  add $0x1000, %rdi; inc %ecx; cmp $33, %ecx; jne 4b\n"
           "5: mov %eax, 8(%rsi); jmp 5b\n");

static void test_what_was_written_before_a_flag_is_seen_after_it(void **state)
{
    (void)state;
    struct pair *p = pair_create(guest_handover, guest_handover_end, 0);

    pair_run(p);
    assert_int_equal(p->node[0].f.memory.end, 1);
    assert_int_equal(p->node[1].f.memory.end, 5 * NR_HANDED * (NR_HANDED + 1) / 2);
    pair_destroy(p);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_increment_is_lost),
        cmocka_unit_test(test_what_was_written_before_a_flag_is_seen_after_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_or_skip(run);
}
