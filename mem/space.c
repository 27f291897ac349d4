/* The region map, MMIO dispatch and DMA. */
#include "mem/space.h"

#include <string.h>

#include "mem/dsm.h"
#include "mem_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { MAP_FIRST_CAP = 64 };

static struct mem_map *map_new(unsigned cap)
{
    struct mem_map *map = sim_zalloc(sizeof(*map) + cap * sizeof(struct mem_entry));

    map->cap = cap;
    return map;
}

enum sim_status mem_space_create(struct sim *sim, struct mem_space **out)
{
    struct mem_space *s = sim_new(struct mem_space);

    s->sim = sim;
    s->memfd = s->pagemap = -1;
    sim_mutex_init(&s->map_lock, SIM_RANK_MEM_MAP);
    atomic_init(&s->map, map_new(MAP_FIRST_CAP));
    *out = s;
    return SIM_OK;
}

void mem_space_destroy(struct mem_space *s)
{
    if (!s)
        return;
    struct mem_map *map = atomic_load_explicit(&s->map, memory_order_relaxed);

    for (unsigned i = 0; i < map->nr; i++)
        if (map->entry[i].ram)
            sim_free(map->entry[i].region);
    while (map) {
        struct mem_map *older = map->older;
        sim_free(map);
        map = older;
    }
    mem_ram_fini(s);
    sim_mutex_fini(&s->map_lock);
    sim_free(s);
}

static struct mem_map *current_map(struct mem_space *s)
{
    /* M1: pairs with M2 in grow */
    return atomic_load_explicit(&s->map, memory_order_acquire);
}

/* --- changing the list; map lock held --- */

/* The release of each field pairs with the acquire in search: who sees a new field sees seq odd (or
 * later) when it looks again. */
static void entry_set(struct mem_entry *e, gpa_t base, uint64_t size, struct mem_region *region,
                      bool ram)
{
    atomic_store_explicit(&e->base, base, memory_order_release);
    atomic_store_explicit(&e->size, size, memory_order_release);
    atomic_store_explicit(&e->region, region, memory_order_release);
    e->ram = ram;
}

static void entry_copy(struct mem_entry *to, struct mem_entry *from)
{
    entry_set(to, from->base, from->size, from->region, from->ram);
}

static void list_remove(struct mem_map *map, const struct mem_region *r)
{
    unsigned i = 0;

    while (i < map->nr && map->entry[i].region != r)
        i++;
    if (i == map->nr)
        return;
    for (; i + 1 < map->nr; i++)
        entry_copy(&map->entry[i], &map->entry[i + 1]);
    atomic_store_explicit(&map->nr, map->nr - 1, memory_order_release);
}

static void list_insert(struct mem_map *map, struct mem_region *r, gpa_t base)
{
    unsigned i = map->nr;

    for (; i && map->entry[i - 1].base > base; i--)
        entry_copy(&map->entry[i], &map->entry[i - 1]);
    entry_set(&map->entry[i], base, r->size, r, !r->ops);
    atomic_store_explicit(&map->nr, map->nr + 1, memory_order_release);
}

/* A list with room for one more. */
static struct mem_map *grow(struct mem_space *s)
{
    struct mem_map *old = current_map(s);

    if (old->nr < old->cap)
        return old;
    struct mem_map *map = map_new(old->cap * 2);

    for (unsigned i = 0; i < old->nr; i++)
        entry_copy(&map->entry[i], &old->entry[i]);
    map->nr = old->nr;
    map->older = old;
    /* M2: the list is complete before it is seen; pairs with M1 */
    atomic_store_explicit(&s->map, map, memory_order_release);
    return map;
}

/* Takes region r out of the list and, unless `out`, puts it back at `base`. */
static void change(struct mem_space *s, struct mem_region *r, bool out, gpa_t base)
{
    struct mem_map *map = grow(s);

    atomic_fetch_add_explicit(&map->seq, 1, memory_order_acq_rel);
    list_remove(map, r);
    if (!out) {
        list_insert(map, r, base);
        r->base = base;
    }
    atomic_fetch_add_explicit(&map->seq, 1, memory_order_release);
}

static struct mem_region *overlap(struct mem_map *map, const struct mem_region *r, gpa_t base)
{
    gpa_t last = base + (r->size - 1);

