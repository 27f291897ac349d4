/* Images: what was written is read, in parts and chains; every kind of damage is refused. */
#include "store_fixture.h"

static struct ckpt_store *open_store(struct store_fixture *f)
{
    struct ckpt_store *s;

    assert_int_equal(ckpt_store_open(f->store, &s), SIM_OK);
    return s;
}

static struct ckpt_image *open_image(struct store_fixture *f)
{
    struct ckpt_image *image;

    assert_int_equal(ckpt_image_open(f->store, &image), SIM_OK);
    return image;
}

/* Expected generation by block; 0: not in the image. */
struct expected {
    uint64_t generation[1024];
    uint64_t seen;
};

static void expect(struct expected *e, const struct plan *p)
{
    for (uint64_t n = p->from; n < p->to; n += p->step)
        e->generation[n] = p->generation;
}

static void compare(void *opaque, uint64_t block, const uint8_t *data)
{
    struct expected *e = opaque;
    uint8_t want[CKPT_BLOCK];

    assert_true(block < 1024 && e->generation[block]);
    fill_block(want, block, e->generation[block]);
    assert_memory_equal(data, want, sizeof want);
    e->generation[block] = 0;
    e->seen++;
}

static void check_blocks(const struct ckpt_image *image, struct expected *e, uint64_t nr)
{
    const struct ckpt_space *s = ckpt_image_find_space(image, "ram");

    assert_non_null(s);
    assert_int_equal(s->nr_blocks, 1 << 20);
    assert_int_equal(ckpt_image_each_block(image, s, compare, e), SIM_OK);
    assert_int_equal(e->seen, nr);
}

/* Three writers hold disjoint blocks, as ranks do; a reader sees one space. */
static void test_parts_are_one_image(void **state)
{
    static const struct plan plan[] = {{0, 300, 3, 1}, {1, 300, 3, 1}, {2, 300, 3, 1}};
    struct ckpt_store *s = open_store(*state);
    struct expected e = {0};
    const uint8_t *data;
    size_t len;
    struct ckpt_hot hot;

    assert_int_equal(write_image(s, NULL, plan, 3, NULL), SIM_OK);
    ckpt_store_close(s);
    struct ckpt_image *image = open_image(*state);
    for (unsigned i = 0; i < 3; i++)
        expect(&e, &plan[i]);
    check_blocks(image, &e, 300);
    assert_true(ckpt_image_section(image, "hart/2", &data, &len));
    assert_int_equal(len, 6);
    assert_memory_equal(data, "hart/2", 6);
    assert_false(ckpt_image_section(image, "hart/3", &data, &len));
    assert_string_equal(ckpt_image_section_name(image, 1), "hart/1");
    assert_null(ckpt_image_section_name(image, 3));
    assert_true(ckpt_image_hot(image, 2, &hot));
    assert_int_equal(hot.block, 2);
    assert_false(ckpt_image_hot(image, 3, &hot));
    assert_int_equal(ckpt_image_verify(image, NULL, NULL), SIM_OK);
    ckpt_image_close(image);
}

/* The newest image of a chain hides what older ones have, whoever of them had it. */
/* What two ranks kept in turns: a chunk that is read serves all its blocks, though no two of them are neighbours. */
static void test_blocks_of_a_chunk_that_are_no_neighbours(void **state)
{
    enum { NR = 3 * CKPT_CHUNK_BLOCKS };
    static const struct plan plan[] = {{100, 100 + 2 * NR, 2, 1}, {101, 101 + 2 * NR, 2, 2}};
    struct store_fixture *f = *state;
    struct ckpt_store *s = open_store(f);
    struct ckpt_ref ref;

    assert_int_equal(write_image(s, NULL, plan, 2, &ref), SIM_OK);
    ckpt_store_close(s);
    struct ckpt_image *image = open_image(f);
    const struct ckpt_space *ram = ckpt_image_find_space(image, "ram");
    assert_int_equal(ram->nr_extents, 2 * NR);
    for (size_t i = 0; i < ram->nr_extents; i++) {
        const uint32_t *list;
        size_t n = ckpt_space_same_chunk(ram, i, &list);
        bool itself = false;
        assert_int_equal(n, CKPT_CHUNK_BLOCKS);
        for (size_t k = 0; k < n; k++) {
            const struct ckpt_extent *e = &ram->extent[list[k]];
            assert_true(e->file == ram->extent[i].file && e->chunk == ram->extent[i].chunk);
            assert_true(k == 0 || list[k] > list[k - 1]);
            itself |= list[k] == i;
        }
        assert_true(itself);
    }
    ckpt_image_close(image);
}

