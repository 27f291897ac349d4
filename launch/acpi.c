/* The ACPI tables of virt-x86: what its guests know of it. ACPI 6.x, chapter and names as there.
 *
 *   RSDP -> XSDT -> FADT -> FACS, DSDT (devices, power-off)
 *                -> MADT (CPUs, IOAPIC)
 *                -> SRAT, SLIT (NUMA nodes, where there are several) */
#include <string.h>

#include "sim-core/log.h"
#include "virt_x86.h"

/* --- bytes that grow --- */

struct bytes {
    uint8_t *at;
    size_t len, max;
};

static void put(struct bytes *b, uint64_t value, unsigned n)
{
    SIM_BUG_ON(b->len + n > b->max, "the ACPI tables need more than %zu bytes", b->max);
    memcpy(b->at + b->len, &value, n);
    b->len += n;
}

static void put_bytes(struct bytes *b, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(b, ((const uint8_t *)data)[i], 1);
}

static void put_zeroes(struct bytes *b, size_t n)
{
    while (n--)
        put(b, 0, 1);
}

static void align(struct bytes *b, size_t to)
{
    while (b->len % to)
        put(b, 0, 1);
}

static uint32_t address(size_t offset)
{
    return X86_TABLES + (uint32_t)offset;
}

static void fix_checksum(uint8_t *p, size_t len, size_t where)
{
    uint8_t sum = 0;

    p[where] = 0;
    for (size_t i = 0; i < len; i++)
        sum += p[i];
    p[where] = (uint8_t)-sum;
}

enum { HEADER_LENGTH = 4, HEADER_CHECKSUM = 9 };

/* A table's header; table_end fills in length and checksum. Returns where it begins. */
static size_t table_begin(struct bytes *b, const char *signature, uint8_t revision)
{
    align(b, 16);
    size_t start = b->len;

    put_bytes(b, signature, 4);
    put(b, 0, 4);
    put(b, revision, 1);
    put(b, 0, 1);
    put_bytes(b, "PRTITAVIRTX86 ", 14);
    put(b, 1, 4);
    put_bytes(b, "PRTA", 4);
    put(b, 1, 4);
    return start;
}

static void table_end(struct bytes *b, size_t start)
{
    uint32_t len = (uint32_t)(b->len - start);

    memcpy(b->at + start + HEADER_LENGTH, &len, sizeof len);
    fix_checksum(b->at + start, len, HEADER_CHECKSUM);
}

/* --- AML: chapter 20 --- */

enum { AML_ZERO = 0x00, AML_NAME = 0x08, AML_BYTE = 0x0a, AML_DWORD = 0x0c, AML_STRING = 0x0d, AML_SCOPE = 0x10,
       AML_BUFFER = 0x11, AML_PACKAGE = 0x12, AML_EXT = 0x5b, AML_DEVICE = 0x82 };

/* The length of what follows is patched in by package_end: always four bytes (encoding of 20.2.4). */
static size_t package_begin(struct bytes *b)
{
    put(b, 0, 4);
    return b->len - 4;
}

static void package_end(struct bytes *b, size_t start)
{
    uint32_t len = (uint32_t)(b->len - start);

    b->at[start] = (uint8_t)(3 << 6 | (len & 15));
    b->at[start + 1] = (uint8_t)(len >> 4);
    b->at[start + 2] = (uint8_t)(len >> 12);
    b->at[start + 3] = (uint8_t)(len >> 20);
}

static void name(struct bytes *b, const char *segment)
{
    put(b, AML_NAME, 1);
    put_bytes(b, segment, 4);
}

static void byte_value(struct bytes *b, uint8_t value)
{
    put(b, AML_BYTE, 1);
    put(b, value, 1);
}

/* "PNP0501" packed into 32 bits (19.3.4). */
static void name_eisa(struct bytes *b, const char *segment, const char *id)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < 3; i++)
        v = v << 5 | (uint32_t)(id[i] - '@');
    for (unsigned i = 3; i < 7; i++)
        v = v << 4 | (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
    name(b, segment);
    put(b, AML_DWORD, 1);
    put(b, __builtin_bswap32(v), 4);
}

static void name_byte(struct bytes *b, const char *segment, uint8_t value)
{
    name(b, segment);
    byte_value(b, value);
}

static size_t device_begin(struct bytes *b, const char *segment)
{
    put(b, AML_EXT, 1);
    put(b, AML_DEVICE, 1);
    size_t start = package_begin(b);

    put_bytes(b, segment, 4);
    return start;
}

