/* RAM: a memfd that is mapped twice, or private memory; and the page-state words. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "mem/dsm.h"
#include "mem_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/pages.h"

static enum sim_status check_host_has(uint64_t size)
{
    struct sysinfo si;

    if (sysinfo(&si) < 0)
        return SIM_OK;
    uint64_t total = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
    if (size <= total)
        return SIM_OK;
    sim_error("guest memory of %llu MiB is more than this host has (%llu MiB with swap)",
              (unsigned long long)(size >> 20), (unsigned long long)(total >> 20));
    return SIM_ERR_NOMEM;
}

enum { HUGE_PAGE = 2 << 20 };

static uint8_t *map_shared(int fd, uint64_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

    return p == MAP_FAILED ? NULL : p;
}

static bool map_twice(struct mem_space *s)
{
    s->memfd = memfd_create("partita-ram", MFD_CLOEXEC);
    if (s->memfd < 0 || ftruncate(s->memfd, (off_t)s->ram_size) < 0)
        return false;
    s->ram = map_shared(s->memfd, s->ram_size);
    s->vram = map_shared(s->memfd, s->ram_size);
    return s->ram && s->vram;
}

/* Where a huge page may begin: what is before and behind is given back. */
static bool map_private(struct mem_space *s)
{
    uint64_t size = s->ram_size + HUGE_PAGE;

    if (size < s->ram_size)
        return false;
    uint8_t *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return false;
    uint64_t before = -(uintptr_t)p & (HUGE_PAGE - 1), behind = size - before - s->ram_size;

    if (before)
        munmap(p, before);
    if (behind)
        munmap(p + before + s->ram_size, behind);
    s->ram = s->vram = p + before;
    s->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (s->pagemap < 0)
        sim_warn("/proc/self/pagemap: %m: images and migrations look at all of the guest's memory, used or not");
    return true;
}

void mem_set_private_ram(struct mem_space *s)
{
    s->private_ram = true;
}

void mem_expect_pages(struct mem_space *s, bool come)
{
    if (s->private_ram)
        madvise(s->vram, s->ram_size, come ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
}

static uint64_t nr_areas(const struct mem_space *s)
{
    return (s->ram_size >> MEM_AREA_BITS) + 1;
}

enum sim_status mem_seal_ram(struct mem_space *s)
{
    SIM_TRY(check_host_has(s->ram_size));
    if (!(s->private_ram ? map_private(s) : map_twice(s))) {
        sim_error("cannot map %llu MiB of guest memory: %m", (unsigned long long)(s->ram_size >> 20));
        return SIM_ERR_NOMEM;
    }
    /* Fewer misses of the host's TLB. Shared memory has huge pages on few hosts (shmem_enabled). */
    madvise(s->vram, s->ram_size, MADV_HUGEPAGE);
    size_t bytes = (s->ram_size >> GUEST_PAGE_BITS) * sizeof(s->page[0]);
    void *p = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        sim_error("cannot allocate page states: %m");
        return SIM_ERR_NOMEM;
    }
    s->page = p;
    s->area = sim_zalloc(nr_areas(s));
    return SIM_OK;
}

void mem_settle(struct mem_space *s)
{
    if (s->ram != s->vram)
        madvise(s->ram, s->ram_size, MADV_DONTNEED);
}

/* --- which pages there are --- */

/* A word a page: present, or swapped out (Documentation/admin-guide/mm/pagemap.rst). */
static bool next_in_pagemap(const struct mem_space *s, uint64_t *first, uint64_t *end)
{
    enum { FEW = 16, MANY = 512 };
    const uint64_t exists = 1ull << 63 | 1ull << 62, base = (uintptr_t)s->ram >> GUEST_PAGE_BITS, limit = *end;
    uint64_t word[MANY], at_once = FEW; /* runs are short here and long there */
    bool found = false;

    for (uint64_t page = *first; page < limit; at_once = at_once < MANY ? 2 * at_once : MANY) {
        uint64_t nr = limit - page < at_once ? limit - page : at_once;
        ssize_t got = pread(s->pagemap, word, nr * sizeof word[0], (off_t)((base + page) * sizeof word[0]));
        if (got < (ssize_t)sizeof word[0])
            return true;
        for (uint64_t i = 0; i < (uint64_t)got / sizeof word[0]; i++, page++) {
            bool there = word[i] & exists;
            if (there && !found)
                *first = page;
            if (!there && found) {
                *end = page;
                return true;
            }
            found |= there;
        }
    }
    return found;
}

bool mem_next_data(const struct mem_space *s, uint64_t *first, uint64_t *end)
{
    uint64_t all = s->ram_size >> GUEST_PAGE_BITS;

    if (*end > all)
        *end = all;
    if (*first >= *end)
        return false;
    if (s->memfd >= 0)
        return sim_file_next_data(s->memfd, first, end);
    return s->pagemap < 0 || next_in_pagemap(s, first, end);
}

