/* Every object of a machine: all of its members are saved or known not to need it, and its state goes into a section and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_state.h"
#include "image_config.h"
#include "sim-core/alloc.h"
#include "skip.h"

struct fixture {
    char disk[64];
    struct config config;
    struct sim *sim;
    struct machine *machine;
};

/* One of each device, on both buses. */
static void fill_config(struct config *c, const char *disk)
{
    config_init(c);
    c->smp = 2;
    c->memory = 64 << 20;
    config_set_string(&c->bios, "none");
    for (unsigned i = 0; i < 2; i++) {
        enum config_bus bus = i ? CONFIG_BUS_MMIO : CONFIG_BUS_PCI;
        c->drive[c->nr_drives++] = (struct config_drive){.file = sim_strdup(disk), .bus = bus};
        c->net[c->nr_nets++] =
            (struct config_net){.backend = sim_strdup("null"), .mac = {2, 0, 0, 0, 0, 1}, .bus = bus};
    }
    c->rng = true;
    config_set_string(&c->virtconsole, "mem");
    c->serial[c->nr_serials++] = sim_strdup("mem");
}

static int set_up(void **state)
{
    struct fixture *f = sim_new(struct fixture);

    strcpy(f->disk, "/tmp/partita-state.XXXXXX");
    int fd = mkstemp(f->disk);
    if (fd < 0 || ftruncate(fd, 1 << 20) < 0)
        return -1;
    close(fd);
    fill_config(&f->config, f->disk);
    *state = f;
    return sim_create(&f->sim) == SIM_OK &&
                   machine_create(f->sim, &f->config, NULL, &f->machine) == SIM_OK
               ? 0
               : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    machine_destroy(f->machine);
    sim_destroy(f->sim);
    config_fini(&f->config);
    unlink(f->disk);
    sim_free(f);
    return 0;
}

/* --- every member --- */

/* Tables that lie deep: behind buses, in arrays. */
static struct {
    const char *name;
    bool seen;
} deep[] = {{"riscv-hart", 0}, {"plic-context", 0}, {"aclint-hart", 0}, {"virtio-blk", 0}, {"virtio-net", 0},
            {"virtio-console", 0}, {"virtio-rng", 0}, {"virtqueue", 0}, {"msix-entry", 0}, {"drive", 0}};

static unsigned report(const struct state_desc *desc, const char *where)
{
    uint32_t at = 0, size;
    unsigned holes = 0;

    for (; state_uncovered(desc, &at, &size); at += size, holes++) {
        print_message("%s: table '%s': ", where, desc->name);
        if (!desc->clear_padding) {
            print_message("has no STATE_LAYOUT\n");
            return holes + 1;
        }
        print_message("bytes %u to %u of %u are neither saved nor derived\n", at, at + size - 1,
                      desc->size);
    }
    return holes;
}

static unsigned walk(const struct state_desc *desc, void *object, const char *where)
{
    unsigned holes = report(desc, where);

    for (size_t i = 0; i < SIM_ARRAY_LEN(deep); i++)
        deep[i].seen |= strcmp(deep[i].name, desc->name) == 0;
    for (const struct state_field *f = desc->fields; f->name; f++) {
        if (f->type == STATE_STRUCT)
            holes += walk(f->sub, NULL, where);
        for (uint32_t i = 0; object && f->type == STATE_OBJECT && i < f->count; i++) {
            struct state_object o;
            memcpy(&o, (char *)object + f->offset + i * f->stride, sizeof o);
            if (o.desc)
                holes += walk(o.desc, o.object, where);
        }
    }
    return holes;
}

static void test_every_member_is_saved_or_derived(void **state)
{
    struct fixture *f = *state;
    struct machine_state own = {0};
    struct machine_objects o;
    unsigned holes = 0;

#if defined(__clang__)
    skip_because("clang knows no padding");
#endif
    machine_objects_list(f->machine, &own, &o);
    for (unsigned i = 0; i < o.nr; i++)
        holes += walk(o.list[i].desc, o.list[i].object, o.list[i].name);
    machine_objects_fini(&o);
    assert_int_equal(holes, 0);
    for (size_t i = 0; i < SIM_ARRAY_LEN(deep); i++)
        assert_true(deep[i].seen);
}

/* --- names --- */

