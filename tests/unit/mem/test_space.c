/* Regions, MMIO dispatch, DMA, and the code page protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/space.h"
#include "sim-core/alloc.h"

enum { RAM = 0x80000000u, RAM_SIZE = 0x10000, RAM2 = 0x90000000u, RAM2_SIZE = 0x4000 };

/* A device of 64 bytes of memory that keeps a log of what it was asked. */
struct toy {
    struct mem_region region;
    uint8_t bytes[64];
    char log[200];
    bool refuse;
};

static void note(struct toy *t, char what, uint64_t offset, unsigned size)
{
    size_t len = strlen(t->log);

    snprintf(t->log + len, sizeof t->log - len, "%c%llx.%u ", what, (unsigned long long)offset,
             size);
}

static bool toy_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct toy *t = opaque;

    assert_int_equal(offset % size, 0);
    note(t, 'r', offset, size);
    if (t->refuse || offset + size > sizeof t->bytes)
        return false;
    *value = 0xffffffffffffffff; /* what is above the size is garbage */
    memcpy(value, t->bytes + offset, size);
    return true;
}

static bool toy_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct toy *t = opaque;

    assert_int_equal(offset % size, 0);
    note(t, 'w', offset, size);
    if (t->refuse || offset + size > sizeof t->bytes)
        return false;
    memcpy(t->bytes + offset, &value, size);
    return true;
}

static const struct mem_ops any_ops = {.read = toy_read, .write = toy_write};
static const struct mem_ops byte_ops = {.read = toy_read, .write = toy_write, .max_size = 1};
static const struct mem_ops word_ops = {
    .read = toy_read, .write = toy_write, .min_size = 4, .max_size = 4};

static void toy_init(struct toy *t, const char *name, gpa_t base, const struct mem_ops *ops)
{
    memset(t, 0, sizeof *t);
    t->region =
        (struct mem_region){.name = name, .base = base, .size = 64, .ops = ops, .opaque = t};
    for (unsigned i = 0; i < sizeof t->bytes; i++)
        t->bytes[i] = (uint8_t)(i + 1);
}

struct env {
    struct sim *sim;
    struct mem_space *s;
    struct toy any, byte, word;
    gpa_t written; /* last mem_code_ops call */
    uint64_t written_len;
    unsigned nr_written;
};

static void code_written(void *opaque, gpa_t gpa, uint64_t len)
{
    struct env *e = opaque;

    e->written = gpa;
    e->written_len = len;
    e->nr_written++;
}

static const struct mem_code_ops code_ops = {code_written};

