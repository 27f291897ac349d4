/* The ACPI tables of virt-x86: each found from the RSDP, whole, and saying what the machine is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "virt_x86.h"

static uint8_t tables[X86_TABLES_MAX];
static size_t used;

static uint64_t get(const uint8_t *p, unsigned bytes)
{
    uint64_t v = 0;

    memcpy(&v, p, bytes);
    return v;
}

static const uint8_t *at(uint64_t address)
{
    assert_true(address >= X86_TABLES && address < X86_TABLES + used);
    return tables + (address - X86_TABLES);
}

static void expect_sum(const uint8_t *p, size_t len)
{
    uint8_t sum = 0;

    assert_true(p + len <= tables + used);
    for (size_t i = 0; i < len; i++)
        sum += p[i];
    assert_int_equal(sum, 0);
}

/* Checked as a table: signature, length, checksum. */
static const uint8_t *table(uint64_t address, const char *signature)
{
    const uint8_t *p = at(address);

    assert_memory_equal(p, signature, 4);
    expect_sum(p, get(p + 4, 4));
    return p;
}

static const uint8_t *find(const char *signature)
{
    const uint8_t *xsdt = table(get(tables + 24, 8), "XSDT");

    for (uint32_t i = 36; i < get(xsdt + 4, 4); i += 8)
        if (memcmp(at(get(xsdt + i, 8)), signature, 4) == 0)
            return table(get(xsdt + i, 8), signature);
    fail_msg("no table %s", signature);
    return NULL;
}

static void build_with(uint32_t nr_cpus, bool edges)
{
    const struct acpi_machine machine = {
        .nr_cpus = nr_cpus, .has_pic = true, .edges = edges, .numa = &(struct config_numa){0}};

    memset(tables, 0xee, sizeof tables);
    used = acpi_build(&machine, tables);
    assert_true(used <= sizeof tables);
}

static void build(uint32_t nr_cpus)
{
    build_with(nr_cpus, false);
}

static void test_root(void **state)
{
    (void)state;
    build(1);
    assert_memory_equal(tables, "RSD PTR ", 8);
    expect_sum(tables, 20);
    expect_sum(tables, 36);
}

static void test_fadt_leads_to_power_off(void **state)
{
    (void)state;
    build(2);
    const uint8_t *fadt = find("FACP"), *dsdt;

    assert_int_equal(get(fadt + 4, 4), 276);
    assert_int_equal(get(fadt + 46, 2), X86_GSI_SCI);
    assert_int_equal(get(fadt + 64, 4), X86_PORT_PM + 4); /* PM1a_CNT */
    assert_int_equal(get(fadt + 172, 1), 1);              /* the same as a generic address: a port */
    assert_int_equal(get(fadt + 176, 8), X86_PORT_PM + 4);
    assert_int_equal(get(fadt + 120, 8), X86_PORT_PM + 12); /* RESET_REG */
    assert_memory_equal(at(get(fadt + 36, 4)), "FACS", 4);
    assert_int_equal(get(fadt + 36, 4) % 64, 0);
    assert_int_equal(get(fadt + 40, 4), get(fadt + 140, 8));
    dsdt = table(get(fadt + 40, 4), "DSDT");
    uint32_t len = (uint32_t)get(dsdt + 4, 4);
    assert_non_null(memmem(dsdt, len, "_S5_\x12", 5));
}

/* Lengths of AML packages: the scope ends where \_S5 begins, and each slot is inside. */
static void expect_slots(bool edges)
{
    build_with(1, edges);
    const uint8_t *dsdt = at(get(find("FACP") + 40, 4)), *p = dsdt + 36;
    uint32_t scope = (p[1] & 15) | (uint32_t)p[2] << 4 | (uint32_t)p[3] << 12 | (uint32_t)p[4] << 20;

    assert_int_equal(p[0], 0x10);
    assert_int_equal(p[1] >> 6, 3);
    assert_memory_equal(p + 1 + scope, "\x08_S5_", 5);
    for (unsigned i = 0; i < X86_NR_VIRTIO; i++) {
        uint8_t memory[12] = {0x86, 9, 0, 1}, interrupt[9] = {0x89, 6, 0, edges ? 3 : 1, 1};
        uint32_t base = X86_VIRTIO_BASE + i * X86_VIRTIO_SIZE, size = X86_VIRTIO_SIZE, gsi = X86_GSI_VIRTIO + i;
        memcpy(memory + 4, &base, 4);
        memcpy(memory + 8, &size, 4);
        memcpy(interrupt + 5, &gsi, 4);
        assert_non_null(memmem(p, scope, memory, sizeof memory));
        assert_non_null(memmem(p, scope, interrupt, sizeof interrupt));
    }
}

static void test_dsdt_lists_the_slots(void **state)
{
    (void)state;
    expect_slots(false);
    expect_slots(true);
}

static void test_madt_lists_the_cpus(void **state)
{
    (void)state;
    build(254);
    const uint8_t *madt = find("APIC");
    uint32_t cpus = 0, ioapics = 0;

    for (uint32_t i = 44; i < get(madt + 4, 4); i += madt[i + 1]) {
        assert_true(madt[i + 1] >= 2);
        if (madt[i] == 0) {
            assert_int_equal(madt[i + 3], cpus);
            cpus++;
        }
        ioapics += madt[i] == 1;
    }
    assert_int_equal(cpus, 254);
    assert_int_equal(ioapics, 1);
}

/* Two nodes: who and what belongs to which, as far as an operating system reads it. */
static void test_nodes(void **state)
{
    uint16_t node_of[] = {0, 0, 1, 1};
    uint8_t distance[] = {10, 20, 20, 10};
    struct config_numa_ram ram[] = {{0, 0x8000000, 0}, {0x8000000, 0x8000000, 1}};
    const struct config_numa numa = {
        .nr_nodes = 2, .hart_node = node_of, .ram = ram, .nr_ram = 2, .distance = distance};
    uint32_t cpus = 0, memories = 0;

    (void)state;
    memset(tables, 0xee, sizeof tables);
    used = acpi_build(&(struct acpi_machine){.nr_cpus = 4, .numa = &numa}, tables);
    const uint8_t *srat = find("SRAT"), *slit = find("SLIT");
    for (uint32_t i = 48; i < get(srat + 4, 4); i += srat[i + 1]) {
        const uint8_t *p = srat + i;
        if (p[0] == 0) {
            assert_int_equal(p[1], 16);
            assert_int_equal(p[3], cpus);
            assert_int_equal(p[2], node_of[cpus++]);
            assert_int_equal(get(p + 4, 4), 1);
            continue;
        }
        assert_int_equal(p[0], 1);
        assert_int_equal(p[1], 40);
        assert_int_equal(get(p + 2, 4), memories);
        assert_int_equal(get(p + 8, 8), ram[memories].base);
        assert_int_equal(get(p + 16, 8), ram[memories++].size);
        assert_int_equal(get(p + 28, 4), 1);
    }
    assert_int_equal(cpus, 4);
    assert_int_equal(memories, 2);
    assert_int_equal(get(slit + 36, 8), 2);
    assert_memory_equal(slit + 44, distance, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_fadt_leads_to_power_off),
        cmocka_unit_test(test_dsdt_lists_the_slots),
        cmocka_unit_test(test_madt_lists_the_cpus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
