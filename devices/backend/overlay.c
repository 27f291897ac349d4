/* Blocks that hide those of a drive's file. */
#include "backend/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* --- bits --- */

static size_t bitmap_bytes(const struct overlay *o)
{
    return (size_t)(o->nr_blocks / 64 + 1) * sizeof(uint64_t);
}

static void *bitmap_create(const struct overlay *o)
{
    void *p = mmap(NULL, bitmap_bytes(o), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

static bool get_bit(_Atomic uint64_t *map, uint64_t n)
{
    return atomic_load_explicit(&map[n / 64], memory_order_acquire) >> (n % 64) & 1;
}

static void set_bit(_Atomic uint64_t *map, uint64_t n)
{
    if (!get_bit(map, n))
        atomic_fetch_or_explicit(&map[n / 64], 1ull << (n % 64), memory_order_acq_rel);
}

bool overlay_has(const struct overlay *o, uint64_t block)
{
    return get_bit(o->present, block);
}

void overlay_mark_present(struct overlay *o, uint64_t block)
{
    set_bit(o->present, block);
}

bool overlay_take_dirty(struct overlay *o, uint64_t block)
{
    if (!get_bit(o->dirty, block))
        return false;
    atomic_fetch_and_explicit(&o->dirty[block / 64], ~(1ull << (block % 64)), memory_order_acq_rel);
    return true;
}

/* --- life --- */

static int unnamed_file(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
        return fd;
    char *name = sim_asprintf("%s/overlay.XXXXXX", folder);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0)
        unlink(name);
    sim_free(name);
    return fd;
}

enum sim_status overlay_create(const char *folder, int base, uint64_t size, struct overlay **out)
{
    struct overlay *o = sim_new(struct overlay);

    o->base = base;
    o->size = size;
    o->nr_blocks = (size + OVERLAY_BLOCK - 1) / OVERLAY_BLOCK;
    sim_mutex_init(&o->lock, SIM_RANK_LEAF);
    o->fd = unnamed_file(folder);
    if (o->fd < 0 && (errno == EROFS || errno == EACCES))
        o->fd = unnamed_file("/var/tmp");
    if (o->fd < 0 || ftruncate(o->fd, (off_t)size) < 0) {
        sim_error("cannot make a file for what is written to a drive, in '%s': %m", folder);
        overlay_destroy(o);
        return SIM_ERR_IO;
    }
    o->present = bitmap_create(o);
    o->dirty = bitmap_create(o);
    if (!o->present || !o->dirty) {
        sim_error("no memory for the marks of a drive of %llu blocks",
                  (unsigned long long)o->nr_blocks);
        overlay_destroy(o);
        return SIM_ERR_NOMEM;
    }
    *out = o;
    return SIM_OK;
}

void overlay_destroy(struct overlay *o)
{
    if (!o)
        return;
    if (o->present)
        munmap((void *)o->present, bitmap_bytes(o));
    if (o->dirty)
        munmap((void *)o->dirty, bitmap_bytes(o));
    if (o->fd >= 0)
        close(o->fd);
    sim_mutex_fini(&o->lock);
    sim_free(o);
}

/* --- reading --- */

int overlay_find(struct overlay *o, uint64_t offset, uint64_t *len)
{
    uint64_t block = offset / OVERLAY_BLOCK, end = offset + *len;
    bool present = overlay_has(o, block);
    uint64_t stop = (block + 1) * OVERLAY_BLOCK;

    while (stop < end && overlay_has(o, stop / OVERLAY_BLOCK) == present)
        stop += OVERLAY_BLOCK;
    if (stop < end)
        *len = stop - offset;
    return present ? o->fd : o->base;
}

/* --- writing --- */

/* Copies a block between the files; what lies behind the drive's end does not exist. */
static bool copy_block(const struct overlay *o, int from, int to, uint64_t block)
{
    uint8_t data[OVERLAY_BLOCK];
    uint64_t at = block * OVERLAY_BLOCK;
    size_t len = o->size - at < sizeof data ? (size_t)(o->size - at) : sizeof data;
    ssize_t n = pread(from, data, len, (off_t)at);

    if (n >= 0 && n != (ssize_t)len)
        errno = EIO;
    if (n != (ssize_t)len)
        return false;
    n = pwrite(to, data, len, (off_t)at);
    if (n >= 0 && n != (ssize_t)len)
        errno = ENOSPC;
    return n == (ssize_t)len;
}

/* Two writers of one block's halves must not both fill it. */
static bool fill(struct overlay *o, uint64_t block)
{
    bool ok = true;

    if (overlay_has(o, block))
        return true;
    sim_mutex_lock(&o->lock);
    if (!overlay_has(o, block)) {
        ok = copy_block(o, o->base, o->fd, block);
        if (ok)
            overlay_mark_present(o, block);
    }
    sim_mutex_unlock(&o->lock);
    return ok;
}

bool overlay_before_write(struct overlay *o, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;

    sim_guard_before(&o->guard, offset, len, true);
    /* Before, because a write that fails half way has changed something, too. */
    for (uint64_t b = offset / OVERLAY_BLOCK; b * OVERLAY_BLOCK < end; b++)
        set_bit(o->dirty, b);
    if (offset % OVERLAY_BLOCK && !fill(o, offset / OVERLAY_BLOCK))
        return false;
    return !(end % OVERLAY_BLOCK) || end == o->size || fill(o, end / OVERLAY_BLOCK);
}

void overlay_written(struct overlay *o, uint64_t offset, uint64_t len)
{
    for (uint64_t b = offset / OVERLAY_BLOCK; b * OVERLAY_BLOCK < offset + len; b++)
        set_bit(o->present, b);
}

bool overlay_commit(struct overlay *o)
{
    for (uint64_t b = 0; b < o->nr_blocks; b++) {
        if (!atomic_load_explicit(&o->present[b / 64], memory_order_acquire)) {
            b |= 63;
            continue;
        }
        if (!overlay_has(o, b))
            continue;
        sim_guard_before(&o->guard, b * OVERLAY_BLOCK, OVERLAY_BLOCK, false);
        if (!copy_block(o, o->fd, o->base, b))
            return false;
    }
    return fdatasync(o->base) == 0;
}
