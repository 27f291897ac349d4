/* virtio-blk over virtio-mmio: requests of every kind and shape, errors, hostile rings. */
#include "virtio_driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTORS = 2048, T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_ZERO = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
#define HEADER BUFFERS
#define STATUS (BUFFERS + 0x100)
#define DATA (BUFFERS + 0x1000)

struct fixture {
    struct driver d; /* first: the hostile tests see only this */
    struct blockdev *b;
    char path[32];
    int fd;
};

static uint8_t pattern(uint64_t at)
{
    return (uint8_t)(at * 7 + (at >> 9) * 13);
}

static void fill_image(int fd)
{
    uint8_t sector[512];

    for (unsigned s = 0; s < SECTORS; s++) {
        for (unsigned i = 0; i < 512; i++)
            sector[i] = pattern(s * 512ull + i);
        assert_int_equal(pwrite(fd, sector, 512, s * 512), 512);
    }
}

static int setup_with(void **state, bool readonly)
{
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->path, "/tmp/blkXXXXXX");
    f->fd = mkstemp(f->path);
    assert_true(f->fd >= 0);
    fill_image(f->fd);
    driver_init(&f->d);
    struct blockdev_options o = {.path = f->path, .readonly = readonly, .serial = "disk-serial-7"};
    assert_int_equal(blockdev_open(f->d.sim, &o, &f->b), SIM_OK);
    struct virtio_device *v;
    assert_int_equal(virtio_blk_create(f->d.sim, f->b, &v), SIM_OK);
    driver_plug(&f->d, v);
    driver_start(&f->d, UINT64_MAX, 1);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, false);
}

static int setup_readonly(void **state)
{
    return setup_with(state, true);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    driver_fini(&f->d);
    blockdev_close(f->b);
    close(f->fd);
    unlink(f->path);
    free(f);
    return 0;
}

static void put_header(struct driver *d, uint32_t type, uint64_t sector)
{
    uint32_t *h = guest(d, HEADER);

    h[0] = type;
    h[1] = 0;
    memcpy(h + 2, &sector, 8);
    *(uint8_t *)guest(d, STATUS) = 0xee;
}

/* header | data (len may be 0) | status; returns the status byte. */
static uint8_t request(struct driver *d, uint32_t type, uint64_t sector, uint32_t len, bool in,
                       uint32_t *used_len)
{
    put_header(d, type, sector);
    set_desc(d, 0, 0, HEADER, 16, D_NEXT, len ? 1 : 2);
    set_desc(d, 0, 1, DATA, len, D_NEXT | (in ? D_WRITE : 0), 2);
    set_desc(d, 0, 2, STATUS, 1, D_WRITE, 0);
    offer(d, 0, 0);
    notify(d, 0);
    assert_int_equal(take_used(d, 0, used_len), 0);
    return *(uint8_t *)guest(d, STATUS);
}

static void check_pattern(const uint8_t *p, uint64_t at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != pattern(at + i))
            fail_msg("byte %zu is %u, not %u", i, p[i], pattern(at + i));
}

static void test_blk_identifies_itself(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    assert_int_equal(reg_read(d, 0), 0x74726976);
    assert_int_equal(reg_read(d, 4), 2);
    assert_int_equal(reg_read(d, 8), 2);
    assert_int_equal(reg_read(d, 0x100), SECTORS); /* capacity */
    assert_int_equal(reg_read(d, 0x104), 0);
    assert_int_equal(reg_read(d, 0x114), 512);
    assert_false(d->features >> 5 & 1);
    assert_true(d->features >> 9 & 1);
}

static void test_blk_reads(void **state)
{
    struct fixture *f = *state;
    uint32_t len;

    assert_int_equal(request(&f->d, T_IN, 5, 8192, true, &len), S_OK);
    assert_int_equal(len, 8193);
    check_pattern(guest(&f->d, DATA), 5 * 512, 8192);
    assert_int_equal(f->d.irq.edges[1], 1);
    assert_int_equal(reg_read(&f->d, 0x60), 1);
    reg_write(&f->d, 0x64, 1);
    assert_int_equal(f->d.irq.level, 0);
}

