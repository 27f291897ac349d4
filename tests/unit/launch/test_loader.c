/* Where firmware, kernel, initrd and device tree go, and how harts start. On the real machine. */
#include <endian.h>
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture.h"
#include "elf_builder.h"
#include "loader.h"
#include "sim-core/alloc.h"

#define RAM_BASE 0x80000000ull
#define MIB (1ull << 20)

enum { A0 = 10, A1 = 11, A2 = 12 };

struct fixture {
    struct config config;
    struct sim *sim;
    struct machine *m;
    char dir[32];
};

static char *path_of(struct fixture *f, const char *name)
{
    return sim_asprintf("%s/%s", f->dir, name);
}

/* Writes a file and makes a field of the configuration name it. */
static void give(struct fixture *f, char **field, const char *name, const void *data, size_t size)
{
    *field = path_of(f, name);
    FILE *file = fopen(*field, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    config_init(&f->config);
    f->config.smp = 3;
    f->config.memory = 64 * MIB;
    f->config.jit = false;
    f->config.serial[f->config.nr_serials++] = sim_strdup("null");
    strcpy(f->dir, "/tmp/partita-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    const char *const files[] = {f->config.kernel, f->config.initrd, f->config.bios, f->config.dtb};

    for (size_t i = 0; i < SIM_ARRAY_LEN(files); i++)
        if (files[i] && files[i][0] == '/')
            unlink(files[i]);
    rmdir(f->dir);
    if (f->m)
        machine_destroy(f->m);
    sim_destroy(f->sim);
    config_fini(&f->config);
    free(f);
    return 0;
}

static void make_machine(struct fixture *f)
{
    assert_int_equal(sim_create(&f->sim), SIM_OK);
    assert_int_equal(machine_create(f->sim, &f->config, NULL, &f->m), SIM_OK);
}

/* One message with `text`. */
static void expect_refused(struct fixture *f, const char *text)
{
    struct capture c;

    make_machine(f);
    capture_begin(&c, 2);
    enum sim_status status = loader_load(f->m);
    const char *said = capture_end(&c);
    if (status == SIM_OK || !strstr(said, text) || strchr(said, '\n') != strrchr(said, '\n'))
        fail_msg("status %d, no '%s' in: %s", status, text, said);
}

static void expect_bytes(struct fixture *f, gpa_t at, const void *want, size_t size)
{
    uint8_t *have = malloc(size);

    assert_int_equal(mem_read(f->m->space, at, have, size), MEM_OK);
    assert_memory_equal(have, want, size);
    free(have);
}

static uint64_t reg(struct fixture *f, unsigned hart, unsigned n)
{
    return rv_hart_get_x(f->sim->vcpus[hart], n);
}

static bool started(struct fixture *f, unsigned hart)
{
    return f->sim->vcpus[hart]->ops->has_work(f->sim->vcpus[hart]);
}

/* The tree in guest memory that a1 points to. */
static void *guest_tree(struct fixture *f)
{
    static _Alignas(8) uint8_t tree[256 << 10];

    assert_int_equal(reg(f, 0, A1) % 8, 0);
    assert_int_equal(mem_read(f->m->space, reg(f, 0, A1), tree, FDT_V17_SIZE), MEM_OK);
    assert_in_range(fdt_totalsize(tree), FDT_V17_SIZE, sizeof tree);
    assert_int_equal(mem_read(f->m->space, reg(f, 0, A1), tree, fdt_totalsize(tree)), MEM_OK);
    assert_int_equal(fdt_check_header(tree), 0);
    return tree;
}

static uint64_t chosen_u64(const void *tree, const char *name)
{
    int len;
    const fdt64_t *p = fdt_getprop(tree, fdt_path_offset(tree, "/chosen"), name, &len);

    assert_non_null(p);
    assert_int_equal(len, 8);
    return fdt64_ld(p);
}

/* A Linux Image of `size` bytes that takes `mem_size` in memory. */
static uint8_t *make_image(size_t size, uint64_t mem_size)
{
    uint8_t *image = calloc(1, size);
    const uint64_t text_offset = htole64(2 * MIB), le_size = htole64(mem_size);

    memcpy(image + 8, &text_offset, 8);
    memcpy(image + 16, &le_size, 8);
    memcpy(image + 0x38, "RSC\x05", 4);
    memset(image + 64, 0xab, size - 64);
    return image;
}

static void test_linux_under_builtin_sbi(void **state)
{
    struct fixture *f = *state;
    uint8_t *image = make_image(100000, 3 * MIB), initrd[5000];

    memset(initrd, 0x1d, sizeof initrd);
    give(f, &f->config.kernel, "Image", image, 100000);
    give(f, &f->config.initrd, "initrd", initrd, sizeof initrd);
    config_set_string(&f->config.append, "console=ttyS0 a=b");
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_int_equal(rv_hart_get_pc(f->sim->vcpus[0]), RAM_BASE + 2 * MIB);
    assert_int_equal(reg(f, 0, A0), f->m->boot_hartid);
    assert_true(started(f, 0));
    assert_false(started(f, 1));
    expect_bytes(f, RAM_BASE + 2 * MIB, image, 100000);
    const void *tree = guest_tree(f);
    uint64_t start = chosen_u64(tree, "linux,initrd-start");
    assert_int_equal(chosen_u64(tree, "linux,initrd-end"), start + sizeof initrd);
    assert_true(start >= RAM_BASE + 5 * MIB); /* behind the kernel's BSS */
    assert_int_equal(start % (2 * MIB), 0);
    expect_bytes(f, start, initrd, sizeof initrd);
    assert_string_equal(fdt_getprop(tree, fdt_path_offset(tree, "/chosen"), "bootargs", NULL),
                        "console=ttyS0 a=b");
    assert_true(reg(f, 0, A1) > start + sizeof initrd);
    free(image);
}

/* ---- /reserved-memory of a user's tree ---- */

static const struct kept {
    const char *name;
    uint64_t base, size;
    const char *status;
} kept[] = {
    {"pool@80200000", 0x80200000, 0x10000, "okay"},      /* the kernel's usual place */
    {"buffer@82400000", 0x82400000, 0x100000, "okay"},   /* the initrd's */
    {"screen@83c00000", 0x83c00000, 0x400000, "okay"},   /* the tree's */
    {"unused@80400000", 0x80400000, 0x10000, "disabled"},
};
static const struct kept in_header = {"", 0x83b00000, 0x100000, ""};

static void add_kept(void *fdt, int parent, const struct kept *k)
{
    const fdt64_t reg[] = {cpu_to_fdt64(k->base), cpu_to_fdt64(k->size)};
    int node = fdt_add_subnode(fdt, parent, k->name);

    assert_true(node >= 0);
    assert_int_equal(fdt_setprop(fdt, node, "reg", reg, sizeof reg), 0);
    assert_int_equal(fdt_setprop_string(fdt, node, "status", k->status), 0);
}

/* The machine virt, with memory that others own. */
static void give_reserving_tree(struct fixture *f)
{
    void *fdt;

    assert_int_equal(virt_build_fdt(&f->config, &fdt), SIM_OK);
    int size = (int)fdt_totalsize(fdt) + 4096;
    void *larger = sim_zalloc((size_t)size);
    assert_int_equal(fdt_open_into(fdt, larger, size), 0);
    int parent = fdt_add_subnode(larger, 0, "reserved-memory");
    assert_true(parent >= 0);
    assert_int_equal(fdt_setprop_u32(larger, parent, "#address-cells", 2), 0);
    assert_int_equal(fdt_setprop_u32(larger, parent, "#size-cells", 2), 0);
    assert_int_equal(fdt_setprop(larger, parent, "ranges", NULL, 0), 0);
    for (size_t i = 0; i < SIM_ARRAY_LEN(kept); i++)
        add_kept(larger, fdt_path_offset(larger, "/reserved-memory"), &kept[i]);
    assert_true(fdt_add_subnode(larger, fdt_path_offset(larger, "/reserved-memory"), "any") >= 0);
    assert_int_equal(fdt_add_mem_rsv(larger, in_header.base, in_header.size), 0);
    give(f, &f->config.dtb, "dtb", larger, (size_t)size);
    sim_free(larger);
    sim_free(fdt);
}

static void expect_unkept(uint64_t base, uint64_t size)
{
    for (size_t i = 0; i < SIM_ARRAY_LEN(kept); i++)
        if (strcmp(kept[i].status, "okay") == 0)
            assert_false(base < kept[i].base + kept[i].size && kept[i].base < base + size);
    assert_false(base < in_header.base + in_header.size && in_header.base < base + size);
}

static void regress_2_reserved_memory_is_left_alone(void **state)
{
    struct fixture *f = *state;
    uint8_t *image = make_image(100000, 3 * MIB), *initrd = calloc(1, 9 * MIB);

    give_reserving_tree(f);
    give(f, &f->config.kernel, "Image", image, 100000);
    give(f, &f->config.initrd, "initrd", initrd, 9 * MIB);
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_int_equal(rv_hart_get_pc(f->sim->vcpus[0]), RAM_BASE + 4 * MIB); /* the next place */
    expect_bytes(f, RAM_BASE + 4 * MIB, image, 100000);
    const void *tree = guest_tree(f);
    expect_unkept(reg(f, 0, A1) - 4096, 4096 + fdt_totalsize(tree));
    uint64_t start = chosen_u64(tree, "linux,initrd-start");
    expect_unkept(start, 9 * MIB);
    assert_true(start >= RAM_BASE + 7 * MIB || start + 9 * MIB <= RAM_BASE + 4 * MIB);
    expect_bytes(f, start, initrd, 9 * MIB);
    free(initrd);
    free(image);
}

/* A file that says its own place cannot be moved. */
static void regress_2_kernel_in_reserved_memory(void **state)
{
    struct fixture *f = *state;
    struct small_elf e;

    small_elf_init(&e);
    give_reserving_tree(f);
    give(f, &f->config.kernel, "elf", &e, sizeof e); /* at 0x80200000 */
    expect_refused(f, "overlaps pool@80200000");
}

/* In M mode it is the machine's firmware, for which the memory may be kept. */
static void test_firmware_in_reserved_memory(void **state)
{
    struct fixture *f = *state;
    struct small_elf e;

    small_elf_init(&e);
    give_reserving_tree(f);
    give(f, &f->config.kernel, "elf", &e, sizeof e);
    config_set_string(&f->config.bios, "none");
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
}

/* A guest reset loads the same again, whatever the guest has left behind. */
static void test_load_again_after_reset(void **state)
{
    struct fixture *f = *state;
    struct small_elf e;
    uint8_t dirt[0x3000], zeroes[0x1000] = {0};

    small_elf_init(&e);
    give(f, &f->config.kernel, "elf", &e, sizeof e);
    config_set_string(&f->config.append, "x");
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    uint64_t tree_at = reg(f, 0, A1);
    uint32_t tree_size = fdt_totalsize(f->m->fdt);
    memset(dirt, 0xee, sizeof dirt);
    assert_int_equal(mem_write(f->m->space, 0x80200000, dirt, sizeof dirt), MEM_OK);
    assert_int_equal(mem_write(f->m->space, tree_at, dirt, 64), MEM_OK);
    machine_reset(f->m);
    assert_false(started(f, 0));
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_int_equal(rv_hart_get_pc(f->sim->vcpus[0]), 0x80200010);
    assert_int_equal(reg(f, 0, A1), tree_at);
    assert_int_equal(fdt_totalsize(f->m->fdt), tree_size);
    guest_tree(f);
    expect_bytes(f, 0x80200000, (uint8_t *)&e + SMALL_CODE, 0x80);
    expect_bytes(f, 0x80201000, (uint8_t *)&e + SMALL_DATA, 0x80);
    expect_bytes(f, 0x80201080, zeroes, sizeof zeroes); /* BSS */
    expect_bytes(f, 0x80202080, dirt, 0x100);           /* behind it: the guest's own business */
}

static void test_bare_metal_elf(void **state)
{
    struct fixture *f = *state;
    struct small_elf e;

    small_elf_init(&e);
    give(f, &f->config.kernel, "elf", &e, sizeof e);
    config_set_string(&f->config.bios, "none");
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(started(f, i));
        assert_int_equal(rv_hart_get_pc(f->sim->vcpus[i]), 0x80200010);
        assert_int_equal(reg(f, i, A0), i);
        assert_int_equal(reg(f, i, A1), reg(f, 0, A1));
    }
    guest_tree(f);
}

static void test_bare_metal_raw(void **state)
{
    struct fixture *f = *state;
    const uint8_t code[] = {1, 0xa0};

    give(f, &f->config.kernel, "raw", code, sizeof code);
    config_set_string(&f->config.bios, "none");
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_int_equal(rv_hart_get_pc(f->sim->vcpus[2]), RAM_BASE);
    expect_bytes(f, RAM_BASE, code, sizeof code);
}

static void test_firmware_and_payload(void **state)
{
    struct fixture *f = *state;
    uint8_t *firmware = malloc(3 * MIB);
    const uint8_t payload[] = {1, 2, 3, 4};
    uint64_t info[6];

    memset(firmware, 0xf1, 3 * MIB);
    give(f, &f->config.bios, "fw", firmware, 3 * MIB); /* reaches over the kernel's usual place */
    give(f, &f->config.kernel, "u-boot.bin", payload, sizeof payload);
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(started(f, i));
        assert_int_equal(rv_hart_get_pc(f->sim->vcpus[i]), RAM_BASE);
        assert_int_equal(reg(f, i, A0), i);
    }
    expect_bytes(f, RAM_BASE, firmware, 3 * MIB);
    expect_bytes(f, RAM_BASE + 4 * MIB, payload, sizeof payload);
    assert_int_equal(mem_read(f->m->space, reg(f, 1, A2), info, sizeof info), MEM_OK);
    assert_int_equal(le64toh(info[0]), 0x4942534f);
    assert_int_equal(le64toh(info[1]), 2);
    assert_int_equal(le64toh(info[2]), RAM_BASE + 4 * MIB);
    assert_int_equal(le64toh(info[3]), 1); /* S mode */
    assert_int_equal(le64toh(info[4]), 0);
    assert_int_equal(le64toh(info[5]), f->m->boot_hartid);
    free(firmware);
}