    for (unsigned i = 0; i < map->nr; i++) {
        struct mem_entry *e = &map->entry[i];
        if (e->region != r && base <= e->base + (e->size - 1) && e->base <= last)
            return e->region;
    }
    return NULL;
}

static enum sim_status place(struct mem_space *s, struct mem_region *r, gpa_t base)
{
    if (!r->size || base + r->size - 1 < base) {
        sim_error("region '%s' at 0x%llx has the impossible size 0x%llx", r->name,
                  (unsigned long long)base, (unsigned long long)r->size);
        return SIM_ERR_INVALID;
    }
    sim_mutex_lock(&s->map_lock);
    struct mem_region *other = overlap(current_map(s), r, base);

    if (!other)
        change(s, r, false, base);
    sim_mutex_unlock(&s->map_lock);
    if (!other)
        return SIM_OK;
    sim_error("region '%s' at 0x%llx overlaps '%s' at 0x%llx", r->name, (unsigned long long)base,
              other->name, (unsigned long long)other->base);
    return SIM_ERR_INVALID;
}

enum sim_status mem_add_mmio(struct mem_space *s, struct mem_region *r)
{
    return place(s, r, r->base);
}

enum sim_status mem_move_mmio(struct mem_space *s, struct mem_region *r, gpa_t base)
{
    return place(s, r, base);
}

void mem_remove_mmio(struct mem_space *s, struct mem_region *r)
{
    sim_mutex_lock(&s->map_lock);
    change(s, r, true, 0);
    sim_mutex_unlock(&s->map_lock);
}

enum sim_status mem_add_ram(struct mem_space *s, const char *name, gpa_t base, uint64_t size)
{
    if (s->ram || (base | size) & ~GUEST_PAGE_MASK) {
        sim_error("memory '%s' at 0x%llx, size 0x%llx, is not a multiple of the page size", name,
                  (unsigned long long)base, (unsigned long long)size);
        return SIM_ERR_INVALID;
    }
    if (size > UINT64_MAX - s->ram_size) {
        sim_error("memory '%s' at 0x%llx, size 0x%llx: all memory together is more than 2^64 bytes",
                  name, (unsigned long long)base, (unsigned long long)size);
        return SIM_ERR_NOMEM;
    }
    struct mem_region *r = sim_new(struct mem_region);

    r->name = name;
    r->base = base;
    r->size = size;
    r->ram_offset = s->ram_size;
    enum sim_status status = place(s, r, base);
    if (status != SIM_OK) {
        sim_free(r);
        return status;
    }
    s->ram_size += size;
    return SIM_OK;
}

/* --- looking things up --- */

/* One search, which a change may have led astray; *offset is gpa's within the region. */
static struct mem_region *search(struct mem_map *map, gpa_t gpa, uint64_t *offset)
{
    unsigned lo = 0, hi = atomic_load_explicit(&map->nr, memory_order_acquire);

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        struct mem_entry *e = &map->entry[mid];
        gpa_t base = atomic_load_explicit(&e->base, memory_order_acquire);
        if (gpa < base) {
            hi = mid;
        } else if (gpa - base >= atomic_load_explicit(&e->size, memory_order_acquire)) {
            lo = mid + 1;
        } else {
            *offset = gpa - base;
            return atomic_load_explicit(&e->region, memory_order_acquire);
        }
    }
    return NULL;
}

/* The offset comes from the list, not from region->base: the region may be moving. */
static struct mem_region *lookup(struct mem_space *s, gpa_t gpa, uint64_t *offset)
{
    for (;;) {
        struct mem_map *map = current_map(s);
        uint32_t seq = atomic_load_explicit(&map->seq, memory_order_acquire);
        struct mem_region *r = search(map, gpa, offset);
        if (SIM_LIKELY(!(seq & 1) && atomic_load_explicit(&map->seq, memory_order_relaxed) == seq))
            return r;
        sim_cpu_relax();
    }
}

struct mem_region *mem_find(struct mem_space *s, gpa_t gpa)
{
    uint64_t offset;

    return lookup(s, gpa, &offset);
}

struct mem_region *mem_nth(struct mem_space *s, unsigned index)
{
    struct mem_map *map = current_map(s);

    return index < map->nr ? map->entry[index].region : NULL;
}