static int setup(void **state)
{
    struct env *e = sim_new(struct env);

    assert_int_equal(sim_create(&e->sim), SIM_OK);
    assert_int_equal(mem_space_create(e->sim, &e->s), SIM_OK);
    assert_int_equal(mem_add_ram(e->s, "ram", RAM, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_add_ram(e->s, "ram2", RAM2, RAM2_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(e->s), SIM_OK);
    toy_init(&e->any, "any", 0x1000, &any_ops);
    toy_init(&e->byte, "byte", 0x2000, &byte_ops);
    toy_init(&e->word, "word", 0x3000, &word_ops);
    assert_int_equal(mem_add_mmio(e->s, &e->any.region), SIM_OK);
    assert_int_equal(mem_add_mmio(e->s, &e->byte.region), SIM_OK);
    assert_int_equal(mem_add_mmio(e->s, &e->word.region), SIM_OK);
    mem_set_code_ops(e->s, &code_ops, e);
    *state = e;
    return 0;
}

static int teardown(void **state)
{
    struct env *e = *state;

    mem_space_destroy(e->s);
    sim_destroy(e->sim);
    sim_free(e);
    return 0;
}

/* --- regions --- */

static void test_find(void **state)
{
    struct env *e = *state;

    assert_null(mem_find(e->s, 0));
    assert_null(mem_find(e->s, 0xfff));
    assert_ptr_equal(mem_find(e->s, 0x1000), &e->any.region);
    assert_ptr_equal(mem_find(e->s, 0x103f), &e->any.region);
    assert_null(mem_find(e->s, 0x1040));
    assert_string_equal(mem_find(e->s, RAM)->name, "ram");
    assert_string_equal(mem_find(e->s, RAM + RAM_SIZE - 1)->name, "ram");
    assert_null(mem_find(e->s, RAM + RAM_SIZE));
    assert_null(mem_find(e->s, UINT64_MAX));
    gpa_t last = 0;
    unsigned n = 0;
    for (; mem_nth(e->s, n); n++) {
        assert_true(n == 0 || mem_nth(e->s, n)->base > last);
        last = mem_nth(e->s, n)->base;
    }
    assert_int_equal(n, 5);
}

static void test_overlaps_are_refused(void **state)
{
    static const struct {
        gpa_t base;
        uint64_t size;
        enum sim_status want;
    } tries[] = {
        {0x1000, 64, SIM_ERR_INVALID},
        {0xfff, 2, SIM_ERR_INVALID},
        {0x103f, 1, SIM_ERR_INVALID},
        {0, 0x4000, SIM_ERR_INVALID},
        {RAM + 0x1000, 8, SIM_ERR_INVALID},
        {RAM - 1, 2, SIM_ERR_INVALID},
        {0x5000, 0, SIM_ERR_INVALID},
        {UINT64_MAX - 7, 9, SIM_ERR_INVALID},
        {0, UINT64_MAX, SIM_ERR_INVALID},
        {0xff8, 8, SIM_OK},
        {0x1040, 8, SIM_OK},
        {UINT64_MAX - 7, 8, SIM_OK},
    };
    struct env *e = *state;
    static struct toy t[SIM_ARRAY_LEN(tries)];

    for (size_t i = 0; i < SIM_ARRAY_LEN(tries); i++) {
        toy_init(&t[i], "try", tries[i].base, &any_ops);
        t[i].region.size = tries[i].size;
        assert_int_equal(mem_add_mmio(e->s, &t[i].region), tries[i].want);
    }
    /* The one at the very top is found, and is in the way of others. */
    assert_ptr_equal(mem_find(e->s, UINT64_MAX), &t[SIM_ARRAY_LEN(tries) - 1].region);
    toy_init(&t[0], "again", UINT64_MAX - 15, &any_ops);
    t[0].region.size = 16;
    assert_int_equal(mem_add_mmio(e->s, &t[0].region), SIM_ERR_INVALID);
    toy_init(&t[0], "again", UINT64_MAX - 3, &any_ops);
    t[0].region.size = 4;
    assert_int_equal(mem_add_mmio(e->s, &t[0].region), SIM_ERR_INVALID);
}

static void test_bad_ram_is_refused(void **state)
{
    struct sim *sim;
    struct mem_space *s;

    (void)state;
    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(mem_space_create(sim, &s), SIM_OK);
    assert_int_equal(mem_add_ram(s, "odd", RAM + 1, 0x1000), SIM_ERR_INVALID);
    assert_int_equal(mem_add_ram(s, "odd", RAM, 0x1001), SIM_ERR_INVALID);
    assert_int_equal(mem_add_ram(s, "none", RAM, 0), SIM_ERR_INVALID);
    assert_int_equal(mem_add_ram(s, "wraps", 0xfffffffffffff000, 0x2000), SIM_ERR_INVALID);
    assert_int_equal(mem_add_ram(s, "one", RAM, 0x2000), SIM_OK);
    assert_int_equal(mem_add_ram(s, "two", RAM + 0x1000, 0x2000), SIM_ERR_INVALID);
    mem_space_destroy(s);
    assert_int_equal(mem_space_create(sim, &s), SIM_OK);
    assert_int_equal(mem_add_ram(s, "huge", 0, 1ull << 55), SIM_OK);
    assert_int_equal(mem_seal_ram(s), SIM_ERR_NOMEM);
    mem_space_destroy(s);
    /* Two halves of everything: their sum is no uint64_t. */
    assert_int_equal(mem_space_create(sim, &s), SIM_OK);
    assert_int_equal(mem_add_ram(s, "low", 0, 1ull << 63), SIM_OK);
    assert_int_equal(mem_add_ram(s, "high", 1ull << 63, 1ull << 63), SIM_ERR_NOMEM);
    mem_space_destroy(s);
    sim_destroy(sim);
}

static struct mem_space *ram_of(struct sim *sim, bool is_private)
{
    struct mem_space *s;

    assert_int_equal(mem_space_create(sim, &s), SIM_OK);
    if (is_private)
        mem_set_private_ram(s);
    assert_int_equal(mem_add_ram(s, "ram", RAM, 16 << 20), SIM_OK);
    assert_int_equal(mem_seal_ram(s), SIM_OK);
    assert_int_equal(s->ram == s->vram, is_private);
    assert_int_equal(mem_add_ram(s, "late", RAM + (64 << 20), 0x1000), SIM_ERR_INVALID);
    return s;
}

/* What was never touched is no data, what was is; at least where the host tells, all is otherwise. */
static void test_data_is_where_somebody_wrote(void **state)
{
    enum { FIRST = 1024, SECOND = 3000, PAGES = 4096 };
    struct sim *sim;

    (void)state;
    assert_int_equal(sim_create(&sim), SIM_OK);
    for (unsigned is_private = 0; is_private < 2; is_private++) {
        struct mem_space *s = ram_of(sim, is_private);
        uint64_t first = 0, end = UINT64_MAX, nr = 0;
        bool seen = false;

        mem_expect_pages(s, true); /* one by one: otherwise their neighbours come along */
        mem_write(s, RAM + FIRST * GUEST_PAGE_SIZE, "x", 1);
        mem_write(s, RAM + SECOND * GUEST_PAGE_SIZE, "y", 1);
        for (; mem_next_data(s, &first, &end); first = end, end = UINT64_MAX) {
            assert_true(first < end && end <= PAGES);
            seen |= first <= SECOND && SECOND < end;
            nr += end - first;
        }
        first = FIRST + 1;
        end = FIRST + 100; /* there is more, but not before that */
        assert_int_equal(mem_next_data(s, &first, &end), !(s->memfd >= 0 || s->pagemap >= 0));
        first = FIRST - 7;
        end = FIRST + 1;
        assert_true(mem_next_data(s, &first, &end));
        assert_int_equal(end, FIRST + 1);
        assert_true(seen);
        assert_true(nr >= 2);
        if (s->memfd >= 0 || s->pagemap >= 0)
            assert_true(nr < PAGES);
        mem_expect_pages(s, false);
        mem_settle(s);
        uint8_t byte;
        mem_read(s, RAM + SECOND * GUEST_PAGE_SIZE, &byte, 1);
        assert_int_equal(byte, 'y');
        first = PAGES;
        end = UINT64_MAX;
        assert_false(mem_next_data(s, &first, &end));
        mem_space_destroy(s);
    }
    /* nobody tells */
    struct mem_space *s = ram_of(sim, true);
    uint64_t first = 5, end = UINT64_MAX;
    if (s->pagemap >= 0)
        close(s->pagemap);
    s->pagemap = -1;
    assert_true(mem_next_data(s, &first, &end));
    assert_int_equal(first, 5);
    assert_int_equal(end, PAGES);
    mem_space_destroy(s);
    sim_destroy(sim);
}

static void test_move_and_remove(void **state)
{
    struct env *e = *state;
    uint64_t v;

    assert_int_equal(mem_move_mmio(e->s, &e->any.region, 0x2000), SIM_ERR_INVALID);
    assert_ptr_equal(mem_find(e->s, 0x1000), &e->any.region);
    assert_int_equal(mem_move_mmio(e->s, &e->any.region, 0x1020), SIM_OK); /* over itself */
    assert_null(mem_find(e->s, 0x1000));
    assert_int_equal(mem_mmio_read(e->s, 0x1020, 1, &v), MEM_OK);
    assert_int_equal(v, 1);
    assert_int_equal(mem_move_mmio(e->s, &e->any.region, 0xa0000000), SIM_OK);
    assert_ptr_equal(mem_find(e->s, 0xa000003f), &e->any.region);
    mem_remove_mmio(e->s, &e->any.region);
    mem_remove_mmio(e->s, &e->any.region);
    assert_null(mem_find(e->s, 0xa0000000));
    assert_int_equal(mem_mmio_read(e->s, 0xa0000000, 1, &v), MEM_FAULT);
    assert_int_equal(mem_add_mmio(e->s, &e->any.region), SIM_OK);
    assert_ptr_equal(mem_find(e->s, 0xa0000000), &e->any.region);
}

static void test_many_regions(void **state)
{
    struct env *e = *state;
    static struct toy t[500];

    for (unsigned i = 0; i < 500; i++) {
        toy_init(&t[i], "many", 0x10000 + (gpa_t)(i * 7919 % 500) * 0x100, &any_ops);
        assert_int_equal(mem_add_mmio(e->s, &t[i].region), SIM_OK);
    }
    for (unsigned i = 0; i < 500; i += 2)
        mem_remove_mmio(e->s, &t[i].region);
    for (unsigned i = 0; i < 500; i++) {
        assert_ptr_equal(mem_find(e->s, t[i].region.base), i % 2 ? &t[i].region : NULL);
        assert_null(mem_find(e->s, t[i].region.base + 64));
    }
}

/* --- readers while a region moves --- */

struct race {
    struct env *e;
    struct sim_thread thread;
    _Atomic bool stop;
    _Atomic unsigned long hits;
};

static bool moving_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    (void)opaque;
    /* Whatever moved meanwhile: the device sees offsets of its own only. */
    *value = offset + size <= 64;
    return true;
}

static bool moving_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    (void)opaque, (void)offset, (void)size, (void)value;
    return true;
}

