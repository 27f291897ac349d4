/* The options of `partita run`: one table of names, arguments, help and effects; the walk over argv;
 * and what must hold of the whole. Options that name each other by id are in cli_device.c. */
#include "cli.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "accel.h"
#include "interconnect/interconnect.h"
#include "numa.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/types.h"
#include "tools.h"

struct cli {
    struct config *config;
    bool restoring; /* only options that a restored machine leaves open */
    bool smp_given, memory_given;
    struct cli_devices devices;
    struct numa_options numa;
    bool help;
};

typedef enum sim_status (*apply_fn)(struct cli *cli, const char *option, const char *value);

struct cli_option {
    const char *name;
    const char *arg;  /* how help calls the argument; NULL: takes none */
    const char *help; /* NULL: accepted but not shown */
    apply_fn apply;   /* NULL: the plain kinds below */
    uint32_t string;  /* offset of a char * field that gets the argument, */
    uint32_t flag;    /* or of a bool field that becomes true; 0 = none */
    bool restore;     /* `partita restore` has it too */
};

/* --- machine --- */

static const char *const smp_topology[] = {"drawers", "books", "sockets", "dies",
                                           "clusters", "modules", "cores", "threads"};

/* "4", "cpus=4", "sockets=2,cores=4": the guest sees a flat list of harts. */
static enum sim_status apply_smp(struct cli *cli, const char *option, const char *value)
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
    cli->smp_given = true;
    return SIM_OK;
}

enum { MEMORY_UNIT = 1 << 20, MEMORY_MIN = 1 << 20 };
static const uint64_t memory_max = 1ull << 46; /* far above any host, far below 2^56 */

static enum sim_status apply_memory(struct cli *cli, const char *option, const char *value)
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
    cli->memory_given = true;
    return SIM_OK;
}

static enum sim_status apply_numa(struct cli *cli, const char *option, const char *value)
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

static enum sim_status apply_accel(struct cli *cli, const char *option, const char *value);

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

static enum sim_status apply_machine(struct cli *cli, const char *option, const char *value)
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
        status = apply_accel(cli, "-machine accel=", accel);
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

static enum sim_status apply_accel(struct cli *cli, const char *option, const char *value)
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

static enum sim_status apply_threads(struct cli *cli, const char *option, const char *value)
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

static enum sim_status apply_ranks(struct cli *cli, const char *option, const char *value)
{
    struct keyvals kv;

    SIM_TRY(keyvals_parse(option, value, "ranks", &kv));
    enum sim_status status = set_ranks(cli->config, option, &kv);
    keyvals_fini(&kv);
    return status;
}

/* "6,5,5": how many harts each rank runs. */
static enum sim_status apply_harts_per_rank(struct cli *cli, const char *option, const char *value)
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

static enum sim_status apply_bind(struct cli *cli, const char *option, const char *value)
{
    bool on;

    SIM_TRY(parse_bool(option, value, &on));
    cli->config->bind = on ? CONFIG_BIND_ON : CONFIG_BIND_OFF;
    return SIM_OK;
}

static enum sim_status apply_rebalance(struct cli *cli, const char *option, const char *value)
{
    cli->config->rehome = strcmp(value, "homes") == 0;
    cli->config->rebalance = false;
    if (cli->config->rehome)
        return SIM_OK;
    SIM_TRY(parse_bool(option, value, &cli->config->rebalance));
    cli->config->rehome = cli->config->rebalance;
    return SIM_OK;
}

static enum sim_status apply_timeout(struct cli *cli, const char *option, const char *value)
{
    return parse_duration(option, value, &cli->config->timeout_ns);
}

static enum sim_status apply_clock(struct cli *cli, const char *option, const char *value)
{
    if (strcmp(value, "host") != 0 && strcmp(value, "virtual") != 0)
        return option_reject(option, value, "is not a clock (host or virtual)");
    cli->config->virtual_clock = strcmp(value, "virtual") == 0;
    return SIM_OK;
}

