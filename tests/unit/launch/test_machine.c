/* Composing a machine: what fails says why and leaves nothing behind, as the build with
 * AddressSanitizer sees. */
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
#include "machine.h"
#include "sim-core/alloc.h"

#define MIB (1ull << 20)

struct fixture {
    struct config config;
    char dtb[32], disk[32];
};

static void delete_compatible(void *fdt, const char *compatible)
{
    int node;

    while ((node = fdt_node_offset_by_compatible(fdt, -1, compatible)) >= 0)
        assert_int_equal(fdt_del_node(fdt, node), 0);
}

static void write_new_file(char *path, const void *data, size_t size)
{
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    close(fd);
}

/* The machine virt without a place for virtio devices, as a user's tree. */
static int set_up(void **state)
{
    static const uint8_t zeros[4096];
    struct fixture *f = calloc(1, sizeof *f);
    void *fdt;

    config_init(&f->config);
    f->config.memory = 16 * MIB;
    f->config.jit = false;
    f->config.serial[f->config.nr_serials++] = sim_strdup("null");
    assert_int_equal(virt_build_fdt(&f->config, &fdt), SIM_OK);
    delete_compatible(fdt, "virtio,mmio");
    delete_compatible(fdt, "pci-host-ecam-generic");
    strcpy(f->dtb, "/tmp/partita-dtb-XXXXXX");
    strcpy(f->disk, "/tmp/partita-disk-XXXXXX");
    write_new_file(f->dtb, fdt, fdt_totalsize(fdt));
    write_new_file(f->disk, zeros, sizeof zeros);
    sim_free(fdt);
    config_set_string(&f->config.dtb, f->dtb);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    unlink(f->dtb);
    unlink(f->disk);
    config_fini(&f->config);
    free(f);
    return 0;
}

/* What becomes of the machine, what is said, and, when there is one, how many harts it has. */
static void try_machine(struct fixture *f, enum sim_status want, uint32_t harts, const char *words)
{
    struct capture c;
    struct machine *m = NULL;
    struct sim *sim;

    assert_int_equal(sim_create(&sim), SIM_OK);
    capture_begin(&c, 2);
    enum sim_status status = machine_create(sim, &f->config, NULL, &m);
    const char *said = capture_end(&c);
    assert_int_equal(status, want);
    assert_int_equal(m != NULL, want == SIM_OK);
    if (words)
        assert_non_null(strstr(said, words));
    else
        assert_string_equal(said, "");
    if (m) {
        assert_int_equal(sim->nr_vcpus, harts);
        assert_int_equal(m->boot_hartid, 0);
        assert_int_equal(m->ram_size, 16 * MIB);
        for (uint32_t i = 0; i < harts; i++) {
            assert_int_equal(rv_hart_id(sim->vcpus[i]), i);
            assert_int_equal(rv_hart_isa(sim->vcpus[i])->ext, rv_hart_isa(m->boot_hart)->ext);
        }
        machine_destroy(m);
    }
    sim_destroy(sim);
}

static void expect_no_slot(struct fixture *f)
{
    try_machine(f, SIM_ERR_INVALID, 0, "no free virtio slot");
}

static void regress_2_drive_without_a_slot(void **state)
{
    struct fixture *f = *state;

    f->config.drive[f->config.nr_drives++].file = sim_strdup(f->disk);
    expect_no_slot(f);
}

static void regress_2_console_without_a_slot(void **state)
{
    struct fixture *f = *state;

    config_set_string(&f->config.virtconsole, "null");
    expect_no_slot(f);
}

static void regress_2_rng_without_a_slot(void **state)
{
    ((struct fixture *)*state)->config.rng = true;
    expect_no_slot(*state);
}

/* ---- -smp and -m beside a tree, here of one hart and 16 MiB ---- */

static void ask_for(struct fixture *f, uint32_t harts, uint64_t memory)
{
    f->config.smp_given = f->config.memory_given = true;
    f->config.smp = harts;
    f->config.memory = memory;
}

static void test_harts_and_memory_as_in_the_tree(void **state)
{
    try_machine(*state, SIM_OK, 1, NULL);
    ask_for(*state, 1, 16 * MIB);
    try_machine(*state, SIM_OK, 1, NULL);
}

static void test_harts_that_the_tree_does_not_name(void **state)
{
    struct fixture *f = *state;

    ask_for(f, 4, 16 * MIB);
    try_machine(f, SIM_OK, 4, "has 1 harts; the others have no interrupt controllers");
    /* An image's tree: it was said before, and the number counts, given or not. */
    struct config_tree *t = &f->config.tree;
    f->config.smp_given = f->config.memory_given = false;
    assert_int_equal(machine_read_fdt(f->dtb, &t->fdt), SIM_OK);
    t->size = (uint32_t)fdt_totalsize(t->fdt);
    t->builtin_sbi = true;
    try_machine(f, SIM_OK, 4, NULL);
}