/* _CRS: a buffer of resource descriptors (6.4). */
struct resources {
    size_t package, size;
};

static struct resources resources_begin(struct bytes *b)
{
    struct resources r;

    name(b, "_CRS");
    put(b, AML_BUFFER, 1);
    r.package = package_begin(b);
    put(b, AML_DWORD, 1);
    r.size = b->len;
    put(b, 0, 4);
    return r;
}

static void resources_end(struct bytes *b, struct resources r)
{
    put(b, 0x79, 1); /* end tag, its checksum not used */
    put(b, 0, 1);
    uint32_t size = (uint32_t)(b->len - r.size - 4);

    memcpy(b->at + r.size, &size, sizeof size);
    package_end(b, r.package);
}

static void resource_ports(struct bytes *b, uint16_t base, uint8_t count)
{
    put(b, 0x47, 1);
    put(b, 1, 1); /* all 16 address bits are decoded */
    put(b, base, 2);
    put(b, base, 2);
    put(b, 1, 1);
    put(b, count, 1);
}

static void resource_isa_irq(struct bytes *b, unsigned irq)
{
    put(b, 0x22, 1);
    put(b, 1u << irq, 2);
}

static void resource_memory(struct bytes *b, uint32_t base, uint32_t size)
{
    put(b, 0x86, 1);
    put(b, 9, 2);
    put(b, 1, 1); /* writable */
    put(b, base, 4);
    put(b, size, 4);
}

static void resource_interrupt(struct bytes *b, uint32_t gsi, bool edge)
{
    put(b, 0x89, 1);
    put(b, 6, 2);
    put(b, edge ? 3 : 1, 1); /* consumer, edge or level, active high, exclusive */
    put(b, 1, 1);
    put(b, gsi, 4);
}

/* --- DSDT --- */

static void serial_port(struct bytes *b)
{
    size_t device = device_begin(b, "COM1");

    name_eisa(b, "_HID", "PNP0501");
    name_byte(b, "_UID", 0);
    struct resources r = resources_begin(b);
    resource_ports(b, X86_PORT_UART, 8);
    resource_isa_irq(b, X86_GSI_UART);
    resources_end(b, r);
    package_end(b, device);
}

static void clock_device(struct bytes *b)
{
    size_t device = device_begin(b, "RTC_");

    name_eisa(b, "_HID", "PNP0B00");
    struct resources r = resources_begin(b);
    resource_ports(b, X86_PORT_RTC, 2);
    resource_isa_irq(b, X86_GSI_RTC);
    resources_end(b, r);
    package_end(b, device);
}

static void virtio_slot(struct bytes *b, unsigned n, bool edge)
{
    const char segment[] = {'V', 'R', '0', (char)('0' + n), 0};
    size_t device = device_begin(b, segment);

    name(b, "_HID");
    put(b, AML_STRING, 1);
    put_bytes(b, "LNRO0005", 9);
    name_byte(b, "_UID", (uint8_t)n);
    name_byte(b, "_CCA", 1);
    struct resources r = resources_begin(b);
    resource_memory(b, X86_VIRTIO_BASE + n * X86_VIRTIO_SIZE, X86_VIRTIO_SIZE);
    resource_interrupt(b, X86_GSI_VIRTIO + n, edge);
    resources_end(b, r);
    package_end(b, device);
}

/* \_S5: what goes into SLP_TYP to turn the machine off. */
static void power_off(struct bytes *b)
{
    name(b, "_S5_");
    put(b, AML_PACKAGE, 1);
    size_t package = package_begin(b);

    put(b, 4, 1);
    byte_value(b, DEV_ACPI_S5);
    put(b, AML_ZERO, 1);
    put(b, AML_ZERO, 1);
    put(b, AML_ZERO, 1);
    package_end(b, package);
}

static size_t dsdt(struct bytes *b, bool edges)
{
    size_t start = table_begin(b, "DSDT", 2);

    put(b, AML_SCOPE, 1);
    size_t scope = package_begin(b);
    put_bytes(b, "\\_SB_", 5);
    serial_port(b);
    clock_device(b);
    for (unsigned i = 0; i < X86_NR_VIRTIO; i++)
        virtio_slot(b, i, edges);
    package_end(b, scope);
    power_off(b);
    table_end(b, start);
    return start;
}

/* --- MADT --- */

enum { MADT_LOCAL_APIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LOCAL_NMI = 4 };
enum { MADT_PC_AT = 1, ENABLED = 1, LEVEL_HIGH = 0xd };