static void *read_moving(void *arg)
{
    struct race *r = arg;

    while (!r->stop) {
        for (gpa_t a = 0x100000; a < 0x100000 + 8 * 0x1000; a += 0x1000) {
            uint64_t v;
            if (mem_mmio_read(r->e->s, a + 0x10, 4, &v) == MEM_OK) {
                assert_int_equal(v, 1);
                r->hits++;
            }
        }
        /* the others are found all the time */
        assert_ptr_equal(mem_find(r->e->s, 0x1000), &r->e->any.region);
        assert_ptr_equal(mem_find(r->e->s, 0x3000), &r->e->word.region);
        assert_string_equal(mem_find(r->e->s, RAM)->name, "ram");
    }
    return NULL;
}

/* A guest that moves a BAR for ever: readers are never led astray, and it costs no host memory (the
 * leak check of sanitizer builds and the test's own size say so). */
static void test_readers_while_a_region_moves(void **state)
{
    static const struct mem_ops ops = {.read = moving_read, .write = moving_write};
    struct env *e = *state;
    struct race r = {.e = e};
    struct toy t;

    toy_init(&t, "moving", 0x100000, &ops);
    assert_int_equal(mem_add_mmio(e->s, &t.region), SIM_OK);
    assert_int_equal(sim_thread_start(&r.thread, "reader", read_moving, &r), SIM_OK);
    for (unsigned i = 0; i < 200000 || (!r.hits && i < 100000000); i++)
        assert_int_equal(mem_move_mmio(e->s, &t.region, 0x100000 + (i * 5 % 8) * 0x1000), SIM_OK);
    r.stop = true;
    sim_thread_join(&r.thread);
    assert_true(r.hits > 0);
}

