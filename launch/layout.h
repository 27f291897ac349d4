/* Guest RAM while it is loaded: what lies where, and bytes of files put there.
 *
 *   layout_reserve | layout_occupy -> the list -> who comes later finds a free place, or hears what is in its way
 *
 * Owner: the loader that runs. Nothing here knows an instruction set. */
#ifndef LAUNCH_LAYOUT_H
#define LAUNCH_LAYOUT_H

#include "input_file.h"
#include "mem/space.h"

struct layout {
    struct mem_space *space;
    gpa_t ram_base; /* for messages, and for ELF headers in front of it */
    uint64_t ram_size;
    struct layout_piece {
        const char *name; /* borrowed */
        gpa_t base;
        uint64_t size;
    } *piece;
    unsigned nr_pieces;
};

/* One executable that has been put into RAM: [low, high). */
struct layout_program {
    gpa_t entry, low, high;
};

void layout_fini(struct layout *l);

bool layout_in_ram(const struct layout *l, gpa_t base, uint64_t size);
/* RAM where nothing lies yet. */
bool layout_is_free(const struct layout *l, gpa_t base, uint64_t size);
void layout_occupy(struct layout *l, const char *name, gpa_t base, uint64_t size);
/* The same for f; says why it cannot have the place. */
enum sim_status layout_reserve(struct layout *l, const struct input_file *f, gpa_t base,
                               uint64_t size) SIM_MUST_CHECK;
/* The lowest aligned place from `from` on where nothing lies; is it RAM? is another question. */
gpa_t layout_lowest_free(const struct layout *l, gpa_t from, uint64_t size, uint64_t align);
/* The highest one below `top`, with `before` bytes free in front of it as well. */
gpa_t layout_highest_free(const struct layout *l, gpa_t top, uint64_t before, uint64_t size,
                          uint64_t align);

/* Bytes into RAM; the place has been reserved. */
enum sim_status layout_copy_file(struct layout *l, const struct input_file *f, uint64_t offset, gpa_t to,
                                 uint64_t len) SIM_MUST_CHECK;
/* Fresh RAM is zero and should stay unallocated; after a guest reset it is not. */
void layout_zero(struct layout *l, gpa_t to, uint64_t len);
enum sim_status layout_put(struct layout *l, gpa_t to, const void *data, uint64_t len) SIM_MUST_CHECK;

/* Reserves and copies an ELF executable for `machine` (EM_...) where it says; a position-independent one whose place is
 * no RAM goes to `base`. */
enum sim_status layout_load_elf(struct layout *l, const struct input_file *f, uint16_t machine, gpa_t base,
                                struct layout_program *out) SIM_MUST_CHECK;
/* A whole file to `base`, which takes mem_size bytes there. */
enum sim_status layout_load_raw(struct layout *l, const struct input_file *f, gpa_t base, uint64_t mem_size,
                                struct layout_program *out) SIM_MUST_CHECK;

#endif