static enum sim_status apply_checkpoint_every(struct cli *cli, const char *option, const char *value)
{
    return parse_duration(option, value, &cli->config->checkpoint.every_ns);
}

static enum sim_status apply_keep(struct cli *cli, const char *option, const char *value)
{
    SIM_TRY(parse_u32(option, value, &cli->config->checkpoint.keep));
    return cli->config->checkpoint.keep ? SIM_OK : option_reject(option, value, "keeps no image");
}

static enum sim_status apply_symbols(struct cli *cli, const char *option, const char *value)
{
    return tools_add_symbols(cli->config, option, value);
}

static enum sim_status apply_trace(struct cli *cli, const char *option, const char *value)
{
    return tools_add_trace(cli->config, option, value);
}

static enum sim_status apply_plugin(struct cli *cli, const char *option, const char *value)
{
    return tools_add_plugin(cli->config, option, value);
}

/* --- devices --- */

static enum sim_status apply_serial(struct cli *cli, const char *option, const char *value)
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
    static enum sim_status apply_##name(struct cli *cli, const char *option, const char *value)    \
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
static enum sim_status apply_only_none(struct cli *cli, const char *option, const char *value)
{
    (void)cli;
    if (strcmp(value, "none") == 0 || strcmp(value, "null") == 0)
        return SIM_OK;
    return option_reject(option, value, "is not available (only 'none')");
}

static enum sim_status apply_rtc(struct cli *cli, const char *option, const char *value)
{
    (void)cli;
    if (strcmp(value, "base=utc") != 0 && strcmp(value, "base=utc,clock=host") != 0)
        sim_warn("%s %s has no effect: the guest's clock is the host's UTC", option, value);
    return SIM_OK;
}

/* QEMU's virtio-rng needs a back end object; here the host's random source is built in. */
static enum sim_status apply_object(struct cli *cli, const char *option, const char *value)
{
    if (strncmp(value, "memory-backend-ram,", 19) == 0)
        return numa_add_memdev(&cli->numa, option, value);
    if (strncmp(value, "rng-random,", 11) == 0 || strncmp(value, "rng-builtin,", 12) == 0)
        return SIM_OK;
    return option_reject(option, value,
                         "is not an object that Partita has (rng-random, rng-builtin, memory-backend-ram)");
}

static enum sim_status apply_help(struct cli *cli, const char *option, const char *value)
{
    (void)option;
    (void)value;
    cli->help = true;
    return SIM_OK;
}

static enum sim_status apply_nothing(struct cli *cli, const char *option, const char *value)
{
    (void)cli;
    (void)option;
    (void)value;
    return SIM_OK;
}

/* --- the table --- */

#define STRING(field) .string = offsetof(struct config, field)
#define FLAG(field) .flag = offsetof(struct config, field)
#define CALL(fn) .apply = fn
#define RESTORE .restore = true
#define GROUP(title) {.help = title}