/* --- MMIO --- */

static void expect_log(struct toy *t, const char *want)
{
    assert_string_equal(t->log, want);
    t->log[0] = 0;
}

static void test_mmio_sizes(void **state)
{
    struct env *e = *state;
    uint64_t v;

    assert_int_equal(mem_mmio_read(e->s, 0x1008, 8, &v), MEM_OK);
    assert_int_equal(v, 0x100f0e0d0c0b0a09);
    assert_int_equal(mem_mmio_read(e->s, 0x1002, 2, &v), MEM_OK);
    assert_int_equal(v, 0x0403);
    expect_log(&e->any, "r8.8 r2.2 ");
    assert_int_equal(e->any.region.hits, 2);
    assert_int_equal(mem_mmio_write(e->s, 0x1004, 4, 0xddccbbaa99887766), MEM_OK);
    assert_int_equal(e->any.bytes[4], 0x66);
    assert_int_equal(e->any.bytes[8], 9);
}

static void test_mmio_splits_what_is_too_wide(void **state)
{
    struct env *e = *state;
    uint64_t v;

    assert_int_equal(mem_mmio_read(e->s, 0x2004, 4, &v), MEM_OK);
    assert_int_equal(v, 0x08070605);
    expect_log(&e->byte, "r4.1 r5.1 r6.1 r7.1 ");
    assert_int_equal(mem_mmio_write(e->s, 0x2000, 2, 0xbbaa), MEM_OK);
    expect_log(&e->byte, "w0.1 w1.1 ");
    assert_int_equal(e->byte.bytes[1], 0xbb);
    assert_int_equal(e->byte.bytes[2], 3);
    assert_int_equal(mem_mmio_read(e->s, 0x3008, 8, &v), MEM_OK);
    assert_int_equal(v, 0x100f0e0d0c0b0a09);
    expect_log(&e->word, "r8.4 rc.4 ");
}

