/* A machine of the tests: 8 MiB of RAM with page tables that map the lowest 4 GiB to themselves (user pages, so that
 * ring 3 reaches all), a page of registers, a few ports, and guests written below as assembler.
 *
 *   RAM 0x1000 page tables | 0x8000 GDT | 0x10000 the guest | 0x7f000 its stack, downwards
 *   memory 0xd0000000: DATA, END      ports 0xe000: as DATA, END
 *
 * A write to END ends the simulation; its value is kept. Where /dev/kvm cannot be used the program says so and ends with 77. */
#ifndef KVM_FIXTURE_H
#define KVM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kvm/hkvm.h"
#include "sim-core/lock.h"

enum { RAM_SIZE = 8 << 20, TABLES = 0x1000, GDT = 0x8000, GUEST = 0x10000 };
enum { REG_DATA = 0, REG_END = 8, NR_WRITES = 32 };
#define REGISTERS 0xd0000000ull
#define HANGS_NS 900000000000ull /* after so long a run is over anyhow; inside QEMU on a busy host a page takes its time */
#define PORTS 0xe000

struct registers {
    struct mem_region region;
    struct sim *sim;
    uint64_t data;  /* what DATA reads as */
    uint64_t end;   /* what END was written with */
    struct vcpu *kicked; /* by each access: its run() ends with the access under way. NULL: nobody */
    struct written {
        uint64_t offset, value;
        unsigned size;
    } write[NR_WRITES];
    unsigned nr_writes, nr_reads;
};

struct fixture {
    struct sim *sim;
    struct mem_space *space;
    struct registers memory, ports;
    struct hkvm_machine *m;
    struct vcpu *v;
};

static bool registers_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct registers *r = opaque;

    (void)size;
    r->nr_reads++;
    if (r->kicked)
        vcpu_kick(r->kicked);
    *value = r->data >> (offset - REG_DATA) * 8;
    return true;
}

static bool registers_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct registers *r = opaque;

    if (r->nr_writes < NR_WRITES)
        r->write[r->nr_writes++] = (struct written){offset, value, size};
    if (r->kicked)
        vcpu_kick(r->kicked);
    if (offset != REG_END)
        return true;
    r->end = value;
    sim_request_end(r->sim, SIM_END_POWEROFF, 0);
    return true;
}

static const struct mem_ops registers_ops = {.read = registers_read, .write = registers_write};

static void add_registers(struct fixture *f, struct registers *r, gpa_t base, uint64_t size)
{
    r->region = (struct mem_region){.name = "registers", .base = base, .size = size, .ops = &registers_ops, .opaque = r};
    r->sim = f->sim;
    assert_int_equal(mem_add_mmio(f->space, &r->region), SIM_OK);
}

static void put64(struct fixture *f, gpa_t at, uint64_t value)
{
    assert_int_equal(mem_write(f->space, at, &value, sizeof value), MEM_OK);
}

/* Present, writable, user; in the last level also: 2 MiB. */
static void write_tables(struct fixture *f)
{
    enum { TABLE = 7, PAGE = 0x87 };

    put64(f, TABLES, (TABLES + 0x1000) | TABLE);
    for (uint64_t g = 0; g < 4; g++) {
        gpa_t directory = TABLES + 0x2000 + g * 0x1000;
        put64(f, TABLES + 0x1000 + g * 8, directory | TABLE);
        for (uint64_t i = 0; i < 512; i++)
            put64(f, directory + i * 8, (g << 30 | i << 21) | PAGE);
    }
}

static SIM_UNUSED void fixture_init_as(struct fixture *f, uint32_t nr_vcpus, bool own_apics)
{
    *f = (struct fixture){0};
    assert_int_equal(sim_create(&f->sim), SIM_OK);
    assert_int_equal(mem_space_create(f->sim, &f->space), SIM_OK);
    assert_int_equal(mem_add_ram(f->space, "ram", 0, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(f->space), SIM_OK);
    add_registers(f, &f->memory, REGISTERS, 0x1000);
    add_registers(f, &f->ports, HKVM_PORT_WINDOW + PORTS, 16);
    write_tables(f);
    const struct hkvm_config config = {
        .sim = f->sim, .space = f->space, .nr_vcpus = nr_vcpus, .own_apics = own_apics};
    assert_int_equal(hkvm_machine_create(&config, &f->m), SIM_OK);
    for (uint32_t i = 0; i < nr_vcpus; i++) {
        struct vcpu *v;
        assert_int_equal(hkvm_machine_add_vcpu(f->m, &v), SIM_OK);
        f->v = i ? f->v : v;
    }
}

static SIM_UNUSED void fixture_init(struct fixture *f, uint32_t nr_vcpus)
{
    fixture_init_as(f, nr_vcpus, false);
}

static SIM_UNUSED void fixture_fini(struct fixture *f)
{
    hkvm_machine_destroy(f->m);
    mem_space_destroy(f->space);
    sim_destroy(f->sim);
}

static SIM_UNUSED void boot_guest_with(struct fixture *f, const uint8_t *begin, const uint8_t *end, uint64_t rbx)
{
    const struct hkvm_entry entry = {.rip = GUEST, .cr3 = TABLES, .gdt = GDT, .rbx = rbx, .rsi = REGISTERS};

    assert_int_equal(mem_write(f->space, GUEST, begin, (uint64_t)(end - begin)), MEM_OK);
    assert_int_equal(hkvm_vcpu_boot(f->v, &entry), SIM_OK);
}

static SIM_UNUSED void boot_guest(struct fixture *f, const uint8_t *begin, const uint8_t *end)
{
    boot_guest_with(f, begin, end, 0);
}
#define BOOT(f, name) boot_guest(f, guest_##name, guest_##name##_end)

/* Turns until the simulation ends; how many. */
static SIM_UNUSED unsigned run_to_end(struct fixture *f)
{
    unsigned turns = 0;

    for (uint64_t begin = sim_host_ns(); !sim_ending(f->sim) && sim_host_ns() - begin < HANGS_NS; turns++)
        f->v->ops->run(f->v, 0);
    assert_true(sim_ending(f->sim));
    return turns;
}

static int run_or_skip(int (*run)(void))
{
    struct hkvm_report report;

    hkvm_probe(&report);
    if (report.state == HKVM_WORKS)
        return run();
    printf("SKIP: no KVM here: %s\n", report.why);
    return 77;
}

/* Guests: machine code that runs at GUEST in long mode, rsi = REGISTERS. */
#define GUEST_CODE(name, text)                                                                     \
    extern const uint8_t guest_##name[], guest_##name##_end[];                                     \
    __asm__(".pushsection .rodata\n guest_" #name ":\n" text "\n guest_" #name "_end:\n .popsection")

/* To ring 3 with Linux' selectors, at label 1 of what follows. r8: what is not to be lost. */
#define TO_RING3                                                                                   \
    "  lea 90f(%rip), %rax; mov %rax, 92f+2(%rip); lgdt 92f(%rip)\n"                               \
    "  mov $0x7f000, %rsp; lea 1f(%rip), %rax\n"                                                   \
    "  push $0x2b; push $0x7e000; push $2; push $0x33; push %rax; iretq\n"                         \
    "  .balign 8\n"                                                                                \
    "90: .quad 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"                                     \
    "  .quad 0x00cffb000000ffff, 0x00cff3000000ffff, 0x00affb000000ffff\n"                         \
    "91: .word 0, 0, 0\n"                                                                          \
    "92: .word 55; .quad 0\n"                                                                      \
    "1:\n"

#endif
