/* partita: the commands. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "cluster.h"
#include "doctor.h"
#include "image_command.h"
#include "incoming.h"
#include "keyval.h"
#include "plan_cmd.h"
#include "restore.h"
#include "run.h"
#include "sim-core/log.h"

static int command_run(int argc, char **argv)
{
    struct sim_log_kept said;
    struct config config;

    run_reads_command_line(&said);
    switch (cli_parse_run(argc, argv, &config)) {
    case CLI_DONE:
        return 0;
    case CLI_BAD:
        return run_refused(&said);
    case CLI_RUN:
        break;
    }
    int code = run_config(&config, &said);
    config_fini(&config);
    return code;
}

static int command_plan(int argc, char **argv)
{
    return plan_command(argc, argv);
}

static enum sim_status open_incoming(const char *uri, struct ic *ic, struct config *c, struct incoming **out)
{
    return ic ? incoming_open_over(uri, ic, c, out) : incoming_open(uri, c, out);
}

/* --incoming URI [OPTION...] */
static int restore_incoming(int argc, char **argv)
{
    struct sim_log_kept said;
    struct incoming *incoming;
    struct config config;
    struct ic *ic;

    if (argc < 1) {
        sim_error("--incoming needs an address: unix:PATH or tcp:HOST:PORT");
        return EXIT_CODE_USAGE;
    }
    if (run_meet_incoming(&ic) != SIM_OK)
        return EXIT_CODE_USAGE;
    if (open_incoming(argv[0], ic, &config, &incoming) != SIM_OK) {
        ic_destroy(ic);
        return EXIT_CODE_USAGE;
    }
    run_reads_command_line(&said);
    enum cli_action action = cli_parse_restore(argc - 1, argv + 1, &config);
    if (action != CLI_RUN) {
        incoming_close(incoming);
        return action == CLI_DONE && !ic ? 0 : run_incoming_refused(ic, &said);
    }
    int code = run_incoming(&config, incoming, ic, &said);
    config_fini(&config);
    return code;
}

static bool is_help(const char *word)
{
    const char *name = word + strspn(word, "-");

    return name != word && (strcmp(name, "help") == 0 || strcmp(name, "h") == 0);
}

static int command_restore(int argc, char **argv)
{
    struct sim_log_kept said;
    struct restore *restore;
    struct config config;

    if (argc && argv[0][0] == '-' && strcmp(argv[0] + strspn(argv[0], "-"), "incoming") == 0)
        return restore_incoming(argc - 1, argv + 1);
    if (argc < 1 || is_help(argv[0])) {
        cli_print_restore_help(argc < 1 ? stderr : stdout);
        return argc < 1 ? EXIT_CODE_USAGE : 0;
    }
    run_reads_command_line(&said);
    if (argv[0][0] == '-') {
        sim_error("restore: '%s': the image comes first (partita restore IMAGE [OPTION...])", argv[0]);
        return run_refused(&said);
    }
    if (restore_open(argv[0], &config, &restore) != SIM_OK)
        return run_refused(&said);
    enum cli_action action = cli_parse_restore(argc - 1, argv + 1, &config);
    if (action != CLI_RUN) {
        restore_close(restore);
        return action == CLI_DONE ? 0 : run_refused(&said);
    }
    int code = run_restored(&config, restore, &said);
    config_fini(&config);
    return code;
}

static int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("partita " PARTITA_VERSION);
    return 0;
}

static int command_help(int argc, char **argv);

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: another spelling */
} commands[] = {
    {"run", command_run, "emulate a machine (partita run --help)"},
    {"cluster", cluster_command, "emulate several machines on one network: FILE (partita cluster --help)"},
    {"control", control_command, "give a command to a running machine (partita control --help)"},
    {"plan", command_plan, "show how a run would be spread over MPI ranks (partita plan --help)"},
    {"restore", command_restore, "go on with a machine from an image (partita restore --help)"},
    {"migrate", migrate_command, "move a running machine to another process: SOCKET URI"},
    {"checkpoint", checkpoint_command, "make an image of a running machine: SOCKET DIR"},
    {"doctor", doctor_command, "what this host offers, what is missing and what is used instead"},
    {"image", image_command, "look at images, check, compare, join and remove them"},
    {"--help", command_help, "this text"},
    {"--version", command_version, "the program's version"},
    {"-help", command_help, NULL},
    {"-h", command_help, NULL},
    {"help", command_help, NULL},
    {"-version", command_version, NULL},
    {"version", command_version, NULL},
};

static void print_help(FILE *out)
{
    fputs("Partita runs 64-bit RISC-V machines, and x86-64 ones on KVM.\n\nUsage: partita COMMAND [OPTION...]\n\n", out);
    for (size_t i = 0; i < SIM_ARRAY_LEN(commands); i++)
        if (commands[i].help)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    fputs("\nTry: partita run --demo -smp 4\n", out);
}

static int command_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_help(stdout);
    return 0;
}

static const char *command_name(unsigned i)
{
    return i < SIM_ARRAY_LEN(commands) ? commands[i].name : NULL;
}

static void say_unknown(const char *word)
{
    const char *near = nearest_word(word, command_name);

    if (word[0] == '-' && !near)
        sim_error("'%s' is no command: options follow one (partita run %s ...)", word, word);
    else if (near)
        sim_error("unknown command '%s': did you mean '%s'?", word, near);
    else
        sim_error("unknown command '%s' (partita --help lists them)", word);
}

static int unknown_command(const char *word)
{
    struct sim_log_kept said;

    run_reads_command_line(&said);
    say_unknown(word);
    return run_refused(&said);
}

/* A standard descriptor that is closed would be given to the next file opened (a drive!). */
static void open_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) < 0)
            return;
}

/* Help and listings that could not be written are no success. */
static int finish(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    sim_error("cannot write to standard output: %m");
    return code ? code : EXIT_CODE_USAGE;
}

int main(int argc, char **argv)
{
    open_standard_fds();
    signal(SIGPIPE, SIG_IGN); /* a closed reader is an error of write(), not an end */
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow, too */
    signal(SIGTTOU, SIG_IGN); /* restoring the terminal from the background must not stop us */
    if (argc < 2) {
        print_help(stderr);
        return EXIT_CODE_USAGE;
    }
    for (size_t i = 0; i < SIM_ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return finish(commands[i].run(argc - 2, argv + 2));
    return unknown_command(argv[1]);
}