/* OpenSBI's .elf files are position-independent and begin at 0. */
static void test_position_independent_firmware(void **state)
{
    struct fixture *f = *state;
    struct small_elf e;

    small_elf_init(&e);
    e.h.e_type = ET_DYN;
    e.h.e_entry = 0;
    e.p[0].p_vaddr = e.p[0].p_paddr = 0;
    e.p[1].p_vaddr = e.p[1].p_paddr = 0x40000;
    give(f, &f->config.bios, "fw.elf", &e, sizeof e);
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_int_equal(rv_hart_get_pc(f->sim->vcpus[1]), RAM_BASE);
    expect_bytes(f, RAM_BASE + 0x40000, (uint8_t *)&e + SMALL_DATA, 0x80);
}

static void test_small_memory(void **state)
{
    struct fixture *f = *state;
    const uint8_t code[] = {1, 0xa0};

    f->config.memory = 1 * MIB;
    give(f, &f->config.kernel, "raw", code, sizeof code);
    config_set_string(&f->config.bios, "none");
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_true(reg(f, 0, A1) > RAM_BASE + sizeof code);
    assert_true(reg(f, 0, A1) < RAM_BASE + 1 * MIB);
    guest_tree(f);
}

/* The tree stays below 3 GiB, where early code with 32-bit addresses finds it. */
static void test_large_memory(void **state)
{
    struct fixture *f = *state;
    const uint8_t code[] = {1, 0xa0}, initrd[] = {1};

    f->config.memory = 6144 * MIB;
    give(f, &f->config.kernel, "raw", code, sizeof code);
    give(f, &f->config.initrd, "initrd", initrd, sizeof initrd);
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_true(reg(f, 0, A1) < 3072 * MIB);
    assert_int_equal(reg(f, 0, A1) % (2 * MIB), 0);
    assert_int_equal(chosen_u64(guest_tree(f), "linux,initrd-start"),
                     RAM_BASE + 2 * MIB + 512 * MIB);
}

