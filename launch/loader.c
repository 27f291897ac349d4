/* Puts firmware, kernel, initrd and device tree into RAM and starts the harts. See loader.h. */
#include "loader.h"

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
#include "linux_image.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

enum { A2 = 12 };
static const uint64_t kernel_align = 2 * MIB;
static const uint64_t fdt_slack = 64 << 10; /* firmware grows the tree in place */

/* What lies where, to see overlaps. */
struct placed {
    const char *name;
    gpa_t base;
    uint64_t size;
};

struct loader {
    struct machine *m;
    struct placed *placed;
    unsigned nr_placed;
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

/* --- places --- */

static bool in_ram(const struct loader *l, gpa_t base, uint64_t size)
{
    return base + size >= base && mem_ram_ptr(l->m->space, base, size ? size : 1);
}

static const struct placed *overlapping(const struct loader *l, gpa_t base, uint64_t size)
{
    for (unsigned i = 0; i < l->nr_placed; i++)
        if (base < l->placed[i].base + l->placed[i].size && l->placed[i].base < base + size)
            return &l->placed[i];
    return NULL;
}

static bool is_free(const struct loader *l, gpa_t base, uint64_t size)
{
    return in_ram(l, base, size) && !overlapping(l, base, size);
}

static void occupy(struct loader *l, const char *name, gpa_t base, uint64_t size)
{
    l->placed = sim_realloc(l->placed, (l->nr_placed + 1) * sizeof l->placed[0]);
    l->placed[l->nr_placed++] = (struct placed){name, base, size};
}

/* The lowest aligned place from `from` on where nothing lies; is it RAM? is another question. */
static gpa_t lowest_free(const struct loader *l, gpa_t from, uint64_t size, uint64_t align)
{
    const struct placed *other;
    gpa_t base = sim_align_up(from, align);

    while ((other = overlapping(l, base, size)) && other->base + other->size > base)
        base = sim_align_up(other->base + other->size, align);
    return base;
}

/* The highest one below `top`, with `before` bytes free in front of it as well. */
static gpa_t highest_free(const struct loader *l, gpa_t top, uint64_t before, uint64_t size,
                          uint64_t align)
{
    const struct placed *other;
    gpa_t base = sim_align_down(top - size, align);

    while (before + size < top && (other = overlapping(l, base - before, before + size))) {
        top = other->base;
        base = sim_align_down(top - size, align);
    }
    return base;
}

/* Can f have [base, base+size)? Says why not. */
static enum sim_status check_place(const struct loader *l, const struct input_file *f, gpa_t base,
                                   uint64_t size)
{
    const struct placed *other = overlapping(l, base, size);
    const struct machine *m = l->m;

    if (!in_ram(l, base, size)) {
        input_file_error(f, "does not fit: it needs %#" PRIx64 " to %#" PRIx64 ", RAM is %#" PRIx64
                            " to %#" PRIx64 " (-m sets its size)",
                         base, base + size, m->ram_base, m->ram_base + m->ram_size);
        return SIM_ERR_RANGE;
    }
    if (other) {
        input_file_error(f, "overlaps %s: %#" PRIx64 "+%#" PRIx64 " and %#" PRIx64 "+%#" PRIx64,
                         other->name, base, size, other->base, other->size);
        return SIM_ERR_RANGE;
    }
    return SIM_OK;
}

static enum sim_status reserve(struct loader *l, const struct input_file *f, gpa_t base,
                               uint64_t size)
{
    SIM_TRY(check_place(l, f, base, size));
    occupy(l, f->option, base, size);
    return SIM_OK;
}

/* --- what the tree keeps for others: /reserved-memory and the header's list --- */

static enum sim_status keep_reserved_node(struct loader *l, const struct fdt_walk *walk, int node)
{
    struct dev_reg *reg;
    unsigned n;