static void test_names_are_unique(void **state)
{
    struct fixture *f = *state;
    struct machine_state own = {0};
    struct machine_objects o;
    bool hart = false, uart = false;

    machine_objects_list(f->machine, &own, &o);
    for (unsigned i = 0; i < o.nr; i++) {
        hart |= strcmp(o.list[i].name, "hart/1") == 0;
        uart |= strcmp(o.list[i].name, "device/serial@10000000") == 0;
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(o.list[i].name, o.list[k].name);
    }
    machine_objects_fini(&o);
    assert_true(hart && uart);
}

/* --- the configuration in manifests --- */

static void test_configuration_round_trip(void **state)
{
    struct fixture *f = *state;
    struct config got;

    config_set_string(&f->config.kernel, "relative/Image");
    f->config.virtual_clock = true;
    f->config.tree.builtin_sbi = true;
    f->config.drive[0].eventfd = CONFIG_EVENTFD_ON;
    f->config.net[1].eventfd = f->config.rng_eventfd = CONFIG_EVENTFD_OFF;
    char *text = image_config_format(&f->config);
    assert_int_equal(image_config_parse(text, "test", &got), SIM_OK);
    assert_int_equal(got.smp, 2);
    assert_int_equal(got.memory, 64 << 20);
    assert_int_equal(got.kernel[0], '/');
    assert_non_null(strstr(got.kernel, "/relative/Image"));
    assert_string_equal(got.bios, "none");
    assert_true(got.virtual_clock && got.tree.builtin_sbi && got.rng && got.jit);
    assert_int_equal(got.nr_drives, 2);
    assert_string_equal(got.drive[1].file, f->disk);
    assert_int_equal(got.drive[1].bus, CONFIG_BUS_MMIO);
    assert_int_equal(got.nr_nets, 2);
    assert_memory_equal(got.net[0].mac, f->config.net[0].mac, 6);
    assert_int_equal(got.drive[0].eventfd, CONFIG_EVENTFD_ON);
    assert_int_equal(got.drive[1].eventfd, CONFIG_EVENTFD_AUTO);
    assert_int_equal(got.net[0].eventfd, CONFIG_EVENTFD_AUTO);
    assert_int_equal(got.net[1].eventfd, CONFIG_EVENTFD_OFF);
    assert_int_equal(got.rng_eventfd, CONFIG_EVENTFD_OFF);
    assert_int_equal(got.nr_serials, 1);
    assert_string_equal(got.virtconsole, "mem");
    config_fini(&got);
    sim_free(text);
}

/* Images of before a setting was saved do not have it: the default. */
static void test_images_without_a_setting(void **state)
{
    static const char older[] = "{\"smp\": 1, \"rng\": true, \"drives\": [{\"file\": \"/d\", \"bus\": \"mmio\"}]}";
    struct config c;

    (void)state;
    assert_int_equal(image_config_parse(older, "test", &c), SIM_OK);
    assert_int_equal(c.drive[0].eventfd, CONFIG_EVENTFD_AUTO);
    assert_int_equal(c.rng_eventfd, CONFIG_EVENTFD_AUTO);
    config_fini(&c);
}

static void test_malformed_configurations_are_refused(void **state)
{
    static const char *const bad[] = {
        "", "[]", "{\"smp\": 0}", "{\"smp\": -1}", "{\"smp\": \"2\"}", "{\"memory\": 1.5}",
        "{\"jit\": 1}", "{\"rng_bus\": \"isa\"}", "{\"rng_ioeventfd\": \"maybe\"}", "{\"rng_ioeventfd\": 1}", "{\"kernel\": 7}", "{\"drives\": [{}]}",
        "{\"nets\": [{\"backend\": \"null\", \"mac\": \"x\"}]}", "{\"serial\": [1]}",
        "{\"smp\": 5000}", "{\"threads\": 100000}", "{\"smp\": 1, \"smp\": 1}"};
    struct config c;
    int saved = dup(STDERR_FILENO);

    (void)state;
    assert_non_null(freopen("/dev/null", "w", stderr));
    unsigned accepted = 0;
    for (size_t i = 0; i < SIM_ARRAY_LEN(bad); i++)
        accepted += image_config_parse(bad[i], "test", &c) == SIM_OK;
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(accepted, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_member_is_saved_or_derived),
        TEST(test_names_are_unique),
        TEST(test_configuration_round_trip),
        TEST(test_images_without_a_setting),
        TEST(test_malformed_configurations_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