static size_t madt(struct bytes *b, uint32_t nr_cpus, bool has_pic)
{
    size_t start = table_begin(b, "APIC", 4);

    put(b, 0xfee00000, 4);
    put(b, has_pic ? MADT_PC_AT : 0, 4);
    for (uint32_t i = 0; i < nr_cpus; i++) {
        put(b, MADT_LOCAL_APIC | 8 << 8, 2);
        put(b, i | i << 8, 2); /* ACPI's number, APIC id */
        put(b, ENABLED, 4);
    }
    put(b, MADT_IOAPIC | 12 << 8, 2);
    put(b, 0, 2);
    put(b, 0xfec00000, 4);
    put(b, 0, 4); /* its first interrupt */
    put(b, MADT_OVERRIDE | 10 << 8, 2);
    put(b, X86_GSI_SCI << 8, 2);
    put(b, X86_GSI_SCI, 4);
    put(b, LEVEL_HIGH, 2);
    put(b, MADT_LOCAL_NMI | 6 << 8, 2);
    put(b, 0xff, 1); /* of all CPUs */
    put(b, 0, 2);
    put(b, 1, 1); /* LINT1 */
    table_end(b, start);
    return start;
}

/* --- FADT --- */

enum { PM1_EVENT = X86_PORT_PM, PM1_CONTROL = X86_PORT_PM + 4, PM_TIMER = X86_PORT_PM + 8, PM_RESET = X86_PORT_PM + 12 };
enum { BOOT_NO_VGA = 1 << 2, BOOT_NO_MSI = 1 << 3, BOOT_NO_ASPM = 1 << 4, BOOT_LEGACY_DEVICES = 1 << 0 };
enum { FLAG_WBINVD = 1 << 0, FLAG_C1 = 1 << 2, FLAG_NO_POWER_BUTTON = 1 << 4, FLAG_NO_SLEEP_BUTTON = 1 << 5,
       FLAG_NO_FIXED_RTC = 1 << 6, FLAG_RESET_REGISTER = 1 << 10 };

/* Generic address: nothing, or a port. */
static void port_address(struct bytes *b, uint16_t port, uint8_t bits)
{
    put(b, port ? 1 : 0, 1);
    put(b, bits, 1);
    put(b, 0, 1);
    put(b, port ? bits / 16 + 1 : 0, 1); /* access size: byte, word, double word */
    put(b, port, 8);
}

static void fadt_ports(struct bytes *b)
{
    put(b, PM1_EVENT, 4);
    put(b, 0, 4);
    put(b, PM1_CONTROL, 4);
    put(b, 0, 4);
    put(b, 0, 4);
    put(b, PM_TIMER, 4);
    put(b, 0, 8); /* no general-purpose events */
    put(b, 4, 1); /* lengths: events, control, PM2, timer, two of GPE, their base */
    put(b, 2, 1);
    put(b, 0, 1);
    put(b, 4, 1);
    put(b, 0, 4); /* and _CST */
}

static void fadt_extended(struct bytes *b, uint64_t facs, uint64_t dsdt_address)
{
    put(b, facs, 8);
    put(b, dsdt_address, 8);
    port_address(b, PM1_EVENT, 32);
    port_address(b, 0, 0);
    port_address(b, PM1_CONTROL, 16);
    port_address(b, 0, 0);
    port_address(b, 0, 0);
    port_address(b, PM_TIMER, 32);
    for (unsigned i = 0; i < 4; i++) /* GPE0, GPE1, sleep control, sleep status */
        port_address(b, 0, 0);
    put(b, 0, 8); /* hypervisor vendor */
}

static size_t fadt(struct bytes *b, uint32_t facs, uint32_t dsdt_address)
{
    size_t start = table_begin(b, "FACP", 6);

    put(b, facs, 4);
    put(b, dsdt_address, 4);
    put(b, 0, 1);
    put(b, 4, 1); /* profile: enterprise server */
    put(b, X86_GSI_SCI, 2);
    put(b, 0, 4); /* no SMI port: ACPI is on */
    put(b, 0, 4);
    fadt_ports(b);
    put(b, 0xffff, 2); /* C2 and C3: none */
    put(b, 0xffff, 2);
    put(b, 0, 8); /* cache flushing, duty cycle; day and month alarms */
    put(b, 0x32, 1); /* the RTC's century */
    put(b, BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_MSI | BOOT_NO_ASPM, 2);
    put(b, 0, 1);
    put(b, FLAG_WBINVD | FLAG_C1 | FLAG_NO_POWER_BUTTON | FLAG_NO_SLEEP_BUTTON | FLAG_NO_FIXED_RTC |
               FLAG_RESET_REGISTER, 4);
    port_address(b, PM_RESET, 8);
    put(b, 1, 1); /* the value that resets */
    put(b, 0, 3); /* Arm's flags, minor version */
    fadt_extended(b, facs, dsdt_address);
    table_end(b, start);
    return start;
}