static const struct cli_option options[] = {
    GROUP("Machine"),
    {"machine", "virt|virt-x86", "RISC-V, register-compatible with QEMU's machine of that name\n"
     "(default); or x86-64 on the host's KVM (with KVM's interrupt\ncontrollers, or without: virt-x86,kernel-irqchip=off;\nwith virtio interrupts by eventfd: virt-x86,irqfd=on)", CALL(apply_machine)},
    {"M", "virt", NULL, CALL(apply_machine)},
    {"cpu", "rv64[,EXT=on|off...]", "extensions of the harts: -cpu rv64,sv57=off,zacas=off",
     STRING(cpu)},
    {"smp", "N", "number of harts, 1 to 4096 (default 1)", CALL(apply_smp)},
    {"m", "SIZE", "memory: 512 (MiB), 1536M, 2G (default 128M)", CALL(apply_memory)},
    {"numa", "node[,SETTING...]|dist,...", "a NUMA node of the guest: cpus=0-3, mem=1G or memdev=ID,\n"
     "nodeid=N; or a distance: src=N,dst=M,val=20", CALL(apply_numa)},
    {"dtb", "FILE", "compose the machine that this device tree describes", STRING(dtb)},
    {"dumpdtb", "FILE", "write the machine's device tree and exit", STRING(dump_dtb)},

    GROUP("What runs"),
    {"kernel", "FILE", "Linux Image, ELF or raw payload", STRING(kernel)},
    {"initrd", "FILE", "initial RAM disk for the kernel", STRING(initrd)},
    {"append", "STRING", "the kernel's command line", STRING(append)},
    {"bios", "default|none|FILE", "the built-in SBI; nothing (M mode); or firmware", STRING(bios)},
    {"demo", NULL, "run the guest that is built into the program", FLAG(demo)},

    GROUP("Devices"),
    {"drive", "file=FILE[,SETTING...]", "virtio disk; settings: format=raw, readonly=on|off,\n"
     "if=virtio|none, id=ID, serial=TEXT, bus=pci|mmio", CALL(apply_drive)},
    {"netdev", "user|socket[,...],id=ID", "network back end; alone it makes a virtio-net-pci",
     CALL(apply_netdev)},
    {"nic", "user|socket|none[,...]", "network back end and device in one; mac=, model=",
     CALL(apply_nic)},
    {"device", "NAME[,SETTING...]", "virtio-blk-, virtio-net-, virtio-rng-, virtio-serial-\n"
     "with pci or device (mmio) at the end; virtconsole", CALL(apply_device)},
    {"chardev", "KIND,id=ID[,...]", "stdio, null, file,path=F, socket,path=F[,server=on]",
     CALL(apply_chardev)},
    {"serial", "PLACE", "stdio (default), null, file:PATH, unix:PATH,server=on,\n"
     "chardev:ID; repeat it for more ports", CALL(apply_serial), RESTORE},

    GROUP("How it runs"),
    {"accel", "jit|interp|kvm[,SETTING...]", "translate guest code (default), interpret it, or the host's\n"
     "KVM; kvm:jit takes the first that can be had. Of the translator:\n"
     "tier=opt|quick|auto (how well; auto: quick, and what is hot again\n"
     "in the background), threshold=N (executions of a block before\n"
     "it is translated), hot=N (instructions in a region before it is\n"
     "translated again)", CALL(apply_accel), RESTORE},
    {"threads", "N", "host threads that run the harts (default: host CPUs)", CALL(apply_threads),
     RESTORE},
    {"ranks", "N[,seed=S]", "spread the machine over N ranks inside this process\n"
     "(mpirun -n N partita run ... : over N processes);\n"
     "seed=S[,delay=TIME]: their messages come late, at random", CALL(apply_ranks), RESTORE},
    {"n", "N", NULL, CALL(apply_ranks), RESTORE}, /* as mpirun spells it */
    {"bind", "on|off", "bind the threads of ranks to cores of their own, where there\n"
     "are enough (default: under mpirun)", CALL(apply_bind), RESTORE},
    {"rebalance", "on|homes|off", "harts move to ranks where they wait less or find an idle core,\n"
     "homes of memory to those that use it (default: on)", CALL(apply_rebalance), RESTORE},
    {"harts-per-rank", "N,N,...", "harts of each rank (default: by its cores)",
     CALL(apply_harts_per_rank), RESTORE},
    {"clock", "host|virtual", "guest time: the host's, or counted instructions",
     CALL(apply_clock)},

    GROUP("Checkpoints"),
    {"checkpoint-dir", "DIR", "images go there: SIGUSR1 makes one, SIGTERM makes one and\n"
     "ends with exit code 85", STRING(checkpoint.dir), RESTORE},
    {"checkpoint-every", "TIME", "an image every 30s, 10m, 1h of guest time",
     CALL(apply_checkpoint_every), RESTORE},
    {"checkpoint-incremental", NULL, "images hold what changed since the one before",
     FLAG(checkpoint.incremental), RESTORE},
    {"keep", "N", "of the images keep the newest N and what they need", CALL(apply_keep), RESTORE},
    {"control", "SOCKET", "take commands there: partita checkpoint, or JSON", STRING(control),
     RESTORE},

    GROUP("Looking into the guest"),
    {"perfmap", NULL, "write /tmp/perf-PID.map, so that perf names translated code", FLAG(tools.perf_map),
     RESTORE},
    {"jitdump", NULL, "write jit-PID.dump for perf inject --jit", FLAG(tools.jitdump), RESTORE},
    {"trace", "WHAT[,FILTER...]", "print what is executed. WHAT: exec, blocks, mem, fetch, or\n"
     "several (exec+mem); filters: hart=0+2-3, priv=usm,\n"
     "addr=LO-HI; file=F (default: stderr); repeat it for more", CALL(apply_trace), RESTORE},
    {"plugin", "FILE.so[,KEY=VALUE...]", "load a plugin; hot_blocks, cache and insn_mix come with Partita;\n"
     "repeat it for more", CALL(apply_plugin), RESTORE},
    {"symbols", "FILE[,base=ADDR]", "names of guest addresses: an ELF file, or nm's, System.map's or\n"
     "kallsyms' lines; repeat it for more", CALL(apply_symbols), RESTORE},

    GROUP("When it ends"),
    {"timeout", "TIME", "end after 60, 90s, 2m, 1h of host time: exit code 124",
     CALL(apply_timeout), RESTORE},
    {"expect", "REGEX", "end with 0 when serial output matches, 1 if it never did",
     STRING(expect), RESTORE},
    {"no-reboot", NULL, "a guest's reset ends the run", FLAG(no_reboot), RESTORE},
    {"stats", NULL, "at the end, print what was executed and how fast", FLAG(stats), RESTORE},
    {"state-hash", NULL, "at the end, print a hash of memory and all registers\n(not on several ranks)",
     FLAG(state_hash), RESTORE},
    {"dump-config", NULL, "print the configuration as YAML and exit", FLAG(dump_config)},

    GROUP("Accepted from QEMU's command lines"),
    {"nographic", NULL, "as it is anyway; also -display none, -monitor none,\n"
     "-vga none, -net none, -rtc, -name, -object rng-*", CALL(apply_nothing)},
    {"display", "none", NULL, CALL(apply_only_none)},
    {"monitor", "none", NULL, CALL(apply_only_none)},
    {"vga", "none", NULL, CALL(apply_only_none)},
    {"parallel", "none", NULL, CALL(apply_only_none)},
    {"net", "none", NULL, CALL(apply_only_none)},
    {"rtc", "base=utc", NULL, CALL(apply_rtc)},
    {"name", "TEXT", NULL, CALL(apply_nothing)},
    {"object", "KIND,id=ID", NULL, CALL(apply_object)},
    {"nodefaults", NULL, NULL, CALL(apply_nothing)},
    {"no-user-config", NULL, NULL, CALL(apply_nothing)},
    {"help", NULL, "this text", CALL(apply_help), RESTORE},
    {"h", NULL, NULL, CALL(apply_help), RESTORE},
};

