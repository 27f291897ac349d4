/* Snapshots while others write, and blocks on demand: what a reader gets is what was there at the cut. */
#include "checkpoint/pager.h"
#include "sim-core/lock.h"
#include "memory_fixture.h"

enum { WRITERS = 2 };

struct writer_thread {
    struct sim_thread thread;
    struct memory *m;
    unsigned seed, index;
    atomic_bool *stop;
};

/* Each has blocks of its own: which of two writes comes last is nobody's business here. */
static void *write_randomly(void *arg)
{
    struct writer_thread *w = arg;
    uint64_t generation = 1000;

    while (!atomic_load(w->stop)) {
        w->seed = w->seed * 1103515245 + 12345;
        uint64_t block = (w->seed >> 8) % (BLOCKS / WRITERS) * WRITERS + w->index;
        guest_write(w->m, block, generation++);
    }
    return NULL;
}

/* Writes a snapshot into a new image. */
static void save(struct ckpt_store *store, const struct ckpt_ref *parent, struct ckpt_snapshot *s,
                 struct ckpt_ref *out)
{
    struct ckpt_new image;
    struct ckpt_writer *w;
    struct ckpt_part part;
    bool done = false;

    assert_int_equal(ckpt_store_begin(store, &image), SIM_OK);
    struct ckpt_writer_config config = {.folder = image.folder, .path = image.path, .nr_threads = 1};
    memcpy(config.id, image.ref.id, sizeof config.id);
    assert_int_equal(ckpt_writer_create(&config, &w), SIM_OK);
    ckpt_writer_space(w, "ram", FIRST + 10000);
    while (!done)
        assert_int_equal(ckpt_snapshot_next(s, w, 128, &done), SIM_OK);
    assert_int_equal(ckpt_writer_finish(w, &part), SIM_OK);
    struct ckpt_manifest manifest = {.self = image.ref,
                                     .incremental = parent != NULL,
                                     .part = &part,
                                     .nr_parts = 1,
                                     .machine = (char *)"{}"};
    if (parent)
        manifest.parent = *parent;
    assert_int_equal(ckpt_store_commit(store, &image, &manifest), SIM_OK);
    *out = image.ref;
    ckpt_store_end(store, &image);
}

/* One that waits for all of an image; what it saw is asserted by the test's own thread, to which a failed assertion jumps back. */
struct waiter {
    struct sim_thread thread;
    struct ckpt_pager *pager;
    enum sim_status status;
    bool is_done;
};

static void *finish_main(void *arg)
{
    struct waiter *w = arg;

    w->status = ckpt_pager_finish(w->pager);
    w->is_done = ckpt_pager_is_done(w->pager);
    return NULL;
}

/* Loads the newest image of the store through a pager, on demand in a random order, ahead, and for two that wait, and compares. */
static void check(struct store_fixture *f, const uint8_t *want, unsigned prefetchers)
{
    struct memory *m = memory_create();
    struct ckpt_pager *pager;
    struct ckpt_image *image;
    unsigned seed = 77;

    assert_int_equal(ckpt_image_open(f->store, &image), SIM_OK);
    struct ckpt_pager_config config = {
        .image = image, .target = m->source, .nr_threads = prefetchers};
    assert_int_equal(ckpt_pager_start(&config, &pager), SIM_OK);
    for (unsigned i = 0; i < 500; i++) {
        seed = seed * 1103515245 + 12345;
        uint64_t block = (seed >> 8) % BLOCKS;
        if (i == 20)
            assert_int_equal(ckpt_pager_fetch(pager), SIM_OK);
        sim_guard_before(&m->guard, block * CKPT_BLOCK, CKPT_BLOCK, i & 1);
        assert_memory_equal(m->bytes + block * CKPT_BLOCK, want + block * CKPT_BLOCK, CKPT_BLOCK);
    }
    struct waiter waiter[2] = {{.pager = pager}, {.pager = pager}};
    assert_int_equal(sim_thread_start(&waiter[0].thread, "waiter", finish_main, &waiter[0]), SIM_OK);
    finish_main(&waiter[1]);
    sim_thread_join(&waiter[0].thread);
    for (unsigned i = 0; i < SIM_ARRAY_LEN(waiter); i++) {
        assert_int_equal(waiter[i].status, SIM_OK);
        assert_true(waiter[i].is_done);
    }
    assert_int_equal(ckpt_pager_fetch(pager), SIM_OK); /* nothing is left to fetch */
    assert_null(atomic_load(&m->guard));
    assert_memory_equal(m->bytes, want, BLOCKS * CKPT_BLOCK);
    ckpt_pager_destroy(pager);
    ckpt_image_close(image);
    memory_destroy(m);
}

static void cut(struct memory *m, bool incremental, struct ckpt_snapshot **s, uint8_t *copy)
{
    memcpy(copy, m->bytes, BLOCKS * CKPT_BLOCK);
    assert_int_equal(ckpt_snapshot_begin(&m->source, incremental, s), SIM_OK);
}

