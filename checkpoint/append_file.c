/* Slabs of a ring: number n of the file is in place n % NR_SLABS of the ring, from its first byte until it is written. */
#include "append_file.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "file_io.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"

/* Two writes of 2 MiB at a time have the whole speed of a fast disk; two more slabs are filled meanwhile. */
enum { SLAB = 2 << 20, NR_SLABS = 4, NR_THREADS = 2 };
/* Bytes allocated at a time, as many as there are already: writes that do not extend a file go side by side. */
#define LEAST_AHEAD (4ull << 20)
#define MOST_AHEAD (32ull << 20)
#define PATIENCE_NS 1000000000ull /* with the disk; see take_place */

struct slab {
    struct slab *next; /* in the queue */
    uint64_t number;
    size_t filled; /* bytes that have been copied */
    uint8_t *bytes;
};

struct append_file {
    int fd;
    const char *path;
    uint8_t *memory;

    struct sim_mutex lock; /* of what follows; a leaf */
    struct sim_cond work, room;
    struct slab slab[NR_SLABS];
    struct slab *queue, **queue_end;
    uint64_t allocated;
    uint64_t waited_ns, waited_until; /* by putters for room, together; host time */
    bool ending;
    struct sim_thread thread[NR_THREADS];

    _Atomic uint64_t end;
    _Atomic int status; /* enum sim_status; the first error stays */
};

/* True for the first one, whose error is the file's. */
static bool fail(struct append_file *f)
{
    int ok = SIM_OK;

    return atomic_compare_exchange_strong_explicit(&f->status, &ok, SIM_ERR_IO, memory_order_relaxed, memory_order_relaxed);
}

enum sim_status append_file_status(const struct append_file *f)
{
    return (enum sim_status)atomic_load_explicit(&f->status, memory_order_relaxed);
}

uint64_t append_file_bytes(const struct append_file *f)
{
    return atomic_load_explicit(&f->end, memory_order_relaxed);
}

void append_file_give_up(struct append_file *f)
{
    (void)fail(f);
}

/* --- those who put --- */

static struct slab *slab_of(struct append_file *f, uint64_t offset)
{
    return &f->slab[offset / SLAB % NR_SLABS];
}

/* While several wait each counts what the others have not. A disk that is slower than who puts would hold up the guest, whose
 * pages wait for their copies here: the page cache takes more than the ring. What is being written now ends as it began. */
static void wait_for_room(struct append_file *f)
{
    const bool was_patient = f->waited_ns < PATIENCE_NS;
    uint64_t begin = sim_host_ns();

    sim_cond_wait(&f->room, &f->lock);
    if (begin < f->waited_until)
        begin = f->waited_until;
    f->waited_until = sim_host_ns();
    f->waited_ns += f->waited_until - begin;
    if (was_patient && f->waited_ns >= PATIENCE_NS)
        file_set_direct(f->fd, false);
}

/* A place at the end whose slabs are all in the ring. (The slab of a byte before the end is: `len` is less than a slab.) */
static uint64_t take_place(struct append_file *f, size_t len)
{
    sim_mutex_lock(&f->lock);
    uint64_t place = append_file_bytes(f);
    while (slab_of(f, place + len - 1)->number != (place + len - 1) / SLAB) {
        wait_for_room(f);
        place = append_file_bytes(f);
    }
    atomic_store_explicit(&f->end, place + len, memory_order_relaxed);
    sim_mutex_unlock(&f->lock);
    return place;
}

static void add_filled(struct append_file *f, struct slab *s, size_t len)
{
    sim_mutex_lock(&f->lock);
    s->filled += len;
    if (s->filled == SLAB) {
        s->next = NULL;
        *f->queue_end = s;
        f->queue_end = &s->next;
        sim_cond_signal(&f->work);
    }
    sim_mutex_unlock(&f->lock);
}

uint64_t append_file_put(struct append_file *f, const void *data, size_t len)
{
    const uint8_t *from = data;

    SIM_BUG_ON(len == 0 || len > APPEND_MAX, "%zu bytes at once", len);
    uint64_t place = take_place(f, len);
    for (uint64_t at = place, end = place + len; at < end;) {
        size_t room = SLAB - at % SLAB, n = end - at < room ? (size_t)(end - at) : room;
        memcpy(slab_of(f, at)->bytes + at % SLAB, from, n);
        add_filled(f, slab_of(f, at), n);
        at += n;
        from += n;
    }
    return place;
}

/* --- disk threads --- */