/* --- the rest --- */

static size_t facs(struct bytes *b)
{
    align(b, 64);
    size_t start = b->len;

    put_bytes(b, "FACS", 4);
    put(b, 64, 4);
    put_zeroes(b, 24);
    put(b, 2, 1);
    put_zeroes(b, 31);
    return start;
}

static size_t xsdt(struct bytes *b, const size_t *table, unsigned n)
{
    size_t start = table_begin(b, "XSDT", 1);

    for (unsigned i = 0; i < n; i++)
        put(b, address(table[i]), 8);
    table_end(b, start);
    return start;
}

enum { RSDP_BYTES = 36, RSDP_1_BYTES = 20, RSDP_CHECKSUM = 8, RSDP_EXTENDED_CHECKSUM = 32 };

static void rsdp(uint8_t *to, uint64_t xsdt_address)
{
    struct bytes b = {to, 0, RSDP_BYTES};

    put_bytes(&b, "RSD PTR ", 8);
    put(&b, 0, 1);
    put_bytes(&b, "PRTITA", 6);
    put(&b, 2, 1);
    put(&b, 0, 4); /* no RSDT */
    put(&b, RSDP_BYTES, 4);
    put(&b, xsdt_address, 8);
    put(&b, 0, 4);
    fix_checksum(to, RSDP_1_BYTES, RSDP_CHECKSUM);
    fix_checksum(to, RSDP_BYTES, RSDP_EXTENDED_CHECKSUM);
}

/* --- NUMA: 5.2.16, 5.2.17 --- */

enum { SRAT_CPU = 0, SRAT_CPU_BYTES = 16, SRAT_MEMORY = 1, SRAT_MEMORY_BYTES = 40 };

static void srat_cpu(struct bytes *b, uint32_t apic_id, uint32_t node)
{
    put(b, SRAT_CPU | SRAT_CPU_BYTES << 8, 2);
    put(b, node & 0xff, 1);
    put(b, apic_id, 1);
    put(b, ENABLED, 4);
    put(b, 0, 1);
    put(b, node >> 8, 3);
    put(b, 0, 4); /* clock domain */
}

static void srat_memory(struct bytes *b, const struct config_numa_ram *ram)
{
    put(b, SRAT_MEMORY | SRAT_MEMORY_BYTES << 8, 2);
    put(b, ram->node, 4);
    put(b, 0, 2);
    put(b, ram->base, 8);
    put(b, ram->size, 8);
    put(b, 0, 4);
    put(b, ENABLED, 4);
    put(b, 0, 8);
}

static size_t srat(struct bytes *b, uint32_t nr_cpus, const struct config_numa *numa)
{
    size_t start = table_begin(b, "SRAT", 3);

    put(b, 1, 4);
    put(b, 0, 8);
    for (uint32_t i = 0; i < nr_cpus; i++)
        srat_cpu(b, i, numa->hart_node[i]);
    for (unsigned i = 0; i < numa->nr_ram; i++)
        srat_memory(b, &numa->ram[i]);
    table_end(b, start);
    return start;
}

static size_t slit(struct bytes *b, const struct config_numa *numa)
{
    size_t start = table_begin(b, "SLIT", 1);

    put(b, numa->nr_nodes, 8);
    put_bytes(b, numa->distance, (size_t)numa->nr_nodes * numa->nr_nodes);
    table_end(b, start);
    return start;
}

size_t acpi_build(const struct acpi_machine *machine, uint8_t out[X86_TABLES_MAX])
{
    const struct config_numa *numa = machine->numa;
    struct bytes b = {out, 0, X86_TABLES_MAX};
    size_t table[4];
    unsigned nr = 0;

    put_zeroes(&b, RSDP_BYTES);
    size_t facs_at = facs(&b), dsdt_at = dsdt(&b, machine->edges);
    table[nr++] = fadt(&b, address(facs_at), address(dsdt_at));
    table[nr++] = madt(&b, machine->nr_cpus, machine->has_pic);
    if (numa->nr_nodes) {
        table[nr++] = srat(&b, machine->nr_cpus, numa);
        table[nr++] = slit(&b, numa);
    }
    rsdp(out, address(xsdt(&b, table, nr)));
    return b.len;
}