void mem_ram_fini(struct mem_space *s)
{
    size_t bytes = (s->ram_size >> GUEST_PAGE_BITS) * sizeof(s->page[0]);

    sim_free((void *)s->area);
    if (s->page)
        munmap((void *)s->page, bytes ? bytes : 1);
    if (s->vram)
        munmap(s->vram, s->ram_size);
    if (s->ram && s->ram != s->vram)
        munmap(s->ram, s->ram_size);
    if (s->memfd >= 0)
        close(s->memfd);
    if (s->pagemap >= 0)
        close(s->pagemap);
}

enum mem_result mem_page_acquire(struct mem_space *s, gpa_t gpa, bool write, uint32_t writer,
                                 uint8_t **host, bool *writable)
{
    struct mem_region *r = mem_find(s, gpa);

    if (!r)
        return s->remote ? MEM_MMIO : MEM_FAULT;
    if (r->ops)
        return MEM_MMIO;
    uint64_t off = r->ram_offset + ((gpa & GUEST_PAGE_MASK) - r->base);
    if (s->dsm && dsm_acquire(s->dsm, off >> GUEST_PAGE_BITS, write, writer) == DSM_WAIT)
        return MEM_WAIT;
    /* Before the state is read: the guard of a checkpoint clears MEM_PAGE_DIRTY. */
    sim_guard_before(&s->guard, off, GUEST_PAGE_SIZE, write);
    _Atomic uint32_t *state = mem_page_state(s, off);
    uint32_t old = atomic_load_explicit(state, memory_order_acquire);

    *host = s->vram + off;
    if (!write) {
        *writable = false;
        return MEM_OK;
    }
    for (;;) {
        uint32_t who = old >> MEM_PAGE_WRITER_SHIFT;
        uint32_t me = writer + 1 < MEM_PAGE_WRITER_MANY ? writer + 1 : MEM_PAGE_WRITER_MANY;
        uint32_t now = who == 0 || who == me ? me : MEM_PAGE_WRITER_MANY;
        uint32_t want = (old & MEM_PAGE_CODE)
                            ? old | MEM_PAGE_DIRTY
                            : (old & 0xff) | MEM_PAGE_DIRTY | now << MEM_PAGE_WRITER_SHIFT;
        if (want == old || atomic_compare_exchange_weak_explicit(
                               state, &old, want, memory_order_seq_cst, memory_order_acquire))
            break;
    }
    *writable = !(old & MEM_PAGE_CODE);
    return MEM_OK;
}

enum mem_result mem_page_ready(struct mem_space *s, gpa_t gpa, bool write, uint32_t writer)
{
    if (SIM_LIKELY(!s->dsm))
        return MEM_OK;
    struct mem_region *r = mem_find(s, gpa);

    if (!r || r->ops)
        return MEM_FAULT;
    uint64_t page = (r->ram_offset + (gpa - r->base)) >> GUEST_PAGE_BITS;
    return dsm_acquire(s->dsm, page, write, writer) == DSM_OK ? MEM_OK : MEM_WAIT;
}

void mem_page_release(struct mem_space *s, uint32_t writer)
{
    if (s->dsm)
        dsm_retired(s->dsm, writer);
}

bool mem_page_waiting(const struct mem_space *s, uint32_t writer)
{
    return s->dsm && dsm_waiting(s->dsm, writer);
}

/* --- runs --- */

static bool is_marked(const struct mem_space *s, uint64_t off)
{
    return atomic_load_explicit(&s->page[off >> GUEST_PAGE_BITS], memory_order_relaxed) & MEM_PAGE_DIRTY;
}

static _Atomic uint8_t *area_of(const struct mem_space *s, uint64_t off)
{
    return &s->area[off >> MEM_AREA_BITS];
}

static bool has_code(const struct mem_space *s, uint64_t off)
{
    return atomic_load_explicit(area_of(s, off), memory_order_relaxed) & MEM_AREA_CODE;
}

/* Whoever marks code in one of the areas after this knows that there may be runs. An area that is open already needs no write: its
 * line is all harts'. */
static bool open_areas(struct mem_space *s, uint64_t first, uint64_t end)
{
    uint8_t before = 0;

    for (uint64_t area = first >> MEM_AREA_BITS; area <= (end - 1) >> MEM_AREA_BITS; area++) {
        uint8_t now = atomic_load_explicit(&s->area[area], memory_order_seq_cst);
        before |= now & MEM_AREA_WIDE ? now : atomic_fetch_or_explicit(&s->area[area], MEM_AREA_WIDE, memory_order_seq_cst);
    }
    return !(before & MEM_AREA_CODE);
}

bool mem_may_open(const struct mem_space *s, uint64_t ram_offset)
{
    return is_marked(s, ram_offset) && !has_code(s, ram_offset);
}

