/* Kernel, initrd and what the kernel is told, into the RAM of virt-x86; the boot CPU's first state.
 *
 *   -kernel  bzImage                -> Linux' 64-bit boot protocol: long mode at its entry, rsi = boot_params
 *            ELF with a PVH note    -> PVH: 32-bit flat mode at the note's entry, rbx = start_info
 *            another ELF (x86-64)   -> as bzImage, at the ELF's entry
 *   all: ACPI tables, a GDT, page tables, the command line, at the places of virt_x86.h */
#include <elf.h>
#include <string.h>

#include "elf_image.h"
#include "input_file.h"
#include "kvm/hkvm.h"
#include "layout.h"
#include "linux_bzimage.h"
#include "numa.h"
#include "ranks.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virt_x86.h"

#define GIB (1ull << 30)

struct x86_loader {
    struct machine *m;
    struct layout layout;
    struct bzimage bzimage; /* its setup header, if the kernel is one */
    bool is_bzimage;
    struct hkvm_entry entry;
    gpa_t initrd, initrd_max;
    uint64_t initrd_size;
};

/* --- the memory map, in the two ways it is told --- */

enum memory_kind { MEMORY_RAM = 1, MEMORY_RESERVED = 2 };

struct memory_range {
    uint64_t base, size;
    uint32_t kind;
};
enum { MAX_RANGES = 4 };

/* Of virt_x86.h, cut at the end of RAM. */
static unsigned memory_map(const struct machine *m, struct memory_range out[MAX_RANGES])
{
    uint64_t all = m->config->memory, low = all < X86_RAM_LOW_MAX ? all : X86_RAM_LOW_MAX;
    const struct memory_range ranges[MAX_RANGES] = {
        {0, X86_LOW_RAM_END, MEMORY_RAM},
        {X86_LOW_RAM_END, X86_TABLES + X86_TABLES_MAX - X86_LOW_RAM_END, MEMORY_RESERVED},
        {X86_TABLES + X86_TABLES_MAX, low - X86_TABLES - X86_TABLES_MAX, MEMORY_RAM},
        {X86_RAM_HIGH, all - low, MEMORY_RAM},
    };
    unsigned n = 0;

    for (unsigned i = 0; i < MAX_RANGES; i++)
        if (ranges[i].size)
            out[n++] = ranges[i];
    return n;
}

/* --- Linux' boot_params ("zero page"): Documentation/arch/x86/boot.rst and zero-page.rst --- */

enum { BP_RSDP = 0x070, BP_NR_E820 = 0x1e8, BP_E820 = 0x2d0, E820_BYTES = 20, BP_SIZE = 0x1000,
       BP_BOOT_FLAG = 0x1fe, BP_MAGIC = 0x202, BP_LOADER = 0x210, BP_INITRD = 0x218, BP_INITRD_SIZE = 0x21c,
       BP_COMMAND_LINE = 0x228, BP_ALIGNMENT = 0x230, LOADER_OTHER = 0xff, BOOT_FLAG = 0xaa55 };

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    memcpy(at, &value, bytes);
}

static void fill_boot_params(const struct x86_loader *l, uint8_t bp[BP_SIZE])
{
    struct memory_range range[MAX_RANGES];
    unsigned n = memory_map(l->m, range);

    if (l->is_bzimage)
        memcpy(bp + BZIMAGE_HEADER, l->bzimage.header, l->bzimage.header_size);
    put(bp + BP_BOOT_FLAG, BOOT_FLAG, 2);
    memcpy(bp + BP_MAGIC, "HdrS", 4);
    put(bp + BP_LOADER, LOADER_OTHER, 1);
    put(bp + BP_INITRD, l->initrd, 4);
    put(bp + BP_INITRD_SIZE, l->initrd_size, 4);
    put(bp + BP_COMMAND_LINE, X86_COMMAND_LINE, 4);
    put(bp + BP_RSDP, X86_TABLES, 8);
    put(bp + BP_NR_E820, n, 1);
    for (unsigned i = 0; i < n; i++) {
        put(bp + BP_E820 + i * E820_BYTES, range[i].base, 8);
        put(bp + BP_E820 + i * E820_BYTES + 8, range[i].size, 8);
        put(bp + BP_E820 + i * E820_BYTES + 16, range[i].kind, 4);
    }
}