static void test_blk_reads_the_last_sector_and_no_further(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(request(&f->d, T_IN, SECTORS - 1, 512, true, NULL), S_OK);
    assert_int_equal(request(&f->d, T_IN, SECTORS - 1, 1024, true, NULL), S_IOERR);
    assert_int_equal(request(&f->d, T_IN, UINT64_MAX, 512, true, NULL), S_IOERR);
    assert_int_equal(request(&f->d, T_IN, 1ull << 55, 512, true, NULL), S_IOERR);
    assert_int_equal(request(&f->d, T_IN, 0, 500, true, NULL), S_IOERR);
    assert_false(is_broken(&f->d));
}

static void test_blk_writes(void **state)
{
    struct fixture *f = *state;
    uint8_t back[4096];
    uint32_t len;

    memset(guest(&f->d, DATA), 0xa5, 4096);
    assert_int_equal(request(&f->d, T_OUT, 100, 4096, false, &len), S_OK);
    assert_int_equal(len, 1);
    assert_int_equal(pread(f->fd, back, 4096, 100 * 512), 4096);
    for (unsigned i = 0; i < 4096; i++)
        assert_int_equal(back[i], 0xa5);
    assert_int_equal(request(&f->d, T_OUT, SECTORS, 512, false, NULL), S_IOERR);
}

static void test_blk_flushes(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(request(&f->d, T_FLUSH, 0, 0, false, NULL), S_OK); /* nothing to do */
    assert_int_equal(request(&f->d, T_OUT, 1, 512, false, NULL), S_OK);
    assert_int_equal(request(&f->d, T_FLUSH, 0, 0, false, NULL), S_OK); /* on the worker */
}

static void test_blk_gives_its_serial(void **state)
{
    struct fixture *f = *state;
    uint32_t len;

    memset(guest(&f->d, DATA), 0xff, 32);
    assert_int_equal(request(&f->d, T_GET_ID, 0, 20, true, &len), S_OK);
    assert_int_equal(len, 21);
    assert_string_equal(guest(&f->d, DATA), "disk-serial-7");
    assert_int_equal(((uint8_t *)guest(&f->d, DATA))[20], 0xff);
}

static uint8_t trim(struct driver *d, uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
    uint8_t *p = guest(d, DATA);

    memcpy(p, &sector, 8);
    memcpy(p + 8, &n, 4);
    memcpy(p + 12, &flags, 4);
    return request(d, type, 0, 16, false, NULL);
}

static void test_blk_zeroes_and_discards(void **state)
{
    struct fixture *f = *state;
    uint8_t back[1024];

    assert_int_equal(trim(&f->d, T_ZERO, 7, 1, 0), S_OK);
    assert_int_equal(pread(f->fd, back, 1024, 7 * 512), 1024);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(back[i], 0);
    check_pattern(back + 512, 8 * 512, 512);
    assert_int_equal(trim(&f->d, T_DISCARD, 64, 64, 0), S_OK);
    assert_int_equal(trim(&f->d, T_DISCARD, 64, 64, 1), S_UNSUPP);
    assert_int_equal(trim(&f->d, T_ZERO, SECTORS - 1, 2, 0), S_IOERR);
    assert_int_equal(trim(&f->d, T_DISCARD, UINT64_MAX, 1, 0), S_IOERR);
    struct stat st;
    assert_int_equal(fstat(f->fd, &st), 0);
    assert_int_equal(st.st_size, SECTORS * 512);
}

static void test_blk_refuses_unknown_requests(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(request(&f->d, 99, 0, 512, true, NULL), S_UNSUPP);
    assert_false(is_broken(&f->d));
}

