/* A space of blocks with the marks that RAM has, written as a guest does it. */
#ifndef MEMORY_FIXTURE_H
#define MEMORY_FIXTURE_H

#include <sys/mman.h>

#include "checkpoint/snapshot.h"
#include "store_fixture.h"

enum { BLOCKS = 3000, FIRST = 0x80000 };

/* A space of blocks in a memfd with the marks that RAM has; two ranges, a gap in the image between them. */
struct memory {
    int fd;
    uint8_t *bytes;
    _Atomic uint8_t dirty[BLOCKS];
    sim_guard_ref guard;
    struct ckpt_range range[2];
    struct ckpt_source source;
};

static inline bool take_dirty(void *opaque, uint64_t local)
{
    return atomic_exchange(&((struct memory *)opaque)->dirty[local], 0);
}

static inline bool is_dirty(void *opaque, uint64_t local)
{
    return atomic_load(&((struct memory *)opaque)->dirty[local]);
}

static inline void set_guard(void *opaque, struct sim_guard *g)
{
    atomic_store(&((struct memory *)opaque)->guard, g);
}

static inline struct memory *memory_create(void)
{
    struct memory *m = sim_new(struct memory);

    m->fd = memfd_create("test", 0);
    assert_int_equal(ftruncate(m->fd, BLOCKS * CKPT_BLOCK), 0);
    m->bytes = mmap(NULL, BLOCKS * CKPT_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    assert_true(m->bytes != MAP_FAILED);
    m->range[0] = (struct ckpt_range){FIRST, 0, 1000};
    m->range[1] = (struct ckpt_range){FIRST + 5000, 1000, BLOCKS - 1000};
    m->source = (struct ckpt_source){.name = "ram",
                                     .fd = m->fd,
                                     .nr_blocks = BLOCKS,
                                     .range = m->range,
                                     .nr_ranges = 2,
                                     .sparse = true,
                                     .opaque = m,
                                     .take_dirty = take_dirty,
                                     .is_dirty = is_dirty,
                                     .set_guard = set_guard};
    return m;
}

static inline void memory_destroy(struct memory *m)
{
    munmap(m->bytes, BLOCKS * CKPT_BLOCK);
    close(m->fd);
    sim_free(m);
}

/* As a guest does it: guard, mark, bytes. */
static inline void guest_write(struct memory *m, uint64_t block, uint64_t generation)
{
    sim_guard_before(&m->guard, block * CKPT_BLOCK, CKPT_BLOCK, true);
    atomic_store(&m->dirty[block], 1);
    fill_block(m->bytes + block * CKPT_BLOCK, block, generation);
}

#endif