static enum sim_status put_boot_params(struct x86_loader *l)
{
    uint8_t bp[BP_SIZE] = {0};

    fill_boot_params(l, bp);
    return layout_put(&l->layout, X86_BOOT_PARAMS, bp, sizeof bp);
}

/* --- PVH's start_info (Xen's arch-x86/hvm/start_info.h, version 1) --- */

enum { START_INFO_MAGIC = 0x336ec578 };

struct start_info {
    struct {
        uint32_t magic, version, flags, nr_modules;
        uint64_t modules, command_line, rsdp, memory_map;
        uint32_t nr_memory, reserved;
    } head;
    struct {
        uint64_t address, size, command_line, reserved;
    } module;
    struct {
        uint64_t base, size;
        uint32_t kind, reserved;
    } memory[MAX_RANGES];
};

static enum sim_status put_start_info(struct x86_loader *l)
{
    struct start_info s = {0};
    struct memory_range range[MAX_RANGES];

    s.head.magic = START_INFO_MAGIC;
    s.head.version = 1;
    s.head.nr_modules = l->initrd_size != 0;
    s.head.modules = X86_START_INFO + offsetof(struct start_info, module);
    s.head.command_line = X86_COMMAND_LINE;
    s.head.rsdp = X86_TABLES;
    s.head.memory_map = X86_START_INFO + offsetof(struct start_info, memory);
    s.head.nr_memory = memory_map(l->m, range);
    s.module.address = l->initrd;
    s.module.size = l->initrd_size;
    for (unsigned i = 0; i < s.head.nr_memory; i++) {
        s.memory[i].base = range[i].base;
        s.memory[i].size = range[i].size;
        s.memory[i].kind = range[i].kind;
    }
    return layout_put(&l->layout, X86_START_INFO, &s, sizeof s);
}

/* --- what both are told --- */

enum { PAGE_TABLE = 3, PAGE_LARGE = 0x83, ENTRIES = 512, MAPPED_GIB = 4 };

/* The lowest 4 GiB at their own addresses, by pages of 2 MiB. */
static enum sim_status put_page_tables(struct x86_loader *l)
{
    uint64_t (*table)[ENTRIES] = sim_zalloc((2 + MAPPED_GIB) * sizeof *table);

    table[0][0] = (X86_PAGE_TABLES + GUEST_PAGE_SIZE) | PAGE_TABLE;
    for (uint64_t g = 0; g < MAPPED_GIB; g++) {
        table[1][g] = (X86_PAGE_TABLES + (2 + g) * GUEST_PAGE_SIZE) | PAGE_TABLE;
        for (uint64_t i = 0; i < ENTRIES; i++)
            table[2 + g][i] = (g << 30 | i << 21) | PAGE_LARGE;
    }
    enum sim_status status = layout_put(&l->layout, X86_PAGE_TABLES, table, (2 + MAPPED_GIB) * sizeof *table);
    sim_free(table);
    return status;
}

static enum sim_status put_command_line(struct x86_loader *l)
{
    const char *text = l->m->config->append ? l->m->config->append : "";
    size_t max = l->is_bzimage ? l->bzimage.command_line_max : X86_COMMAND_LINE_MAX - 1;

    if (max >= X86_COMMAND_LINE_MAX)
        max = X86_COMMAND_LINE_MAX - 1;
    if (strlen(text) > max) {
        sim_error("-append: %zu characters; this kernel takes %zu", strlen(text), max);
        return SIM_ERR_RANGE;
    }
    return layout_put(&l->layout, X86_COMMAND_LINE, text, strlen(text) + 1);
}

static enum sim_status put_tables(struct x86_loader *l)
{
    uint8_t *tables = sim_zalloc(X86_TABLES_MAX);
    struct config_numa numa = {0};

    if (l->m->ranks) /* a node for each */
        numa_from_plan(ranks_get_plan(l->m->ranks), &numa);
    const struct acpi_machine machine = {.nr_cpus = l->m->sim->nr_vcpus,
                                         .has_pic = !virt_x86_has_own_apics(l->m->fdt),
                                         .edges = virt_x86_has_edges(l->m->fdt),
                                         .numa = &numa};
    size_t len = acpi_build(&machine, tables);
    config_numa_fini(&numa);
    enum sim_status status = layout_put(&l->layout, X86_TABLES, tables, len);

    sim_free(tables);
    return status;
}

/* --- kernel and initrd --- */