static void test_blk_readonly_refuses_writes(void **state)
{
    struct fixture *f = *state;
    uint8_t byte;

    assert_true(f->d.features >> 5 & 1);
    assert_false(f->d.features >> 13 & 1);
    assert_int_equal(request(&f->d, T_OUT, 0, 512, false, NULL), S_IOERR);
    assert_int_equal(trim(&f->d, T_ZERO, 0, 1, 0), S_IOERR);
    assert_int_equal(request(&f->d, T_FLUSH, 0, 0, false, NULL), S_OK);
    assert_int_equal(request(&f->d, T_IN, 0, 512, true, NULL), S_OK);
    assert_int_equal(pread(f->fd, &byte, 1, 3), 1);
    assert_int_equal(byte, pattern(3));
}

/* Header, data and status cut at odd places, through an indirect table. */
static void test_blk_accepts_any_layout(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    gpa_t table = BUFFERS + 0x8000;
    uint32_t len;

    put_header(d, T_IN, 9);
    set_desc_at(d, table, 0, HEADER, 5, D_NEXT, 1);
    set_desc_at(d, table, 1, HEADER + 5, 11, D_NEXT, 4);
    set_desc_at(d, table, 4, DATA, 100, D_NEXT | D_WRITE, 2);
    set_desc_at(d, table, 2, DATA + 100, 412, D_NEXT | D_WRITE, 3);
    set_desc_at(d, table, 3, DATA + 512, 513, D_WRITE, 0);
    set_desc(d, 0, 6, table, 5 * 16, D_INDIRECT, 0);
    offer(d, 0, 6);
    notify(d, 0);
    assert_int_equal(take_used(d, 0, &len), 6);
    assert_int_equal(len, 1025);
    check_pattern(guest(d, DATA), 9 * 512, 1024);
    assert_int_equal(((uint8_t *)guest(d, DATA))[1024], S_OK);
}

/* Larger than what is done inline, and more iovecs than one system call takes here. */
static void test_blk_large_transfer_goes_to_a_worker(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;
    gpa_t table = BUFFERS + 0x200000;
    enum { PIECES = 200, PIECE = 4608 };

    put_header(d, T_IN, 0);
    set_desc_at(d, table, 0, HEADER, 16, D_NEXT, 1);
    for (unsigned i = 0; i < PIECES; i++)
        set_desc_at(d, table, 1 + i, DATA + i * 8192u, PIECE, D_NEXT | D_WRITE, (uint16_t)(i + 2));
    set_desc_at(d, table, 1 + PIECES, STATUS, 1, D_WRITE, 0);
    set_desc(d, 0, 0, table, (PIECES + 2) * 16, D_INDIRECT, 0);
    offer(d, 0, 0);
    notify(d, 0);
    uint32_t len;
    take_used(d, 0, &len);
    assert_int_equal(len, PIECES * PIECE + 1);
    for (unsigned i = 0; i < PIECES; i++)
        check_pattern(guest(d, DATA + i * 8192u), (uint64_t)i * PIECE, PIECE);
}

static void test_blk_shrunk_file_gives_io_error(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(ftruncate(f->fd, 512), 0);
    assert_int_equal(request(&f->d, T_IN, 0, 512, true, NULL), S_OK);
    assert_int_equal(request(&f->d, T_IN, 8, 512, true, NULL), S_IOERR);
    assert_int_equal(request(&f->d, T_IN, 0, 1024, true, NULL), S_IOERR);
    assert_false(is_broken(&f->d));
}

static void test_blk_completes_all_that_is_queued(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    put_header(d, T_IN, 3);
    for (uint16_t i = 0; i < 5; i++) {
        set_desc(d, 0, i * 3u, HEADER, 16, D_NEXT, (uint16_t)(i * 3 + 1));
        set_desc(d, 0, i * 3u + 1, DATA + i * 512u, 512, D_NEXT | D_WRITE, (uint16_t)(i * 3 + 2));
        set_desc(d, 0, i * 3u + 2, STATUS + i, 1, D_WRITE, 0);
        offer(d, 0, (uint16_t)(i * 3));
    }
    notify(d, 0);
    uint32_t heads = 0;
    for (unsigned i = 0; i < 5; i++)
        heads |= 1u << take_used(d, 0, NULL);
    assert_int_equal(heads, 1 | 1 << 3 | 1 << 6 | 1 << 9 | 1 << 12);
    for (unsigned i = 0; i < 5; i++)
        check_pattern(guest(d, DATA + i * 512), 3 * 512, 512);
}