static void test_mmio_widens_what_is_too_narrow(void **state)
{
    struct env *e = *state;
    uint64_t v;

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(mem_mmio_read(e->s, 0x3004 + i, 1, &v), MEM_OK);
        assert_int_equal(v, 5 + i);
        expect_log(&e->word, "r4.4 ");
    }
    assert_int_equal(mem_mmio_read(e->s, 0x3006, 2, &v), MEM_OK);
    assert_int_equal(v, 0x0807);
    e->word.log[0] = 0;
    assert_int_equal(mem_mmio_write(e->s, 0x3006, 1, 0xee), MEM_OK);
    expect_log(&e->word, "w4.4 ");
    assert_memory_equal(e->word.bytes + 4, "\0\0\xee\0", 4);
}

static void test_mmio_faults(void **state)
{
    struct env *e = *state;
    uint64_t v;

    assert_int_equal(mem_mmio_read(e->s, 0x1002, 4, &v), MEM_FAULT); /* not aligned */
    assert_int_equal(mem_mmio_write(e->s, 0x2001, 2, 0), MEM_FAULT);
    assert_int_equal(mem_mmio_read(e->s, 0x3003, 2, &v), MEM_FAULT);
    assert_int_equal(mem_mmio_read(e->s, 0x9000, 4, &v), MEM_FAULT); /* nothing there */
    assert_int_equal(mem_mmio_read(e->s, RAM, 4, &v), MEM_FAULT);    /* not a device */
    expect_log(&e->any, "");
    e->byte.refuse = true;
    assert_int_equal(mem_mmio_read(e->s, 0x2000, 1, &v), MEM_FAULT);
    assert_int_equal(mem_mmio_write(e->s, 0x2000, 4, 0), MEM_FAULT);
    /* A region whose size is no multiple of the access. */
    struct toy t;
    toy_init(&t, "short", 0x5000, &any_ops);
    t.region.size = 6;
    assert_int_equal(mem_add_mmio(e->s, &t.region), SIM_OK);
    assert_int_equal(mem_mmio_read(e->s, 0x5004, 4, &v), MEM_FAULT);
    assert_int_equal(mem_mmio_read(e->s, 0x5004, 2, &v), MEM_OK);
    mem_remove_mmio(e->s, &t.region);
}

/* --- DMA --- */

