/* Files that grow at their end: many threads, full disks, file systems that want the page cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "append_file.h"
#include "file_io.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "skip.h"

enum { THREADS = 3, PUTS = 40, MAX_LEN = 300000, MIB = 1 << 20 };

/* --- the disk, as the file sees it: these come before the C library's --- */

static struct {
    _Atomic long slow_ns;           /* of each write past the page cache */
    _Atomic unsigned direct, cached; /* whole slabs written */
    _Atomic unsigned meet, met;     /* so many writes are begun before one of them goes on */
    _Atomic unsigned nr_allocations;
    _Atomic uint64_t allocated;
} disk;

static bool is_direct(int fd)
{
    return fcntl(fd, F_GETFL) & O_DIRECT;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    const bool direct = is_direct(fd);

    if (direct && disk.slow_ns)
        nanosleep(&(struct timespec){.tv_nsec = disk.slow_ns}, NULL);
    disk.met++;
    while (disk.met < disk.meet)
        sched_yield();
    ssize_t n = syscall(SYS_pwrite64, fd, data, len, offset);
    if (n == 2 * MIB)
        (*(direct ? &disk.direct : &disk.cached))++;
    return n;
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    disk.nr_allocations++;
    disk.allocated += (uint64_t)len;
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

/* --- */

/* A file of no name. */
static int new_file(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = sim_asprintf("%s/partita-append.XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    sim_free(path);
    return fd;
}

struct put {
    uint64_t place;
    size_t len;
    uint8_t byte;
};

struct putter {
    struct sim_thread thread;
    struct append_file *f;
    unsigned seed;
    struct put put[PUTS];
};

static void *put_all(void *arg)
{
    struct putter *p = arg;
    uint8_t *data = sim_zalloc(MAX_LEN);

    for (unsigned i = 0; i < PUTS; i++) {
        struct put *put = &p->put[i];
        p->seed = p->seed * 1103515245 + 12345;
        put->len = 1 + (p->seed >> 8) % MAX_LEN;
        put->byte = (uint8_t)(p->seed >> 4);
        memset(data, put->byte, put->len);
        put->place = append_file_put(p->f, data, put->len);
    }
    sim_free(data);
    return NULL;
}

/* Everything is where put said, and nothing else is there. */
static void check_putter(const struct putter *p, int fd, uint64_t *total)
{
    uint8_t *want = sim_zalloc(MAX_LEN), *got = sim_zalloc(MAX_LEN);

    for (unsigned i = 0; i < PUTS; i++) {
        const struct put *put = &p->put[i];
        memset(want, put->byte, put->len);
        assert_int_equal(file_read_at(fd, "file", put->place, got, put->len), SIM_OK);
        assert_memory_equal(got, want, put->len);
        *total += put->len;
    }
    sim_free(want);
    sim_free(got);
}

static void test_append_file_takes_many_threads(void **state)
{
    struct putter *p = sim_new_array(struct putter, THREADS);
    int fd = new_file();
    uint64_t total = 0;
    struct append_file *f;
    struct stat st;

    (void)state;
    assert_int_equal(append_file_create(fd, "file", &f), SIM_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        p[i].f = f;
        p[i].seed = i + 1;
        assert_int_equal(sim_thread_start(&p[i].thread, "put", put_all, &p[i]), SIM_OK);
    }
    for (unsigned i = 0; i < THREADS; i++)
        sim_thread_join(&p[i].thread);
    uint64_t bytes = append_file_bytes(f);
    assert_int_equal(append_file_finish(f), SIM_OK);
    append_file_destroy(f);
    for (unsigned i = 0; i < THREADS; i++)
        check_putter(&p[i], fd, &total);
    assert_int_equal(total, bytes);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, total);
    sim_free(p);
    close(fd);
}

/* `mib` and a byte of them into a file that may have `limit` bytes. */
static enum sim_status append_limited(uint64_t limit, unsigned mib)
{
    struct rlimit r = {limit, limit};
    uint8_t *data = sim_zalloc(MIB);
    int fd = new_file();
    struct append_file *f;

    setrlimit(RLIMIT_FSIZE, &r);
    if (append_file_create(fd, "file", &f) != SIM_OK)
        return SIM_ERR_NOMEM;
    for (unsigned i = 0; i < mib; i++)
        append_file_put(f, data, MIB);
    append_file_put(f, data, 1);
    enum sim_status status = append_file_finish(f);
    if (status != append_file_status(f) && status == SIM_OK)
        return SIM_ERR_INVALID;
    append_file_destroy(f);
    sim_free(data);
    return status;
}

/* In another process: a limit stays. EFBIG stands for ENOSPC. What it says goes to `said`. */
static int append_in_child(uint64_t limit, unsigned mib, int said)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        dup2(said, STDERR_FILENO);
        enum sim_status s = append_limited(limit, mib);
        _exit(s == SIM_OK ? 0 : s == SIM_ERR_IO ? 1 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_append_file_says_that_the_disk_is_full(void **state)
{
    static const uint64_t full[] = {0,           1,           4096,        2 * MIB - 1, 2 * MIB,
                                    2 * MIB + 1, 3 * MIB + 7, 5 * MIB + 513, 13 * MIB};

    int null = open("/dev/null", O_WRONLY);

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(full); i++)
        assert_int_equal(append_in_child(full[i], 13, null), 1);
    assert_int_equal(append_in_child(13 * MIB + 1, 13, null), 0);
    assert_int_equal(append_in_child(1, 0, null), 0);
    close(null);
}

/* Both disk threads find it so at the same time. */
static void test_append_file_says_once_that_the_disk_is_full(void **state)
{
    int said[2];
    char text[1000];

    (void)state;
    assert_int_equal(pipe(said), 0);
    disk.met = 0;
    disk.meet = 2;
    assert_int_equal(append_in_child(1, 13, said[1]), 1);
    disk.meet = 0;
    close(said[1]);
    ssize_t len = read(said[0], text, sizeof text - 1);
    assert_true(len > 0);
    text[len] = 0;
    assert_non_null(strstr(text, "image file 'file': writing "));
    assert_ptr_equal(strchr(text, '\n'), text + len - 1);
    close(said[0]);
}

/* `mib` MiB, which are read back. */
static void append_pattern(unsigned mib)
{
    uint8_t *data = sim_zalloc(MIB), *got = sim_zalloc(MIB);
    int fd = new_file();
    struct append_file *f;

    assert_int_equal(append_file_create(fd, "file", &f), SIM_OK);
    for (unsigned i = 0; i < mib; i++) {
        memset(data, (int)i + 1, MIB);
        append_file_put(f, data, MIB);
    }
    assert_int_equal(append_file_finish(f), SIM_OK);
    append_file_destroy(f);
    file_set_direct(fd, false);
    for (unsigned i = 0; i < mib; i++) {
        memset(data, (int)i + 1, MIB);
        assert_int_equal(file_read_at(fd, "file", (uint64_t)i * MIB, got, MIB), SIM_OK);
        assert_memory_equal(got, data, MIB);
    }
    sim_free(got);
    sim_free(data);
    close(fd);
}

/* Past the page cache all 24 slabs would take 5 s. */
static void test_append_file_leaves_a_slow_disk_to_the_page_cache(void **state)
{
    (void)state;
    disk.direct = disk.cached = 0;
    disk.slow_ns = 400000000;
    append_pattern(48);
    disk.slow_ns = 0;
    if (!disk.direct)
        skip_because("TMPDIR's file system always goes through the page cache");
    assert_int_equal(disk.direct + disk.cached, 24);
    assert_true(disk.cached >= 4);
}

/* Small parts of many ranks do not fill a disk that has room for them. */
static void test_append_file_allocates_as_much_as_there_is(void **state)
{
    static const struct {
        unsigned mib, calls, allocated;
    } row[] = {{1, 0, 0}, {3, 1, 4}, {7, 2, 8}, {70, 6, 96}};

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(row); i++) {
        disk.nr_allocations = 0;
        disk.allocated = 0;
        append_pattern(row[i].mib);
        assert_int_equal(disk.nr_allocations, row[i].calls);
        assert_int_equal(disk.allocated, (uint64_t)row[i].allocated * MIB);
    }
}