/* A full image and three incremental ones, each while two threads overwrite everything; every one is the memory at its cut. */
static void test_writers_do_not_change_the_past(void **state)
{
    struct store_fixture *f = *state;
    struct memory *m = memory_create();
    uint8_t *then = sim_zalloc(BLOCKS * CKPT_BLOCK);
    struct ckpt_store *store;
    struct ckpt_ref last = {0};

    assert_int_equal(ckpt_store_open(f->store, &store), SIM_OK);
    for (unsigned i = 0; i < 900; i++) /* the rest stays holes */
        guest_write(m, i * 2, i);
    for (unsigned round = 0; round < 4; round++) {
        struct writer_thread w[WRITERS];
        struct ckpt_snapshot *s;
        struct ckpt_ref parent = last;
        atomic_bool stop = false;
        cut(m, round > 0, &s, then);
        for (unsigned i = 0; i < WRITERS; i++) {
            w[i] = (struct writer_thread){.m = m, .seed = round * 10 + i, .index = i, .stop = &stop};
            assert_int_equal(sim_thread_start(&w[i].thread, "guest", write_randomly, &w[i]), SIM_OK);
        }
        save(store, round ? &parent : NULL, s, &last);
        atomic_store(&stop, true);
        for (unsigned i = 0; i < WRITERS; i++)
            sim_thread_join(&w[i].thread);
        ckpt_snapshot_end(s);
        check(f, then, round % 3);
    }
    ckpt_store_close(store);
    sim_free(then);
    memory_destroy(m);
}

/* Only what was written since is in an incremental image; a block that became zero hides its older self. */
static void test_incremental_has_only_what_changed(void **state)
{
    struct store_fixture *f = *state;
    struct memory *m = memory_create();
    uint8_t *then = sim_zalloc(BLOCKS * CKPT_BLOCK);
    struct ckpt_store *store;
    struct ckpt_snapshot *s;
    struct ckpt_ref a, b;
    struct ckpt_image *image;

    assert_int_equal(ckpt_store_open(f->store, &store), SIM_OK);
    for (unsigned i = 0; i < BLOCKS; i++)
        guest_write(m, i, i);
    cut(m, false, &s, then);
    save(store, NULL, s, &a);
    ckpt_snapshot_end(s);
    guest_write(m, 17, 5);
    sim_guard_before(&m->guard, 2000 * CKPT_BLOCK, CKPT_BLOCK, true);
    atomic_store(&m->dirty[2000], 1);
    memset(m->bytes + 2000 * CKPT_BLOCK, 0, CKPT_BLOCK);
    cut(m, true, &s, then);
    save(store, &a, s, &b);
    ckpt_snapshot_end(s);
    check(f, then, 1);
    assert_int_equal(ckpt_image_open(f->store, &image), SIM_OK);
    assert_int_equal(ckpt_image_manifest(image, 0)->part[0].nr_blocks, 2);
    assert_int_equal(ckpt_image_manifest(image, 0)->part[0].nr_zero, 1);
    ckpt_image_close(image);
    ckpt_store_close(store);
    sim_free(then);
    memory_destroy(m);
}

static void count_failures(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* A damaged chunk: told once, to the machine and to whoever waits; nobody hangs. */
static void test_damage_is_told_once(void **state)
{
    struct store_fixture *f = *state;
    struct memory *m = memory_create();
    uint8_t *then = sim_zalloc(BLOCKS * CKPT_BLOCK);
    struct ckpt_store *store;
    struct ckpt_snapshot *s;
    struct ckpt_ref a;
    struct ckpt_image *image;
    struct ckpt_pager *pager;
    unsigned failures = 0;
    char path[150];

    assert_int_equal(ckpt_store_open(f->store, &store), SIM_OK);
    for (unsigned i = 0; i < BLOCKS; i++)
        guest_write(m, i, i);
    cut(m, false, &s, then);
    save(store, NULL, s, &a);
    ckpt_snapshot_end(s);
    ckpt_store_close(store);
    snprintf(path, sizeof path, "%s/%s/part-0000.data", f->store, a.name);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "damage", 6, 1 << 20), 6);
    close(fd);
    assert_int_equal(ckpt_image_open(f->store, &image), SIM_OK);
    struct memory *to = memory_create();
    struct ckpt_pager_config config = {.image = image,
                                       .target = to->source,
                                       .nr_threads = 2,
                                       .failed = count_failures,
                                       .opaque = &failures};
    int saved = hush();
    assert_int_equal(ckpt_pager_start(&config, &pager), SIM_OK);
    assert_int_equal(ckpt_pager_fetch(pager), SIM_OK);
    for (unsigned i = 0; i < BLOCKS; i++)
        sim_guard_before(&to->guard, (uint64_t)i * CKPT_BLOCK, CKPT_BLOCK, false);
    assert_int_equal(ckpt_pager_finish(pager), SIM_ERR_FORMAT);
    unhush(saved);
    assert_int_equal(failures, 1);
    ckpt_pager_destroy(pager);
    ckpt_image_close(image);
    memory_destroy(to);
    memory_destroy(m);
    sim_free(then);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_writers_do_not_change_the_past),
        STORE_TEST(test_incremental_has_only_what_changed),
        STORE_TEST(test_damage_is_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