static void test_kernel_does_not_fit(void **state)
{
    struct fixture *f = *state;
    uint8_t *image = make_image(100000, 63 * MIB);

    give(f, &f->config.kernel, "Image", image, 100000);
    expect_refused(f, "does not fit: it needs 0x80200000 to 0x84100000");
    free(image);
}

static void test_initrd_does_not_fit(void **state)
{
    struct fixture *f = *state;
    uint8_t *image = make_image(100000, 40 * MIB), *initrd = calloc(30, MIB);

    give(f, &f->config.kernel, "Image", image, 100000);
    give(f, &f->config.initrd, "initrd", initrd, 30 * MIB);
    expect_refused(f, "-initrd '");
    free(image);
    free(initrd);
}

static void test_initrd_squeezes_in(void **state)
{
    struct fixture *f = *state;
    uint8_t *image = make_image(100000, 40 * MIB), *initrd = calloc(15, MIB);

    give(f, &f->config.kernel, "Image", image, 100000);
    give(f, &f->config.initrd, "initrd", initrd, 15 * MIB);
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_true(chosen_u64(guest_tree(f), "linux,initrd-start") >= RAM_BASE + 42 * MIB);
    free(image);
    free(initrd);
}

static void test_kernel_overlaps_firmware(void **state)
{
    struct fixture *f = *state;
    uint8_t *firmware = calloc(3, MIB);
    struct small_elf e;

    small_elf_init(&e); /* at 0x80200000 */
    give(f, &f->config.bios, "fw", firmware, 3 * MIB);
    give(f, &f->config.kernel, "elf", &e, sizeof e);
    expect_refused(f, "overlaps -bios: 0x80200000+0x80");
    free(firmware);
}