    SIM_TRY(fdt_walk_reg(walk, node, &reg, &n)); /* none: the guest chooses the place itself */
    for (unsigned i = 0; i < n; i++)
        if (reg[i].size)
            occupy(l, fdt_walk_name(walk, node), reg[i].base, reg[i].size);
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
            occupy(l, "memory that the device tree reserves", base, size);
    if (parent < 0)
        return SIM_OK;
    fdt_walk_init(&walk, fdt);
    fdt_for_each_subnode(node, fdt, parent)
        if (status == SIM_OK && fdt_walk_enabled(&walk, node))
            status = keep_reserved_node(l, &walk, node);
    fdt_walk_fini(&walk);
    return status;
}

/* --- copying; the place is RAM --- */

static enum sim_status copy_file(struct loader *l, const struct input_file *f, uint64_t offset,
                                 gpa_t to, uint64_t len)
{
    while (len) {
        uint64_t piece = len;
        void *p = mem_dma_map(l->m->space, to, &piece, true);
        SIM_BUG_ON(!p && !mem_is_distributed(l->m->space), "loader: %#" PRIx64 " is no RAM", to);
        if (!p)
            return SIM_ERR_IO; /* a rank was lost: said already */
        mem_dma_before_write(l->m->space, to, piece);
        enum sim_status status = input_file_read(f, offset, p, piece);
        mem_dma_written(l->m->space, to, piece);
        mem_dma_unmap(l->m->space, to, piece);
        SIM_TRY(status);
        offset += piece;
        to += piece;
        len -= piece;
    }
    return SIM_OK;
}

/* Fresh RAM is zero and should stay unallocated; after a guest reset it is not. */
static void zero(struct loader *l, gpa_t to, uint64_t len)
{
    static const uint8_t zeroes[GUEST_PAGE_SIZE];

    while (len) {
        uint64_t piece = GUEST_PAGE_SIZE - to % GUEST_PAGE_SIZE;
        piece = piece < len ? piece : len;
        void *p = mem_dma_map(l->m->space, to, &piece, true);
        SIM_BUG_ON(!p && !mem_is_distributed(l->m->space), "loader: %#" PRIx64 " is no RAM", to);
        if (!p)
            return;
        if (memcmp(p, zeroes, piece) != 0) {
            mem_dma_before_write(l->m->space, to, piece);
            memset(p, 0, piece);
            mem_dma_written(l->m->space, to, piece);
        }
        mem_dma_unmap(l->m->space, to, piece);
        to += piece;
        len -= piece;
    }
}

static enum sim_status put(struct loader *l, gpa_t to, const void *data, uint64_t len)
{
    if (mem_write(l->m->space, to, data, len) == MEM_OK)
        return SIM_OK;
    sim_error("cannot write %" PRIu64 " bytes to guest memory at %#" PRIx64, len, to);
    return SIM_ERR_RANGE;
}

/* --- one executable file --- */

struct program {
    gpa_t entry, low, high;
};

/* Reserved as a whole before any byte is written; pieces of one file were compared by elf_read. */
static enum sim_status reserve_segments(struct loader *l, const struct input_file *f,
                                        const struct elf_image *image)
{
    for (unsigned i = 0; i < image->nr; i++)
        SIM_TRY(check_place(l, f, image->segment[i].addr, image->segment[i].mem_size));
    for (unsigned i = 0; i < image->nr; i++)
        occupy(l, f->option, image->segment[i].addr, image->segment[i].mem_size);
    return SIM_OK;
}

static enum sim_status load_elf(struct loader *l, const struct input_file *f, gpa_t base,
                                struct program *out)
{
    struct elf_image image;

    SIM_TRY(elf_read(f, &image));
    if (image.position_independent && !in_ram(l, image.low, image.high - image.low))
        elf_move(&image, base);
    elf_drop_header(&image, l->m->ram_base);
    SIM_TRY(reserve_segments(l, f, &image));
    /* All are zeroed before any is filled: one's BSS may lie where another's bytes go. */
    for (unsigned i = 0; i < image.nr; i++)
        zero(l, image.segment[i].addr, image.segment[i].mem_size);
    for (unsigned i = 0; i < image.nr; i++) {
        const struct elf_segment *s = &image.segment[i];
        SIM_TRY(copy_file(l, f, s->offset, s->addr, s->file_size));
    }
    *out = (struct program){image.entry, image.low, image.high};
    return SIM_OK;
}

static enum sim_status load_raw(struct loader *l, const struct input_file *f, gpa_t base,
                                uint64_t mem_size, struct program *out)
{
    SIM_TRY(reserve(l, f, base, mem_size));
    SIM_TRY(copy_file(l, f, 0, base, f->size));
    *out = (struct program){base, base, base + mem_size};
    return SIM_OK;
}

/* `base` is where files go that do not say it themselves. A Linux Image says its distance from the
 * start of RAM; firmware may already be there, then base counts. */
static enum sim_status load_program(struct loader *l, const struct input_file *f, gpa_t base,
                                    struct program *out)
{
    struct linux_image image;
    bool is_image;

