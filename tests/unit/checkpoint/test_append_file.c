/* Files that grow at their end: many threads, full disks, file systems that want the page cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "append_file.h"
#include "file_io.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"

enum { THREADS = 3, PUTS = 40, MAX_LEN = 300000, MIB = 1 << 20 };

/* A file of no name. */
static int new_file(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[80];

    snprintf(path, sizeof path, "%.40s/partita-append.XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
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

/* In another process: a limit stays. EFBIG stands for ENOSPC. */
static int append_in_child(uint64_t limit, unsigned mib)
{
    pid_t pid = fork();
    int status;

    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGXFSZ, SIG_IGN);
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
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

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(full); i++)
        assert_int_equal(append_in_child(full[i], 13), 1);
    assert_int_equal(append_in_child(13 * MIB + 1, 13), 0);
    assert_int_equal(append_in_child(1, 0), 0);
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
        cmocka_unit_test(test_append_file_given_up_takes_what_comes),
        cmocka_unit_test(test_file_write_at_falls_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