/* EVENT_IDX: no interrupt before used_event, one when it is passed. */
static void test_blk_event_idx_suppresses_interrupts(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    avail_ring(d, 0)[2 + QSIZE] = 2; /* used_event: after the third */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(reg_read(d, 0x60), 0);
        assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
    }
    assert_int_equal(reg_read(d, 0x60), 1);
    assert_int_equal(d->irq.edges[1], 1);
    /* avail_event: the device wants to hear of the next one */
    assert_int_equal(*(uint16_t *)guest(d, ring_desc(0) + 0x804 + QSIZE * 8), 3);
}

static void test_blk_no_interrupt_flag(void **state)
{
    struct fixture *f = *state;
    struct driver *d = &f->d;

    driver_start(d, ~(1ull << VIRTIO_F_EVENT_IDX), 1);
    avail_ring(d, 0)[0] = 1;
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
    assert_int_equal(d->irq.edges[1], 0);
    avail_ring(d, 0)[0] = 0;
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
    assert_int_equal(d->irq.edges[1], 1);
}

static void test_blk_writes_mark_pages(void **state)
{
    struct fixture *f = *state;
    _Atomic uint32_t *page = mem_page_state(f->d.space, DATA - RAM_BASE);

    assert_int_equal(atomic_load(page) & MEM_PAGE_DIRTY, 0);
    assert_int_equal(request(&f->d, T_IN, 0, 512, true, NULL), S_OK);
    assert_int_equal(atomic_load(page) & MEM_PAGE_DIRTY, MEM_PAGE_DIRTY);
}

/* --- hostile guests: each breaks the device and nothing else; a reset repairs it --- */

static void expect_broken_then_repaired(struct driver *d)
{
    WAIT_FOR(is_broken(d));
    assert_int_equal(reg_read(d, 0x60) & 2, 2);
    uint16_t before = used_idx(d, 0);
    offer(d, 0, 0);
    notify(d, 0);
    assert_int_equal(used_idx(d, 0), before);
    driver_start(d, UINT64_MAX, 1);
    assert_false(is_broken(d));
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
}

static void offer_one(struct driver *d, uint16_t head)
{
    offer(d, 0, head);
    notify(d, 0);
}

static void test_hostile_descriptor_loop(void **state)
{
    struct driver *d = *state;

    set_desc(d, 0, 0, HEADER, 16, D_NEXT, 1);
    set_desc(d, 0, 1, HEADER, 16, D_NEXT, 0);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
}

static void test_hostile_indices(void **state)
{
    struct driver *d = *state;

    offer_one(d, QSIZE);
    expect_broken_then_repaired(d);
    set_desc(d, 0, 0, HEADER, 16, D_NEXT, 500);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    avail_ring(d, 0)[1] = (uint16_t)(d->avail[0] + QSIZE + 1);
    notify(d, 0);
    expect_broken_then_repaired(d);
    avail_ring(d, 0)[1] = (uint16_t)(d->avail[0] - 1);
    notify(d, 0);
    expect_broken_then_repaired(d);
}

static void test_hostile_addresses(void **state)
{
    static const uint64_t bad[] = {0, SLOT_BASE, RAM_BASE - 1, RAM_BASE + RAM_SIZE - 8,
                                   RAM_BASE + RAM_SIZE, UINT64_MAX, UINT64_MAX - 15, 1ull << 63};
    struct driver *d = *state;

    for (unsigned i = 0; i < SIM_ARRAY_LEN(bad); i++) {
        set_desc(d, 0, 0, bad[i], 16, 0, 0);
        offer_one(d, 0);
        expect_broken_then_repaired(d);
        set_desc(d, 0, 0, bad[i], 32, D_INDIRECT, 0);
        offer_one(d, 0);
        expect_broken_then_repaired(d);
    }
}

