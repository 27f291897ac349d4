/* What single options do that are neither a string nor a flag. Those that name each other by id are in cli_device.c. */
#include <inttypes.h>
#include <string.h>

#include "accel.h"
#include "cli_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/types.h"
#include "tools.h"

/* --- machine --- */

static const char *const smp_topology[] = {"drawers", "books", "sockets", "dies",
                                           "clusters", "modules", "cores", "threads"};

/* "4", "cpus=4", "sockets=2,cores=4": the guest sees a flat list of harts. */
enum sim_status cli_apply_smp(struct cli *cli, const char *option, const char *value)
{
    struct keyvals kv;
    uint32_t cpus = 0, ignored;
    uint64_t product = 1;
    enum sim_status status;

    SIM_TRY(keyvals_parse(option, value, "cpus", &kv));
    bool given = keyvals_take(&kv, "cpus") != NULL;
    status = keyvals_take_u32(&kv, "cpus", &cpus);
    for (size_t i = 0; status == SIM_OK && i < SIM_ARRAY_LEN(smp_topology); i++) {
        uint32_t n = 1;
        status = keyvals_take_u32(&kv, smp_topology[i], &n);
        product = n > CONFIG_MAX_HARTS ? UINT32_MAX : product * n;
        product = product > UINT32_MAX ? UINT32_MAX : product;
    }
    if (status == SIM_OK)
        status = keyvals_take_u32(&kv, "maxcpus", &ignored);
    if (status == SIM_OK)
        status = keyvals_check(&kv);
    keyvals_fini(&kv);
    SIM_TRY(status);
    uint64_t harts = given ? cpus : product;
    if (harts < 1 || harts > CONFIG_MAX_HARTS) {
        sim_error("%s: '%s': a machine has 1 to %d harts", option, value, CONFIG_MAX_HARTS);
        return SIM_ERR_INVALID;
    }
    cli->config->smp = (uint32_t)harts;
    cli->config->smp_given = true;
    return SIM_OK;
}

enum { MEMORY_UNIT = 1 << 20, MEMORY_MIN = 1 << 20 };
static const uint64_t memory_max = 1ull << 46; /* far above any host, far below 2^56 */

enum sim_status cli_apply_memory(struct cli *cli, const char *option, const char *value)
{
    static const char *const ignored[] = {"slots", "maxmem", NULL};
    struct keyvals kv;
    uint64_t bytes = 0;
    const char *size;
    enum sim_status status;

    SIM_TRY(keyvals_parse(option, value, "size", &kv));
    keyvals_ignore(&kv, ignored);
    size = keyvals_take(&kv, "size");
    status = keyvals_check(&kv);
    if (status == SIM_OK)
        status = size ? parse_size(option, size, MEMORY_UNIT, &bytes)
                      : option_reject(option, value, "has no size");
    if (status == SIM_OK && (bytes < MEMORY_MIN || bytes > memory_max || bytes % GUEST_PAGE_SIZE))
        status = option_reject(option, size,
                               "is not a possible memory size (1M to 64T, whole 4K pages)");
    keyvals_fini(&kv);
    if (status != SIM_OK)
        return status;
    cli->config->memory = bytes;
    cli->config->memory_given = true;
    return SIM_OK;
}

enum sim_status cli_apply_numa(struct cli *cli, const char *option, const char *value)
{
    return numa_add_option(&cli->numa, option, value);
}

/* Settings of QEMU's machine that are as Partita's machine is anyway; others are refused. */
static enum sim_status check_machine_settings(struct keyvals *kv)
{
    static const struct {
        const char *key, *value;
    } fixed[] = {{"aclint", "on"}, {"aclint", "off"}, {"aia", "none"}, {"acpi", "off"},
                 {"usb", "off"},   {"iommu-sys", "off"}, {"graphics", "off"}};

    for (unsigned i = 0; i < kv->nr; i++)
        for (size_t j = 0; j < SIM_ARRAY_LEN(fixed); j++)
            if (strcmp(kv->item[i].key, fixed[j].key) == 0 &&
                strcmp(kv->item[i].value, fixed[j].value) == 0)
                kv->item[i].taken = true;
    return keyvals_check(kv);
}