#undef STRING
#undef FLAG
#undef CALL
#undef RESTORE
#undef GROUP

static const char *option_name(unsigned i)
{
    /* Skips group titles: the i-th entry that has a name. */
    for (size_t j = 0; j < SIM_ARRAY_LEN(options); j++)
        if (options[j].name && i-- == 0)
            return options[j].name;
    return NULL;
}

static const struct cli_option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < SIM_ARRAY_LEN(options); i++)
        if (options[i].name && strlen(options[i].name) == len &&
            memcmp(options[i].name, name, len) == 0)
            return &options[i];
    return NULL;
}

/* --- the walk --- */

static enum sim_status unknown_option(const struct cli *cli, const char *word)
{
    const char *near = nearest_word(word + strspn(word, "-"), option_name);

    if (word[0] != '-')
        sim_error("'%s' is not an option (a kernel is given with -kernel FILE)", word);
    else if (near)
        sim_error("unknown option '%s': did you mean '-%s'?", word, near);
    else
        sim_error("unknown option '%s' (partita %s --help lists them)", word, cli->restoring ? "restore" : "run");
    return SIM_ERR_INVALID;
}

static enum sim_status apply_option(struct cli *cli, const struct cli_option *o, const char *value)
{
    char shown[40] = "-";

    if (o->string) {
        config_set_string((char **)((char *)cli->config + o->string), value);
    } else if (o->flag) {
        *((bool *)cli->config + o->flag) = true;
    } else {
        strncat(shown, o->name, sizeof shown - 2);
        return o->apply(cli, shown, value);
    }
    return SIM_OK;
}

