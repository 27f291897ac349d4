/* Stores: one writer, full disks, writers that die, pruning. */
#include "sim-core/lock.h"
#include "store_fixture.h"

static const struct plan some = {0, 200, 1, 1};

static bool good(const char *path)
{
    struct ckpt_image *image;

    if (ckpt_image_open(path, &image) != SIM_OK)
        return false;
    bool whole = ckpt_image_verify(image, NULL, NULL) == SIM_OK;
    ckpt_image_close(image);
    return whole;
}

/* Runs fn in a child; its exit code, or 1000 + the signal that ended it. */
static int in_child(void (*fn)(struct store_fixture *f, unsigned n), struct store_fixture *f,
                    unsigned n)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        fn(f, n);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void try_open(struct store_fixture *f, unsigned n)
{
    struct ckpt_store *s;

    (void)n;
    _exit(ckpt_store_open(f->store, &s) == SIM_ERR_BUSY ? 3 : 4);
}

static void open_and_die(struct store_fixture *f, unsigned n)
{
    struct ckpt_store *s;

    (void)n;
    if (ckpt_store_open(f->store, &s) == SIM_OK)
        raise(SIGKILL);
}

/* The second writer is refused, in this process and in others; a lock does not outlive its holder. */
static void test_one_writer_at_a_time(void **state)
{
    struct store_fixture *f = *state;
    struct ckpt_store *s, *other;

    assert_int_equal(in_child(open_and_die, f, 0), 1000 + SIGKILL);
    assert_int_equal(ckpt_store_open(f->store, &s), SIM_OK);
    assert_int_equal(in_child(try_open, f, 0), 3);
    int saved = hush();
    assert_int_equal(ckpt_store_open(f->store, &other), SIM_ERR_BUSY);
    unhush(saved);
    ckpt_store_close(s);
    assert_int_equal(ckpt_store_open(f->store, &other), SIM_OK);
    ckpt_store_close(other);
}

/* The disk is full after n bytes of any file (EFBIG stands for ENOSPC): an error, never a half image. */
static void write_limited(struct store_fixture *f, unsigned n)
{
    struct rlimit limit = {n, n};
    struct ckpt_store *s;

    signal(SIGXFSZ, SIG_IGN);
    if (ckpt_store_open(f->store, &s) != SIM_OK)
        _exit(10);
    setrlimit(RLIMIT_FSIZE, &limit);
    enum sim_status status = write_image(s, NULL, &some, 1, NULL);
    ckpt_store_close(s);
    _exit(status == SIM_OK ? 1 : status == SIM_ERR_IO ? 0 : 2);
}

static void test_full_disk_leaves_the_last_image(void **state)
{
    static const unsigned sizes[] = {0, 1, 31, 32, 100, 4096, 50000, 300000, 600000, 800000};
    struct store_fixture *f = *state;
    struct ckpt_store *s;
    struct ckpt_ref *ref;
    uint32_t nr;

    assert_int_equal(ckpt_store_open(f->store, &s), SIM_OK);
    assert_int_equal(write_image(s, NULL, &some, 1, NULL), SIM_OK);
    ckpt_store_close(s);
    for (size_t i = 0; i < SIM_ARRAY_LEN(sizes); i++) {
        assert_int_equal(in_child(write_limited, f, sizes[i]), 0);
        assert_true(good(f->store));
    }
    assert_int_equal(in_child(write_limited, f, 10 << 20), 1);
    assert_int_equal(ckpt_store_list(f->store, &ref, &nr), SIM_OK);
    assert_int_equal(nr, 2); /* nothing half made was left */
    sim_free(ref);
}

static void write_for_ever(struct store_fixture *f, unsigned n)
{
    struct ckpt_store *s;
    struct ckpt_ref last;
    struct plan plan = some;

    (void)n;
    if (ckpt_store_open(f->store, &s) != SIM_OK)
        _exit(10);
    bool ok = write_image(s, NULL, &plan, 1, &last) == SIM_OK;
    while (ok) {
        uint32_t removed;
        plan.step = 17;
        plan.generation++;
        struct ckpt_ref parent = last;
        ok = write_image(s, &parent, &plan, 1, &last) == SIM_OK &&
             ckpt_store_prune(s, 3, &removed) == SIM_OK;
    }
    _exit(11);
}

static void write_one(struct store_fixture *f, unsigned n)
{
    struct ckpt_store *s;

    (void)n;
    if (ckpt_store_open(f->store, &s) != SIM_OK || write_image(s, NULL, &some, 1, NULL) != SIM_OK)
        _exit(10);
}

/* How long a process takes here and now (sanitizers, a busy host) to start and write one image, microseconds. */
static unsigned one_image_us(const struct store_fixture *f)
{
    struct store_fixture other = *f;
    uint64_t start = sim_host_ns();

    snprintf(other.store, sizeof other.store, "%.60s/timing", f->dir);
    assert_int_equal(in_child(write_one, &other, 0), 0);
    return (unsigned)((sim_host_ns() - start) / 1000) + 1;
}