static void test_append_file_given_up_takes_what_comes(void **state)
{
    uint8_t *data = sim_zalloc(MIB);
    int fd = new_file();
    struct append_file *f;

    (void)state;
    assert_int_equal(append_file_create(fd, "file", &f), SIM_OK);
    append_file_give_up(f);
    for (unsigned i = 0; i < 30; i++)
        append_file_put(f, data, MIB);
    assert_int_equal(append_file_finish(f), SIM_ERR_IO);
    append_file_destroy(f);
    sim_free(data);
    close(fd);
}

/* What may not go past the page cache, goes through it. */
static void test_file_write_at_falls_back(void **state)
{
    int fd = new_file();
    char got[5];

    (void)state;
    file_set_direct(fd, true);
    assert_int_equal(file_write_at(fd, "file", 3, "hello", 5), SIM_OK);
    assert_int_equal(pread(fd, got, 5, 3), 5);
    assert_memory_equal(got, "hello", 5);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_file_takes_many_threads),
        cmocka_unit_test(test_append_file_says_that_the_disk_is_full),
        cmocka_unit_test(test_append_file_says_once_that_the_disk_is_full),
        cmocka_unit_test(test_append_file_leaves_a_slow_disk_to_the_page_cache),
        cmocka_unit_test(test_append_file_allocates_as_much_as_there_is),
        cmocka_unit_test(test_append_file_given_up_takes_what_comes),
        cmocka_unit_test(test_file_write_at_falls_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