enum sim_status cli_apply_accel(struct cli *cli, const char *option, const char *value);

static enum sim_status set_machine(struct config *c, const char *option, const char *type)
{
    c->x86 = strcmp(type, "virt-x86") == 0;
    if (c->x86 || strcmp(type, "virt") == 0)
        return SIM_OK;
    return option_reject(option, type, "is not a machine (there are 'virt' and 'virt-x86'; other machines are "
                                       "described by -dtb FILE)");
}

/* As QEMU's: whose interrupt controllers a machine on KVM has. */
static enum sim_status set_irqchip(struct config *c, const char *option, const char *value)
{
    c->own_apics = strcmp(value, "off") == 0;
    if (c->own_apics || strcmp(value, "on") == 0)
        return SIM_OK;
    return option_reject(option, value, "is not a choice of kernel-irqchip ('on': KVM's, 'off': Partita's)");
}

/* Virtio interrupts of a machine on KVM. */
static enum sim_status set_irqfd(struct config *c, const char *option, const char *value)
{
    c->irqfd = strcmp(value, "on") == 0;
    if (c->irqfd || strcmp(value, "off") == 0)
        return SIM_OK;
    return option_reject(option, value, "is not a choice of irqfd ('on': virtio interrupts are edges, by eventfd; 'off': levels)");
}

enum sim_status cli_apply_machine(struct cli *cli, const char *option, const char *value)
{
    struct keyvals kv;
    enum sim_status status = SIM_OK;
    const char *type, *dump, *accel, *irqchip, *irqfd;

    SIM_TRY(keyvals_parse(option, value, "type", &kv));
    type = keyvals_take(&kv, "type");
    irqchip = keyvals_take(&kv, "kernel-irqchip");
    irqfd = keyvals_take(&kv, "irqfd");
    dump = keyvals_take(&kv, "dumpdtb");
    accel = keyvals_take(&kv, "accel");
    if (type)
        status = set_machine(cli->config, option, type);
    if (status == SIM_OK && dump)
        config_set_string(&cli->config->dump_dtb, dump);
    if (status == SIM_OK && irqchip)
        status = set_irqchip(cli->config, option, irqchip);
    if (status == SIM_OK && irqfd)
        status = set_irqfd(cli->config, option, irqfd);
    if (status == SIM_OK && accel)
        status = cli_apply_accel(cli, "-machine accel=", accel);
    if (status == SIM_OK)
        status = check_machine_settings(&kv);
    keyvals_fini(&kv);
    return status;
}

/* --- execution --- */

/* As QEMU's: all harts on one host thread, or as many threads as there is use for, as without it; of two the last counts. */
static enum sim_status set_thread(struct config *c, const char *option, const char *value)
{
    bool single = strcmp(value, "single") == 0;

    if (!single && strcmp(value, "multi") != 0)
        return option_reject(option, value, "is not a choice of thread (single or multi)");
    if (single)
        c->threads = 1;
    else if (c->threads == 1) /* another number of -threads is not less than multi */
        c->threads = 0;
    return SIM_OK;
}

enum sim_status cli_apply_accel(struct cli *cli, const char *option, const char *value)
{
    static const char *const ignored[] = {"tb-size", "split-wx", "one-insn-per-tb", NULL};
    struct keyvals kv;

    SIM_TRY(keyvals_parse(option, value, "accel", &kv));
    keyvals_ignore(&kv, ignored);
    const char *list = keyvals_take(&kv, "accel"), *irqchip = keyvals_take(&kv, "kernel-irqchip");
    const char *thread = keyvals_take(&kv, "thread");
    enum sim_status status = accel_take_settings(&kv, cli->config);
    if (status == SIM_OK && irqchip)
        status = set_irqchip(cli->config, option, irqchip);
    if (status == SIM_OK && thread)
        status = set_thread(cli->config, option, thread);
    if (status == SIM_OK)
        status = keyvals_check(&kv);
    if (status == SIM_OK)
        status = accel_parse(option, list ? list : value, cli->config);
    keyvals_fini(&kv);
    return status;
}

