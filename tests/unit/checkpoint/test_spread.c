/* A space that is spread over ranks: blocks change their rank while each rank saves what it kept at the cut, and the parts
 * together are the memory of that instant. Restoring, each rank brings its own blocks only. */
#include <sys/mman.h>

#include "checkpoint/pager.h"
#include "checkpoint/snapshot.h"
#include "sim-core/lock.h"
#include "store_fixture.h"

enum { BLOCKS = 1500, FIRST = 0x80000, RANKS = 3, NOBODY = RANKS };

struct spread;

struct rank {
    struct spread *spread;
    unsigned number;
    int fd;
    uint8_t *bytes;
    _Atomic uint8_t dirty[BLOCKS];
    sim_guard_ref guard;
    struct ckpt_range range;
    struct ckpt_source source;
};

struct spread {
    struct rank rank[RANKS];
    _Atomic uint8_t keeper[BLOCKS]; /* NOBODY: on its way */
    uint64_t random, generation;
};

static bool take_dirty(void *opaque, uint64_t local)
{
    return atomic_exchange(&((struct rank *)opaque)->dirty[local], 0);
}

static void set_guard(void *opaque, struct sim_guard *g)
{
    atomic_store(&((struct rank *)opaque)->guard, g);
}

static bool keeps(void *opaque, uint64_t local)
{
    const struct rank *r = opaque;

    return atomic_load(&r->spread->keeper[local]) == r->number;
}

static bool is_home(void *opaque, uint64_t local)
{
    return local % RANKS == ((const struct rank *)opaque)->number;
}