static void test_dma_reaches_ram_and_devices(void **state)
{
    struct env *e = *state;
    uint8_t in[300], out[300];

    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i * 3);
    assert_int_equal(mem_write(e->s, RAM + 0xf80, in, sizeof in), MEM_OK);
    assert_int_equal(mem_read(e->s, RAM + 0xf80, out, sizeof out), MEM_OK);
    assert_memory_equal(in, out, sizeof in);
    assert_memory_equal(mem_ram_ptr(e->s, RAM + 0xf80, sizeof in), in, sizeof in);
    assert_int_equal(mem_read(e->s, 0x1003, out, 14), MEM_OK);
    for (unsigned i = 0; i < 14; i++)
        assert_int_equal(out[i], 4 + i);
    expect_log(&e->any, "r3.1 r4.4 r8.8 r10.1 ");
    assert_int_equal(mem_write(e->s, 0x1007, in, 3), MEM_OK);
    expect_log(&e->any, "w7.1 w8.2 ");
    assert_memory_equal(e->any.bytes + 7, in, 3);
}

static void test_dma_faults_after_a_prefix(void **state)
{
    struct env *e = *state;
    uint8_t buf[64] = {1, 2, 3, 4};

    assert_int_equal(mem_write(e->s, RAM + RAM_SIZE - 4, buf, 64), MEM_FAULT);
    assert_memory_equal(mem_ram_ptr(e->s, RAM + RAM_SIZE - 4, 4), buf, 4);
    assert_int_equal(mem_read(e->s, RAM - 1, buf, 1), MEM_FAULT);
    assert_int_equal(mem_read(e->s, UINT64_MAX - 3, buf, 64), MEM_FAULT);
    assert_int_equal(mem_read(e->s, 0, buf, 0), MEM_OK);
}

static void test_dma_map(void **state)
{
    struct env *e = *state;
    uint64_t len = 1 << 20;

    char *p = mem_dma_map(e->s, RAM + 0x100, &len, true);
    assert_non_null(p);
    assert_int_equal(len, RAM_SIZE - 0x100);
    strcpy(p, "through the service mapping");
    mem_dma_written(e->s, RAM + 0x100, 28);
    assert_string_equal((char *)mem_ram_ptr(e->s, RAM + 0x100, 28), "through the service mapping");
    len = 8;
    assert_null(mem_dma_map(e->s, 0x1000, &len, true));
    assert_null(mem_dma_map(e->s, RAM - 1, &len, true));
    assert_null(mem_ram_ptr(e->s, RAM + RAM_SIZE - 4, 5));
    assert_non_null(mem_ram_ptr(e->s, RAM + RAM_SIZE - 4, 4));
    assert_null(mem_ram_ptr(e->s, 0x1000, 1));
    assert_null(mem_ram_ptr(e->s, RAM, UINT64_MAX));
}

/* --- page states --- */

static uint32_t page_state(struct env *e, gpa_t gpa)
{
    return *mem_page_state(e->s, mem_find(e->s, gpa)->ram_offset + gpa - mem_find(e->s, gpa)->base);
}

static bool acquire_for_write(struct env *e, gpa_t gpa, uint32_t who)
{
    uint8_t *host;
    bool writable = false;

    assert_int_equal(mem_page_acquire(e->s, gpa, true, who, &host, &writable), MEM_OK);
    assert_ptr_equal(host, mem_ram_ptr(e->s, gpa & GUEST_PAGE_MASK, 1));
    return writable;
}

static void test_acquire(void **state)
{
    struct env *e = *state;
    uint8_t *host;
    bool writable = true;

    assert_int_equal(mem_page_acquire(e->s, RAM + 0x1234, false, 0, &host, &writable), MEM_OK);
    assert_ptr_equal(host, mem_ram_ptr(e->s, RAM + 0x1000, 1));
    assert_false(writable);
    assert_int_equal(page_state(e, RAM + 0x1000), 0);
    assert_true(acquire_for_write(e, RAM2 + 0x1234, 0));
    assert_int_equal(page_state(e, RAM2 + 0x1000), MEM_PAGE_DIRTY | 1 << MEM_PAGE_WRITER_SHIFT);
    assert_int_equal(page_state(e, RAM + 0x1000), 0);
    assert_int_equal(mem_page_acquire(e->s, 0x1000, true, 0, &host, &writable), MEM_MMIO);
    assert_int_equal(mem_page_acquire(e->s, 0x9000, true, 0, &host, &writable), MEM_FAULT);
}