enum sim_status cli_apply_threads(struct cli *cli, const char *option, const char *value)
{
    uint32_t n;

    SIM_TRY(parse_u32(option, value, &n));
    if (n < 1 || n > CONFIG_MAX_THREADS) {
        sim_error("%s: '%s': 1 to %d host threads", option, value, CONFIG_MAX_THREADS);
        return SIM_ERR_INVALID;
    }
    cli->config->threads = n;
    return SIM_OK;
}

enum { MESSAGE_DELAY_NS = 200000 };

static enum sim_status set_ranks(struct config *c, const char *option, struct keyvals *kv)
{
    const char *ranks = keyvals_take(kv, "ranks"), *delay = keyvals_take(kv, "delay");

    SIM_TRY(keyvals_take_u32(kv, "seed", &c->message_seed));
    SIM_TRY(keyvals_check(kv));
    SIM_TRY(parse_u32(option, ranks ? ranks : "", &c->ranks));
    if (c->ranks < 1 || c->ranks > CONFIG_MAX_RANKS) {
        sim_error("%s: '%s': 1 to %d ranks in one process (mpirun starts more)", option, ranks, CONFIG_MAX_RANKS);
        return SIM_ERR_INVALID;
    }
    if (delay && !c->message_seed)
        return option_reject(option, delay, "is the delay of messages, which needs seed=");
    c->message_delay_ns = MESSAGE_DELAY_NS;
    return delay ? parse_duration(option, delay, &c->message_delay_ns) : SIM_OK;
}

enum sim_status cli_apply_ranks(struct cli *cli, const char *option, const char *value)
{
    struct keyvals kv;

    SIM_TRY(keyvals_parse(option, value, "ranks", &kv));
    enum sim_status status = set_ranks(cli->config, option, &kv);
    keyvals_fini(&kv);
    return status;
}

/* "6,5,5": how many harts each rank runs. */
enum sim_status cli_apply_harts_per_rank(struct cli *cli, const char *option, const char *value)
{
    struct config *c = cli->config;
    char *text = sim_strdup(value), *rest = text, *word;
    enum sim_status status = SIM_OK;

    c->nr_harts_per_rank = 0;
    while (status == SIM_OK && (word = strsep(&rest, ",")) != NULL) {
        c->harts_per_rank =
            sim_realloc(c->harts_per_rank, (c->nr_harts_per_rank + 1) * sizeof(uint32_t));
        status = parse_u32(option, word, &c->harts_per_rank[c->nr_harts_per_rank++]);
    }
    sim_free(text);
    return status;
}

enum sim_status cli_apply_bind(struct cli *cli, const char *option, const char *value)
{
    bool on;

    SIM_TRY(parse_bool(option, value, &on));
    cli->config->bind = on ? CONFIG_BIND_ON : CONFIG_BIND_OFF;
    return SIM_OK;
}

enum sim_status cli_apply_rebalance(struct cli *cli, const char *option, const char *value)
{
    cli->config->rehome = strcmp(value, "homes") == 0;
    cli->config->rebalance = false;
    if (cli->config->rehome)
        return SIM_OK;
    SIM_TRY(parse_bool(option, value, &cli->config->rebalance));
    cli->config->rehome = cli->config->rebalance;
    return SIM_OK;
}

enum sim_status cli_apply_timeout(struct cli *cli, const char *option, const char *value)
{
    return parse_duration(option, value, &cli->config->timeout_ns);
}

enum sim_status cli_apply_clock(struct cli *cli, const char *option, const char *value)
{
    if (strcmp(value, "host") != 0 && strcmp(value, "virtual") != 0)
        return option_reject(option, value, "is not a clock (host or virtual)");
    cli->config->virtual_clock = strcmp(value, "virtual") == 0;
    return SIM_OK;
}

enum sim_status cli_apply_checkpoint_every(struct cli *cli, const char *option, const char *value)
{
    return parse_duration(option, value, &cli->config->checkpoint.every_ns);
}

