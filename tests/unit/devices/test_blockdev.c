/* Raw drives: opening, every operation inline and on workers, errors, cancelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/backend.h"
#include "sim-core/io.h"
#include "sim-core/lock.h"
#include "sim-core/sim.h"

enum { SIZE = 4 << 20 };

struct fixture {
    char path[32];
    int fd;
    struct blockdev *b;
};

struct request {
    struct blockdev_request io;
    atomic_int result; /* 0 pending, 1 ok, 2 failed */
    atomic_int calls;
};

static void done(struct blockdev_request *io, bool ok)
{
    struct request *r = (struct request *)io;

    atomic_fetch_add(&r->calls, 1);
    atomic_store(&r->result, ok ? 1 : 2);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->path, "/tmp/driveXXXXXX");
    f->fd = mkstemp(f->path);
    assert_int_equal(ftruncate(f->fd, SIZE), 0);
    struct blockdev_options o = {.path = f->path};
    assert_int_equal(blockdev_open(NULL, &o, &f->b), SIM_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    blockdev_close(f->b);
    close(f->fd);
    unlink(f->path);
    free(f);
    return 0;
}

static bool run(struct blockdev *b, enum blockdev_op op, uint64_t offset, const struct iovec *iov,
                unsigned nr_iov, uint64_t len)
{
    struct request r = {.io = {.op = op, .offset = offset, .len = len, .iov = iov,
                               .nr_iov = nr_iov, .done = done}};

    blockdev_submit(b, &r.io);
    blockdev_drain(b);
    assert_int_equal(atomic_load(&r.calls), 1);
    return atomic_load(&r.result) == 1;
}

static bool run_buf(struct blockdev *b, enum blockdev_op op, uint64_t offset, void *buf, size_t len)
{
    struct iovec iov = {buf, len};

    return run(b, op, offset, &iov, 1, len);
}

static void test_open_refuses_what_is_no_drive(void **state)
{
    static const struct {
        const char *path;
        enum sim_status status;
    } bad[] = {{"/nonexistent/file", SIM_ERR_NOTFOUND},
               {"/tmp", SIM_ERR_INVALID},
               {"/dev/null", SIM_ERR_INVALID}};
    struct fixture *f = *state;
    struct blockdev *b;

    for (unsigned i = 0; i < SIM_ARRAY_LEN(bad); i++) {
        struct blockdev_options o = {.path = bad[i].path};
        assert_int_equal(blockdev_open(NULL, &o, &b), bad[i].status);
    }
    struct blockdev_options o = {.path = f->path};
    assert_int_equal(ftruncate(f->fd, 1000), 0);
    assert_int_equal(blockdev_open(NULL, &o, &b), SIM_ERR_INVALID);
    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(blockdev_open(NULL, &o, &b), SIM_ERR_INVALID);
}

static void test_open_tells_its_properties(void **state)
{
    struct fixture *f = *state;
    struct blockdev_options o = {.path = f->path, .readonly = true, .serial = "s1"};
    struct blockdev *b;

    assert_int_equal(blockdev_open(NULL, &o, &b), SIM_OK);
    assert_int_equal(blockdev_size(b), SIZE);
    assert_true(blockdev_readonly(b));
    assert_string_equal(blockdev_serial(b), "s1");
    blockdev_close(b);
    assert_null(blockdev_serial(f->b));
    assert_false(blockdev_readonly(f->b));
}

static void test_small_and_large_transfers(void **state)
{
    static const size_t sizes[] = {512, 4096, 256 << 10, (256 << 10) + 512, 3 << 20};
    struct fixture *f = *state;
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE);

    for (unsigned i = 0; i < SIM_ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < sizes[i]; k++)
            out[k] = (uint8_t)(k * 3 + i + (k >> 12));
        memset(in, 0, sizes[i]);
        assert_true(run_buf(f->b, BLOCKDEV_WRITE, 1024, out, sizes[i]));
        assert_true(run_buf(f->b, BLOCKDEV_READ, 1024, in, sizes[i]));
        assert_memory_equal(in, out, sizes[i]);
        assert_int_equal(pread(f->fd, in, sizes[i], 1024), sizes[i]);
        assert_memory_equal(in, out, sizes[i]);
    }
    free(out);
    free(in);
}

