/* Topologies: what hwloc's descriptions become, and that the packed form takes nothing but itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <hwloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../launch/capture.h"
#include "topologies.h"

static void assert_one_line(const char *text)
{
    const char *end = strchr(text, '\n');

    assert_non_null(end);
    assert_string_equal(end, "\n");
}

static void test_topology_synthetic(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("pack:4 [numa(memory=64GiB)] l3:2 core:8 pu:2");

    assert_false(t->native);
    assert_int_equal(t->nr_packages, 4);
    assert_int_equal(t->nr_l3s, 8);
    assert_int_equal(t->nr_numas, 4);
    assert_int_equal(t->nr_cores, 64);
    assert_int_equal(t->nr_pus, 128);
    for (uint32_t i = 0; i < t->nr_cores; i++) {
        const struct part_core *c = &t->core[i];
        assert_int_equal(c->id, i);
        assert_int_equal(c->package, i / 16);
        assert_int_equal(c->numa, i / 16);
        assert_int_equal(c->l3, i / 8);
        assert_int_equal(c->nr_pus, 2);
        assert_int_equal(c->first_pu, 2 * i);
    }
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(t->numa[i].memory == 64ull << 30);
        for (uint32_t j = 0; j < 4; j++)
            assert_int_equal(t->distance[i * 4 + j], i == j ? 10 : 20);
    }
    part_topology_destroy(t);
}

static void test_topology_without_cores_and_caches(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("pu:3");

    assert_int_equal(t->nr_cores, 3);
    assert_int_equal(t->nr_pus, 3);
    assert_int_equal(t->nr_packages, 1);
    assert_int_equal(t->nr_l3s, 1);
    assert_int_equal(t->nr_numas, 1);
    part_topology_destroy(t);
}

static void test_topology_of_eight_domains(void **state)
{
    (void)state;
    struct part_topology *t = topology_of(NODE_8_DOMAINS);

    assert_int_equal(t->nr_packages, 2);
    assert_int_equal(t->nr_numas, 8);
    assert_int_equal(t->nr_cores, 64);
    assert_int_equal(t->core[63].numa, 7);
    assert_int_equal(t->core[31].package, 0);
    part_topology_destroy(t);
}

/* A machine as lstopo records it, numbered as firmware likes to (neighbours on other packages), with the
 * firmware's distances. */