/* SIGKILL at random instants of writing and pruning: what the store says is complete is whole. */
static void test_killed_writers_leave_whole_images(void **state)
{
    struct store_fixture *f = *state;
    unsigned seed = 12345, complete = 0;
    const unsigned one = one_image_us(f);

    /* On a loaded host a writer may not come to its first image for long: then more of them, with more time. */
    for (unsigned round = 0; round < 12 || (!complete && round < 100); round++) {
        pid_t pid = fork();
        if (pid == 0) {
            dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
            write_for_ever(f, 0);
        }
        seed = seed * 1103515245 + 12345;
        usleep((seed >> 8) % ((4 + round / 4) * one));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        struct ckpt_ref *ref;
        uint32_t nr;
        if (access(f->store, F_OK) < 0 || ckpt_store_list(f->store, &ref, &nr) != SIM_OK)
            continue;
        for (uint32_t i = 0; i < nr; i++) {
            char path[120], manifest[150];
            snprintf(path, sizeof path, "%s/%s", f->store, ref[i].name);
            snprintf(manifest, sizeof manifest, "%s/manifest.json", path);
            if (access(manifest, F_OK) < 0)
                continue;
            complete++;
            assert_true(good(path));
        }
        sim_free(ref);
    }
    print_message("%u complete images after the kills\n", complete);
    assert_true(complete > 0);
}

static bool exists(const struct store_fixture *f, unsigned n)
{
    char path[120];

    snprintf(path, sizeof path, "%s/%06u", f->store, n);
    return access(path, F_OK) == 0;
}

static void test_prune_keeps_what_is_needed(void **state)
{
    struct store_fixture *f = *state;
    struct ckpt_store *s;
    struct ckpt_ref a, b, c;
    uint32_t removed;
    char dead[120];

    assert_int_equal(ckpt_store_open(f->store, &s), SIM_OK);
    assert_int_equal(write_image(s, NULL, &some, 1, NULL), SIM_OK); /* 1 */
    assert_int_equal(write_image(s, NULL, &some, 1, &a), SIM_OK);   /* 2 */
    assert_int_equal(write_image(s, &a, &some, 1, &b), SIM_OK);     /* 3 on 2 */
    assert_int_equal(write_image(s, NULL, &some, 1, NULL), SIM_OK); /* 4 */
    assert_int_equal(write_image(s, &b, &some, 1, &c), SIM_OK);     /* 5 on 3 on 2 */
    snprintf(dead, sizeof dead, "%s/000006", f->store);
    assert_int_equal(mkdir(dead, 0777), 0); /* what a dead writer left */
    assert_int_equal(ckpt_store_prune(s, 1, &removed), SIM_OK);
    assert_int_equal(removed, 2);
    assert_false(exists(f, 1) || exists(f, 4) || exists(f, 6));
    assert_true(exists(f, 2) && exists(f, 3) && exists(f, 5) && good(f->store));
    /* Names are not used again. */
    assert_int_equal(write_image(s, NULL, &some, 1, &c), SIM_OK);
    assert_string_equal(c.name, "000006");
    assert_int_equal(ckpt_store_prune(s, 1, &removed), SIM_OK);
    assert_int_equal(removed, 3);
    ckpt_store_close(s);
}

static void test_prune_keeps_what_is_named(void **state)
{
    static const char *const named[] = {"000003", "000004"};
    struct store_fixture *f = *state;
    struct ckpt_store *s;
    struct ckpt_ref a, b;
    uint32_t removed;

    assert_int_equal(ckpt_store_open(f->store, &s), SIM_OK);
    assert_int_equal(write_image(s, NULL, &some, 1, NULL), SIM_OK); /* 1 */
    assert_int_equal(write_image(s, NULL, &some, 1, &a), SIM_OK);   /* 2 */
    assert_int_equal(write_image(s, &a, &some, 1, &b), SIM_OK);     /* 3 on 2 */
    assert_int_equal(write_image(s, NULL, &some, 1, NULL), SIM_OK); /* 4 */
    assert_int_equal(write_image(s, NULL, &some, 1, NULL), SIM_OK); /* 5: newer */
    assert_int_equal(ckpt_store_prune_but(s, named, 2, &removed), SIM_OK);
    assert_int_equal(removed, 1);
    assert_true(exists(f, 2) && exists(f, 3) && exists(f, 4) && exists(f, 5) && good(f->store));
    assert_int_equal(ckpt_store_prune_but(s, named, 1, &removed), SIM_OK); /* 4 is newer than 3 */
    assert_int_equal(removed, 0);
    assert_int_equal(ckpt_store_prune_but(s, named + 1, 1, &removed), SIM_OK);
    assert_int_equal(removed, 2);
    assert_true(exists(f, 4) && exists(f, 5) && good(f->store));
    assert_int_equal(ckpt_store_prune_but(s, NULL, 0, &removed), SIM_OK);
    assert_int_equal(removed, 2);
    ckpt_store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_one_writer_at_a_time),
        STORE_TEST(test_full_disk_leaves_the_last_image),
        STORE_TEST(test_killed_writers_leave_whole_images),
        STORE_TEST(test_prune_keeps_what_is_needed),
        STORE_TEST(test_prune_keeps_what_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
