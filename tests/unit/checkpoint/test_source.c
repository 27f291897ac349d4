/* Blocks of a space, in memory and in a descriptor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoint/source.h"

enum { BLOCK = 4096, BLOCKS = 64 };

struct space {
    struct ckpt_source source;
    bool data[BLOCKS]; /* what next_data says */
    uint64_t nr_asked; /* blocks that it was asked for */
};

static bool next_data(void *opaque, uint64_t *first, uint64_t *end)
{
    struct space *s = opaque;
    uint64_t limit = *end;

    s->nr_asked += limit - *first;
    while (*first < limit && !s->data[*first])
        ++*first;
    for (*end = *first; *end < limit && s->data[*end];)
        ++*end;
    return *first < limit;
}

static void open_space(struct space *s, bool in_memory)
{
    *s = (struct space){.source = {.name = "test", .fd = -1, .nr_blocks = BLOCKS, .opaque = s}};
    if (in_memory) {
        s->source.bytes = mmap(NULL, BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(s->source.bytes != MAP_FAILED);
        s->source.next_data = next_data;
    } else {
        s->source.fd = memfd_create("test", 0);
        assert_int_equal(ftruncate(s->source.fd, BLOCKS * BLOCK), 0);
    }
}

static void close_space(struct space *s)
{
    if (s->source.bytes)
        munmap(s->source.bytes, BLOCKS * BLOCK);
    if (s->source.fd >= 0)
        close(s->source.fd);
}

static void write_block(struct space *s, uint64_t local, uint8_t value)
{
    uint8_t block[BLOCK];

    memset(block, value, sizeof block);
    s->data[local] = true;
    assert_int_equal(ckpt_source_write(&s->source, local, 1, block, "test"), SIM_OK);
}

static uint8_t read_block(const struct space *s, uint64_t local)
{
    uint8_t block[3][BLOCK];

    memset(block, 0xee, sizeof block);
    assert_int_equal(ckpt_source_read(&s->source, local, 1, block[1], "test"), SIM_OK);
    assert_int_equal(block[0][BLOCK - 1], 0xee);
    assert_int_equal(block[2][0], 0xee);
    assert_int_equal(block[1][0], block[1][BLOCK - 1]);
    return block[1][0];
}

static void test_blocks_are_what_was_written(void **state)
{
    (void)state;
    for (unsigned in_memory = 0; in_memory < 2; in_memory++) {
        struct space s;

        open_space(&s, in_memory);
        write_block(&s, 0, 1);
        write_block(&s, 7, 7);
        write_block(&s, BLOCKS - 1, 9);
        assert_int_equal(read_block(&s, 0), 1);
        assert_int_equal(read_block(&s, 7), 7);
        assert_int_equal(read_block(&s, 8), 0);
        assert_int_equal(read_block(&s, BLOCKS - 1), 9);
        close_space(&s);
    }
}

static void test_clearing_ends_where_it_should(void **state)
{
    (void)state;
    for (unsigned in_memory = 0; in_memory < 2; in_memory++) {
        struct space s;

        open_space(&s, in_memory);
        for (unsigned i = 4; i < 20; i++)
            write_block(&s, i, (uint8_t)i);
        assert_int_equal(ckpt_source_clear(&s.source, 0, 6, "test"), SIM_OK);  /* the beginning is a hole */
        assert_int_equal(ckpt_source_clear(&s.source, 10, 2, "test"), SIM_OK); /* in the middle of data */
        assert_int_equal(ckpt_source_clear(&s.source, 18, 46, "test"), SIM_OK);
        assert_int_equal(ckpt_source_clear(&s.source, 40, 1, "test"), SIM_OK);
        for (unsigned i = 0; i < BLOCKS; i++)
            assert_int_equal(read_block(&s, i), i >= 6 && i < 18 && i != 10 && i != 11 ? i : 0);
        close_space(&s);
    }
}

/* Memory that nobody touched is left alone, for the host would give pages for it; and what is behind is not looked for. */
static void test_clearing_touches_data_only(void **state)
{
    struct space s;
    unsigned char there;

    (void)state;
    open_space(&s, true);
    write_block(&s, 3, 3);
    assert_int_equal(ckpt_source_clear(&s.source, 0, BLOCKS, "test"), SIM_OK);
    assert_int_equal(mincore(s.source.bytes + 3 * BLOCK, BLOCK, &there), 0);
    assert_true(there & 1);
    assert_int_equal(mincore(s.source.bytes + 40 * BLOCK, BLOCK, &there), 0);
    assert_false(there & 1);
    s.nr_asked = 0;
    assert_int_equal(ckpt_source_clear(&s.source, 10, 4, "test"), SIM_OK);
    assert_true(s.nr_asked <= 4);
    /* nobody knows what is there: it is looked at, and not written */
    s.source.next_data = NULL;
    write_block(&s, 20, 20);
    assert_int_equal(mprotect(s.source.bytes + 40 * BLOCK, BLOCK, PROT_READ), 0);
    assert_int_equal(ckpt_source_clear(&s.source, 0, BLOCKS, "test"), SIM_OK);
    assert_int_equal(read_block(&s, 20), 0);
    close_space(&s);
}

static void test_data_of_both_kinds(void **state)
{
    (void)state;
    for (unsigned in_memory = 0; in_memory < 2; in_memory++) {
        struct space s;
        uint64_t first = 0, end = BLOCKS;

        open_space(&s, in_memory);
        assert_false(ckpt_source_next_data(&s.source, &first, &end));
        write_block(&s, 9, 1);
        write_block(&s, 10, 1);
        first = 0;
        end = 9;
        assert_false(ckpt_source_next_data(&s.source, &first, &end));
        first = 0;
        end = 10;
        assert_true(ckpt_source_next_data(&s.source, &first, &end));
        assert_int_equal(first, 9);
        assert_int_equal(end, 10);
        first = 0;
        end = UINT64_MAX;
        assert_true(ckpt_source_next_data(&s.source, &first, &end));
        assert_int_equal(first, 9);
        assert_int_equal(end, 11);
        first = end;
        end = BLOCKS;
        assert_false(ckpt_source_next_data(&s.source, &first, &end));
        first = BLOCKS;
        end = UINT64_MAX;
        assert_false(ckpt_source_next_data(&s.source, &first, &end));
        close_space(&s);
    }
}

/* A file that ends early reads as zero, as an overlay's does; one that cannot be read or written says so. */
static void test_descriptors_can_fail(void **state)
{
    struct space s;
    uint8_t block[BLOCK] = {0};

    (void)state;
    open_space(&s, false);
    write_block(&s, 1, 5);
    assert_int_equal(ftruncate(s.source.fd, BLOCK + BLOCK / 2), 0);
    assert_int_equal(ckpt_source_read(&s.source, 1, 1, block, "test"), SIM_OK);
    assert_int_equal(block[BLOCK / 2 - 1], 5);
    assert_int_equal(block[BLOCK / 2], 0);
    close(s.source.fd);
    s.source.fd = -1;
    block[0] = 1;
    assert_int_equal(ckpt_source_read(&s.source, 1, 1, block, "test"), SIM_ERR_IO);
    assert_int_equal(block[0], 0);
    assert_int_equal(ckpt_source_write(&s.source, 1, 1, block, "test"), SIM_ERR_IO);
    assert_int_equal(ckpt_source_clear(&s.source, 1, 1, "test"), SIM_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_what_was_written),
        cmocka_unit_test(test_clearing_ends_where_it_should),
        cmocka_unit_test(test_clearing_touches_data_only),
        cmocka_unit_test(test_data_of_both_kinds),
        cmocka_unit_test(test_descriptors_can_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