static void write_xml(const char *path, const char *text, const uint64_t *distance)
{
    hwloc_topology_t hw;
    hwloc_obj_t numa[16];

    assert_int_equal(hwloc_topology_init(&hw), 0);
    assert_int_equal(hwloc_topology_set_synthetic(hw, text), 0);
    assert_int_equal(hwloc_topology_load(hw), 0);
    unsigned n = (unsigned)hwloc_get_nbobjs_by_type(hw, HWLOC_OBJ_NUMANODE);
    for (unsigned i = 0; i < n; i++)
        numa[i] = hwloc_get_obj_by_type(hw, HWLOC_OBJ_NUMANODE, i);
    hwloc_distances_add_handle_t add = hwloc_distances_add_create(
        hw, "NUMALatency", HWLOC_DISTANCES_KIND_FROM_USER | HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
    assert_non_null(add);
    assert_int_equal(
        hwloc_distances_add_values(hw, add, n, numa, (hwloc_uint64_t *)(uintptr_t)distance, 0), 0);
    assert_int_equal(hwloc_distances_add_commit(hw, add, 0), 0);
    assert_int_equal(hwloc_topology_export_xml(hw, path, 0), 0);
    hwloc_topology_destroy(hw);
}

static void test_topology_xml(void **state)
{
    (void)state;
    static const uint64_t distance[] = {10, 12, 32, 32, 12, 10, 32, 32,
                                        32, 32, 10, 12, 32, 32, 12, 10};
    char path[] = "/tmp/partita-topology-XXXXXX";
    int fd = mkstemp(path);
    struct part_topology *t;

    assert_true(fd >= 0);
    close(fd);
    write_xml(path, "pack:2 group:2 [numa(memory=8GiB)] core:4 pu:2(indexes=2*16:1*2)", distance);
    assert_int_equal(part_topology_read(path, &t), SIM_OK);
    assert_int_equal(t->nr_numas, 4);
    assert_int_equal(t->nr_cores, 16);
    assert_int_equal(t->pu[0], 0);
    assert_int_equal(t->pu[1], 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(t->distance[i], distance[i]);
    part_topology_destroy(t);

    /* hwloc's own variables hold for "this host", under this host's name */
    setenv("HWLOC_XMLFILE", path, 1);
    assert_int_equal(part_topology_read(NULL, &t), SIM_OK);
    unsetenv("HWLOC_XMLFILE");
    unlink(path);
    char name[PART_HOST_NAME];
    gethostname(name, sizeof name);
    assert_string_equal(t->host, name);
    assert_int_equal(t->nr_cores, 16);
    assert_false(t->native);
    part_topology_destroy(t);
}

static void test_topology_environment(void **state)
{
    (void)state;
    struct part_topology *t, *here;

    setenv("HWLOC_SYNTHETIC", "numa:3 core:5 pu:1", 1);
    assert_int_equal(part_topology_read(NULL, &t), SIM_OK);
    unsetenv("HWLOC_SYNTHETIC");
    assert_int_equal(t->nr_numas, 3);
    assert_int_equal(t->nr_cores, 15);
    assert_int_equal(part_topology_read(NULL, &here), SIM_OK);
    assert_true(here->native);
    assert_true(here->nr_cores >= 1);
    assert_true(part_same_host(t, here));
    part_topology_destroy(t);
    part_topology_destroy(here);
}

static void test_topology_unreadable(void **state)
{
    (void)state;
    static const char *const wrong[] = {"/nonexistent/a.xml", "pack:", "no topology at all",
                                        "/dev/null"};

    for (size_t i = 0; i < SIM_ARRAY_LEN(wrong); i++) {
        struct part_topology *t = NULL;
        struct capture c;
        capture_begin(&c, STDERR_FILENO);
        enum sim_status status = part_topology_read(wrong[i], &t);
        const char *text = capture_end(&c);
        assert_int_not_equal(status, SIM_OK);
        assert_null(t);
        assert_non_null(strstr(text, wrong[i]));
        assert_one_line(text);
    }
}

static void test_topology_hosts(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("core:2 pu:1");
    struct part_topology *a = topology_host(t, 1), *b = topology_host(t, 2), *c = topology_host(t, 1);

    assert_true(part_same_host(a, c));
    assert_false(part_same_host(a, b));
    assert_string_equal(b->host, "node2");
    part_topology_destroy(a);
    part_topology_destroy(b);
    part_topology_destroy(c);
    part_topology_destroy(t);
}

/* --- the packed form --- */

static void assert_same(const struct part_topology *a, const struct part_topology *b)
{
    assert_string_equal(a->host, b->host);
    assert_true(part_same_host(a, b));
    assert_int_equal(a->native, b->native);
    assert_int_equal(a->nr_packages, b->nr_packages);
    assert_int_equal(a->nr_l3s, b->nr_l3s);
    assert_int_equal(a->nr_numas, b->nr_numas);
    assert_int_equal(a->nr_cores, b->nr_cores);
    assert_int_equal(a->nr_pus, b->nr_pus);
    for (uint32_t i = 0; i < a->nr_numas; i++) {
        assert_int_equal(a->numa[i].os_index, b->numa[i].os_index);
        assert_true(a->numa[i].memory == b->numa[i].memory);
    }
    assert_memory_equal(a->core, b->core, a->nr_cores * sizeof a->core[0]);
    assert_memory_equal(a->pu, b->pu, a->nr_pus * sizeof a->pu[0]);
    assert_memory_equal(a->distance, b->distance, a->nr_numas * a->nr_numas);
}

static void test_topology_round_trip(void **state)
{
    (void)state;
    static const char *const texts[] = {"pu:1", NODE_8_DOMAINS, "numa:512 pu:1",
                                        "pack:8 l3:16 core:32 pu:4"};

    for (size_t i = 0; i < SIM_ARRAY_LEN(texts); i++) {
        struct part_topology *t = topology_of(texts[i]), *copy = topology_copy(t);
        assert_same(t, copy);
        part_topology_destroy(copy);
        part_topology_destroy(t);
    }
    struct part_topology *here, *copy;
    assert_int_equal(part_topology_read(NULL, &here), SIM_OK);
    copy = topology_copy(here);
    assert_same(here, copy);
    part_topology_destroy(copy);
    part_topology_destroy(here);
}

/* A whole node in one page-sized message, so that 64 of them cost nothing. */
static void test_topology_compact(void **state)
{
    (void)state;
    struct part_topology *t = topology_of(NODE_8_DOMAINS);
    uint8_t *data;
    size_t len;

    part_topology_encode(t, &data, &len);
    assert_true(len < 800);
    sim_free(data);
    part_topology_destroy(t);
}

/* SIM_OK only for bytes that encode could have made; one message otherwise. */
static void decode_whatever(const uint8_t *data, size_t len)
{
    struct part_topology *t = NULL;
    struct capture c;

    capture_begin(&c, STDERR_FILENO);
    enum sim_status status = part_topology_decode("topology of rank 3", data, len, &t);
    const char *text = capture_end(&c);
    if (status != SIM_OK) {
        assert_int_equal(status, SIM_ERR_FORMAT);
        assert_null(t);
        assert_one_line(text);
        assert_non_null(strstr(text, "topology of rank 3"));
        return;
    }
    assert_string_equal(text, "");
    uint8_t *again;
    size_t again_len;
    part_topology_encode(t, &again, &again_len);
    assert_int_equal(again_len, len);
    assert_memory_equal(again, data, len);
    sim_free(again);
    part_topology_destroy(t);
}

static void test_topology_decode_cut_off(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("numa:2 l3:2 core:2 pu:2"), *out = NULL;
    uint8_t *data, longer[1024];
    size_t len;

    part_topology_encode(t, &data, &len);
    for (size_t n = 0; n < len; n++) {
        struct capture c;
        capture_begin(&c, STDERR_FILENO);
        enum sim_status status = part_topology_decode("x", data, n, &out);
        capture_end(&c);
        assert_int_equal(status, SIM_ERR_FORMAT);
        assert_null(out);
    }
    assert_true(len < sizeof longer);
    memcpy(longer, data, len);
    longer[len] = 0;
    struct capture c;
    capture_begin(&c, STDERR_FILENO);
    enum sim_status status = part_topology_decode("x", longer, len + 1, &out);
    capture_end(&c);
    assert_int_equal(status, SIM_ERR_FORMAT);
    sim_free(data);
    part_topology_destroy(t);
}

static void test_topology_decode_garbage(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("numa:2 l3:2 core:2 pu:2");
    uint8_t *data, bytes[512];
    size_t len;
    uint64_t seed = 1;

    part_topology_encode(t, &data, &len);
    assert_true(len < sizeof bytes);
    for (size_t i = 0; i < len; i++) {
        static const uint8_t values[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
        for (size_t k = 0; k < sizeof values; k++) {
            memcpy(bytes, data, len);
            bytes[i] = values[k];
            decode_whatever(bytes, len);
        }
    }
    for (unsigned round = 0; round < 2000; round++) {
        memcpy(bytes, data, len);
        for (unsigned n = 0; n < 1 + round % 4; n++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            bytes[(seed >> 33) % len] = (uint8_t)(seed >> 56);
        }
        decode_whatever(bytes, len);
    }
    sim_free(data);
    part_topology_destroy(t);
}

/* Numbers have one form each, of 64 bits at most. */
static void test_topology_decode_numbers(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("pu:1"), *out = NULL;
    uint8_t *data;
    size_t len, at = 0;

    t->numa[0].memory = UINT64_MAX;
    part_topology_encode(t, &data, &len);
    decode_whatever(data, len);
    while (memcmp(data + at, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10) != 0)
        at++;
    for (unsigned last = 0; last <= 0x82; last += last == 0 ? 2 : 0x80) {
        struct capture c;
        data[at + 9] = (uint8_t)last;
        capture_begin(&c, STDERR_FILENO);
        enum sim_status status = part_topology_decode("x", data, len, &out);
        capture_end(&c);
        assert_int_equal(status, SIM_ERR_FORMAT);
    }
    sim_free(data);
    part_topology_destroy(t);
}

/* Contradictions that only the whole shows. */
static void test_topology_decode_contradictions(void **state)
{
    (void)state;
    struct part_topology *t = topology_of("numa:2 l3:2 core:2 pu:2");
    struct {
        void *field;
        size_t size;
        uint32_t value;
    } wrong[] = {{&t->core[1].numa, 4, 2},   {&t->core[1].package, 4, 9}, {&t->core[0].l3, 4, 99},
                 {&t->pu[3], 4, 0},          {&t->pu[3], 4, PART_MAX_PUS}, {&t->distance[1], 1, 9},
                 {&t->core[7].id, 4, PART_MAX_PUS}, {&t->numa[0].os_index, 4, PART_MAX_PUS},
                 {&t->nr_packages, 4, 0},    {&t->nr_l3s, 4, PART_MAX_PUS + 1}};

    for (size_t i = 0; i < SIM_ARRAY_LEN(wrong); i++) {
        uint8_t saved[4], *data;
        struct part_topology *out = NULL;
        struct capture c;
        size_t len;
        memcpy(saved, wrong[i].field, wrong[i].size);
        memcpy(wrong[i].field, &wrong[i].value, wrong[i].size);
        part_topology_encode(t, &data, &len);
        capture_begin(&c, STDERR_FILENO);
        enum sim_status status = part_topology_decode("x", data, len, &out);
        const char *text = capture_end(&c);
        assert_int_equal(status, SIM_ERR_FORMAT);
        assert_null(out);
        assert_one_line(text);
        sim_free(data);
        memcpy(wrong[i].field, saved, wrong[i].size);
    }
    part_topology_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topology_synthetic),
        cmocka_unit_test(test_topology_without_cores_and_caches),
        cmocka_unit_test(test_topology_of_eight_domains),
        cmocka_unit_test(test_topology_xml),
        cmocka_unit_test(test_topology_environment),
        cmocka_unit_test(test_topology_unreadable),
        cmocka_unit_test(test_topology_hosts),
        cmocka_unit_test(test_topology_round_trip),
        cmocka_unit_test(test_topology_compact),
        cmocka_unit_test(test_topology_decode_cut_off),
        cmocka_unit_test(test_topology_decode_garbage),
        cmocka_unit_test(test_topology_decode_numbers),
        cmocka_unit_test(test_topology_decode_contradictions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