static void test_more_memory_than_in_the_tree(void **state)
{
    ask_for(*state, 1, 32 * MIB);
    try_machine(*state, SIM_OK, 1, "-m: only the 16384 KiB");
}

static void test_less_memory_than_in_the_tree(void **state)
{
    ask_for(*state, 1, 8 * MIB);
    try_machine(*state, SIM_ERR_INVALID, 0, "-m: 8192 KiB, but");
}

static void test_fewer_harts_than_in_the_tree(void **state)
{
    struct fixture *f = *state;
    void *fdt;

    f->config.smp = 3;
    assert_int_equal(virt_build_fdt(&f->config, &fdt), SIM_OK);
    unlink(f->dtb);
    strcpy(f->dtb, "/tmp/partita-dtb-XXXXXX");
    write_new_file(f->dtb, fdt, fdt_totalsize(fdt));
    sim_free(fdt);
    config_set_string(&f->config.dtb, f->dtb);
    f->config.smp = 1;
    try_machine(f, SIM_OK, 3, NULL);
    ask_for(f, 2, 16 * MIB);
    try_machine(f, SIM_ERR_INVALID, 0, "-smp: 2 harts, but");
}

/* ---- the machine virt ---- */

enum { CLINT_MTIME = 0x200bff8 };

static uint64_t read_mtime(struct machine *m)
{
    uint64_t value = 0;

    assert_int_equal(mem_mmio_read(m->space, CLINT_MTIME, 8, &value), MEM_OK);
    return value;
}

/* mtime and what the `time` CSR shows are one clock, however the guest sets it. */
static void regress_2_time_mirrors_mtime(void **state)
{
    const uint64_t minute = 60 * 10000000ull, later = 1ull << 50;
    struct fixture *f = *state;
    struct machine *m = NULL;
    struct sim *sim;

    config_set_string(&f->config.dtb, NULL);
    assert_int_equal(sim_create(&sim), SIM_OK);
    assert_int_equal(machine_create(sim, &f->config, NULL, &m), SIM_OK);
    assert_in_range(rv_machine_time(m->cpus), read_mtime(m), read_mtime(m) + minute);
    assert_int_equal(mem_mmio_write(m->space, CLINT_MTIME, 8, later), MEM_OK);
    assert_in_range(rv_machine_time(m->cpus), later, later + minute);
    assert_in_range(read_mtime(m), later, later + minute);
    machine_reset(m);
    assert_in_range(read_mtime(m), 0, minute);
    assert_in_range(rv_machine_time(m->cpus), 0, minute);
    machine_destroy(m);
    sim_destroy(sim);
}

/* What -cpu switches off is off in the harts, by way of the device tree. */
static void regress_2_each_extension_can_be_off(void **state)
{
    struct fixture *f = *state;

    config_set_string(&f->config.dtb, NULL);
    config_set_string(&f->config.bios, "none");
    for (unsigned e = RV_EXT_I + 1; e < RV_EXT_COUNT; e++) {
        static const char *const modes[] = {"sv39", "sv48", "sv57"};
        const char *name = rv_ext_isa_name(e) ? rv_ext_isa_name(e) : rv_ext_option_name(e);
        struct machine *m = NULL;
        struct rv_isa want;
        struct sim *sim;

        config_set_string(&f->config.cpu, NULL);
        f->config.cpu = sim_asprintf("rv64,%s=off", name ? name : modes[e - RV_EXT_SV39]);
        assert_int_equal(rv_isa_parse_cpu(f->config.cpu, &want), SIM_OK);
        assert_false(rv_isa_has(&want, e));
        assert_int_equal(sim_create(&sim), SIM_OK);
        assert_int_equal(machine_create(sim, &f->config, NULL, &m), SIM_OK);
        if (rv_hart_isa(m->boot_hart)->ext != want.ext)
            fail_msg("%s: the hart has %#llx, not %#llx", f->config.cpu,
                     (unsigned long long)rv_hart_isa(m->boot_hart)->ext,
                     (unsigned long long)want.ext);
        machine_destroy(m);
        sim_destroy(sim);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(regress_2_drive_without_a_slot),
        TEST(regress_2_console_without_a_slot),
        TEST(regress_2_rng_without_a_slot),
        TEST(test_harts_and_memory_as_in_the_tree),
        TEST(test_harts_that_the_tree_does_not_name),
        TEST(test_more_memory_than_in_the_tree),
        TEST(test_less_memory_than_in_the_tree),
        TEST(test_fewer_harts_than_in_the_tree),
        TEST(regress_2_time_mirrors_mtime),
        TEST(regress_2_each_extension_can_be_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