    if (elf_is_elf(f))
        return load_elf(l, f, base, out);
    SIM_TRY(linux_image_check_packing(f));
    SIM_TRY(linux_image_read(f, &is_image, &image));
    if (!is_image)
        return load_raw(l, f, base, f->size, out);
    if (l->m->builtin_sbi && image.text_offset % GUEST_PAGE_SIZE == 0 &&
        is_free(l, l->m->ram_base + image.text_offset, image.image_size))
        base = l->m->ram_base + image.text_offset;
    else
        base = lowest_free(l, base, image.image_size, kernel_align); /* they run anywhere */
    return load_raw(l, f, base, image.image_size, out);
}

static enum sim_status load_firmware(struct loader *l)
{
    const char *path = l->m->config->bios;
    struct input_file f;
    struct program p;

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
    struct program p;

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
        lowest_free(l, l->kernel_high, f->size, GUEST_PAGE_SIZE),
        highest_free(l, m->ram_base + m->ram_size, 0, f->size, GUEST_PAGE_SIZE),
        lowest_free(l, m->ram_base, f->size, GUEST_PAGE_SIZE),
    };

    for (size_t i = 0; i < SIM_ARRAY_LEN(places); i++) {
        if (is_free(l, places[i], f->size)) {
            l->initrd = places[i];
            l->initrd_size = f->size;
            return reserve(l, f, places[i], f->size);
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
        status = copy_file(l, &f, 0, l->initrd, l->initrd_size);
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
                           : highest_free(l, top, GUEST_PAGE_SIZE, size, align);
        gpa_t info = fdt - GUEST_PAGE_SIZE;
        if (size < top && is_free(l, info, GUEST_PAGE_SIZE + size)) {
            l->fdt = fdt;
            l->info = info;
            occupy(l, "the device tree", info, GUEST_PAGE_SIZE + size);
            return SIM_OK;
        }
    }
    sim_error("the device tree (%" PRIu64 " KiB) does not fit into RAM beside the kernel (-m sets "
              "RAM)", size >> 10);
    return SIM_ERR_RANGE;
}

static enum sim_status copy_fdt(struct loader *l)
{
    return put(l, l->fdt, l->m->fdt, fdt_totalsize(l->m->fdt));
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

    return put(l, l->info, &info, sizeof info);
}

static void start_hart(struct machine *m, uint64_t hartid)
{
    struct vcpu *v = rv_machine_hart(m->cpus, hartid);

    if (!v)
        return; /* a disabled cpu node */
    rv_hart_start(v, m->boot.entry, hartid, m->boot.fdt);
    rv_hart_set_x(v, A2, m->boot.info);
}

/* Without SBI nobody starts the others: they all start, as on hardware. The tree has their ids. */
static void start_all_harts(struct machine *m)
{
    const void *fdt = m->fdt;
    int cpus = fdt_path_offset(fdt, "/cpus"), node;

    fdt_for_each_subnode(node, fdt, cpus)
    {
        int len;
        const char *type = fdt_getprop(fdt, node, "device_type", NULL);
        const fdt32_t *reg = fdt_getprop(fdt, node, "reg", &len);
        if (!type || strcmp(type, "cpu") != 0 || !reg || (len != 4 && len != 8))
            continue;
        start_hart(m, len == 4 ? fdt32_to_cpu(reg[0])
                               : (uint64_t)fdt32_to_cpu(reg[0]) << 32 | fdt32_to_cpu(reg[1]));
    }
}

void loader_start_harts(struct machine *m)
{
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
    struct loader *l = sim_new(struct loader);
    enum sim_status status;

    l->m = m;
    status = load(l);
    mem_settle(m->space);
    sim_free(l->placed);
    sim_free(l);
    return status;
}