/* One option and its argument; *i moves behind them. "--timeout 60" and "--timeout=60" are welcome as
 * well as QEMU's "-timeout 60". */
static enum sim_status apply_word(struct cli *cli, int argc, char *const *argv, int *i)
{
    const char *word = argv[(*i)++];
    const char *name = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
    const char *equals = word[0] == '-' && word[1] == '-' ? strchr(name, '=') : NULL;
    const struct cli_option *o =
        name == word ? NULL : find_option(name, equals ? (size_t)(equals - name) : strlen(name));

    if (!o)
        return unknown_option(cli, word);
    if (cli->restoring && !o->restore) {
        sim_error("%s: what a restored machine is made of, its image says (partita restore --help lists what can be chosen)", word);
        return SIM_ERR_INVALID;
    }
    if (!o->arg && equals)
        return option_reject(word, equals + 1, "is one argument too many: it takes none");
    if (!o->arg || equals)
        return apply_option(cli, o, o->arg ? equals + 1 : NULL);
    if (*i >= argc) {
        sim_error("%s: its argument is missing (%s)", word, o->arg);
        return SIM_ERR_INVALID;
    }
    return apply_option(cli, o, argv[(*i)++]);
}

/* --- the whole --- */

static bool is_firmware_file(const char *bios)
{
    return bios && strcmp(bios, "none") != 0 && strcmp(bios, "default") != 0;
}

static unsigned count_stdio(const struct config *c)
{
    unsigned n = c->virtconsole && strcmp(c->virtconsole, "stdio") == 0;

    for (unsigned i = 0; i < c->nr_serials; i++)
        n += strcmp(c->serial[i], "stdio") == 0;
    return n;
}

/* What cannot be seen from one option alone. */
static enum sim_status check_whole(const struct config *c)
{
    const struct config_rule rules[] = {
        {!c->tree.fdt && !c->kernel && !c->demo && !is_firmware_file(c->bios) && !c->dump_dtb && !c->dump_config,
         "nothing to run: give -kernel FILE, -bios FILE or --demo"},
        {c->initrd && !c->kernel, "-initrd needs -kernel"},
        {c->append && !c->kernel && !c->demo && !c->dump_dtb, "-append needs -kernel"},
        {c->demo && c->kernel, "--demo and -kernel exclude each other"},
        {c->demo && c->bios && strcmp(c->bios, "default") != 0,
         "--demo runs on the built-in SBI: leave -bios away"},
        {c->virtual_clock && c->threads > 1,
         "--clock virtual counts the instructions of one thread: leave --threads away"},
        {c->virtual_clock && c->ranks > 1,
         "--clock virtual counts the instructions of one thread: leave --ranks away"},
        {c->x86 && (c->dtb || c->bios || c->demo || c->numa.nr_nodes || c->virtual_clock),
         "-M virt-x86 has no -dtb, -bios, --demo, -numa or --clock virtual"},
        {c->own_apics && !c->x86, "kernel-irqchip=off is for -M virt-x86: other machines' interrupt controllers are never KVM's"},
        {c->irqfd && (!c->x86 || c->own_apics || c->ranks > 1),
         "irqfd=on is for -M virt-x86 on one rank with KVM's interrupt controllers: it raises pins of those"},
        {c->x86 && c->cpu && strcmp(c->cpu, "host") != 0, "-M virt-x86: its CPU is the host's (-cpu host)"},
        {c->x86 && !c->tree.fdt && !c->kernel && !c->dump_dtb && !c->dump_config,
         "nothing to run: -M virt-x86 needs -kernel FILE"},
        {c->ranks > 1 && ic_mpi_wanted(),
         "--ranks: mpirun has started several processes already, which are the ranks: leave --ranks away"},
        {c->message_seed && c->ranks <= 1,
         "--ranks: seed= delays the messages between ranks of one process: it needs two ranks or more, without mpirun"},
        {!c->dtb && c->ranks > c->smp, "--ranks: each rank needs a hart of its own, and the machine has fewer (-smp)"},
        {(c->checkpoint.every_ns || c->checkpoint.keep || c->checkpoint.incremental) &&
             !c->checkpoint.dir,
         "--checkpoint-every, --checkpoint-incremental and --keep need --checkpoint-dir DIR"},
        {count_stdio(c) > 1, "only one serial port or console can be stdio"},
    };