static void test_chain_shows_newest_blocks(void **state)
{
    static const struct plan full = {0, 500, 1, 1};
    static const struct plan first[] = {{10, 200, 7, 2}, {300, 320, 1, 2}};
    static const struct plan second = {0, 400, 13, 3};
    struct ckpt_store *s = open_store(*state);
    struct ckpt_ref a, b;
    struct expected e = {0};

    assert_int_equal(write_image(s, NULL, &full, 1, &a), SIM_OK);
    assert_int_equal(write_image(s, &a, first, 2, &b), SIM_OK);
    assert_int_equal(write_image(s, &b, &second, 1, NULL), SIM_OK);
    expect(&e, &full);
    expect(&e, &first[0]);
    expect(&e, &first[1]);
    expect(&e, &second);
    ckpt_store_close(s);
    struct ckpt_image *image = open_image(*state);
    assert_int_equal(ckpt_image_manifest(image, 2)->incremental, false);
    assert_null(ckpt_image_manifest(image, 3));
    check_blocks(image, &e, 500);
    const struct ckpt_space *space = ckpt_image_find_space(image, "ram");
    assert_int_equal(space->extent[ckpt_space_search(space, 13)].block, 13);
    assert_int_equal(ckpt_space_search(space, 500), space->nr_extents);
    ckpt_image_close(image);
}

/* --- zero and equal blocks --- */

static void write_special(struct store_fixture *f, struct ckpt_part *part)
{
    struct ckpt_store *s = open_store(f);
    struct ckpt_new image;
    struct ckpt_writer *w;
    uint8_t data[CKPT_BLOCK] = {0};

    assert_int_equal(ckpt_store_begin(s, &image), SIM_OK);
    struct ckpt_writer_config config = {.folder = image.folder, .path = image.path};
    memcpy(config.id, image.ref.id, sizeof config.id);
    assert_int_equal(ckpt_writer_create(&config, &w), SIM_OK);
    ckpt_writer_space(w, "ram", 1000);
    for (unsigned n = 0; n < 100; n++)
        ckpt_writer_blocks(w, n, 1, data);
    fill_block(data, 7, 7);
    for (unsigned n = 200; n < 264; n++)
        ckpt_writer_blocks(w, n, 1, data);
    data[4095] ^= 1;
    ckpt_writer_blocks(w, 150, 1, data); /* out of order */
    data[4095] ^= 1;
    ckpt_writer_blocks(w, 500, 1, data); /* ends on an equal one */
    assert_int_equal(ckpt_writer_finish(w, part), SIM_OK);
    struct ckpt_manifest m = {
        .self = image.ref, .part = part, .nr_parts = 1, .machine = (char *)"{}"};
    assert_int_equal(ckpt_store_commit(s, &image, &m), SIM_OK);
    ckpt_store_end(s, &image);
    ckpt_store_close(s);
}

static void check_special(void *opaque, uint64_t block, const uint8_t *data)
{
    uint8_t want[CKPT_BLOCK] = {0};

    if (block >= 100)
        fill_block(want, 7, 7);
    if (block == 150)
        want[4095] ^= 1;
    assert_memory_equal(data, want, sizeof want);
    ++*(unsigned *)opaque;
}

static void test_zero_and_equal_blocks_are_stored_once(void **state)
{
    struct ckpt_part part;
    unsigned seen = 0;

    write_special(*state, &part);
    assert_int_equal(part.nr_zero, 100);
    assert_int_equal(part.nr_equal, 64);
    assert_in_range(part.data_bytes, CKPT_BLOCK, 2 * CKPT_BLOCK); /* the two differ in one bit */
    struct ckpt_image *image = open_image(*state);
    const struct ckpt_space *s = ckpt_image_find_space(image, "ram");
    assert_int_equal(ckpt_image_each_block(image, s, check_special, &seen), SIM_OK);
    assert_int_equal(seen, 166);
    assert_int_equal(s->extent[0].nr, 100);
    assert_int_equal(s->extent[0].file, CKPT_ZERO);
    assert_int_equal(s->extent[1].block, 150);
    ckpt_image_close(image);
}

/* --- damage --- */

static bool readable(const char *path)
{
    struct ckpt_image *image;
    bool good = ckpt_image_open(path, &image) == SIM_OK;

    if (good) {
        good = ckpt_image_verify(image, NULL, NULL) == SIM_OK;
        ckpt_image_close(image);
    }
    return good;
}

