/* Puts firmware, kernel, initrd and device tree into RAM and starts the harts. See loader.h. */
#include "loader.h"

#include <elf.h>
#include <endian.h>
#include <inttypes.h>
#include <libfdt.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "demo/demo.h"
#include "elf_image.h"
#include "fdt_walk.h"
#include "input_file.h"
#include "layout.h"
#include "linux_image.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virt_x86.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

enum { A2 = 12 };
static const uint64_t kernel_align = 2 * MIB;
static const uint64_t fdt_slack = 64 << 10; /* firmware grows the tree in place */

struct loader {
    struct machine *m;
    struct layout layout;
    gpa_t firmware_entry, kernel_entry;
    gpa_t firmware_end;
    gpa_t kernel_low, kernel_high;
    gpa_t initrd, fdt, info;
    uint64_t initrd_size;
};

/* OpenSBI's fw_dynamic_info, version 2, which a2 points to. */
struct fw_dynamic_info {
    uint64_t magic, version, next_addr, next_mode, options, boot_hart;
};
enum { FW_DYNAMIC_MAGIC = 0x4942534f, FW_DYNAMIC_VERSION = 2, FW_DYNAMIC_MODE_S = 1 };

static bool is_firmware_file(const struct config *c)
{
    return c->bios && strcmp(c->bios, "none") != 0 && strcmp(c->bios, "default") != 0;
}

/* Does the kernel itself start in M mode? */
static bool is_machine_mode(const struct config *c)
{
    return c->bios && strcmp(c->bios, "none") == 0;
}

bool loader_wants_sbi(const struct config *config)
{
    return !config->bios || strcmp(config->bios, "default") == 0;
}

/* --- what the tree keeps for others: /reserved-memory and the header's list --- */

static enum sim_status keep_reserved_node(struct loader *l, const struct fdt_walk *walk, int node)
{
    struct dev_reg *reg;
    unsigned n;

    SIM_TRY(fdt_walk_reg(walk, node, &reg, &n)); /* none: the guest chooses the place itself */
    for (unsigned i = 0; i < n; i++)
        if (reg[i].size)
            layout_occupy(&l->layout, fdt_walk_name(walk, node), reg[i].base, reg[i].size);
    sim_free(reg);
    return SIM_OK;
}

/* Firmware, and a kernel in its place, are loaded before: what the tree keeps may be theirs. */
static enum sim_status keep_reserved(struct loader *l)
{
    const void *fdt = l->m->fdt;
    int parent = fdt_path_offset(fdt, "/reserved-memory"), node;
    enum sim_status status = SIM_OK;
    struct fdt_walk walk;
    uint64_t base, size;

    for (int i = 0; i < fdt_num_mem_rsv(fdt); i++)
        if (fdt_get_mem_rsv(fdt, i, &base, &size) == 0 && size)
            layout_occupy(&l->layout, "memory that the device tree reserves", base, size);
    if (parent < 0)
        return SIM_OK;
    fdt_walk_init(&walk, fdt);
    fdt_for_each_subnode(node, fdt, parent)
        if (status == SIM_OK && fdt_walk_enabled(&walk, node))
            status = keep_reserved_node(l, &walk, node);
    fdt_walk_fini(&walk);
    return status;
}

/* `base` is where files go that do not say it themselves. A Linux Image says its distance from the
 * start of RAM; firmware may already be there, then base counts. */
static enum sim_status load_program(struct loader *l, const struct input_file *f, gpa_t base,
                                    struct layout_program *out)
{
    struct linux_image image;
    bool is_image;