    const char *why = config_broken_rule(rules, SIM_ARRAY_LEN(rules));

    if (!why)
        return SIM_OK;
    sim_error("%s", why);
    return SIM_ERR_INVALID;
}

/* A device tree says all of these. */
static enum sim_status check_tree(const struct cli *cli)
{
    const struct {
        bool given;
        const char *option;
    } options[] = {{cli->smp_given, "-smp"}, {cli->memory_given, "-m"}, {cli->config->cpu, "-cpu"}};

    for (size_t i = 0; cli->config->dtb && i < SIM_ARRAY_LEN(options); i++) {
        if (options[i].given) {
            sim_error("%s: the harts and the memory are those of the device tree (-dtb '%s')", options[i].option, cli->config->dtb);
            return SIM_ERR_INVALID;
        }
    }
    return SIM_OK;
}

/* As far as it can be told before the ranks have met: how many there are is mpirun's to say. */
static enum sim_status check_harts_per_rank(const struct config *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->nr_harts_per_rank; i++)
        sum += c->harts_per_rank[i];
    if (!c->dtb && c->nr_harts_per_rank && sum != c->smp) { /* how many a tree has the plan sees */
        sim_error("-harts-per-rank: %" PRIu64 " harts together, but -smp %" PRIu32, sum, c->smp);
        return SIM_ERR_INVALID;
    }
    if (c->nr_harts_per_rank && c->ranks > 1 && c->nr_harts_per_rank != c->ranks) {
        sim_error("-harts-per-rank: %u numbers for %u ranks", c->nr_harts_per_rank, c->ranks);
        return SIM_ERR_INVALID;
    }
    return SIM_OK;
}

static enum sim_status complete(struct cli *cli)
{
    struct config *c = cli->config;

    SIM_TRY(check_tree(cli));
    SIM_TRY(check_harts_per_rank(c));
    SIM_TRY(numa_resolve(&cli->numa, c));
    SIM_TRY(cli_devices_resolve(&cli->devices, c));
    if (c->nr_serials == 0)
        c->serial[c->nr_serials++] =
            sim_strdup(c->virtconsole && strcmp(c->virtconsole, "stdio") == 0 ? "null" : "stdio");
    SIM_TRY(check_whole(c));
    return c->dump_dtb ? SIM_OK : accel_choose(c);
}

/* A port of the image's machine is replaced by the first -serial. */
static void forget_serials(struct config *c)
{
    while (c->nr_serials)
        config_set_string(&c->serial[--c->nr_serials], NULL);
}

static bool has_option(int argc, char *const *argv, const char *name)
{
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i] + strspn(argv[i], "-"), name) == 0)
            return true;
    return false;
}

enum cli_action cli_parse_restore(int argc, char *const *argv, struct config *c)
{
    struct cli cli = {.config = c, .restoring = true};
    enum sim_status status = SIM_OK;

