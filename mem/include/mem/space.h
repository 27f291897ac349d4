/* Guest-physical memory of one machine: RAM, and MMIO regions.
 *
 *   translated code --soft TLB--> host pointer          (cpu; never comes here)
 *   TLB miss -> page walk -> mem_page_acquire -> RAM host pointer | MMIO | nothing
 *   MMIO  -> mem_mmio_read/write -> region ops -> device
 *   device DMA -> mem_read/mem_write/mem_dma_map        (keeps translated code coherent)
 *
 * Page state. Each RAM page has a word of flags. MEM_PAGE_CODE: some vCPU's translations came from
 * it, so nobody may hold a write TLB entry for it; writes go through mem_code_written(). The owner of
 * translations registers one mem_code_ops.
 *
 * On several ranks (mem_set_dsm) a page may be elsewhere: mem_page_acquire says MEM_WAIT, and DMA pins what it
 * maps until mem_dma_unmap. What is not RAM and no region of this rank is asked of the rank that has the
 * devices (mem_set_remote).
 *
 * Threads: readers (lookups, MMIO, DMA) take no lock, from any thread. Writers (adding, moving
 * regions) take the map lock; a reader that met a change looks again. */
#ifndef MEM_SPACE_H
#define MEM_SPACE_H

#include <stdatomic.h>
#include <string.h>

#include "sim-core/compiler.h"
#include "sim-core/guard.h"
#include "sim-core/sim.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

/* What became of a guest access. Never a sim_status: a guest can cause each of these. */
enum mem_result {
    MEM_OK,
    MEM_MMIO,  /* mem_page_acquire: a device is there, use mem_mmio_* */
    MEM_FAULT, /* nothing there, or the device refused the size or offset */
    MEM_WAIT   /* the page is on its way; run another vCPU (distributed memory) */
};

/* A device's registers. Offsets are relative to the region; size is 1, 2, 4 or 8 and offset is
 * aligned to it. Return false for an access the device does not decode (the guest gets an access
 * fault). Context: any executor or the I/O thread; the device locks itself. */