static void rank_init(struct spread *s, unsigned number)
{
    struct rank *r = &s->rank[number];

    r->spread = s;
    r->number = number;
    r->fd = memfd_create("test", 0);
    assert_int_equal(ftruncate(r->fd, BLOCKS * CKPT_BLOCK), 0);
    r->bytes = mmap(NULL, BLOCKS * CKPT_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    assert_true(r->bytes != MAP_FAILED);
    r->range = (struct ckpt_range){FIRST, 0, BLOCKS};
    r->source = (struct ckpt_source){.name = "ram",
                                     .fd = r->fd,
                                     .nr_blocks = BLOCKS,
                                     .range = &r->range,
                                     .nr_ranges = 1,
                                     .sparse = true,
                                     .opaque = r,
                                     .take_dirty = take_dirty,
                                     .set_guard = set_guard,
                                     .owns = keeps};
}

static struct spread *spread_create(uint64_t seed)
{
    struct spread *s = sim_new(struct spread);

    s->random = seed;
    for (unsigned i = 0; i < RANKS; i++)
        rank_init(s, i);
    for (unsigned i = 0; i < BLOCKS; i++)
        s->keeper[i] = i % RANKS;
    return s;
}

static void spread_destroy(struct spread *s)
{
    for (unsigned i = 0; i < RANKS; i++) {
        munmap(s->rank[i].bytes, BLOCKS * CKPT_BLOCK);
        close(s->rank[i].fd);
    }
    sim_free(s);
}

static void write_block(struct rank *r, uint64_t block)
{
    sim_guard_before(&r->guard, block * CKPT_BLOCK, CKPT_BLOCK, true);
    atomic_store(&r->dirty[block], 1);
    fill_block(r->bytes + block * CKPT_BLOCK, block, r->spread->generation++);
}

/* As the coherent memory does it; what stays behind is stale. */
static void move_block(struct rank *from, struct rank *to, uint64_t block)
{
    struct spread *s = from->spread;

    sim_guard_moves(&from->guard, block, false);
    atomic_store(&s->keeper[block], NOBODY);
    if (atomic_exchange(&from->dirty[block], 0))
        atomic_store(&to->dirty[block], 1);
    memcpy(to->bytes + block * CKPT_BLOCK, from->bytes + block * CKPT_BLOCK, CKPT_BLOCK);
    memset(from->bytes + block * CKPT_BLOCK, 0xdb, CKPT_BLOCK);
    sim_guard_moves(&to->guard, block, true);
    atomic_store(&s->keeper[block], (uint8_t)to->number);
}

static uint64_t next(struct spread *s)
{
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    return s->random >> 33;
}

static void something_happens(struct spread *s)
{
    uint64_t block = next(s) % BLOCKS;
    struct rank *r = &s->rank[atomic_load(&s->keeper[block])];

    if (next(s) % 3)
        write_block(r, block);
    else
        move_block(r, &s->rank[(r->number + 1 + next(s) % (RANKS - 1)) % RANKS], block);
}

static void copy_all(struct spread *s, uint8_t *to)
{
    for (uint64_t i = 0; i < BLOCKS; i++)
        memcpy(to + i * CKPT_BLOCK, s->rank[s->keeper[i]].bytes + i * CKPT_BLOCK, CKPT_BLOCK);
}

struct part_thread {
    struct sim_thread thread;
    struct ckpt_snapshot *snapshot;
    struct ckpt_writer *writer;
    struct ckpt_part part;
    atomic_uint *left;
};

static void *write_part_main(void *arg)
{
    struct part_thread *t = arg;
    bool done = false;

    ckpt_writer_space(t->writer, "ram", FIRST + BLOCKS);
    while (!done)
        assert_int_equal(ckpt_snapshot_next(t->snapshot, t->writer, 16, &done), SIM_OK);
    assert_int_equal(ckpt_writer_finish(t->writer, &t->part), SIM_OK);
    atomic_fetch_sub(t->left, 1);
    return NULL;
}

static void start_part(struct part_thread *t, struct rank *r, const struct ckpt_new *image, bool incremental)
{
    struct ckpt_writer_config config = {
        .folder = image->folder, .path = image->path, .part = r->number, .nr_threads = 1};

    memcpy(config.id, image->ref.id, sizeof config.id);
    assert_int_equal(ckpt_writer_create(&config, &t->writer), SIM_OK);
    assert_int_equal(ckpt_snapshot_begin(&r->source, incremental, &t->snapshot), SIM_OK);
}

/* An image of this instant, while everything goes on. */
static void save(struct spread *s, struct ckpt_store *store, struct ckpt_ref *last)
{
    struct part_thread t[RANKS];
    struct ckpt_part part[RANKS];
    struct ckpt_new image;
    atomic_uint left = RANKS;
    bool incremental = last->name[0];

    assert_int_equal(ckpt_store_begin(store, &image), SIM_OK);
    for (unsigned i = 0; i < RANKS; i++)
        start_part(&t[i], &s->rank[i], &image, incremental);
    for (unsigned i = 0; i < RANKS; i++) {
        t[i].left = &left;
        assert_int_equal(sim_thread_start(&t[i].thread, "part", write_part_main, &t[i]), SIM_OK);
    }
    while (atomic_load(&left))
        something_happens(s);
    for (unsigned i = 0; i < RANKS; i++) {
        sim_thread_join(&t[i].thread);
        ckpt_snapshot_end(t[i].snapshot);
        part[i] = t[i].part;
    }
    struct ckpt_manifest manifest = {.self = image.ref,
                                     .incremental = incremental,
                                     .parent = *last,
                                     .part = part,
                                     .nr_parts = RANKS,
                                     .machine = (char *)"{}"};
    assert_int_equal(ckpt_store_commit(store, &image, &manifest), SIM_OK);
    *last = image.ref;
    ckpt_store_end(store, &image);
}

/* No block is in two parts of an image: exactly one rank answers for it. */
static void check_each_once(const struct ckpt_image *image)
{
    uint64_t mentioned = 0, joined = 0;
    const struct ckpt_manifest *m = ckpt_image_manifest(image, 0);
    const struct ckpt_space *ram = ckpt_image_find_space(image, "ram");

    for (uint32_t i = 0; i < m->nr_parts; i++)
        mentioned += m->part[i].nr_blocks;
    for (size_t i = 0; i < ram->nr_extents; i++)
        joined += ram->extent[i].nr;
    if (!m->incremental)
        assert_int_equal(mentioned, joined);
    else
        assert_true(mentioned <= joined);
}

static void check_contents(struct store_fixture *f, const uint8_t *want)
{
    struct ckpt_image *image;
    struct spread *s = spread_create(1);

    assert_int_equal(ckpt_image_open(f->store, &image), SIM_OK);
    check_each_once(image);
    for (unsigned i = 0; i < RANKS; i++) {
        struct ckpt_pager_config config = {.image = image, .target = s->rank[i].source, .nr_threads = i};
        struct ckpt_pager *pager;
        config.target.owns = is_home;
        assert_int_equal(ckpt_pager_start(&config, &pager), SIM_OK);
        assert_int_equal(ckpt_pager_fetch(pager), SIM_OK);
        assert_int_equal(ckpt_pager_finish(pager), SIM_OK);
        ckpt_pager_destroy(pager);
    }
    static const uint8_t zero[CKPT_BLOCK];
    for (unsigned i = 0; i < RANKS; i++)
        for (uint64_t b = 0; b < BLOCKS; b++)
            assert_memory_equal(s->rank[i].bytes + b * CKPT_BLOCK,
                                is_home(&s->rank[i], b) ? want + b * CKPT_BLOCK : zero, CKPT_BLOCK);
    ckpt_image_close(image);
    spread_destroy(s);
}

static void test_blocks_move_while_they_are_saved(void **state)
{
    struct store_fixture *f = *state;
    struct spread *s = spread_create(4711);
    uint8_t *then = sim_zalloc(BLOCKS * CKPT_BLOCK);
    struct ckpt_store *store;
    struct ckpt_ref last = {0};

    assert_int_equal(ckpt_store_open(f->store, &store), SIM_OK);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 600; i++)
            something_happens(s);
        copy_all(s, then);
        save(s, store, &last);
        check_contents(f, then);
    }
    ckpt_store_close(store);
    sim_free(then);
    spread_destroy(s);
}

/* Written on one rank, kept unwritten by another: it still has changed since the last image. */
static void test_the_mark_goes_along(void **state)
{
    struct store_fixture *f = *state;
    struct spread *s = spread_create(1);
    struct ckpt_store *store;
    struct ckpt_new image;
    bool done;

    write_block(&s->rank[0], 3);
    move_block(&s->rank[0], &s->rank[1], 3);
    move_block(&s->rank[1], &s->rank[2], 3);
    assert_int_equal(ckpt_store_open(f->store, &store), SIM_OK);
    assert_int_equal(ckpt_store_begin(store, &image), SIM_OK);
    for (unsigned i = 0; i < RANKS; i++) {
        struct part_thread t = {0};
        start_part(&t, &s->rank[i], &image, true);
        ckpt_writer_space(t.writer, "ram", FIRST + BLOCKS);
        assert_int_equal(ckpt_snapshot_next(t.snapshot, t.writer, UINT32_MAX, &done), SIM_OK);
        assert_true(done);
        assert_int_equal(ckpt_writer_finish(t.writer, &t.part), SIM_OK);
        assert_int_equal(t.part.nr_blocks, i == 2);
        ckpt_snapshot_end(t.snapshot);
    }
    ckpt_store_end(store, &image);
    ckpt_store_close(store);
    spread_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_blocks_move_while_they_are_saved),
        STORE_TEST(test_the_mark_goes_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