static void test_hostile_shapes(void **state)
{
    struct driver *d = *state;
    gpa_t table = BUFFERS + 0x8000;

    set_desc(d, 0, 0, HEADER, 0, 0, 0); /* no bytes */
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    set_desc(d, 0, 0, HEADER, 15, D_NEXT, 1); /* short header */
    set_desc(d, 0, 1, STATUS, 1, D_WRITE, 0);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    set_desc(d, 0, 0, HEADER, 16, 0, 0); /* no status */
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    set_desc(d, 0, 0, STATUS, 1, D_WRITE | D_NEXT, 1); /* writable first */
    set_desc(d, 0, 1, HEADER, 16, 0, 0);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    set_desc(d, 0, 0, table, 24, D_INDIRECT, 0); /* not a whole number of descriptors */
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    set_desc(d, 0, 0, table, 32, D_INDIRECT | D_NEXT, 1);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    set_desc_at(d, table, 0, table, 32, D_INDIRECT, 0); /* indirect in indirect */
    set_desc(d, 0, 0, table, 32, D_INDIRECT, 0);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
}

static void test_hostile_long_chain(void **state)
{
    struct driver *d = *state;
    gpa_t table = BUFFERS + 0x200000;
    unsigned n = VIRTIO_MAX_SEGS + 1;

    for (unsigned i = 0; i < n; i++)
        set_desc_at(d, table, i, DATA, 512, i + 1 < n ? D_NEXT : 0, (uint16_t)(i + 1));
    set_desc(d, 0, 0, table, n * 16, D_INDIRECT, 0);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
    for (unsigned i = 0; i < 1000; i++) /* 6 GiB in all */
        set_desc_at(d, table, i, RAM_BASE, 6 << 20, i < 999 ? D_NEXT : 0, (uint16_t)(i + 1));
    set_desc(d, 0, 0, table, 1000 * 16, D_INDIRECT, 0);
    offer_one(d, 0);
    expect_broken_then_repaired(d);
}

static void test_hostile_queue_setup(void **state)
{
    static const struct {
        uint32_t size, desc, avail, used;
    } bad[] = {{0, RINGS, RINGS + 0x400, RINGS + 0x800},
               {3, RINGS, RINGS + 0x400, RINGS + 0x800},
               {512, RINGS, RINGS + 0x400, RINGS + 0x800},
               {65536 + 16, RINGS, RINGS + 0x400, RINGS + 0x800},
               {16, RINGS + 8, RINGS + 0x400, RINGS + 0x800},
               {16, RINGS, RINGS + 0x401, RINGS + 0x800},
               {16, RINGS, RINGS + 0x400, RINGS + 0x802},
               {16, SLOT_BASE, RINGS + 0x400, RINGS + 0x800},
               {16, RINGS, RAM_BASE + RAM_SIZE - 4, RINGS + 0x800},
               {16, RINGS, RINGS + 0x400, 0}};
    struct driver *d = *state;

    for (unsigned i = 0; i < SIM_ARRAY_LEN(bad); i++) {
        reg_write(d, 0x70, 0);
        reg_write(d, 0x70, 3);
        reg_write(d, 0x24, 1);
        reg_write(d, 0x20, 1);
        reg_write(d, 0x70, 11);
        reg_write(d, 0x30, 0);
        reg_write(d, 0x38, bad[i].size);
        reg_write(d, 0x80, bad[i].desc);
        reg_write(d, 0x90, bad[i].avail);
        reg_write(d, 0xa0, bad[i].used);
        reg_write(d, 0x44, 1);
        assert_int_equal(reg_read(d, 0x44), 0);
        assert_true(is_broken(d));
        reg_write(d, 0x70, 15);
        notify(d, 0);
    }
    driver_start(d, UINT64_MAX, 1);
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
}