struct mem_ops {
    bool (*read)(void *opaque, uint64_t offset, unsigned size, uint64_t *value);
    bool (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
    /* Accesses outside [min,max] bytes are split or widened by the space. 0 = 1 and 8. */
    uint8_t min_size, max_size;
};

struct mem_region {
    const char *name; /* owned by the region's creator, lives as long as the space */
    gpa_t base;
    uint64_t size;
    const struct mem_ops *ops; /* NULL: RAM */
    void *opaque;
    uint64_t ram_offset;   /* RAM: offset from where it is mapped; a multiple of the page size */
    _Atomic uint64_t hits; /* MMIO accesses, for --stats */
};

enum {
    MEM_PAGE_CODE = 1u << 0,   /* has translations: stores must be reported */
    MEM_PAGE_DIRTY = 1u << 1,  /* written since the last mem_dirty_clear (by TLB fill or DMA) */
    MEM_PAGE_WRITER_SHIFT = 8, /* 1 + index of the last vCPU that got a write entry; all ones: many */
    MEM_PAGE_WRITER_MANY = 0xffff
};

/* An area of RAM. Writes of whole runs of its pages are allowed without a word of each page (mem_open_run) as long as there is no
 * code in it: operating systems keep their own data apart from pages of programs by such areas. */
enum {
    MEM_AREA_BITS = 21,
    MEM_AREA_WIDE = 1u << 0,   /* some vCPU may write runs of its pages */
    MEM_AREA_CODE = 1u << 1,   /* some page has, or had, translations: no more runs */
    MEM_AREA_SETTLED = 1u << 2 /* nobody writes runs of it any more */
};

/* Called after bytes of a MEM_PAGE_CODE page changed. `gpa`..+len lies within one page. Afterwards
 * the page may or may not still be a code page (64-byte lines without code stay writable through
 * the slow path). Context: the writing thread, no locks held above SIM_RANK_DEVICE. */
struct mem_code_ops {
    void (*written)(void *opaque, gpa_t gpa, uint64_t len);
};

/* Devices that another rank has. MEM_FAULT: nothing there either. Block, polling; context: as sim_poll. */
struct mem_remote_ops {
    enum mem_result (*read)(void *opaque, gpa_t gpa, unsigned size, uint64_t *value);
    enum mem_result (*write)(void *opaque, gpa_t gpa, unsigned size, uint64_t value);
};

/* vCPUs whose writes can become events, without their leaving guest code. */
struct mem_doorbell_ops {
    /* on: a write of `value` in `size` bytes at gpa makes the eventfd readable, and reaches no region. Off: as before. False: it cannot
     * (errno says why). Context: launch; no vCPU runs. */
    bool (*set)(void *opaque, gpa_t gpa, unsigned size, uint64_t value, int eventfd, bool on);
};

struct dsm;

struct mem_space {
    struct sim *sim;
    bool private_ram;           /* mem_set_private_ram */
    int memfd;                  /* of RAM that is mapped twice; -1: it is private */
    int pagemap;                /* which pages of private RAM there are; -1: nobody knows */
    uint64_t ram_size;          /* bytes */
    uint8_t *ram;               /* the service mapping: DMA, loaders, checkpoint */
    uint8_t *vram;              /* the vCPUs' mapping of the same memory; private: the same */
    _Atomic uint32_t *page;     /* page state, one per RAM page, indexed by ram_offset >> 12 */
    _Atomic uint8_t *area;      /* MEM_AREA_*, indexed by ram_offset >> MEM_AREA_BITS */
    sim_guard_ref guard;        /* of RAM, by page; NULL but during a checkpoint or restore */
    _Atomic(struct mem_map *) map; /* sorted regions */
    struct sim_mutex map_lock;
    const struct mem_code_ops *code_ops;
    void *code_opaque;
    struct dsm *dsm; /* NULL: one rank */
    const struct mem_remote_ops *remote;
    void *remote_opaque;
    const struct mem_doorbell_ops *doorbells; /* NULL: there are none */
    void *doorbells_opaque;
};

enum sim_status mem_space_create(struct sim *sim, struct mem_space **out) SIM_MUST_CHECK;
void mem_space_destroy(struct mem_space *s);

/* RAM will be memory of this process that is mapped once, in huge pages where the host has them. Not for RAM whose pages come
 * and go: of several ranks, of KVM with userfaultfd. Before mem_seal_ram. */
void mem_set_private_ram(struct mem_space *s);
/* Adds RAM at [base, base + size); page-aligned. All RAM is added before mem_seal_ram(), which maps it.
 * SIM_ERR_NOMEM (logged, with what the host has) when the host cannot give it; SIM_ERR_INVALID on overlap. */
enum sim_status mem_add_ram(struct mem_space *s, const char *name, gpa_t base,
                            uint64_t size) SIM_MUST_CHECK;
enum sim_status mem_seal_ram(struct mem_space *s) SIM_MUST_CHECK;

/* The space is one rank's part of a machine: pages and devices may be on others. The caller owns both and
 * takes them away (NULL) before they go. Context: launch, executors not running. */
void mem_set_dsm(struct mem_space *s, struct dsm *dsm);
void mem_set_remote(struct mem_space *s, const struct mem_remote_ops *ops, void *opaque);
/* Set and taken away (NULL) by whoever makes the vCPUs. */
void mem_set_doorbells(struct mem_space *s, const struct mem_doorbell_ops *ops, void *opaque);
static inline bool mem_is_distributed(const struct mem_space *s)
{
    return s->dsm != NULL;
}
/* The gpa of a page number of mem/dsm.h. */
gpa_t mem_page_gpa(struct mem_space *s, uint64_t page);

/* The pages of RAM [*first, *end) at or behind *first, and before what *end was, that the host has; the others are zero and need not be
 * looked at. All of them where the host cannot tell. False: there are no more. Context: any. */
bool mem_next_data(const struct mem_space *s, uint64_t *first, uint64_t *end);

/* Pages will come one by one, here and there, while the machine runs (true), and have come (false): the host gives no huge pages
 * meanwhile, each of which it would clear first. Nothing happens to RAM that is not private. Context: any. */
void mem_expect_pages(struct mem_space *s, bool come);

/* Loaders are done: gives back the service mapping's page tables, since each mapping of a page counts
 * as resident. The contents stay; pages come again when touched. Context: launch. */
void mem_settle(struct mem_space *s);

/* Adds, moves or removes an MMIO region; the caller owns *r and keeps it alive as long as anybody
 * accesses the space: devices may be destroyed before or after it. SIM_ERR_INVALID (logged, both
 * names) on overlap. Context: any thread, may block. */
enum sim_status mem_add_mmio(struct mem_space *s, struct mem_region *r) SIM_MUST_CHECK;
enum sim_status mem_move_mmio(struct mem_space *s, struct mem_region *r, gpa_t base) SIM_MUST_CHECK;
void mem_remove_mmio(struct mem_space *s, struct mem_region *r);

/* The region that has gpa, or NULL. Valid until the region is removed. */
struct mem_region *mem_find(struct mem_space *s, gpa_t gpa);
/* Iterates the regions in address order; index from 0; NULL at the end. Context: launch. */
struct mem_region *mem_nth(struct mem_space *s, unsigned index);

/* TLB fill. For the page of gpa: on MEM_OK *host is the vCPU mapping's address of the page's first
 * byte, and *writable says whether a write entry may be installed now (not for code pages). With
 * `write`, marks the page dirty and records vCPU index `writer` as having a write entry; the filler
 * must re-check MEM_PAGE_CODE after installing the entry (see mem_mark_code). MEM_WAIT: the page is on its
 * way from another rank; the vCPU leaves guest code and tries again when kicked. Context: executor. */
enum mem_result mem_page_acquire(struct mem_space *s, gpa_t gpa, bool write, uint32_t writer,
                                 uint8_t **host, bool *writable);

/* May vCPUs use pages that mem_page_acquire was not asked for? Not while pages come and go (several ranks), or somebody must know of
 * uses (a guard). Until the next safepoint of the caller. Context: executor. */
static inline bool mem_is_plain(const struct mem_space *s)
{
    return !s->dsm && !atomic_load_explicit(&s->guard, memory_order_acquire);
}
/* The pages around ram_offset, within [*first, *end) (ram_offsets), that a vCPU may write without asking for each: marked dirty, and
 * none with code. Until its next safepoint, or until asked by whoever was told MEM_PAGE_WRITER_MANY. False: there are none.
 * mem_is_plain. Context: executor. */
bool mem_open_run(struct mem_space *s, uint64_t ram_offset, uint64_t *first, uint64_t *end);
/* Would there be a run of at least the page at ram_offset? Context: executor. */
bool mem_may_open(const struct mem_space *s, uint64_t ram_offset);

/* Host pointer (vCPU mapping) of RAM, or NULL when [gpa, gpa+len) is not all in one RAM region.
 * For page walks and atomics on PTEs. */
static inline _Atomic uint32_t *mem_page_state(struct mem_space *s, uint64_t ram_offset)
{
    return &s->page[ram_offset >> GUEST_PAGE_BITS];
}
uint8_t *mem_ram_ptr(struct mem_space *s, gpa_t gpa, uint64_t len);
/* May vCPU `writer` use the RAM page of gpa (through mem_ram_ptr) until its next safepoint? MEM_OK at once on one
 * rank. Context: executor. */
enum mem_result mem_page_ready(struct mem_space *s, gpa_t gpa, bool write, uint32_t writer);

/* The instruction for which vCPU `writer` was told MEM_WAIT has retired, or another one was executed: pages that
 * were held for it may go. */
void mem_page_release(struct mem_space *s, uint32_t writer);
/* Does the vCPU wait for a page that has not come? Context: any. */
bool mem_page_waiting(const struct mem_space *s, uint32_t writer);

/* Sets or (NULL) removes the guard. When it is set nobody has a TLB entry that it must know of: it sees every use of a
 * page from now on, and every first write. Context: frozen world to set, any to remove. */
void mem_set_guard(struct mem_space *s, struct sim_guard *guard);
/* Would mem_take_dirty say so? Context: any. */
bool mem_is_dirty(const struct mem_space *s, uint64_t ram_offset);
/* Was the page written since this was last asked? Clears the mark. Context: any. */
bool mem_take_dirty(struct mem_space *s, uint64_t ram_offset);
/* It was, on the rank that it came from. Context: any. */
void mem_put_dirty(struct mem_space *s, uint64_t ram_offset);

/* Marks the page of gpa as having code and returns who may still hold a write entry for it: 0 none,
 * n > 0 vCPU n-1 only, MEM_PAGE_WRITER_MANY any (also as long as somebody may write a run that it is in). The caller revokes those entries (and waits for the
 * safepoint) before it reads the bytes. Context: executor. */
uint32_t mem_mark_code(struct mem_space *s, gpa_t gpa);
/* All have been asked who might have written the page or a run that it is in. Context: as mem_mark_code. */
void mem_settle_code(struct mem_space *s, gpa_t gpa);
/* Is somebody asking who may write runs of pages there? Context: executor. */
bool mem_area_is_asked(struct mem_space *s, gpa_t gpa);
/* The page has no more translations; write entries may be installed again. */
void mem_unmark_code(struct mem_space *s, gpa_t gpa);
/* Are there translations of the page? Context: any. */
bool mem_has_code(struct mem_space *s, gpa_t gpa);
/* A vCPU's store (slow path) has hit a code page. */
void mem_code_written(struct mem_space *s, gpa_t gpa, uint64_t len);
void mem_set_code_ops(struct mem_space *s, const struct mem_code_ops *ops, void *opaque);

/* MMIO by a vCPU. Size 1, 2, 4, 8; splits what the device does not take in one piece. An address
 * that is not a multiple of the size, or a piece that leaves the region, is MEM_FAULT. */
enum mem_result mem_mmio_read(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t *value);
enum mem_result mem_mmio_write(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t value);

/* memcpy for what mem_dma_map and the TLB point to. Harts and other devices may access the same bytes at the
 * same time: such a race is the guest's, and here ThreadSanitizer learns it. `to` or `from` is RAM. */
static inline void mem_copy(void *to, const void *from, size_t len)
{
    sim_guest_races_begin();
    memcpy(to, from, len);
    sim_guest_races_end();
}

/* Device DMA, loaders, SBI, gdb: RAM or MMIO, any length and alignment. Code pages are handled.
 * MEM_FAULT leaves a prefix done. Context: any thread. */
enum mem_result mem_read(struct mem_space *s, gpa_t gpa, void *buf, uint64_t len);
enum mem_result mem_write(struct mem_space *s, gpa_t gpa, const void *buf, uint64_t len);
/* The longest directly addressable piece of [gpa, gpa+*len): service-mapping pointer, *len cut to
 * the end of the RAM region; NULL when gpa is not RAM. The caller announces a write through it with
 * mem_dma_before_write and says that it is done with mem_dma_written (dirty marks; translations of the old
 * bytes are dropped).
 *
 * On several ranks it fetches the pages, which may block, and pins them for reading or writing until
 * mem_dma_unmap of the same extent (NULL too when the run ends meanwhile; *len may be cut shorter). Context: any
 * thread; on several ranks as sim_ranks_ops.wait. */
void *mem_dma_map(struct mem_space *s, gpa_t gpa, uint64_t *len, bool write);
void mem_dma_unmap(struct mem_space *s, gpa_t gpa, uint64_t len);
/* To be called before each write through such a pointer (a checkpoint may want the old bytes first). */
void mem_dma_before_write(struct mem_space *s, gpa_t gpa, uint64_t len);
void mem_dma_written(struct mem_space *s, gpa_t gpa, uint64_t len);

#endif