enum sim_status cli_apply_keep(struct cli *cli, const char *option, const char *value)
{
    SIM_TRY(parse_u32(option, value, &cli->config->checkpoint.keep));
    return cli->config->checkpoint.keep ? SIM_OK : option_reject(option, value, "keeps no image");
}

enum sim_status cli_apply_symbols(struct cli *cli, const char *option, const char *value)
{
    return tools_add_symbols(cli->config, option, value);
}

enum sim_status cli_apply_trace(struct cli *cli, const char *option, const char *value)
{
    return tools_add_trace(cli->config, option, value);
}

enum sim_status cli_apply_plugin(struct cli *cli, const char *option, const char *value)
{
    return tools_add_plugin(cli->config, option, value);
}

/* --- devices --- */

enum sim_status cli_apply_serial(struct cli *cli, const char *option, const char *value)
{
    static const struct {
        const char *given, *spec; /* spec NULL: as given; a trailing ':' takes any rest */
    } forms[] = {{"stdio", NULL},      {"mon:stdio", "stdio"}, {"null", NULL}, {"none", "null"},
                 {"file:", NULL},      {"unix:", NULL},        {"chardev:", NULL}};
    struct config *c = cli->config;

    if (c->nr_serials == CONFIG_MAX_SERIALS) {
        sim_error("%s: at most %d serial ports", option, CONFIG_MAX_SERIALS);
        return SIM_ERR_INVALID;
    }
    for (size_t i = 0; i < SIM_ARRAY_LEN(forms); i++) {
        const char *form = forms[i].given;
        size_t len = strlen(form);
        bool prefix = form[len - 1] == ':';
        if (prefix ? strncmp(value, form, len) == 0 && value[len] : strcmp(value, form) == 0) {
            c->serial[c->nr_serials++] = sim_strdup(forms[i].spec ? forms[i].spec : value);
            return SIM_OK;
        }
    }
    return option_reject(option, value, "is not a place for a serial port (stdio, null, file:PATH, "
                                 "unix:PATH,server=on, chardev:ID)");
}

#define DEVICE_PIECE(name)                                                                         \
    enum sim_status cli_apply_##name(struct cli *cli, const char *option, const char *value)       \
    {                                                                                              \
        (void)option;                                                                              \
        return cli_add_##name(&cli->devices, value);                                               \
    }
DEVICE_PIECE(drive)
DEVICE_PIECE(netdev)
DEVICE_PIECE(nic)
DEVICE_PIECE(chardev)
DEVICE_PIECE(device)
#undef DEVICE_PIECE

/* Where QEMU would open a window or a monitor, "none" is what Partita has. */
enum sim_status cli_apply_only_none(struct cli *cli, const char *option, const char *value)
{
    (void)cli;
    if (strcmp(value, "none") == 0 || strcmp(value, "null") == 0)
        return SIM_OK;
    return option_reject(option, value, "is not available (only 'none')");
}

enum sim_status cli_apply_rtc(struct cli *cli, const char *option, const char *value)
{
    (void)cli;
    if (strcmp(value, "base=utc") != 0 && strcmp(value, "base=utc,clock=host") != 0)
        sim_warn("%s %s has no effect: the guest's clock is the host's UTC", option, value);
    return SIM_OK;
}

/* QEMU's virtio-rng needs a back end object; here the host's random source is built in. */
enum sim_status cli_apply_object(struct cli *cli, const char *option, const char *value)
{
    if (strncmp(value, "memory-backend-ram,", 19) == 0)
        return numa_add_memdev(&cli->numa, option, value);
    if (strncmp(value, "rng-random,", 11) == 0 || strncmp(value, "rng-builtin,", 12) == 0)
        return SIM_OK;
    return option_reject(option, value,
                         "is not an object that Partita has (rng-random, rng-builtin, memory-backend-ram)");
}

enum sim_status cli_apply_help(struct cli *cli, const char *option, const char *value)
{
    (void)option;
    (void)value;
    cli->help = true;
    return SIM_OK;
}

enum sim_status cli_apply_nothing(struct cli *cli, const char *option, const char *value)
{
    (void)cli;
    (void)option;
    (void)value;
    return SIM_OK;
}