/* The same head offered again and again while it is in flight stays within the queue's size. */
static void test_hostile_reoffers(void **state)
{
    struct driver *d = *state;

    put_header(d, T_IN, 0);
    set_desc(d, 0, 0, HEADER, 16, D_NEXT, 1);
    set_desc(d, 0, 1, DATA, 1 << 20, D_NEXT | D_WRITE, 2); /* a worker's */
    set_desc(d, 0, 2, STATUS, 1, D_WRITE, 0);
    for (unsigned i = 0; i < 40 * QSIZE && !is_broken(d); i++)
        offer_one(d, 0);
    driver_start(d, UINT64_MAX, 1);
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
}

static void test_hostile_notifies_and_registers(void **state)
{
    struct driver *d = *state;
    uint64_t value;

    for (uint32_t n = 0; n < 70000; n += 7)
        notify(d, n);
    reg_write(d, 0x30, 77);
    assert_int_equal(reg_read(d, 0x34), 0);
    reg_write(d, 0x38, 16);
    reg_write(d, 0x44, 1);
    for (uint32_t offset = 0; offset < 0x1000; offset += 4)
        reg_read(d, offset);
    assert_int_equal(mem_mmio_read(d->space, SLOT_BASE + 0xffd, 1, &value), MEM_OK);
    assert_int_equal(mem_mmio_read(d->space, SLOT_BASE + 0x100, 8, &value), MEM_OK);
    assert_int_equal(value, SECTORS);
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
}

static void test_reset_with_requests_in_flight(void **state)
{
    struct driver *d = *state;

    for (unsigned round = 0; round < 50; round++) {
        put_header(d, T_IN, 0);
        for (uint16_t i = 0; i < 5; i++) {
            set_desc(d, 0, i * 3u, HEADER, 16, D_NEXT, (uint16_t)(i * 3 + 1));
            set_desc(d, 0, i * 3u + 1, DATA, 1 << 20, D_NEXT | D_WRITE, (uint16_t)(i * 3 + 2));
            set_desc(d, 0, i * 3u + 2, STATUS + i, 1, D_WRITE, 0);
            offer(d, 0, (uint16_t)(i * 3));
        }
        notify(d, 0);
        if (round & 1)
            reg_write(d, 0x44, 0);
        reg_write(d, 0x70, 0);
        assert_int_equal(reg_read(d, 0x70), 0);
        assert_int_equal(reg_read(d, 0x60), 0);
        memset(guest(d, DATA), 0x11, 1 << 20);
        for (unsigned i = 0; i < 1 << 20; i += 4096)
            assert_int_equal(((uint8_t *)guest(d, DATA))[i], 0x11);
        driver_start(d, UINT64_MAX, 1);
    }
    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
}

static void test_features_must_be_offered(void **state)
{
    struct driver *d = *state;

    reg_write(d, 0x70, 0);
    reg_write(d, 0x70, 3);
    reg_write(d, 0x24, 0);
    reg_write(d, 0x20, 1u << 27);
    reg_write(d, 0x24, 1);
    reg_write(d, 0x20, 1);
    reg_write(d, 0x70, 11);
    assert_int_equal(reg_read(d, 0x70), 3);
    reg_write(d, 0x24, 0);
    reg_write(d, 0x20, 0);
    reg_write(d, 0x24, 1);
    reg_write(d, 0x20, 0); /* no VERSION_1 */
    reg_write(d, 0x70, 15);
    assert_int_equal(reg_read(d, 0x70), 3);
}