    if (has_option(argc, argv, "serial"))
        forget_serials(c);
    for (int i = 0; i < argc && status == SIM_OK && !cli.help;)
        status = apply_word(&cli, argc, argv, &i);
    if (status == SIM_OK && !cli.help)
        status = check_whole(c);
    if (status == SIM_OK && !cli.help)
        status = accel_choose(c);
    if (status == SIM_OK && !cli.help)
        return CLI_RUN;
    config_fini(c);
    if (status != SIM_OK)
        return CLI_BAD;
    cli_print_restore_help(stdout);
    return CLI_DONE;
}

enum cli_action cli_parse_run(int argc, char *const *argv, struct config *c)
{
    struct cli cli = {.config = c};
    enum sim_status status = SIM_OK;

    config_init(c);
    for (int i = 0; i < argc && status == SIM_OK && !cli.help;)
        status = apply_word(&cli, argc, argv, &i);
    if (status == SIM_OK && !cli.help)
        status = complete(&cli);
    cli_devices_fini(&cli.devices);
    numa_options_fini(&cli.numa);
    if (status == SIM_OK && !cli.help)
        return CLI_RUN;
    config_fini(c);
    if (status != SIM_OK)
        return CLI_BAD;
    cli_print_run_help(stdout);
    return CLI_DONE;
}

/* --- help --- */

enum { HELP_COLUMN = 34 };

static void print_option(const struct cli_option *o, FILE *out)
{
    int n = fprintf(out, "  -%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    const char *text = o->help;

    if (n >= HELP_COLUMN) {
        fputc('\n', out);
        n = 0;
    }
    for (;;) {
        const char *line_end = strchr(text, '\n');
        int len = line_end ? (int)(line_end - text) : (int)strlen(text);
        fprintf(out, "%*s%.*s\n", HELP_COLUMN - n, "", len, text);
        if (!line_end)
            break;
        text = line_end + 1;
        n = 0;
    }
}

void cli_print_restore_help(FILE *out)
{
    fputs("Usage: partita restore IMAGE [OPTION...]\n"
          "       partita restore --incoming URI [OPTION...]\n"
          "Goes on with a machine from an image: a folder of images (its newest), or one of them; or with one that\n"
          "`partita migrate` sends to URI (unix:PATH or tcp:HOST:PORT; whoever reaches it is trusted). Either way to any number\n"
          "of ranks, whatever it was on.\n\n",
          out);
    for (size_t i = 0; i < SIM_ARRAY_LEN(options); i++)
        if (options[i].name && options[i].help && options[i].restore)
            print_option(&options[i], out);
}

void cli_print_run_help(FILE *out)
{
    fputs("Usage: partita run [OPTION...]\n"
          "Runs a kernel, firmware or bare-metal program on a 64-bit RISC-V machine, or an x86-64 one on KVM.\n"
          "Options are written as QEMU's, with one dash or two.\n",
          out);
    for (size_t i = 0; i < SIM_ARRAY_LEN(options); i++) {
        if (!options[i].name)
            fprintf(out, "\n%s\n", options[i].help);
        else if (options[i].help)
            print_option(&options[i], out);
    }
    fputs("\nKeys while it runs in a terminal\n"
          "  Ctrl-A x  quit      Ctrl-A h  all keys\n"
          "\nExit code\n"
          "  the guest's own (0 for power-off) | 1 --expect never matched | 2 bad command line or\n"
          "  file | 70 internal error | 85 image made at SIGTERM | 86 moved to another process |\n"
          "  124 time-out | 128+N ended by signal N\n"
          "\nExamples\n"
          "  partita run --demo -smp 4\n"
          "  partita run -smp 4 -m 1G -kernel Image -initrd initramfs.cpio.gz \\\n"
          "      -append \"console=ttyS0\" -drive file=disk.img,format=raw -netdev user,id=n0\n",
          out);
}