static void test_code_page_names_its_writers(void **state)
{
    struct env *e = *state;

    assert_int_equal(mem_mark_code(e->s, RAM), 0);
    acquire_for_write(e, RAM + 0x1000, 4);
    acquire_for_write(e, RAM + 0x1000, 4);
    assert_int_equal(mem_mark_code(e->s, RAM + 0x1000), 5);
    /* The writers were told; marking again finds none. */
    assert_int_equal(mem_mark_code(e->s, RAM + 0x1000), 0);
    acquire_for_write(e, RAM + 0x2000, 1);
    acquire_for_write(e, RAM + 0x2000, 2);
    assert_int_equal(mem_mark_code(e->s, RAM + 0x2000), MEM_PAGE_WRITER_MANY);
    acquire_for_write(e, RAM + 0x3000, 100000); /* an index that does not fit */
    assert_int_equal(mem_mark_code(e->s, RAM + 0x3000), MEM_PAGE_WRITER_MANY);
}

static void test_code_page_is_not_writable(void **state)
{
    struct env *e = *state;

    mem_mark_code(e->s, RAM + 0x1000);
    assert_false(acquire_for_write(e, RAM + 0x1000, 0));
    assert_int_equal(mem_mark_code(e->s, RAM + 0x1000), 0); /* nobody got an entry */
    mem_unmark_code(e->s, RAM + 0x1000);
    assert_true(acquire_for_write(e, RAM + 0x1000, 0));
}

static void test_dma_reports_writes_to_code(void **state)
{
    struct env *e = *state;
    static uint8_t buf[0x3000];

    mem_mark_code(e->s, RAM + 0x2000);
    assert_int_equal(mem_write(e->s, RAM + 0x1000, buf, 0x1000), MEM_OK);
    assert_int_equal(e->nr_written, 0);
    assert_int_equal(mem_write(e->s, RAM + 0x1800, buf, 0x1000), MEM_OK);
    assert_int_equal(e->nr_written, 1);
    assert_int_equal(e->written, RAM + 0x2000);
    assert_int_equal(e->written_len, 0x800);
    assert_true(page_state(e, RAM + 0x1000) & MEM_PAGE_DIRTY);
    assert_true(page_state(e, RAM + 0x2000) & MEM_PAGE_DIRTY);
    assert_false(page_state(e, RAM + 0x3000) & MEM_PAGE_DIRTY);
    mem_code_written(e->s, RAM + 0x2010, 4);
    assert_int_equal(e->nr_written, 2);
    mem_set_code_ops(e->s, NULL, NULL);
    mem_code_written(e->s, RAM + 0x2010, 4);
    /* holes and devices in a range are passed over */
    mem_dma_written(e->s, 0x1000, 64);
    mem_dma_written(e->s, RAM + RAM_SIZE - 8, 16);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_find),
        T(test_overlaps_are_refused),
        cmocka_unit_test(test_bad_ram_is_refused),
        cmocka_unit_test(test_data_is_where_somebody_wrote),
        T(test_move_and_remove),
        T(test_many_regions),
        T(test_readers_while_a_region_moves),
        T(test_mmio_sizes),
        T(test_mmio_splits_what_is_too_wide),
        T(test_mmio_widens_what_is_too_narrow),
        T(test_mmio_faults),
        T(test_dma_reaches_ram_and_devices),
        T(test_dma_faults_after_a_prefix),
        T(test_dma_map),
        T(test_acquire),
        T(test_code_page_names_its_writers),
        T(test_code_page_is_not_writable),
        T(test_dma_reports_writes_to_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