bool mem_open_run(struct mem_space *s, uint64_t ram_offset, uint64_t *first, uint64_t *end)
{
    enum { MOST = 2 << MEM_AREA_BITS }; /* to either side */
    uint64_t at = ram_offset & GUEST_PAGE_MASK, lo = at, hi = at + GUEST_PAGE_SIZE;
    uint64_t least = at - *first < MOST ? *first : at - MOST, most = *end - at < MOST ? *end : at + MOST;

    if (!mem_may_open(s, at))
        return false;
    while (lo > least && is_marked(s, lo - GUEST_PAGE_SIZE) && !has_code(s, lo - GUEST_PAGE_SIZE))
        lo -= GUEST_PAGE_SIZE;
    while (hi < most && is_marked(s, hi) && !has_code(s, hi))
        hi += GUEST_PAGE_SIZE;
    *first = lo;
    *end = hi;
    return open_areas(s, lo, hi);
}

uint8_t *mem_ram_ptr(struct mem_space *s, gpa_t gpa, uint64_t len)
{
    struct mem_region *r = mem_find(s, gpa);

    if (!r || r->ops || len > r->size - (gpa - r->base))
        return NULL;
    return s->vram + r->ram_offset + (gpa - r->base);
}

void mem_set_guard(struct mem_space *s, struct sim_guard *guard)
{
    atomic_store_explicit(&s->guard, guard, memory_order_release);
}

bool mem_is_dirty(const struct mem_space *s, uint64_t ram_offset)
{
    return atomic_load_explicit(&s->page[ram_offset >> GUEST_PAGE_BITS], memory_order_relaxed) & MEM_PAGE_DIRTY;
}

bool mem_take_dirty(struct mem_space *s, uint64_t ram_offset)
{
    _Atomic uint32_t *state = mem_page_state(s, ram_offset);

    if (!(atomic_load_explicit(state, memory_order_relaxed) & MEM_PAGE_DIRTY))
        return false;
    atomic_fetch_and_explicit(state, ~(uint32_t)MEM_PAGE_DIRTY, memory_order_seq_cst);
    return true;
}

void mem_put_dirty(struct mem_space *s, uint64_t ram_offset)
{
    atomic_fetch_or_explicit(mem_page_state(s, ram_offset), MEM_PAGE_DIRTY, memory_order_seq_cst);
}

gpa_t mem_page_gpa(struct mem_space *s, uint64_t page)
{
    uint64_t off = page << GUEST_PAGE_BITS;
    const struct mem_region *r;

    for (unsigned i = 0; (r = mem_nth(s, i)); i++)
        if (!r->ops && off - r->ram_offset < r->size)
            return r->base + (off - r->ram_offset);
    SIM_BUG_ON(1, "page %llu is beyond RAM", (unsigned long long)page);
    return 0;
}

static uint64_t offset_of(struct mem_space *s, gpa_t gpa)
{
    struct mem_region *r = mem_find(s, gpa);

    SIM_BUG_ON(!r || r->ops, "page state of 0x%llx, which is not RAM", (unsigned long long)gpa);
    return r->ram_offset + (gpa - r->base);
}

static _Atomic uint32_t *state_of(struct mem_space *s, gpa_t gpa)
{
    return mem_page_state(s, offset_of(s, gpa));
}

static bool may_have_runs(uint8_t area)
{
    return (area & (MEM_AREA_WIDE | MEM_AREA_SETTLED)) == MEM_AREA_WIDE;
}

uint32_t mem_mark_code(struct mem_space *s, gpa_t gpa)
{
    const uint64_t off = offset_of(s, gpa);
    _Atomic uint32_t *state = mem_page_state(s, off);
    uint32_t old = atomic_load_explicit(state, memory_order_relaxed);
    uint8_t area = atomic_fetch_or_explicit(area_of(s, off), MEM_AREA_CODE, memory_order_seq_cst);

    while (!atomic_compare_exchange_weak_explicit(
        state, &old, (old | MEM_PAGE_CODE) & ((1u << MEM_PAGE_WRITER_SHIFT) - 1),
        memory_order_seq_cst, memory_order_relaxed))
        ;
    return may_have_runs(area) ? MEM_PAGE_WRITER_MANY : old >> MEM_PAGE_WRITER_SHIFT;
}

void mem_settle_code(struct mem_space *s, gpa_t gpa)
{
    atomic_fetch_or_explicit(area_of(s, offset_of(s, gpa)), MEM_AREA_SETTLED, memory_order_seq_cst);
}

bool mem_area_is_asked(struct mem_space *s, gpa_t gpa)
{
    return may_have_runs(atomic_load_explicit(area_of(s, offset_of(s, gpa)), memory_order_seq_cst));
}

void mem_unmark_code(struct mem_space *s, gpa_t gpa)
{
    atomic_fetch_and_explicit(state_of(s, gpa), ~(uint32_t)MEM_PAGE_CODE, memory_order_seq_cst);
}

bool mem_has_code(struct mem_space *s, gpa_t gpa)
{
    return atomic_load_explicit(state_of(s, gpa), memory_order_seq_cst) & MEM_PAGE_CODE;
}

void mem_set_code_ops(struct mem_space *s, const struct mem_code_ops *ops, void *opaque)
{
    s->code_ops = ops;
    s->code_opaque = opaque;
}

void mem_code_written(struct mem_space *s, gpa_t gpa, uint64_t len)
{
    if (s->code_ops)
        s->code_ops->written(s->code_opaque, gpa, len);
}
