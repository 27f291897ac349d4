/* Linux Image headers and packed kernels; files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "linux_image.h"

static uint8_t image[0x1000];

static void put32(unsigned at, uint32_t v)
{
    memcpy(image + at, &v, 4);
}

static void make_image(void)
{
    memset(image, 0, sizeof image);
    put32(8, 0x200000);
    put32(16, 0x5000);
    memcpy(image + 0x38, "RSC\x05", 4);
}

/* An EFI stub with one section that ends at `end`. */
static void make_stub(uint32_t end)
{
    make_image();
    memcpy(image, "MZ", 2);
    put32(0x3c, 0x40);
    memcpy(image + 0x40, "PE\0", 4);
    image[0x46] = 1;  /* sections */
    image[0x54] = 16; /* bytes of optional header */
    memcpy(image + 0x68, ".text", 5);
    put32(0x68 + 16, end - 0x100);
    put32(0x68 + 20, 0x100);
}

static enum sim_status read_image(size_t size, bool *is_image, struct linux_image *out)
{
    struct input_file f;

    input_file_from_memory("Image", image, size, &f);
    return linux_image_read(&f, is_image, out);
}

static void test_image_header(void **state)
{
    struct linux_image li;
    bool is_image;

    (void)state;
    make_image();
    assert_int_equal(read_image(sizeof image, &is_image, &li), SIM_OK);
    assert_true(is_image);
    assert_int_equal(li.text_offset, 0x200000);
    assert_int_equal(li.image_size, 0x5000);
    put32(16, 1); /* smaller than the file: the file counts */
    assert_int_equal(read_image(sizeof image, &is_image, &li), SIM_OK);
    assert_int_equal(li.image_size, sizeof image);
    assert_int_equal(read_image(63, &is_image, &li), SIM_OK);
    assert_false(is_image);
    image[0x38] = 'X';
    assert_int_equal(read_image(sizeof image, &is_image, &li), SIM_OK);
    assert_false(is_image);
}

static void test_image_cut_short(void **state)
{
    struct linux_image li;
    struct capture c;
    bool is_image;

    (void)state;
    make_stub(sizeof image);
    assert_int_equal(read_image(sizeof image, &is_image, &li), SIM_OK);
    assert_true(is_image);
    for (size_t size = 64; size < sizeof image; size += 7) {
        capture_begin(&c, 2);
        enum sim_status status = read_image(size, &is_image, &li);
        const char *said = capture_end(&c);
        /* Without even the PE header it is only a short image. */
        if (size >= 0x58 && (status != SIM_ERR_FORMAT || !strstr(said, "cut short")))
            fail_msg("%zu bytes: status %d, said: %s", size, status, said);
    }
}

static void test_image_big_endian(void **state)
{
    struct linux_image li;
    struct capture c;
    bool is_image;

    (void)state;
    make_image();
    image[24] = 1;
    capture_begin(&c, 2);
    assert_int_equal(read_image(sizeof image, &is_image, &li), SIM_ERR_FORMAT);
    assert_non_null(strstr(capture_end(&c), "big-endian"));
}

static void test_image_packings(void **state)
{
    static const struct {
        const char *bytes, *said;
    } cases[] = {{"\x1f\x8b\x08zzzzz", "gunzip"}, {"\x28\xb5\x2f\xfdzzzz", "unzstd"},
                 {"MZzzzzim", "zzzz"},            {"MZ\1\1zimg", "vmlinuz.efi"}};

    (void)state;
    for (size_t i = 0; i < SIM_ARRAY_LEN(cases); i++) {
        struct input_file f;
        struct capture c;
        input_file_from_memory("vmlinuz", cases[i].bytes, 8, &f);
        capture_begin(&c, 2);
        enum sim_status status = linux_image_check_packing(&f);
        const char *said = capture_end(&c);
        bool packed = cases[i].said[0] != 'z';
        assert_int_equal(status, packed ? SIM_ERR_UNSUPPORTED : SIM_OK);
        if (packed)
            assert_non_null(strstr(said, cases[i].said));
    }
}

static void expect_unopenable(const char *path, enum sim_status want, const char *text)
{
    struct input_file f;
    struct capture c;

    capture_begin(&c, 2);
    enum sim_status status = input_file_open("-kernel", path, &f);
    const char *said = capture_end(&c);
    assert_int_equal(status, want);
    if (!strstr(said, text) || !strstr(said, path) || !strstr(said, "-kernel"))
        fail_msg("%s: %s", path, said);
}

static void test_input_file_refuses(void **state)
{
    char dir[] = "/tmp/partita-test-XXXXXX", path[64];

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/f", dir);
    expect_unopenable(path, SIM_ERR_NOTFOUND, "No such file");
    expect_unopenable(dir, SIM_ERR_INVALID, "is a directory");
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_unopenable(path, SIM_ERR_INVALID, "not a regular file");
    unlink(path);
    fclose(fopen(path, "w"));
    expect_unopenable(path, SIM_ERR_INVALID, "is empty");
    unlink(path);
    rmdir(dir);
}

static void test_input_file_reads(void **state)
{
    char path[] = "/tmp/partita-test-XXXXXX", buf[4];
    int fd = mkstemp(path);
    struct input_file f;
    struct capture c;

    (void)state;
    assert_int_equal(write(fd, "0123456789", 10), 10);
    assert_int_equal(input_file_open("-initrd", path, &f), SIM_OK);
    assert_int_equal(f.size, 10);
    assert_int_equal(input_file_read(&f, 6, buf, 4), SIM_OK);
    assert_memory_equal(buf, "6789", 4);
    capture_begin(&c, 2);
    assert_int_equal(input_file_read(&f, 7, buf, 4), SIM_ERR_FORMAT);
    assert_int_equal(input_file_read(&f, UINT64_MAX, buf, 4), SIM_ERR_FORMAT);
    assert_int_equal(ftruncate(fd, 5), 0);
    assert_int_equal(input_file_read(&f, 2, buf, 4), SIM_ERR_IO);
    assert_non_null(strstr(capture_end(&c), "has become shorter"));
    input_file_close(&f);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_header),     cmocka_unit_test(test_image_cut_short),
        cmocka_unit_test(test_image_big_endian), cmocka_unit_test(test_image_packings),
        cmocka_unit_test(test_input_file_refuses), cmocka_unit_test(test_input_file_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