static void test_many_pieces(void **state)
{
    struct fixture *f = *state;
    enum { PIECES = 700, PIECE = 1536 };
    static uint8_t out[PIECES][PIECE], in[PIECES * PIECE];
    struct iovec iov[PIECES];

    for (unsigned i = 0; i < PIECES; i++) {
        memset(out[i], (int)(i + 1), PIECE);
        iov[PIECES - 1 - i] = (struct iovec){out[i], PIECE}; /* backwards */
    }
    assert_true(run(f->b, BLOCKDEV_WRITE, 512, iov, PIECES, PIECES * PIECE));
    assert_int_equal(pread(f->fd, in, sizeof in, 512), sizeof in);
    for (unsigned i = 0; i < PIECES; i++)
        assert_int_equal(in[i * PIECE + 5], (uint8_t)(PIECES - i));
}

static void test_reads_of_uncached_data(void **state)
{
    struct fixture *f = *state;
    uint8_t buf[4096];

    memset(buf, 0x3c, sizeof buf);
    assert_int_equal(pwrite(f->fd, buf, sizeof buf, 1 << 20), sizeof buf);
    assert_int_equal(fsync(f->fd), 0);
    assert_int_equal(posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    memset(buf, 0, sizeof buf);
    assert_true(run_buf(f->b, BLOCKDEV_READ, 1 << 20, buf, sizeof buf));
    assert_int_equal(buf[4095], 0x3c);
}

static void test_bounds(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[8192];

    assert_true(run_buf(f->b, BLOCKDEV_WRITE, SIZE - 512, buf, 512));
    assert_false(run_buf(f->b, BLOCKDEV_WRITE, SIZE - 512, buf, 1024));
    assert_false(run_buf(f->b, BLOCKDEV_READ, SIZE, buf, 512));
    assert_false(run_buf(f->b, BLOCKDEV_READ, UINT64_MAX - 100, buf, 512));
    assert_false(run(f->b, BLOCKDEV_DISCARD, SIZE, NULL, 0, 512));
    assert_true(run(f->b, BLOCKDEV_READ, SIZE, NULL, 0, 0));
    struct stat st;
    assert_int_equal(fstat(f->fd, &st), 0);
    assert_int_equal(st.st_size, SIZE);
}

static void test_zero_discard_flush(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[128 << 10];

    memset(buf, 0xff, sizeof buf);
    assert_true(run_buf(f->b, BLOCKDEV_WRITE, 0, buf, sizeof buf));
    assert_true(run(f->b, BLOCKDEV_FLUSH, 0, NULL, 0, 0));
    assert_true(run(f->b, BLOCKDEV_FLUSH, 0, NULL, 0, 0)); /* nothing new */
    assert_true(run(f->b, BLOCKDEV_ZERO, 4096, NULL, 0, 8192));
    assert_int_equal(pread(f->fd, buf, sizeof buf, 0), sizeof buf);
    assert_int_equal(buf[4095], 0xff);
    for (unsigned i = 4096; i < 4096 + 8192; i++)
        assert_int_equal(buf[i], 0);
    assert_int_equal(buf[4096 + 8192], 0xff);
    struct stat before, after;
    assert_int_equal(fstat(f->fd, &before), 0);
    assert_true(run(f->b, BLOCKDEV_DISCARD, 0, NULL, 0, sizeof buf));
    assert_int_equal(fstat(f->fd, &after), 0);
    assert_int_equal(after.st_size, SIZE);
    assert_true(after.st_blocks <= before.st_blocks);
    assert_true(run(f->b, BLOCKDEV_FLUSH, 0, NULL, 0, 0));
}

static void test_readonly(void **state)
{
    struct fixture *f = *state;
    struct blockdev_options o = {.path = f->path, .readonly = true};
    struct blockdev *b;
    uint8_t buf[512] = {1};

    assert_int_equal(blockdev_open(NULL, &o, &b), SIM_OK);
    assert_false(run_buf(b, BLOCKDEV_WRITE, 0, buf, 512));
    assert_false(run(b, BLOCKDEV_ZERO, 0, NULL, 0, 512));
    assert_false(run(b, BLOCKDEV_DISCARD, 0, NULL, 0, 512));
    assert_true(run(b, BLOCKDEV_FLUSH, 0, NULL, 0, 0));
    assert_true(run_buf(b, BLOCKDEV_READ, 0, buf, 512));
    assert_int_equal(buf[0], 0);
    blockdev_close(b);
}

/* What a full disk looks like: the kernel refuses to write beyond a limit. */
static void test_refused_writes_fail_and_others_go_on(void **state)
{
    struct fixture *f = *state;
    struct rlimit old, limit;
    uint8_t buf[4096] = {7};

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){1 << 20, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_false(run_buf(f->b, BLOCKDEV_WRITE, 2 << 20, buf, sizeof buf));
    assert_false(run_buf(f->b, BLOCKDEV_WRITE, 3 << 20, buf, sizeof buf));
    assert_true(run_buf(f->b, BLOCKDEV_WRITE, 0, buf, sizeof buf));
    assert_true(run_buf(f->b, BLOCKDEV_READ, 2 << 20, buf, sizeof buf));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_true(run_buf(f->b, BLOCKDEV_WRITE, 2 << 20, buf, sizeof buf));
}

static void test_many_at_once(void **state)
{
    struct fixture *f = *state;
    enum { REQUESTS = 64, BYTES = 512 << 10 };
    static struct request r[REQUESTS];
    static struct iovec iov[REQUESTS];
    uint8_t *mem = malloc((size_t)REQUESTS * BYTES);

    for (unsigned i = 0; i < REQUESTS; i++) {
        memset(mem + (size_t)i * BYTES, (int)i, BYTES);
        iov[i] = (struct iovec){mem + (size_t)i * BYTES, BYTES};
        r[i] = (struct request){.io = {.op = i % 3 ? BLOCKDEV_READ : BLOCKDEV_WRITE,
                                       .offset = (uint64_t)(i % 8) * BYTES,
                                       .len = BYTES,
                                       .iov = &iov[i],
                                       .nr_iov = 1,
                                       .done = done}};
        blockdev_submit(f->b, &r[i].io);
    }
    blockdev_drain(f->b);
    for (unsigned i = 0; i < REQUESTS; i++) {
        assert_int_equal(atomic_load(&r[i].calls), 1);
        assert_int_equal(atomic_load(&r[i].result), 1);
    }
    free(mem);
}

/* The same megabytes again and again, 64 GiB in all: cancelling does not wait for them. */
static void test_cancel_is_quick(void **state)
{
    struct fixture *f = *state;
    enum { PIECES = 1024, REQUESTS = 64 };
    static struct iovec iov[PIECES];
    static struct request r[REQUESTS];
    uint8_t *mem = malloc(1 << 20);
    struct blockdev *b;

    assert_int_equal(ftruncate(f->fd, 2ll << 30), 0);
    struct blockdev_options o = {.path = f->path};
    assert_int_equal(blockdev_open(NULL, &o, &b), SIM_OK);
    for (unsigned i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){mem, 1 << 20};
    for (unsigned i = 0; i < REQUESTS; i++) {
        r[i] = (struct request){.io = {.op = BLOCKDEV_READ,
                                       .len = 1ull << 30,
                                       .iov = iov,
                                       .nr_iov = PIECES,
                                       .done = done}};
        blockdev_submit(b, &r[i].io);
    }
    uint64_t start = sim_host_ns();
    blockdev_cancel(b);
    assert_true(sim_host_ns() - start < 2000000000u);
    for (unsigned i = 0; i < REQUESTS; i++)
        assert_int_equal(atomic_load(&r[i].calls), 1);
    assert_int_equal(atomic_load(&r[REQUESTS - 1].result), 2);
    assert_true(run_buf(b, BLOCKDEV_READ, 0, mem, 1 << 20)); /* works again */
    blockdev_close(b);
    free(mem);
}

/* With the virtual clock a request's completion must not depend on the host: all is done at once. */
static void test_virtual_clock_completes_at_once(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[1 << 20];
    struct iovec iov = {buf, sizeof buf};
    struct blockdev_options o = {.path = f->path};
    struct blockdev *b;
    struct sim *sim;

    assert_int_equal(sim_create(&sim), SIM_OK);
    sim_clock_init(&sim->clock, SIM_CLOCK_VIRTUAL);
    assert_int_equal(blockdev_open(sim, &o, &b), SIM_OK);
    for (enum blockdev_op op = BLOCKDEV_READ; op <= BLOCKDEV_ZERO; op++) {
        struct request r = {.io = {.op = op, .len = sizeof buf, .iov = &iov, .nr_iov = 1,
                                   .done = done}};
        blockdev_submit(b, &r.io);
        assert_int_equal(atomic_load(&r.result), 1);
    }
    blockdev_close(b);
    sim_destroy(sim);
}

struct elsewhere {
    struct request r; /* first: done's argument */
    struct blockdev *b;
    atomic_bool submitted;
};

static _Thread_local bool submits;
static atomic_bool done_by_submitter;

static void note_thread(struct blockdev_request *io, bool ok)
{
    atomic_store(&done_by_submitter, submits);
    done(io, ok);
}

static void submit(void *opaque)
{
    struct elsewhere *e = opaque;

    submits = true;
    blockdev_submit(e->b, &e->r.io);
    atomic_store(&e->submitted, true);
}

/* The host may hold up who writes: everybody waits for the I/O thread, so it is not the one; an executor writes itself. */
static void test_io_thread_writes_nothing(void **state)
{
    struct fixture *f = *state;
    static uint8_t buf[4096];
    struct iovec iov = {buf, sizeof buf};
    struct blockdev_options o = {.path = f->path};
    struct elsewhere e = {.r.io = {.op = BLOCKDEV_WRITE, .len = sizeof buf, .iov = &iov, .nr_iov = 1, .done = note_thread}};
    struct sim *sim;

    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    assert_int_equal(blockdev_open(sim, &o, &e.b), SIM_OK);
    submit(&e);
    submits = false;
    assert_int_equal(atomic_load(&e.r.result), 1);
    assert_true(atomic_load(&done_by_submitter));
    atomic_store(&e.submitted, false);
    atomic_store(&e.r.result, 0);
    sim_io_post(sim->io, submit, &e);
    while (!atomic_load(&e.submitted))
        sim_thread_yield();
    blockdev_drain(e.b);
    assert_int_equal(atomic_load(&e.r.result), 1);
    assert_false(atomic_load(&done_by_submitter));
    blockdev_close(e.b);
    sim_destroy(sim);
}

#define BLOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* --- frozen drives --- */

static bool perform(struct fixture *f, enum blockdev_op op, uint64_t at, void *data, size_t len)
{
    struct iovec iov = {data, len};
    struct request r = {.io = {.op = op, .offset = at, .len = len, .iov = &iov, .nr_iov = 1, .done = done}};

    blockdev_submit(f->b, &r.io);
    blockdev_drain(f->b);
    return atomic_load(&r.result) == 1;
}

/* Random writes, zeroings and reads of odd sizes against a copy in memory: the guest sees one disk, the file does not change;
 * the commit makes it that disk. */
static void test_frozen_drive_is_one_disk(void **state)
{
    struct fixture *f = *state;
    uint8_t *want = malloc(SIZE), *file = malloc(SIZE), *buf = malloc(64 << 10);
    unsigned seed = 4711, dirty = 0;

    for (unsigned i = 0; i < SIZE; i++)
        want[i] = (uint8_t)(i * 7 + i / 4096);
    assert_int_equal(pwrite(f->fd, want, SIZE, 0), SIZE);
    assert_int_equal(blockdev_freeze(f->b, "/tmp"), SIM_OK);
    assert_true(blockdev_overlay_fd(f->b) >= 0);
    for (unsigned n = 0; n < 3000; n++) {
        seed = seed * 1103515245 + 12345;
        uint64_t at = (seed >> 4) % (SIZE / 512) * 512;
        size_t len = ((seed >> 20) % 40 + 1) * 512;
        len = len < SIZE - at ? len : SIZE - at;
        if (seed % 3 == 0) {
            assert_true(perform(f, BLOCKDEV_READ, at, buf, len));
            assert_memory_equal(buf, want + at, len);
        } else if (seed % 7 == 0) {
            assert_true(perform(f, BLOCKDEV_ZERO, at, buf, len));
            memset(want + at, 0, len);
        } else {
            memset(buf, (int)(seed >> 8), len);
            assert_true(perform(f, BLOCKDEV_WRITE, at, buf, len));
            memcpy(want + at, buf, len);
            assert_true(blockdev_overlay_has(f->b, at / 4096));
        }
    }
    assert_true(perform(f, BLOCKDEV_FLUSH, 0, NULL, 0));
    for (unsigned b = 0; b < SIZE / 4096; b++)
        dirty += blockdev_overlay_take_dirty(f->b, b);
    assert_true(dirty > 100);
    assert_false(blockdev_overlay_take_dirty(f->b, 5));
    assert_int_equal(pread(f->fd, file, SIZE, 0), SIZE);
    for (unsigned i = 0; i < SIZE; i++)
        assert_true(file[i] == (uint8_t)(i * 7 + i / 4096));
    assert_int_equal(blockdev_commit(f->b), SIM_OK);
    assert_int_equal(blockdev_overlay_fd(f->b), -1);
    assert_int_equal(pread(f->fd, file, SIZE, 0), SIZE);
    assert_memory_equal(file, want, SIZE);
    free(want);
    free(file);
    free(buf);
}

/* The guard hears of a write before the old bytes go, and of nothing after it was removed. */
struct first_write {
    struct sim_guard guard;
    struct fixture *f;
    unsigned writes;
    bool had_block;
};

static void note(struct sim_guard *g, uint64_t first, uint64_t nr, bool write)
{
    struct first_write *w = (struct first_write *)g;

    assert_int_equal(first, 3);
    assert_int_equal(nr, 1);
    w->writes += write;
    w->had_block = blockdev_overlay_has(w->f->b, 3);
}

static void test_guard_hears_before_the_write(void **state)
{
    struct fixture *f = *state;
    struct first_write w = {.guard = {.before = note}, .f = f};
    uint8_t buf[512] = {1};

    assert_int_equal(blockdev_freeze(f->b, "/tmp"), SIM_OK);
    blockdev_set_guard(f->b, &w.guard);
    assert_true(perform(f, BLOCKDEV_WRITE, 3 * 4096 + 512, buf, sizeof buf));
    assert_int_equal(w.writes, 1);
    assert_false(w.had_block);
    blockdev_set_guard(f->b, NULL);
    assert_true(perform(f, BLOCKDEV_WRITE, 3 * 4096, buf, sizeof buf));
    assert_int_equal(w.writes, 1);
}

static void test_identity_changes_with_the_file(void **state)
{
    struct fixture *f = *state;
    struct blockdev_identity a, b;
    uint8_t buf[512] = {1};

    assert_int_equal(blockdev_identify(f->b, &a), SIM_OK);
    assert_int_equal(blockdev_freeze(f->b, "/tmp"), SIM_OK);
    assert_true(perform(f, BLOCKDEV_WRITE, 0, buf, sizeof buf));
    assert_int_equal(blockdev_identify(f->b, &b), SIM_OK);
    assert_true(a.size == b.size && a.mtime_ns == b.mtime_ns);
    usleep(20000); /* the file system's clock is coarse */
    assert_int_equal(blockdev_commit(f->b), SIM_OK);
    assert_int_equal(blockdev_identify(f->b, &b), SIM_OK);
    assert_true(a.mtime_ns != b.mtime_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOCK_TEST(test_open_refuses_what_is_no_drive),
        BLOCK_TEST(test_open_tells_its_properties),
        BLOCK_TEST(test_small_and_large_transfers),
        BLOCK_TEST(test_many_pieces),
        BLOCK_TEST(test_reads_of_uncached_data),
        BLOCK_TEST(test_bounds),
        BLOCK_TEST(test_zero_discard_flush),
        BLOCK_TEST(test_readonly),
        BLOCK_TEST(test_refused_writes_fail_and_others_go_on),
        BLOCK_TEST(test_many_at_once),
        BLOCK_TEST(test_cancel_is_quick),
        BLOCK_TEST(test_virtual_clock_completes_at_once),
        BLOCK_TEST(test_io_thread_writes_nothing),
        BLOCK_TEST(test_frozen_drive_is_one_disk),
        BLOCK_TEST(test_guard_hears_before_the_write),
        BLOCK_TEST(test_identity_changes_with_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