static void test_elf_outside_ram(void **state)
{
    struct fixture *f = *state;
    struct small_elf e;

    small_elf_init(&e);
    e.p[1].p_paddr = e.p[1].p_vaddr = 0x10000000; /* the UART */
    give(f, &f->config.kernel, "elf", &e, sizeof e);
    expect_refused(f, "needs 0x10000000 to 0x10001080, RAM is 0x80000000");
}

static void test_demo_is_loaded(void **state)
{
    struct fixture *f = *state;

    f->config.demo = true;
    make_machine(f);
    assert_int_equal(loader_load(f->m), SIM_OK);
    assert_int_equal(rv_hart_get_pc(f->sim->vcpus[0]), RAM_BASE + 2 * MIB);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_linux_under_builtin_sbi),
        TEST(test_load_again_after_reset),
        TEST(regress_2_reserved_memory_is_left_alone),
        TEST(regress_2_kernel_in_reserved_memory),
        TEST(test_firmware_in_reserved_memory),
        TEST(test_bare_metal_elf),
        TEST(test_bare_metal_raw),
        TEST(test_firmware_and_payload),
        TEST(test_position_independent_firmware),
        TEST(test_small_memory),
        TEST(test_large_memory),
        TEST(test_kernel_does_not_fit),
        TEST(test_initrd_does_not_fit),
        TEST(test_initrd_squeezes_in),
        TEST(test_kernel_overlaps_firmware),
        TEST(test_elf_outside_ram),
        TEST(test_demo_is_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