static unsigned device_size(const struct mem_ops *ops, unsigned size)
{
    unsigned min = ops->min_size ? ops->min_size : 1;
    unsigned max = ops->max_size ? ops->max_size : 8;

    return size < min ? min : size > max ? max : size;
}

static uint64_t low_bytes(uint64_t v, unsigned size)
{
    return size == 8 ? v : v & ((1ull << (size * 8)) - 1);
}

/* A device of a wider access size is read whole and the wanted bytes are cut out. */
static bool region_read(struct mem_region *r, uint64_t off, unsigned size, uint64_t *value)
{
    unsigned piece = device_size(r->ops, size);
    uint64_t v;

    if (piece > size) {
        if (!r->ops->read(r->opaque, off & ~(uint64_t)(piece - 1), piece, &v))
            return false;
        *value = v >> (off & (piece - 1)) * 8;
        return true;
    }
    *value = 0;
    for (unsigned done = 0; done < size; done += piece) {
        if (!r->ops->read(r->opaque, off + done, piece, &v))
            return false;
        *value |= low_bytes(v, piece) << done * 8;
    }
    return true;
}

/* Widens with zeros: registers narrower than the device's word do not exist on it. */
static bool region_write(struct mem_region *r, uint64_t off, unsigned size, uint64_t value)
{
    unsigned piece = device_size(r->ops, size);

    if (piece > size)
        return r->ops->write(r->opaque, off & ~(uint64_t)(piece - 1), piece,
                             value << (off & (piece - 1)) * 8);
    for (unsigned done = 0; done < size; done += piece)
        if (!r->ops->write(r->opaque, off + done, piece, low_bytes(value >> done * 8, piece)))
            return false;
    return true;
}

/* The region of an access that is aligned and within it. */
static struct mem_region *find_mmio(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t *offset)
{
    struct mem_region *r = lookup(s, gpa, offset);

    if (!r || !r->ops || *offset & (size - 1) || size > r->size - *offset)
        return NULL;
    atomic_fetch_add_explicit(&r->hits, 1, memory_order_relaxed);
    return r;
}

/* What this rank does not have: perhaps the one with the devices does. */
static bool is_remote(const struct mem_space *s, const struct mem_region *r, gpa_t gpa, unsigned size)
{
    return !r && s->remote && !(gpa & (size - 1));
}

enum mem_result mem_mmio_read(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t *value)
{
    uint64_t offset;
    struct mem_region *r = find_mmio(s, gpa, size, &offset);

    if (is_remote(s, r, gpa, size))
        return s->remote->read(s->remote_opaque, gpa, size, value);
    if (!r || !region_read(r, offset, size, value))
        return MEM_FAULT;
    *value = low_bytes(*value, size);
    return MEM_OK;
}

enum mem_result mem_mmio_write(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t value)
{
    uint64_t offset;
    struct mem_region *r = find_mmio(s, gpa, size, &offset);

    if (is_remote(s, r, gpa, size))
        return s->remote->write(s->remote_opaque, gpa, size, value);
    if (!r || !region_write(r, offset, size, low_bytes(value, size)))
        return MEM_FAULT;
    return MEM_OK;
}

void mem_dma_written(struct mem_space *s, gpa_t gpa, uint64_t len)
{
    while (len) {
        uint64_t piece = GUEST_PAGE_SIZE - (gpa & ~GUEST_PAGE_MASK);
        struct mem_region *r = mem_find(s, gpa);

        if (piece > len)
            piece = len;
        if (r && !r->ops) {
            uint64_t off = r->ram_offset + (gpa - r->base);
            uint32_t old = atomic_fetch_or_explicit(mem_page_state(s, off), MEM_PAGE_DIRTY,
                                                    memory_order_seq_cst);
            if (old & MEM_PAGE_CODE)
                mem_code_written(s, gpa, piece);
        }
        gpa += piece;
        len -= piece;
    }
}

void mem_dma_before_write(struct mem_space *s, gpa_t gpa, uint64_t len)
{
    if (SIM_LIKELY(!atomic_load_explicit(&s->guard, memory_order_acquire)))
        return;
    while (len) {
        struct mem_region *r = mem_find(s, gpa);
        if (!r || r->ops)
            return;
        uint64_t offset = gpa - r->base, piece = r->size - offset < len ? r->size - offset : len;
        sim_guard_before(&s->guard, r->ram_offset + offset, piece, true);
        gpa += piece;
        len -= piece;
    }
}