static enum sim_status load_bzimage(struct x86_loader *l, const struct input_file *f)
{
    const struct bzimage *b = &l->bzimage;
    const gpa_t base = layout_lowest_free(&l->layout, b->preferred, b->memory_size, b->alignment);

    SIM_TRY(layout_reserve(&l->layout, f, base, b->memory_size));
    SIM_TRY(layout_copy_file(&l->layout, f, b->code_offset, base, f->size - b->code_offset));
    l->entry.mode = HKVM_ENTRY_LONG;
    l->entry.rip = base + BZIMAGE_ENTRY_64;
    l->initrd_max = b->initrd_max;
    return SIM_OK;
}

enum { NOTE_PVH_ENTRY = 18 };

static enum sim_status load_elf(struct x86_loader *l, const struct input_file *f)
{
    struct layout_program program;
    uint32_t pvh = 0;
    bool is_pvh;

    SIM_TRY(layout_load_elf(&l->layout, f, EM_X86_64, X86_TABLES + X86_TABLES_MAX, &program));
    SIM_TRY(elf_find_note(f, "Xen", NOTE_PVH_ENTRY, &pvh, sizeof pvh, &is_pvh));
    l->entry.mode = is_pvh ? HKVM_ENTRY_PROTECTED : HKVM_ENTRY_LONG;
    l->entry.rip = is_pvh ? pvh : program.entry;
    return SIM_OK;
}

static enum sim_status load_kernel_file(struct x86_loader *l, const struct input_file *f)
{
    if (elf_is_elf(f))
        return load_elf(l, f);
    SIM_TRY(bzimage_read(f, &l->is_bzimage, &l->bzimage));
    if (l->is_bzimage)
        return load_bzimage(l, f);
    input_file_error(f, "is neither an x86-64 bzImage nor an ELF");
    return SIM_ERR_FORMAT;
}

static enum sim_status load_kernel(struct x86_loader *l)
{
    struct input_file f;

    SIM_TRY(input_file_open("-kernel", l->m->config->kernel, &f));
    enum sim_status status = load_kernel_file(l, &f);
    input_file_close(&f);
    return status;
}

static enum sim_status load_initrd(struct x86_loader *l)
{
    const uint64_t low = l->m->config->memory < X86_RAM_LOW_MAX ? l->m->config->memory : X86_RAM_LOW_MAX;
    struct input_file f;

    if (!l->m->config->initrd)
        return SIM_OK;
    SIM_TRY(input_file_open("-initrd", l->m->config->initrd, &f));
    gpa_t top = l->initrd_max < low ? l->initrd_max : low;
    l->initrd_size = f.size;
    l->initrd = f.size < top ? layout_highest_free(&l->layout, top, 0, f.size, GUEST_PAGE_SIZE) : 0;
    enum sim_status status = layout_reserve(&l->layout, &f, l->initrd, f.size);
    if (status == SIM_OK)
        status = layout_copy_file(&l->layout, &f, 0, l->initrd, f.size);
    input_file_close(&f);
    return status;
}

/* --- all --- */

static enum sim_status load(struct x86_loader *l)
{
    layout_occupy(&l->layout, "what the kernel is told", 0, X86_BOOT_END);
    layout_occupy(&l->layout, "the ACPI tables", X86_LOW_RAM_END, X86_TABLES + X86_TABLES_MAX - X86_LOW_RAM_END);
    SIM_TRY(load_kernel(l));
    SIM_TRY(load_initrd(l));
    SIM_TRY(put_tables(l));
    SIM_TRY(put_page_tables(l));
    SIM_TRY(put_command_line(l));
    SIM_TRY(put_start_info(l));
    SIM_TRY(put_boot_params(l));
    l->entry.cr3 = X86_PAGE_TABLES;
    l->entry.gdt = X86_GDT;
    l->entry.rbx = X86_START_INFO;
    l->entry.rsi = X86_BOOT_PARAMS;
    return hkvm_vcpu_boot(l->m->boot_hart, &l->entry);
}

enum sim_status virt_x86_load(struct machine *m)
{
    struct x86_loader l = {.m = m,
                           .layout = {.space = m->space, .ram_base = m->ram_base, .ram_size = m->ram_size},
                           .initrd_max = 2 * GIB};
    enum sim_status status = load(&l);

    mem_settle(m->space);
    layout_fini(&l.layout);
    return status;
}
