/* Raw image files and block devices as drives.
 *
 *   blockdev_submit -> now: pwritev (an executor), preadv2(RWF_NOWAIT) of cached data -> done
 *                   -> queue -> worker threads (started on demand) -> done
 *
 * What can block for long (uncached reads, large transfers, fdatasync, hole punching) does not run on
 * the submitting thread, which is usually an executor inside a guest's notify. Short writes do, for they cost less there than another
 * thread would; but the host may hold up whoever has written too much, and so the I/O thread, which everybody waits for, writes nothing.
 * With the virtual clock everything runs where it is submitted: when a request completes must not depend on the host.
 *
 * A frozen drive (blockdev_freeze) leaves its file as it is: overlay.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backend/overlay.h"
#include "devices/backend.h"
#include "sim-core/alloc.h"
#include "sim-core/io.h"
#include "sim-core/log.h"

enum {
    SECTOR = 512,
    MAX_WORKERS = 4,
    INLINE_BYTES = 256 << 10, /* the most that is copied on the submitting thread */
    PIECE_BYTES = 8 << 20,    /* between two looks at `cancel` */
    PIECE_IOVS = 64
};

/* Owner: launch (open, close). Any thread submits; `lock` guards the queue and the counters. */
struct blockdev {
    const struct sim *sim; /* NULL: tests */
    char *path, *serial;
    int fd;
    uint64_t size;
    bool readonly;
    struct overlay *overlay; /* NULL: not frozen */
    struct sim_mutex lock;
    struct sim_cond work, idle;
    struct blockdev_request *first, **last;
    unsigned inflight; /* queued or with a worker */
    struct sim_thread worker[MAX_WORKERS];
    unsigned nr_workers, nr_waiting;
    bool closing;
    atomic_uint cancel;        /* > 0: fail instead of working */
    atomic_bool complained;
    _Atomic uint64_t writes;   /* completed writes, and how many of them are known to be stable: */
    _Atomic uint64_t synced;   /* a flush with nothing to do completes at once */
};

/* --- opening --- */

static enum sim_status check_file(struct blockdev *b)
{
    struct stat st;