    if (elf_is_elf(f))
        return layout_load_elf(&l->layout, f, EM_RISCV, base, out);
    SIM_TRY(linux_image_check_packing(f));
    SIM_TRY(linux_image_read(f, &is_image, &image));
    if (!is_image)
        return layout_load_raw(&l->layout, f, base, f->size, out);
    if (l->m->builtin_sbi && image.text_offset % GUEST_PAGE_SIZE == 0 &&
        layout_is_free(&l->layout, l->m->ram_base + image.text_offset, image.image_size))
        base = l->m->ram_base + image.text_offset;
    else
        base = layout_lowest_free(&l->layout, base, image.image_size, kernel_align); /* they run anywhere */
    return layout_load_raw(&l->layout, f, base, image.image_size, out);
}

static enum sim_status load_firmware(struct loader *l)
{
    const char *path = l->m->config->bios;
    struct input_file f;
    struct layout_program p;

    SIM_TRY(input_file_open("-bios", path, &f));
    enum sim_status status = load_program(l, &f, l->m->ram_base, &p);
    input_file_close(&f);
    SIM_TRY(status);
    l->firmware_entry = p.entry;
    l->firmware_end = p.high;
    return SIM_OK;
}

/* -bios none: the RAM's start. Otherwise QEMU's place, where images are linked to. */
static gpa_t kernel_base(const struct loader *l)
{
    const struct machine *m = l->m;
    gpa_t base = m->ram_base;

    if (m->builtin_sbi || is_firmware_file(m->config))
        base += kernel_align;
    if (base < l->firmware_end)
        base = sim_align_up(l->firmware_end, kernel_align);
    return base;
}

/* The built-in guest is compiled for these. */
static enum sim_status check_demo_harts(const struct machine *m)
{
    static const uint8_t needs[] = {RV_EXT_M, RV_EXT_A,     RV_EXT_F,       RV_EXT_D,
                                    RV_EXT_C, RV_EXT_ZICSR, RV_EXT_ZICNTR};

