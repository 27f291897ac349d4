/* The options of `partita run`: one table of names, arguments, help and effects, and the walk over argv. */
#include <stddef.h>
#include <string.h>

#include "accel.h"
#include "cli_priv.h"
#include "sim-core/log.h"

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

/* --- the table --- */

#define STRING(field) .string = offsetof(struct config, field)
#define FLAG(field) .flag = offsetof(struct config, field)
#define CALL(name) .apply = cli_apply_##name
#define RESTORE .restore = true
#define GROUP(title) {.help = title}

static const struct cli_option options[] = {
    GROUP("Machine"),
    {"machine", "virt|virt-x86", "RISC-V, register-compatible with QEMU's machine of that name\n"
     "(default); or x86-64 on the host's KVM (with KVM's interrupt\ncontrollers, or without: virt-x86,kernel-irqchip=off;\nwith virtio interrupts by eventfd: virt-x86,irqfd=on)", CALL(machine)},
    {"M", "virt", NULL, CALL(machine)},
    {"cpu", "rv64[,EXT=on|off...]", "extensions of the harts: -cpu rv64,sv57=off,zacas=off",
     STRING(cpu)},
    {"smp", "N", "harts, 1 to 4096 (default 1, or the tree's)", CALL(smp)},
    {"m", "SIZE", "memory: 512 (MiB), 2G (default 128M, or the tree's)", CALL(memory)},
    {"numa", "node[,SETTING...]|dist,...", "a NUMA node of the guest: cpus=0-3, mem=1G or memdev=ID,\n"
     "nodeid=N; or a distance: src=N,dst=M,val=20", CALL(numa)},
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
     "if=virtio|none, id=ID, serial=TEXT, bus=pci|mmio", CALL(drive)},
    {"netdev", "user|socket[,...],id=ID", "network back end; alone it makes a virtio-net-pci",
     CALL(netdev)},
    {"nic", "user|socket|none[,...]", "network back end and device in one; mac=, model=",
     CALL(nic)},
    {"device", "NAME[,SETTING...]", "virtio-blk-, virtio-net-, virtio-rng-, virtio-serial-\n"
     "with pci or device (mmio) at the end; virtconsole", CALL(device)},
    {"chardev", "KIND,id=ID[,...]", "stdio, null, file,path=F, socket,path=F[,server=on]",
     CALL(chardev)},
    {"serial", "PLACE", "stdio (default), null, file:PATH, unix:PATH,server=on,\n"
     "chardev:ID; repeat it for more ports", CALL(serial), RESTORE},

    GROUP("How it runs"),
    {"accel", "jit|interp|kvm[,SETTING...]", "translate guest code (default), interpret it, or the host's\n"
     "KVM; kvm:jit takes the first that can be had. Of the translator:\n"
     "tier=opt|quick|auto (how well; auto: quick, and what is hot again\n"
     "in the background), threshold=N (executions of a block before\n"
     "it is translated), hot=N (instructions in a region before it is\n"
     "translated again)", CALL(accel), RESTORE},
    {"threads", "N", "host threads that run the harts (default: host CPUs)", CALL(threads),
     RESTORE},
    {"ranks", "N[,seed=S]", "spread the machine over N ranks inside this process\n"
     "(mpirun -n N partita run ... : over N processes);\n"
     "seed=S[,delay=TIME]: their messages come late, at random", CALL(ranks), RESTORE},
    {"n", "N", NULL, CALL(ranks), RESTORE}, /* as mpirun spells it */
    {"bind", "on|off", "bind the threads of ranks to cores of their own, where there\n"
     "are enough (default: under mpirun)", CALL(bind), RESTORE},
    {"rebalance", "on|homes|off", "harts move to ranks where they wait less or find an idle core,\n"
     "homes of memory to those that use it (default: on)", CALL(rebalance), RESTORE},
    {"harts-per-rank", "N,N,...", "harts of each rank (default: by its cores)",
     CALL(harts_per_rank), RESTORE},
    {"clock", "host|virtual", "guest time: the host's, or counted instructions",
     CALL(clock)},

    GROUP("Checkpoints"),
    {"checkpoint-dir", "DIR", "images go there: SIGUSR1 makes one, SIGTERM makes one and\n"
     "ends with exit code 85", STRING(checkpoint.dir), RESTORE},
    {"checkpoint-every", "TIME", "an image every 30s, 10m, 1h of guest time",
     CALL(checkpoint_every), RESTORE},
    {"checkpoint-incremental", NULL, "images hold what changed since the one before",
     FLAG(checkpoint.incremental), RESTORE},
    {"keep", "N", "of the images keep the newest N and what they need", CALL(keep), RESTORE},
    {"control", "SOCKET", "take commands there: partita checkpoint, or JSON", STRING(control),
     RESTORE},

    GROUP("Looking into the guest"),
    {"perfmap", NULL, "write /tmp/perf-PID.map, so that perf names translated code", FLAG(tools.perf_map),
     RESTORE},
    {"jitdump", NULL, "write jit-PID.dump for perf inject --jit", FLAG(tools.jitdump), RESTORE},
    {"trace", "WHAT[,FILTER...]", "print what is executed. WHAT: exec, blocks, mem, fetch, or\n"
     "several (exec+mem); filters: hart=0+2-3, priv=usm,\n"
     "addr=LO-HI; file=F (default: stderr); repeat it for more", CALL(trace), RESTORE},
    {"plugin", "FILE.so[,KEY=VALUE...]", "load a plugin; hot_blocks, cache and insn_mix come with Partita;\n"
     "repeat it for more", CALL(plugin), RESTORE},
    {"symbols", "FILE[,base=ADDR]", "names of guest addresses: an ELF file, or nm's, System.map's or\n"
     "kallsyms' lines; repeat it for more", CALL(symbols), RESTORE},

    GROUP("When it ends"),
    {"timeout", "TIME", "end after 60, 90s, 2m, 1h of host time: exit code 124",
     CALL(timeout), RESTORE},
    {"expect", "REGEX", "end with 0 when serial output matches, 1 if it never did",
     STRING(expect), RESTORE},
    {"no-reboot", NULL, "a guest's reset ends the run", FLAG(no_reboot), RESTORE},
    {"stats", NULL, "at the end, print what was executed and how fast", FLAG(stats), RESTORE},
    {"state-hash", NULL, "at the end, print a hash of memory and all registers\n(not on several ranks)",
     FLAG(state_hash), RESTORE},
    {"dump-config", NULL, "print the configuration as YAML and exit", FLAG(dump_config)},

    GROUP("Accepted from QEMU's command lines"),
    {"nographic", NULL, "as it is anyway; also -display none, -monitor none,\n"
     "-vga none, -net none, -rtc, -name, -object rng-*", CALL(nothing)},
    {"display", "none", NULL, CALL(only_none)},
    {"monitor", "none", NULL, CALL(only_none)},
    {"vga", "none", NULL, CALL(only_none)},
    {"parallel", "none", NULL, CALL(only_none)},
    {"net", "none", NULL, CALL(only_none)},
    {"rtc", "base=utc", NULL, CALL(rtc)},
    {"name", "TEXT", NULL, CALL(nothing)},
    {"object", "KIND,id=ID", NULL, CALL(object)},
    {"nodefaults", NULL, NULL, CALL(nothing)},
    {"no-user-config", NULL, NULL, CALL(nothing)},
    {"help", NULL, "this text", CALL(help), RESTORE},
    {"h", NULL, NULL, CALL(help), RESTORE},
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
        status = cli_check_whole(c);
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
        status = cli_complete(&cli);
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
