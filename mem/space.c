/* The region map, MMIO dispatch and DMA. */
#include "mem/space.h"

#include <string.h>

#include "mem_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum sim_status mem_space_create(struct sim *sim, struct mem_space **out)
{
    struct mem_space *s = sim_new(struct mem_space);

    s->sim = sim;
    s->memfd = -1;
    sim_mutex_init(&s->map_lock, SIM_RANK_MEM_MAP);
    atomic_init(&s->map, sim_zalloc(sizeof(struct mem_map)));
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
    /* M1: pairs with M2 in publish */
    return atomic_load_explicit(&s->map, memory_order_acquire);
}

/* The new list with `drop` left out and `add` (at add->base) put in its place. */
static struct mem_map *rebuild(const struct mem_map *old, const struct mem_region *drop,
                               struct mem_region *add, gpa_t base)
{
    struct mem_map *map =
        sim_zalloc(sizeof(*map) + (old->nr + 1) * sizeof(struct mem_entry));
    bool placed = add == NULL;

    for (unsigned i = 0; i < old->nr; i++) {
        if (old->entry[i].region == drop)
            continue;
        if (!placed && base < old->entry[i].base) {
            map->entry[map->nr++] = (struct mem_entry){base, add->size, add, !add->ops};
            placed = true;
        }
        map->entry[map->nr++] = old->entry[i];
    }
    if (!placed)
        map->entry[map->nr++] = (struct mem_entry){base, add->size, add, !add->ops};
    return map;
}

static struct mem_region *overlap(const struct mem_map *map, const struct mem_region *r, gpa_t base)
{
    for (unsigned i = 0; i < map->nr; i++) {
        const struct mem_entry *e = &map->entry[i];
        if (e->region != r && base < e->base + e->size && e->base < base + r->size)
            return e->region;
    }
    return NULL;
}

static void publish(struct mem_space *s, struct mem_map *map)
{
    map->older = atomic_load_explicit(&s->map, memory_order_relaxed);
    /* M2: the list is complete before it is seen; pairs with M1 */
    atomic_store_explicit(&s->map, map, memory_order_release);
}

static enum sim_status place(struct mem_space *s, struct mem_region *r, gpa_t base)
{
    if (!r->size || base + r->size - 1 < base) {
        sim_error("region '%s' at 0x%llx has the impossible size 0x%llx", r->name,
                  (unsigned long long)base, (unsigned long long)r->size);
        return SIM_ERR_INVALID;
    }
    sim_mutex_lock(&s->map_lock);
    struct mem_map *map = current_map(s);
    struct mem_region *other = overlap(map, r, base);

    if (!other) {
        r->base = base;
        publish(s, rebuild(map, r, r, base));
    }
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
    publish(s, rebuild(current_map(s), r, NULL, 0));
    sim_mutex_unlock(&s->map_lock);
}

enum sim_status mem_add_ram(struct mem_space *s, const char *name, gpa_t base, uint64_t size)
{
    if (s->memfd >= 0 || (base | size) & ~GUEST_PAGE_MASK) {
        sim_error("memory '%s' at 0x%llx, size 0x%llx, is not a multiple of the page size", name,
                  (unsigned long long)base, (unsigned long long)size);
        return SIM_ERR_INVALID;
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

struct mem_region *mem_find(struct mem_space *s, gpa_t gpa)
{
    const struct mem_map *map = current_map(s);
    unsigned lo = 0, hi = map->nr;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        const struct mem_entry *e = &map->entry[mid];
        if (gpa < e->base)
            hi = mid;
        else if (gpa - e->base >= e->size)
            lo = mid + 1;
        else
            return e->region;
    }
    return NULL;
}

struct mem_region *mem_nth(struct mem_space *s, unsigned index)
{
    const struct mem_map *map = current_map(s);

    return index < map->nr ? map->entry[index].region : NULL;
}

static unsigned device_size(const struct mem_ops *ops, unsigned size)
{
    unsigned min = ops->min_size ? ops->min_size : 1;
    unsigned max = ops->max_size ? ops->max_size : 8;

    return size < min ? min : size > max ? max : size;
}

/* A device of a wider access size is read whole and the wanted bytes are cut out. */
static bool region_read(struct mem_region *r, uint64_t off, unsigned size, uint64_t *value)
{
    unsigned piece = device_size(r->ops, size);
    uint64_t v;

    if (piece >= size && piece > 1 && (off & (piece - 1))) {
        unsigned shift = (unsigned)(off & (piece - 1)) * 8;
        if (piece == size || !r->ops->read(r->opaque, off & ~(uint64_t)(piece - 1), piece, &v))
            return false;
        *value = v >> shift;
        return true;
    }
    *value = 0;
    for (unsigned done = 0; done < size; done += piece) {
        if (!r->ops->read(r->opaque, off + done, piece, &v))
            return false;
        *value |= piece == 8 ? v : (v & ((1ull << (piece * 8)) - 1)) << (done * 8);
    }
    return true;
}

static bool region_write(struct mem_region *r, uint64_t off, unsigned size, uint64_t value)
{
    unsigned piece = device_size(r->ops, size);

    if (piece > size) {
        /* Widen: registers narrower than the device's word do not exist on it. */
        unsigned shift = (unsigned)(off & (piece - 1)) * 8;
        return r->ops->write(r->opaque, off & ~(uint64_t)(piece - 1), piece, value << shift);
    }
    if (off & (piece - 1))
        return false;
    for (unsigned done = 0; done < size; done += piece)
        if (!r->ops->write(r->opaque, off + done, piece,
                           piece == 8 ? value : (value >> (done * 8)) & ((1ull << (piece * 8)) - 1)))
            return false;
    return true;
}

static struct mem_region *find_mmio(struct mem_space *s, gpa_t gpa, unsigned size)
{
    struct mem_region *r = mem_find(s, gpa);

    if (!r || !r->ops || size > r->size - (gpa - r->base))
        return NULL;
    atomic_fetch_add_explicit(&r->hits, 1, memory_order_relaxed);
    return r;
}

static uint64_t low_bytes(uint64_t v, unsigned size)
{
    return size == 8 ? v : v & ((1ull << (size * 8)) - 1);
}

enum mem_result mem_mmio_read(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t *value)
{
    struct mem_region *r = find_mmio(s, gpa, size);

    if (!r || !region_read(r, gpa - r->base, size, value))
        return MEM_FAULT;
    *value = low_bytes(*value, size);
    return MEM_OK;
}

enum mem_result mem_mmio_write(struct mem_space *s, gpa_t gpa, unsigned size, uint64_t value)
{
    struct mem_region *r = find_mmio(s, gpa, size);

    if (!r || !region_write(r, gpa - r->base, size, low_bytes(value, size)))
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

void *mem_dma_map(struct mem_space *s, gpa_t gpa, uint64_t *len)
{
    struct mem_region *r = mem_find(s, gpa);

    if (!r || r->ops)
        return NULL;
    uint64_t left = r->size - (gpa - r->base);
    if (*len > left)
        *len = left;
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
        const void *p = mem_dma_map(s, gpa, &piece);
        if (p) {
            memcpy(out, p, piece);
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
        void *p = mem_dma_map(s, gpa, &piece);
        if (p) {
            memcpy(p, in, piece);
            mem_dma_written(s, gpa, piece);
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
