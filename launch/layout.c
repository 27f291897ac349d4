/* Places of files in guest RAM: which are taken, and what fills them. See layout.h. */
#include "layout.h"

#include <inttypes.h>
#include <string.h>

#include "elf_image.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* --- places --- */

bool layout_in_ram(const struct layout *l, gpa_t base, uint64_t size)
{
    return base + size >= base && mem_ram_ptr(l->space, base, size ? size : 1);
}

static const struct layout_piece *overlapping(const struct layout *l, gpa_t base, uint64_t size)
{
    for (unsigned i = 0; i < l->nr_pieces; i++)
        if (base < l->piece[i].base + l->piece[i].size && l->piece[i].base < base + size)
            return &l->piece[i];
    return NULL;
}

bool layout_is_free(const struct layout *l, gpa_t base, uint64_t size)
{
    return layout_in_ram(l, base, size) && !overlapping(l, base, size);
}

void layout_occupy(struct layout *l, const char *name, gpa_t base, uint64_t size)
{
    l->piece = sim_realloc(l->piece, (l->nr_pieces + 1) * sizeof l->piece[0]);
    l->piece[l->nr_pieces++] = (struct layout_piece){name, base, size};
}

gpa_t layout_lowest_free(const struct layout *l, gpa_t from, uint64_t size, uint64_t align)
{
    const struct layout_piece *other;
    gpa_t base = sim_align_up(from, align);

    while ((other = overlapping(l, base, size)) && other->base + other->size > base)
        base = sim_align_up(other->base + other->size, align);
    return base;
}

gpa_t layout_highest_free(const struct layout *l, gpa_t top, uint64_t before, uint64_t size,
                          uint64_t align)
{
    const struct layout_piece *other;
    gpa_t base = sim_align_down(top - size, align);

    while (before + size < top && (other = overlapping(l, base - before, before + size))) {
        top = other->base;
        base = sim_align_down(top - size, align);
    }
    return base;
}

/* Can f have [base, base+size)? Says why not. */
static enum sim_status check_place(const struct layout *l, const struct input_file *f, gpa_t base,
                                   uint64_t size)
{
    const struct layout_piece *other = overlapping(l, base, size);

    if (!layout_in_ram(l, base, size)) {
        input_file_error(f, "does not fit: it needs %#" PRIx64 " to %#" PRIx64 ", RAM is %#" PRIx64
                            " to %#" PRIx64 " (-m sets its size)",
                         base, base + size, l->ram_base, l->ram_base + l->ram_size);
        return SIM_ERR_RANGE;
    }
    if (other) {
        input_file_error(f, "overlaps %s: %#" PRIx64 "+%#" PRIx64 " and %#" PRIx64 "+%#" PRIx64,
                         other->name, base, size, other->base, other->size);
        return SIM_ERR_RANGE;
    }
    return SIM_OK;
}

enum sim_status layout_reserve(struct layout *l, const struct input_file *f, gpa_t base,
                               uint64_t size)
{
    SIM_TRY(check_place(l, f, base, size));
    layout_occupy(l, f->option, base, size);
    return SIM_OK;
}

/* --- copying; the place is RAM --- */

enum sim_status layout_copy_file(struct layout *l, const struct input_file *f, uint64_t offset,
                                 gpa_t to, uint64_t len)
{
    while (len) {
        uint64_t piece = len;
        void *p = mem_dma_map(l->space, to, &piece, true);
        SIM_BUG_ON(!p && !mem_is_distributed(l->space), "layout: %#" PRIx64 " is no RAM", to);
        if (!p)
            return SIM_ERR_IO; /* a rank was lost: said already */
        mem_dma_before_write(l->space, to, piece);
        enum sim_status status = input_file_read(f, offset, p, piece);
        mem_dma_written(l->space, to, piece);
        mem_dma_unmap(l->space, to, piece);
        SIM_TRY(status);
        offset += piece;
        to += piece;
        len -= piece;
    }
    return SIM_OK;
}

void layout_zero(struct layout *l, gpa_t to, uint64_t len)
{
    static const uint8_t zeroes[GUEST_PAGE_SIZE];

    while (len) {
        uint64_t piece = GUEST_PAGE_SIZE - to % GUEST_PAGE_SIZE;
        piece = piece < len ? piece : len;
        void *p = mem_dma_map(l->space, to, &piece, true);
        SIM_BUG_ON(!p && !mem_is_distributed(l->space), "layout: %#" PRIx64 " is no RAM", to);
        if (!p)
            return;
        if (memcmp(p, zeroes, piece) != 0) {
            mem_dma_before_write(l->space, to, piece);
            memset(p, 0, piece);
            mem_dma_written(l->space, to, piece);
        }
        mem_dma_unmap(l->space, to, piece);
        to += piece;
        len -= piece;
    }
}

enum sim_status layout_put(struct layout *l, gpa_t to, const void *data, uint64_t len)
{
    if (mem_write(l->space, to, data, len) == MEM_OK)
        return SIM_OK;
    sim_error("cannot write %" PRIu64 " bytes to guest memory at %#" PRIx64, len, to);
    return SIM_ERR_RANGE;
}

/* --- one executable file --- */

/* Reserved as a whole before any byte is written; pieces of one file were compared by elf_read. */
static enum sim_status reserve_segments(struct layout *l, const struct input_file *f,
                                        const struct elf_image *image)
{
    for (unsigned i = 0; i < image->nr; i++)
        SIM_TRY(check_place(l, f, image->segment[i].addr, image->segment[i].mem_size));
    for (unsigned i = 0; i < image->nr; i++)
        layout_occupy(l, f->option, image->segment[i].addr, image->segment[i].mem_size);
    return SIM_OK;
}

enum sim_status layout_load_elf(struct layout *l, const struct input_file *f, uint16_t machine, gpa_t base,
                                struct layout_program *out)
{
    struct elf_image image;

    SIM_TRY(elf_read(f, machine, &image));
    if (image.position_independent && !layout_in_ram(l, image.low, image.high - image.low))
        elf_move(&image, base);
    elf_drop_header(&image, l->ram_base);
    SIM_TRY(reserve_segments(l, f, &image));
    /* All are zeroed before any is filled: one's BSS may lie where another's bytes go. */
    for (unsigned i = 0; i < image.nr; i++)
        layout_zero(l, image.segment[i].addr, image.segment[i].mem_size);
    for (unsigned i = 0; i < image.nr; i++) {
        const struct elf_segment *s = &image.segment[i];
        SIM_TRY(layout_copy_file(l, f, s->offset, s->addr, s->file_size));
    }
    *out = (struct layout_program){image.entry, image.low, image.high};
    return SIM_OK;
}

enum sim_status layout_load_raw(struct layout *l, const struct input_file *f, gpa_t base,
                                uint64_t mem_size, struct layout_program *out)
{
    SIM_TRY(layout_reserve(l, f, base, mem_size));
    SIM_TRY(layout_copy_file(l, f, 0, base, f->size));
    *out = (struct layout_program){base, base, base + mem_size};
    return SIM_OK;
}

void layout_fini(struct layout *l)
{
    sim_free(l->piece);
    *l = (struct layout){0};
}