void mem_set_dsm(struct mem_space *s, struct dsm *dsm)
{
    s->dsm = dsm;
}

void mem_set_remote(struct mem_space *s, const struct mem_remote_ops *ops, void *opaque)
{
    s->remote = ops;
    s->remote_opaque = opaque;
}

void mem_set_doorbells(struct mem_space *s, const struct mem_doorbell_ops *ops, void *opaque)
{
    s->doorbells = ops;
    s->doorbells_opaque = opaque;
}

enum { PIN_AT_MOST = 1 << 20 }; /* bytes of one mapping on several ranks */

static void unpin(struct mem_space *s, uint64_t first, uint64_t last)
{
    for (uint64_t page = first; page <= last; page++)
        dsm_unpin(s->dsm, page);
}

/* All pages of [off, off + len), or none. */
static bool pin(struct mem_space *s, uint64_t off, uint64_t len, bool write)
{
    uint64_t first = off >> GUEST_PAGE_BITS, last = (off + len - 1) >> GUEST_PAGE_BITS;

    for (uint64_t page = first; page <= last; page++) {
        if (dsm_pin(s->dsm, page, write) == SIM_OK)
            continue;
        if (page > first)
            unpin(s, first, page - 1);
        return false;
    }
    return true;
}

void mem_dma_unmap(struct mem_space *s, gpa_t gpa, uint64_t len)
{
    if (!s->dsm || !len)
        return;
    struct mem_region *r = mem_find(s, gpa);
    uint64_t off = r->ram_offset + (gpa - r->base);

    unpin(s, off >> GUEST_PAGE_BITS, (off + len - 1) >> GUEST_PAGE_BITS);
}

void *mem_dma_map(struct mem_space *s, gpa_t gpa, uint64_t *len, bool write)
{
    struct mem_region *r = mem_find(s, gpa);

    if (!r || r->ops)
        return NULL;
    uint64_t left = r->size - (gpa - r->base);
    if (*len > left)
        *len = left;
    if (s->dsm) {
        if (*len > PIN_AT_MOST)
            *len = PIN_AT_MOST;
        if (*len && !pin(s, r->ram_offset + (gpa - r->base), *len, write))
            return NULL;
    }
    sim_guard_before(&s->guard, r->ram_offset + (gpa - r->base), *len, false);
    return s->ram + r->ram_offset + (gpa - r->base);
}

static unsigned mmio_piece(gpa_t gpa, uint64_t left)
{
    unsigned size = 8;

    while (size > left || gpa & (size - 1))
        size /= 2;
    return size;
}

enum mem_result mem_read(struct mem_space *s, gpa_t gpa, void *buf, uint64_t len)
{
    uint8_t *out = buf;

    while (len) {
        uint64_t piece = len;
        const void *p = mem_dma_map(s, gpa, &piece, false);
        if (p) {
            mem_copy(out, p, piece);
            mem_dma_unmap(s, gpa, piece);
        } else {
            uint64_t v;
            piece = mmio_piece(gpa, len);
            if (mem_mmio_read(s, gpa, (unsigned)piece, &v) != MEM_OK)
                return MEM_FAULT;
            memcpy(out, &v, piece);
        }
        out += piece;
        gpa += piece;
        len -= piece;
    }
    return MEM_OK;
}

enum mem_result mem_write(struct mem_space *s, gpa_t gpa, const void *buf, uint64_t len)
{
    const uint8_t *in = buf;

    while (len) {
        uint64_t piece = len;
        void *p = mem_dma_map(s, gpa, &piece, true);
        if (p) {
            mem_dma_before_write(s, gpa, piece);
            mem_copy(p, in, piece);
            mem_dma_written(s, gpa, piece);
            mem_dma_unmap(s, gpa, piece);
        } else {
            uint64_t v = 0;
            piece = mmio_piece(gpa, len);
            memcpy(&v, in, piece);
            if (mem_mmio_write(s, gpa, (unsigned)piece, v) != MEM_OK)
                return MEM_FAULT;
        }
        in += piece;
        gpa += piece;
        len -= piece;
    }
    return MEM_OK;
}