static struct slab *next_slab(struct append_file *f)
{
    sim_mutex_lock(&f->lock);
    while (!f->queue && !f->ending)
        sim_cond_wait(&f->work, &f->lock);
    struct slab *s = f->queue;
    if (s) {
        f->queue = s->next;
        if (!f->queue)
            f->queue_end = &f->queue;
    }
    sim_mutex_unlock(&f->lock);
    return s;
}

static uint64_t ahead_of(uint64_t allocated)
{
    return allocated < LEAST_AHEAD ? LEAST_AHEAD : allocated < MOST_AHEAD ? allocated : MOST_AHEAD;
}

/* The slab that is about to be written gets its place on the disk with many others. Where that cannot be done the write
 * does it by itself, or says why not. */
static void allocate(struct append_file *f, uint64_t end)
{
    sim_mutex_lock(&f->lock);
    uint64_t begin = f->allocated;
    while (f->allocated < end)
        f->allocated += ahead_of(f->allocated);
    uint64_t len = f->allocated - begin;
    sim_mutex_unlock(&f->lock);
    if (len)
        (void)fallocate(f->fd, 0, (off_t)begin, (off_t)len);
}

/* A full disk fails all threads at once: one of them says so. */
static void write_slab(struct append_file *f, const struct slab *s)
{
    const uint64_t offset = s->number * SLAB;

    allocate(f, offset + SLAB);
    int error = file_try_write_at(f->fd, offset, s->bytes, SLAB);
    if (error && fail(f))
        (void)file_write_failed(f->path, offset, SLAB, error);
}

static void slab_written(struct append_file *f, struct slab *s)
{
    sim_mutex_lock(&f->lock);
    s->number += NR_SLABS;
    s->filled = 0;
    sim_cond_broadcast(&f->room);
    sim_mutex_unlock(&f->lock);
}

static void *disk_main(void *arg)
{
    struct append_file *f = arg;
    struct slab *s;

    while ((s = next_slab(f))) {
        if (append_file_status(f) == SIM_OK)
            write_slab(f, s);
        slab_written(f, s);
    }
    return NULL;
}

/* --- life --- */

enum sim_status append_file_create(int fd, const char *path, struct append_file **out)
{
    struct append_file *f = sim_new(struct append_file);

    f->fd = fd;
    f->path = path;
    f->memory = sim_zalloc_pages((size_t)SLAB * NR_SLABS);
    f->queue_end = &f->queue;
    sim_mutex_init(&f->lock, SIM_RANK_LEAF);
    sim_cond_init(&f->work);
    sim_cond_init(&f->room);
    for (unsigned i = 0; i < NR_SLABS; i++)
        f->slab[i] = (struct slab){.number = i, .bytes = f->memory + (size_t)i * SLAB};
    file_set_direct(fd, true);
    for (unsigned i = 0; i < NR_THREADS; i++) {
        enum sim_status status = sim_thread_start(&f->thread[i], "disk", disk_main, f);
        if (status != SIM_OK) {
            append_file_destroy(f);
            return status;
        }
    }
    *out = f;
    return SIM_OK;
}

static void end_threads(struct append_file *f)
{
    sim_mutex_lock(&f->lock);
    f->ending = true;
    sim_cond_broadcast(&f->work);
    sim_mutex_unlock(&f->lock);
    for (unsigned i = 0; i < NR_THREADS; i++)
        sim_thread_join(&f->thread[i]);
}

static enum sim_status write_rest(struct append_file *f, uint64_t end)
{
    uint64_t begin = end / SLAB * SLAB;

    if (begin == end)
        return SIM_OK;
    file_set_direct(f->fd, false);
    return file_write_at(f->fd, f->path, begin, slab_of(f, begin)->bytes, (size_t)(end - begin));
}

static enum sim_status cut_to(struct append_file *f, uint64_t end)
{
    if (f->allocated <= end || ftruncate(f->fd, (off_t)end) == 0)
        return SIM_OK;
    sim_error("image file '%s': cannot give back what was allocated: %m", f->path);
    return SIM_ERR_IO;
}

enum sim_status append_file_finish(struct append_file *f)
{
    uint64_t end = append_file_bytes(f);

    end_threads(f);
    SIM_TRY(append_file_status(f));
    SIM_TRY(write_rest(f, end));
    SIM_TRY(cut_to(f, end));
    SIM_TRY(file_sync(f->fd, f->path));
    return SIM_OK;
}

void append_file_destroy(struct append_file *f)
{
    if (!f)
        return;
    end_threads(f);
    sim_cond_fini(&f->room);
    sim_cond_fini(&f->work);
    sim_mutex_fini(&f->lock);
    sim_free_pages(f->memory, (size_t)SLAB * NR_SLABS);
    sim_free(f);
}