    for (uint32_t i = 0; i < m->sim->nr_vcpus; i++) {
        for (size_t n = 0; n < SIM_ARRAY_LEN(needs); n++) {
            if (rv_isa_has(rv_hart_isa(m->sim->vcpus[i]), needs[n]))
                continue;
            sim_error("--demo: the built-in guest needs %s, which hart %u is without",
                      rv_ext_isa_name(needs[n]), i);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

static enum sim_status load_kernel(struct loader *l)
{
    const struct config *c = l->m->config;
    struct input_file f;
    struct layout_program p;

    if (!c->kernel && !c->demo)
        return SIM_OK;
    if (c->demo) {
        SIM_TRY(check_demo_harts(l->m));
        input_file_from_memory("demo", demo_image, demo_image_size, &f);
    } else {
        SIM_TRY(input_file_open("-kernel", c->kernel, &f));
    }
    enum sim_status status = load_program(l, &f, kernel_base(l), &p);
    input_file_close(&f);
    SIM_TRY(status);
    l->kernel_entry = p.entry;
    l->kernel_low = p.low;
    l->kernel_high = p.high;
    return SIM_OK;
}

/* --- initrd --- */

static enum sim_status place_initrd(struct loader *l, const struct input_file *f)
{
    const struct machine *m = l->m;
    uint64_t far = m->ram_size / 2 < 512 * MIB ? m->ram_size / 2 : 512 * MIB;
    const gpa_t places[] = {
        sim_align_up(l->kernel_low + far, kernel_align), /* leaves room for an unpacking kernel */
        sim_align_up(l->kernel_high, kernel_align),
        sim_align_down(l->info - f->size, GUEST_PAGE_SIZE),
        sim_align_up(l->fdt + fdt_slack, kernel_align),
        sim_align_up(l->kernel_high, GUEST_PAGE_SIZE),
        layout_lowest_free(&l->layout, l->kernel_high, f->size, GUEST_PAGE_SIZE),
        layout_highest_free(&l->layout, m->ram_base + m->ram_size, 0, f->size, GUEST_PAGE_SIZE),
        layout_lowest_free(&l->layout, m->ram_base, f->size, GUEST_PAGE_SIZE),
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(places); i++) {
        if (layout_is_free(&l->layout, places[i], f->size)) {
            l->initrd = places[i];
            l->initrd_size = f->size;
            return layout_reserve(&l->layout, f, places[i], f->size);
        }
    }
    input_file_error(f, "its %" PRIu64 " KiB do not fit into RAM beside the kernel (-m sets RAM)",
                     f->size >> 10);
    return SIM_ERR_RANGE;
}

static enum sim_status load_initrd(struct loader *l)
{
    struct input_file f;
    enum sim_status status;

    SIM_TRY(input_file_open("-initrd", l->m->config->initrd, &f));
    status = place_initrd(l, &f);
    if (status == SIM_OK)
        status = layout_copy_file(&l->layout, &f, 0, l->initrd, l->initrd_size);
    input_file_close(&f);
    return status;
}

/* --- device tree --- */

/* Sets a property of /chosen, which is made when missing; the tree grows when it must. */
static enum sim_status set_chosen(void **fdt, const char *name, const void *value, size_t len)
{
    for (unsigned attempt = 0;; attempt++) {
        int node = fdt_path_offset(*fdt, "/chosen");
        if (node == -FDT_ERR_NOTFOUND)
            node = fdt_add_subnode(*fdt, 0, "chosen");
        int error = node < 0 ? node : fdt_setprop(*fdt, node, name, value, (int)len);
        if (error == 0)
            return SIM_OK;
        if (error != -FDT_ERR_NOSPACE || attempt == 2) {
            sim_error("device tree: cannot set /chosen/%s: %s", name, fdt_strerror(error));
            return SIM_ERR_FORMAT;
        }
        size_t size = fdt_totalsize(*fdt) + len + 4096;
        void *larger = sim_zalloc(size);
        error = fdt_open_into(*fdt, larger, (int)size);
        SIM_BUG_ON(error, "fdt_open_into: %s", fdt_strerror(error));
        sim_free(*fdt);
        *fdt = larger;
    }
}

enum sim_status loader_set_bootargs(void **fdt, const char *append)
{
    return append ? set_chosen(fdt, "bootargs", append, strlen(append) + 1) : SIM_OK;
}

/* Kernels take early randomness from the tree. Deterministic runs get the same each time. */
static enum sim_status set_rng_seed(struct loader *l)
{
    uint8_t seed[32];

    memset(seed, 0x5a, sizeof seed);
    if (!l->m->config->virtual_clock && getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return SIM_OK; /* the kernel does without */
    return set_chosen(&l->m->fdt, "rng-seed", seed, sizeof seed);
}

static enum sim_status set_initrd(struct loader *l)
{
    uint64_t start = htobe64(l->initrd), end = htobe64(l->initrd + l->initrd_size);

    SIM_TRY(set_chosen(&l->m->fdt, "linux,initrd-start", &start, sizeof start));
    return set_chosen(&l->m->fdt, "linux,initrd-end", &end, sizeof end);
}

/* Everything but the initrd's real place, so that the tree's size is final. */
static enum sim_status prepare_fdt(struct loader *l)
{
    struct machine *m = l->m;

    const char *append = m->config->append;

    if (m->config->demo && !append)
        append = isatty(STDOUT_FILENO) ? "color" : "plain";
    SIM_TRY(loader_set_bootargs(&m->fdt, append));
    SIM_TRY(set_rng_seed(l));
    return m->config->initrd ? set_initrd(l) : SIM_OK;
}

/* The top of RAM, but where 32-bit addresses of early code reach it; one page below for firmware.
 * What is reserved there moves it down. */
static enum sim_status place_fdt(struct loader *l)
{
    static const uint64_t alignments[] = {2 * MIB, 64 << 10, GUEST_PAGE_SIZE};
    const size_t nr = SIM_ARRAY_LEN(alignments);
    const struct machine *m = l->m;
    gpa_t top = m->ram_base + m->ram_size;
    uint64_t size = fdt_totalsize(m->fdt) + fdt_slack;

    if (m->ram_base < 3 * GIB && top > 3 * GIB)
        top = 3 * GIB;
    for (size_t i = 0; i < 2 * nr; i++) {
        uint64_t align = alignments[i % nr];
        gpa_t fdt = i < nr ? sim_align_down(top - size, align)
                           : layout_highest_free(&l->layout, top, GUEST_PAGE_SIZE, size, align);
        gpa_t info = fdt - GUEST_PAGE_SIZE;
        if (size < top && layout_is_free(&l->layout, info, GUEST_PAGE_SIZE + size)) {
            l->fdt = fdt;
            l->info = info;
            layout_occupy(&l->layout, "the device tree", info, GUEST_PAGE_SIZE + size);
            return SIM_OK;
        }
    }
    sim_error("the device tree (%" PRIu64 " KiB) does not fit into RAM beside the kernel (-m sets "
              "RAM)", size >> 10);
    return SIM_ERR_RANGE;
}

static enum sim_status copy_fdt(struct loader *l)
{
    return layout_put(&l->layout, l->fdt, l->m->fdt, fdt_totalsize(l->m->fdt));
}

/* --- starting --- */

static enum sim_status copy_info(struct loader *l)
{
    struct fw_dynamic_info info = {
        .magic = htole64(FW_DYNAMIC_MAGIC),
        .version = htole64(FW_DYNAMIC_VERSION),
        .next_addr = htole64(l->kernel_entry),
        .next_mode = htole64(FW_DYNAMIC_MODE_S),
        .boot_hart = htole64(l->m->boot_hartid),
    };

    return layout_put(&l->layout, l->info, &info, sizeof info);
}

/* Without SBI nobody starts the others: they all start, as on hardware. */
static void start_all_harts(struct machine *m)
{
    for (uint32_t i = 0; i < m->sim->nr_vcpus; i++) {
        struct vcpu *v = m->sim->vcpus[i];

        rv_hart_start(v, m->boot.entry, rv_hart_id(v), m->boot.fdt);
        rv_hart_set_x(v, A2, m->boot.info);
    }
}

void loader_start_harts(struct machine *m)
{
    if (m->kvm)
        return; /* the boot CPU has been told, the others wait for it */
    if (m->builtin_sbi)
        rv_hart_start(m->boot_hart, m->boot.entry, m->boot_hartid, m->boot.fdt);
    else
        start_all_harts(m);
}

static enum sim_status finish(struct loader *l)
{
    struct machine *m = l->m;

    SIM_TRY(copy_info(l));
    m->boot = (struct machine_boot){
        .entry = is_firmware_file(m->config) ? l->firmware_entry : l->kernel_entry,
        .fdt = l->fdt,
        .info = l->info,
    };
    return SIM_OK;
}

static enum sim_status load(struct loader *l)
{
    const struct config *c = l->m->config;

    if (is_firmware_file(c))
        SIM_TRY(load_firmware(l));
    if (is_machine_mode(c))
        SIM_TRY(load_kernel(l));
    SIM_TRY(keep_reserved(l));
    if (!is_machine_mode(c))
        SIM_TRY(load_kernel(l));
    SIM_TRY(prepare_fdt(l));
    SIM_TRY(place_fdt(l));
    if (c->initrd) {
        SIM_TRY(load_initrd(l));
        SIM_TRY(set_initrd(l));
    }
    SIM_TRY(copy_fdt(l));
    SIM_TRY(finish(l));
    if (!l->m->ranks)
        loader_start_harts(l->m);
    return SIM_OK;
}

enum sim_status loader_load(struct machine *m)
{
    if (m->kvm)
        return virt_x86_load(m);
    struct loader *l = sim_new(struct loader);
    enum sim_status status;

    l->m = m;
    l->layout = (struct layout){.space = m->space, .ram_base = m->ram_base, .ram_size = m->ram_size};
    status = load(l);
    mem_settle(m->space);
    layout_fini(&l->layout);
    sim_free(l);
    return status;
}