static void test_state_survives(void **state)
{
    struct driver *d = *state;
    const struct state_desc *desc = d->slot->ops->state;
    struct state_buf buf = {0};
    size_t used;

    assert_int_equal(request(d, T_IN, 0, 512, true, NULL), S_OK);
    assert_int_equal(request(d, T_IN, 1, 512, true, NULL), S_OK);
    freeze(d);
    state_save(desc, d->slot, &buf);
    dev_reset(d->slot);
    assert_int_equal(reg_read(d, 0x70), 0);
    assert_int_equal(state_load(desc, d->slot, buf.data, buf.len, &used), SIM_OK);
    assert_int_equal(used, buf.len);
    thaw(d);
    assert_int_equal(reg_read(d, 0x70), 15);
    assert_int_equal(reg_read(d, 0x60), 1);
    assert_int_equal(request(d, T_IN, 2, 512, true, NULL), S_OK);
    check_pattern(guest(d, DATA), 1024, 512);
    freeze(d);
    assert_int_equal(state_load(desc, d->slot, buf.data, buf.len / 2, &used), SIM_ERR_FORMAT);
    state_buf_fini(&buf);
}

static void test_state_with_a_ring_outside_memory_is_refused(void **state)
{
    struct driver *d = *state;
    const struct state_desc *desc = d->slot->ops->state;
    struct state_buf buf = {0};
    uint64_t rings = RINGS, nowhere = 0x1000;
    size_t used;

    freeze(d);
    state_save(desc, d->slot, &buf);
    uint8_t *at = memmem(buf.data, buf.len, &rings, sizeof rings);
    assert_non_null(at);
    memcpy(at, &nowhere, sizeof nowhere);
    assert_int_equal(state_load(desc, d->slot, buf.data, buf.len, &used), SIM_ERR_FORMAT);
    state_buf_fini(&buf);
    reg_write(d, 0x70, 0);
}

static void test_empty_slot(void **state)
{
    struct driver d;
    (void)state;

    driver_init(&d);
    assert_int_equal(reg_read(&d, 0), 0x74726976);
    assert_int_equal(reg_read(&d, 4), 2);
    assert_int_equal(reg_read(&d, 8), 0);
    for (uint32_t offset = 0; offset < 0x1000; offset += 4) {
        reg_write(&d, offset, 0xffffffff);
        reg_read(&d, offset);
    }
    assert_true(virtio_mmio_is_free(d.slot));
    driver_fini(&d);
}

#define BLK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(test_blk_identifies_itself),
        BLK_TEST(test_blk_reads),
        BLK_TEST(test_blk_reads_the_last_sector_and_no_further),
        BLK_TEST(test_blk_writes),
        BLK_TEST(test_blk_flushes),
        BLK_TEST(test_blk_gives_its_serial),
        BLK_TEST(test_blk_zeroes_and_discards),
        BLK_TEST(test_blk_refuses_unknown_requests),
        cmocka_unit_test_setup_teardown(test_blk_readonly_refuses_writes, setup_readonly, teardown),
        BLK_TEST(test_blk_accepts_any_layout),
        BLK_TEST(test_blk_large_transfer_goes_to_a_worker),
        BLK_TEST(test_blk_shrunk_file_gives_io_error),
        BLK_TEST(test_blk_completes_all_that_is_queued),
        BLK_TEST(test_blk_event_idx_suppresses_interrupts),
        BLK_TEST(test_blk_no_interrupt_flag),
        BLK_TEST(test_blk_writes_mark_pages),
        BLK_TEST(test_hostile_descriptor_loop),
        BLK_TEST(test_hostile_indices),
        BLK_TEST(test_hostile_addresses),
        BLK_TEST(test_hostile_shapes),
        BLK_TEST(test_hostile_long_chain),
        BLK_TEST(test_hostile_queue_setup),
        BLK_TEST(test_hostile_reoffers),
        BLK_TEST(test_hostile_notifies_and_registers),
        BLK_TEST(test_reset_with_requests_in_flight),
        BLK_TEST(test_features_must_be_offered),
        BLK_TEST(test_state_survives),
        BLK_TEST(test_state_with_a_ring_outside_memory_is_refused),
        cmocka_unit_test(test_empty_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