    if (fstat(b->fd, &st) < 0) {
        sim_error("drive '%s': %m", b->path);
        return SIM_ERR_IO;
    }
    off_t end = lseek(b->fd, 0, SEEK_END);
    if (end < 0) {
        sim_error("drive '%s': cannot find its size: %m", b->path);
        return SIM_ERR_IO;
    }
    b->size = (uint64_t)end;
    if (b->size == 0 || b->size % SECTOR) {
        sim_error("drive '%s': its size, %llu bytes, is not a positive multiple of %d", b->path,
                  (unsigned long long)b->size, SECTOR);
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

static enum sim_status open_file(struct blockdev *b)
{
    struct stat st;

    if (stat(b->path, &st) < 0) {
        enum sim_status status = errno == ENOENT ? SIM_ERR_NOTFOUND : SIM_ERR_IO;
        sim_error("drive '%s': %m", b->path);
        return status;
    }
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        sim_error("drive '%s' is %s, not a file or block device", b->path,
                  S_ISDIR(st.st_mode) ? "a directory" : "something else");
        return SIM_ERR_INVALID;
    }
    b->fd = open(b->path, (b->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (b->fd < 0) {
        sim_error("drive '%s': cannot open it for %s: %m", b->path,
                  b->readonly ? "reading" : "writing (readonly=on would do without)");
        return SIM_ERR_IO;
    }
    return check_file(b);
}

enum sim_status blockdev_open(struct sim *sim, const struct blockdev_options *options,
                              struct blockdev **out)
{
    struct blockdev *b = sim_new(struct blockdev);

    b->sim = sim;
    b->path = sim_strdup(options->path);
    b->serial = options->serial ? sim_strdup(options->serial) : NULL;
    b->readonly = options->readonly;
    b->fd = -1;
    b->last = &b->first;
    sim_mutex_init(&b->lock, SIM_RANK_BACKEND);
    sim_cond_init(&b->work);
    sim_cond_init(&b->idle);
    enum sim_status status = open_file(b);
    if (status != SIM_OK) {
        blockdev_close(b);
        return status;
    }
    *out = b;
    return SIM_OK;
}

void blockdev_close(struct blockdev *b)
{
    if (!b)
        return;
    blockdev_drain(b);
    sim_mutex_lock(&b->lock);
    b->closing = true;
    sim_cond_broadcast(&b->work);
    sim_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->nr_workers; i++)
        sim_thread_join(&b->worker[i]);
    overlay_destroy(b->overlay);
    if (b->fd >= 0)
        close(b->fd);
    sim_cond_fini(&b->idle);
    sim_cond_fini(&b->work);
    sim_mutex_fini(&b->lock);
    sim_free(b->serial);
    sim_free(b->path);
    sim_free(b);
}

uint64_t blockdev_size(const struct blockdev *b)
{
    return b->size;
}

bool blockdev_readonly(const struct blockdev *b)
{
    return b->readonly;
}

const char *blockdev_serial(const struct blockdev *b)
{
    return b->serial;
}

/* --- carrying out one request --- */

static const char *const op_names[] = {"read", "write", "flush", "discard", "zeroing"};

static bool complain(struct blockdev *b, const struct blockdev_request *r)
{
    if (!atomic_exchange_explicit(&b->complained, true, memory_order_relaxed))
        sim_error("drive '%s': %s of %llu bytes at %llu failed: %m; the guest sees an I/O error "
                  "(further ones of this drive are not reported)",
                  b->path, op_names[r->op], (unsigned long long)r->len,
                  (unsigned long long)r->offset);
    return false;
}

static bool cancelled(struct blockdev *b)
{
    return atomic_load_explicit(&b->cancel, memory_order_relaxed);
}

/* The iovecs of bytes [skip, skip + at most room) of r. */
static unsigned window(const struct blockdev_request *r, uint64_t skip, uint64_t room,
                       struct iovec *part)
{
    unsigned n = 0;

    for (unsigned i = 0; i < r->nr_iov && n < PIECE_IOVS && room; i++) {
        if (skip >= r->iov[i].iov_len) {
            skip -= r->iov[i].iov_len;
            continue;
        }
        size_t len = r->iov[i].iov_len - skip;
        if (len > room)
            len = room;
        part[n++] = (struct iovec){(char *)r->iov[i].iov_base + skip, len};
        room -= len;
        skip = 0;
    }
    return n;
}

/* The file that bytes from `at` on are read from or written to, and for how many of *room that holds. */
static int place(struct blockdev *b, enum blockdev_op op, uint64_t at, uint64_t *room)
{
    struct overlay *o = b->overlay;

    if (!o)
        return b->fd;
    if (op == BLOCKDEV_WRITE)
        return o->fd;
    sim_guard_before(&o->guard, at, *room, false);
    return overlay_find(o, at, room);
}

/* Bytes moved at once: 0 at the end of the file, negative with errno. */
static ssize_t move_piece(struct blockdev *b, const struct blockdev_request *r, uint64_t done,
                          int flags)
{
    struct iovec part[PIECE_IOVS];
    off_t at = (off_t)(r->offset + done);
    uint64_t room = r->len - done < PIECE_BYTES ? r->len - done : PIECE_BYTES;
    int fd = place(b, r->op, (uint64_t)at, &room);
    int n = (int)window(r, done, room, part);
    ssize_t moved;

    do {
        moved = r->op == BLOCKDEV_READ ? preadv2(fd, part, n, at, flags)
                                       : pwritev2(fd, part, n, at, flags);
    } while (moved < 0 && errno == EINTR);
    return moved;
}

static bool transfer(struct blockdev *b, const struct blockdev_request *r)
{
    bool overlaid = b->overlay && r->op == BLOCKDEV_WRITE;

    if (overlaid && !overlay_before_write(b->overlay, r->offset, r->len))
        return complain(b, r);
    for (uint64_t done = 0; done < r->len;) {
        if (cancelled(b))
            return false;
        ssize_t moved = move_piece(b, r, done, 0);
        if (moved == 0)
            errno = EIO; /* somebody has cut the file short */
        if (moved <= 0)
            return complain(b, r);
        done += (uint64_t)moved;
    }
    if (overlaid)
        overlay_written(b->overlay, r->offset, r->len);
    if (r->op == BLOCKDEV_WRITE)
        atomic_fetch_add_explicit(&b->writes, 1, memory_order_release);
    return true;
}

static bool needs_flush(struct blockdev *b)
{
    return !b->readonly && !b->overlay && atomic_load_explicit(&b->synced, memory_order_acquire) !=
                               atomic_load_explicit(&b->writes, memory_order_acquire);
}

static bool flush(struct blockdev *b, const struct blockdev_request *r)
{
    uint64_t writes = atomic_load_explicit(&b->writes, memory_order_acquire);
    uint64_t synced = atomic_load_explicit(&b->synced, memory_order_relaxed);

    if (fdatasync(b->fd) < 0)
        return complain(b, r);
    while (synced < writes && !atomic_compare_exchange_weak_explicit(
                                  &b->synced, &synced, writes, memory_order_release,
                                  memory_order_relaxed))
        ;
    return true;
}

static bool write_zeroes(struct blockdev *b, const struct blockdev_request *r)
{
    static const uint8_t zeroes[64 << 10];

    for (uint64_t done = 0; done < r->len;) {
        uint64_t piece = r->len - done < sizeof zeroes ? r->len - done : sizeof zeroes;
        if (cancelled(b))
            return false;
        ssize_t n = pwrite(b->overlay ? b->overlay->fd : b->fd, zeroes, piece, (off_t)(r->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return complain(b, r);
        done += (uint64_t)n;
    }
    return true;
}

static bool zero_overlay(struct blockdev *b, const struct blockdev_request *r)
{
    struct overlay *o = b->overlay;

    if (!overlay_before_write(o, r->offset, r->len))
        return complain(b, r);
    if (fallocate(o->fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, (off_t)r->offset,
                  (off_t)r->len) < 0 && !write_zeroes(b, r))
        return false;
    overlay_written(o, r->offset, r->len);
    return true;
}

/* Discarded bytes need not read as zeroes, so a file system that cannot punch holes may ignore it. */
static bool punch(struct blockdev *b, const struct blockdev_request *r)
{
    int mode = FALLOC_FL_KEEP_SIZE |
               (r->op == BLOCKDEV_ZERO ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
    bool ok = true;

    if (b->overlay)
        return r->op == BLOCKDEV_DISCARD || zero_overlay(b, r);
    if (fallocate(b->fd, mode, (off_t)r->offset, (off_t)r->len) < 0) {
        bool unsupported = errno == EOPNOTSUPP || errno == ENODEV || errno == EINVAL;
        if (!unsupported)
            ok = complain(b, r);
        else if (r->op == BLOCKDEV_ZERO)
            ok = write_zeroes(b, r);
    }
    atomic_fetch_add_explicit(&b->writes, 1, memory_order_release);
    return ok;
}

static bool perform(struct blockdev *b, const struct blockdev_request *r)
{
    if (cancelled(b))
        return false;
    switch (r->op) {
    case BLOCKDEV_READ:
    case BLOCKDEV_WRITE:
        return transfer(b, r);
    case BLOCKDEV_FLUSH:
        return flush(b, r);
    case BLOCKDEV_DISCARD:
    case BLOCKDEV_ZERO:
        return punch(b, r);
    }
    return false;
}

/* --- workers --- */

static void *worker_main(void *arg)
{
    struct blockdev *b = arg;

    sim_mutex_lock(&b->lock);
    for (;;) {
        struct blockdev_request *r = b->first;
        if (!r) {
            if (b->closing)
                break;
            b->nr_waiting++;
            sim_cond_wait(&b->work, &b->lock);
            b->nr_waiting--;
            continue;
        }
        b->first = r->next;
        if (!b->first)
            b->last = &b->first;
        sim_mutex_unlock(&b->lock);
        r->done(r, perform(b, r));
        sim_mutex_lock(&b->lock);
        if (--b->inflight == 0)
            sim_cond_broadcast(&b->idle);
    }
    sim_mutex_unlock(&b->lock);
    return NULL;
}

/* false: there is nobody to do it. */
static bool enqueue(struct blockdev *b, struct blockdev_request *r)
{
    bool ok = true;

    sim_mutex_lock(&b->lock);
    if (b->nr_waiting == 0 && b->nr_workers < MAX_WORKERS) {
        ok = sim_thread_start(&b->worker[b->nr_workers], "block", worker_main, b) == SIM_OK;
        b->nr_workers += ok;
    }
    if (b->nr_workers) {
        r->next = NULL;
        *b->last = r;
        b->last = &r->next;
        b->inflight++;
        ok = true;
        sim_cond_signal(&b->work);
    }
    sim_mutex_unlock(&b->lock);
    return ok;
}

void blockdev_drain(struct blockdev *b)
{
    sim_mutex_lock(&b->lock);
    while (b->inflight)
        sim_cond_wait(&b->idle, &b->lock);
    sim_mutex_unlock(&b->lock);
}

void blockdev_cancel(struct blockdev *b)
{
    atomic_fetch_add_explicit(&b->cancel, 1, memory_order_relaxed);
    blockdev_drain(b);
    atomic_fetch_sub_explicit(&b->cancel, 1, memory_order_relaxed);
}

/* --- submitting --- */

static bool is_valid(const struct blockdev *b, const struct blockdev_request *r)
{
    if (r->op == BLOCKDEV_FLUSH)
        return true;
    return r->offset <= b->size && r->len <= b->size - r->offset &&
           (r->op == BLOCKDEV_READ || !b->readonly);
}

static bool may_write_here(const struct blockdev *b)
{
    return !b->sim || !sim_io_is_current(b->sim->io);
}

/* Completes what does not block; false: a worker must do it (from the start). */
static bool try_now(struct blockdev *b, const struct blockdev_request *r, bool *ok)
{
    *ok = true;
    if (b->sim && b->sim->clock.mode == SIM_CLOCK_VIRTUAL) {
        *ok = perform(b, r);
        return true;
    }
    if (r->op == BLOCKDEV_FLUSH)
        return !needs_flush(b);
    if (r->len > INLINE_BYTES)
        return false;
    if (r->op == BLOCKDEV_WRITE) {
        if (!may_write_here(b))
            return false;
        *ok = transfer(b, r);
        return true;
    }
    if (r->op != BLOCKDEV_READ)
        return false;
    for (uint64_t done = 0; done < r->len;) {
        /* EAGAIN: not cached. EOPNOTSUPP: the file system cannot tell. */
        ssize_t moved = move_piece(b, r, done, RWF_NOWAIT);
        if (moved <= 0)
            return false;
        done += (uint64_t)moved;
    }
    return true;
}

void blockdev_submit(struct blockdev *b, struct blockdev_request *r)
{
    bool ok = false;

    if (!is_valid(b, r) || try_now(b, r, &ok) || !enqueue(b, r))
        r->done(r, ok);
}

/* --- drives of a machine that is saved --- */

enum sim_status blockdev_identify(const struct blockdev *b, struct blockdev_identity *out)
{
    struct stat st;

    if (fstat(b->fd, &st) < 0) {
        sim_error("drive '%s': %m", b->path);
        return SIM_ERR_IO;
    }
    if (!S_ISREG(st.st_mode)) {
        sim_error("drive '%s' is a block device: nobody could tell whether it changes after an image "
                  "was made, so none is made; use a file",
                  b->path);
        return SIM_ERR_UNSUPPORTED;
    }
    *out = (struct blockdev_identity){
        b->size, (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec};
    return SIM_OK;
}

const char *blockdev_path(const struct blockdev *b)
{
    return b->path;
}

enum sim_status blockdev_freeze(struct blockdev *b, const char *folder)
{
    if (b->readonly || b->overlay)
        return SIM_OK;
    return overlay_create(folder, b->fd, b->size, &b->overlay);
}

enum sim_status blockdev_sync(struct blockdev *b)
{
    if (b->readonly || fdatasync(b->fd) == 0)
        return SIM_OK;
    sim_error("drive '%s': cannot sync it to the disk: %m", b->path);
    return SIM_ERR_IO;
}

enum sim_status blockdev_commit(struct blockdev *b)
{
    if (!b->overlay)
        return SIM_OK;
    blockdev_drain(b);
    if (!overlay_commit(b->overlay)) {
        sim_error("drive '%s': cannot write what the guest wrote into it: %m", b->path);
        return SIM_ERR_IO;
    }
    overlay_destroy(b->overlay);
    b->overlay = NULL;
    return SIM_OK;
}

int blockdev_overlay_fd(const struct blockdev *b)
{
    return b->overlay ? b->overlay->fd : -1;
}

bool blockdev_overlay_has(const struct blockdev *b, uint64_t block)
{
    return overlay_has(b->overlay, block);
}

void blockdev_overlay_mark(struct blockdev *b, uint64_t block)
{
    overlay_mark_present(b->overlay, block);
}

bool blockdev_overlay_take_dirty(struct blockdev *b, uint64_t block)
{
    return overlay_take_dirty(b->overlay, block);
}

void blockdev_set_guard(struct blockdev *b, struct sim_guard *guard)
{
    if (b->overlay)
        atomic_store_explicit(&b->overlay->guard, guard, memory_order_release);
}