static off_t size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void flip(const char *path, off_t at, unsigned bit)
{
    int fd = open(path, O_RDWR);
    uint8_t c;

    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= (uint8_t)(1 << bit);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static const char *const file_names[] = {"manifest.json", "part-0000.index", "part-0000.data",
                                         "part-0001.index", "part-0001.data"};

static void write_two_parts(struct store_fixture *f)
{
    static const struct plan plan[] = {{0, 200, 2, 1}, {1, 200, 2, 1}};
    struct ckpt_store *s = open_store(f);

    assert_int_equal(write_image(s, NULL, plan, 2, NULL), SIM_OK);
    ckpt_store_close(s);
}

/* A flipped bit anywhere is found; the data's chunks are sampled, everything else is tried whole. */
static void test_flipped_bits_are_refused(void **state)
{
    struct store_fixture *f = *state;
    int saved = hush();
    unsigned tried = 0, accepted = 0;

    write_two_parts(f);
    for (size_t i = 0; i < SIM_ARRAY_LEN(file_names); i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/000001/%s", f->store, file_names[i]);
        off_t size = size_of(path);
        for (off_t at = 0; at < size; at += at < 64 || size < 4096 ? 1 : 2503) {
            unsigned bit = (unsigned)(at * 5 % 8);
            flip(path, at, bit);
            accepted += readable(f->store);
            tried++;
            flip(path, at, bit);
        }
    }
    unhush(saved);
    assert_true(tried > 1000);
    assert_int_equal(accepted, 0);
    assert_true(readable(f->store));
}

static void test_truncated_and_missing_files_are_refused(void **state)
{
    struct store_fixture *f = *state;
    int saved = hush();
    unsigned accepted = 0;

    for (size_t i = 1; i < SIM_ARRAY_LEN(file_names); i++) {
        char path[160], image[100];
        write_two_parts(f);
        snprintf(image, sizeof image, "%s/%06zu", f->store, i);
        snprintf(path, sizeof path, "%s/%s", image, file_names[i]);
        off_t size = size_of(path);
        for (off_t len = size - 1; len >= 0; len -= 1 + size / 17) {
            assert_int_equal(truncate(path, len), 0);
            accepted += readable(image);
        }
        unlink(path);
        accepted += readable(image);
    }
    write_two_parts(f);
    for (off_t len = 700; len >= 0; len -= 13) {
        char path[160];
        snprintf(path, sizeof path, "%s/000005/manifest.json", f->store);
        assert_int_equal(truncate(path, len), 0);
        accepted += readable(path) + readable(f->store);
    }
    unhush(saved);
    assert_int_equal(accepted, 0);
}

/* An index of another image with a right checksum of its own does not pass. */
static void test_parts_of_other_images_are_refused(void **state)
{
    struct store_fixture *f = *state;
    char from[160], to[160];
    int saved = hush();

    write_two_parts(f);
    write_two_parts(f);
    snprintf(from, sizeof from, "%s/000001/part-0000.index", f->store);
    snprintf(to, sizeof to, "%s/000002/part-0000.index", f->store);
    unlink(to);
    assert_int_equal(link(from, to), 0);
    bool accepted = readable(f->store);
    unhush(saved);
    assert_false(accepted);
}

/* A parent that was replaced is not the parent. */
static void test_chain_needs_its_own_parent(void **state)
{
    static const struct plan plan = {0, 10, 1, 1};
    struct store_fixture *f = *state;
    struct ckpt_store *s = open_store(f);
    struct ckpt_ref a;
    uint32_t removed;
    char old[100], new[100];

    assert_int_equal(write_image(s, NULL, &plan, 1, &a), SIM_OK);
    assert_int_equal(write_image(s, &a, &plan, 1, NULL), SIM_OK);
    assert_int_equal(write_image(s, NULL, &plan, 1, NULL), SIM_OK);
    assert_true(readable(f->store));
    /* 000003 takes the place of 000001. */
    snprintf(old, sizeof old, "%s/000001", f->store);
    snprintf(new, sizeof new, "%s/away", f->store);
    assert_int_equal(rename(old, new), 0);
    int saved = hush();
    snprintf(new, sizeof new, "%s/000002", f->store);
    assert_false(readable(new));
    char third[100];
    snprintf(third, sizeof third, "%s/000003", f->store);
    assert_int_equal(rename(third, old), 0);
    assert_false(readable(new));
    unhush(saved);
    assert_int_equal(ckpt_store_prune(s, 5, &removed), SIM_OK);
    assert_int_equal(removed, 0);
    ckpt_store_close(s);
}

/* Of each block one rank answers for the contents: two parts that have it are nobody's instant. */
static void test_parts_with_a_block_in_common_are_refused(void **state)
{
    static const struct plan plan[] = {{0, 200, 2, 1}, {31, 200, 2, 1}, {100, 101, 1, 2}};
    struct store_fixture *f = *state;
    struct ckpt_store *s = open_store(f);
    struct ckpt_image *image;

    assert_int_equal(write_image(s, NULL, plan, 3, NULL), SIM_OK);
    ckpt_store_close(s);
    int saved = hush();
    assert_int_equal(ckpt_image_open(f->store, &image), SIM_ERR_FORMAT);
    unhush(saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_parts_are_one_image),
        STORE_TEST(test_blocks_of_a_chunk_that_are_no_neighbours),
        STORE_TEST(test_chain_shows_newest_blocks),
        STORE_TEST(test_zero_and_equal_blocks_are_stored_once),
        STORE_TEST(test_flipped_bits_are_refused),
        STORE_TEST(test_truncated_and_missing_files_are_refused),
        STORE_TEST(test_parts_of_other_images_are_refused),
        STORE_TEST(test_chain_needs_its_own_parent),
        STORE_TEST(test_parts_with_a_block_in_common_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
