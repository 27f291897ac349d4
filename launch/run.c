/* One run: composes simulation, machine and terminal, waits for the end, and tells how it was.
 *
 *   sim -> expect -> machine -> loader -> signals, terminal -> I/O -> executors -> wait
 *       guest reset: machine_reset -> loader -> executors again
 *   end: executors, I/O, terminal -> --stats -> machine -> sim -> exit code */
#include "run.h"

#include <libfdt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "expect.h"
#include "loader.h"
#include "machine.h"
#include "partition/executor.h"
#include "progress.h"
#include "signals.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "stats.h"
#include "terminal.h"

/* Owner: the launch thread; `wanted` is written by any. */
struct run {
    const struct config *config;
    struct sim *sim;
    struct machine *machine;
    struct executor_group *group;
    struct expect *expect;
    struct progress *progress;
    struct signals *signals;
    struct terminal *terminal;
    struct sim_io_timer *timeout;
    uint64_t start_ns, cpu_ns;
    unsigned threads;
    _Atomic uint64_t wanted; /* 0, or enum sim_end << 32 | code: the host side wants the end */
};

/* --- the host side's wishes: they survive a guest reset, which clears the sim's end --- */

static void want_end(struct run *r, enum sim_end why, int code)
{
    uint64_t none = 0;

    atomic_compare_exchange_strong_explicit(&r->wanted, &none,
                                            (uint64_t)why << 32 | (uint32_t)code,
                                            memory_order_seq_cst, memory_order_seq_cst);
    sim_request_end(r->sim, why, code);
}

static void on_signal(void *opaque, int sig)
{
    want_end(opaque, SIM_END_USER, EXIT_CODE_SIGNAL + sig);
}

static void on_timeout(void *opaque)
{
    want_end(opaque, SIM_END_TIMEOUT, EXIT_CODE_TIMEOUT);
}

static void on_match(void *opaque)
{
    want_end(opaque, SIM_END_EXPECT, 0);
}

/* --- the terminal --- */

static struct chardev *stdio_chardev(const struct run *r)
{
    const struct config *c = r->config;
    const struct machine *m = r->machine;

    for (unsigned i = 0; i < c->nr_serials && i < m->nr_serials; i++)
        if (strcmp(c->serial[i], "stdio") == 0)
            return m->serial[i];
    if (c->virtconsole && strcmp(c->virtconsole, "stdio") == 0)
        return m->virtconsole;
    return NULL;
}

static size_t terminal_room(void *opaque)
{
    return chardev_input_room(stdio_chardev(opaque));
}

static void terminal_input(void *opaque, const uint8_t *data, size_t len)
{
    chardev_inject(stdio_chardev(opaque), data, len);
}

static void terminal_quit(void *opaque)
{
    struct run *r = opaque;

    progress_end(r->progress);
    sim_info("ended by Ctrl-A x");
    want_end(r, SIM_END_USER, 0);
}

static void terminal_stats(void *opaque)
{
    struct run *r = opaque;

    stats_print_brief(r->sim, sim_host_ns() - r->start_ns, stderr);
}

static const struct terminal_ops terminal_ops = {.room = terminal_room,
                                                 .input = terminal_input,
                                                 .quit = terminal_quit,
                                                 .stats = terminal_stats};

/* --- setting up --- */

static void tap_output(struct run *r, struct chardev *c)
{
    struct chardev_tap progress = progress_tap(r->progress);

    if (!c)
        return;
    chardev_add_tap(c, &progress);
    if (r->expect) {
        struct chardev_tap expect = expect_add_stream(r->expect);
        chardev_add_tap(c, &expect);
    }
}

static void tap_outputs(struct run *r)
{
    for (unsigned i = 0; i < r->machine->nr_serials; i++)
        tap_output(r, r->machine->serial[i]);
    tap_output(r, r->machine->virtconsole);
}

/* Everything that a wrong configuration or file can make fail. */
static enum sim_status set_up_machine(struct run *r)
{
    const struct config *c = r->config;

    if (c->expect)
        SIM_TRY(expect_create(r->sim->io, c->expect, on_match, r, &r->expect));
    SIM_TRY(machine_create(r->sim, c, &r->machine));
    return loader_load(r->machine);
}

static enum sim_status start_executors(struct run *r)
{
    struct executor_config config = {
        /* Counted instructions are a clock only when one thread counts. */
        .nr_threads = r->config->virtual_clock ? 1 : r->config->threads,
        .bind = false,
    };

    SIM_TRY(executor_group_create(r->sim, &config, &r->group));
    r->threads = executor_group_nr_threads(r->group);
    return executor_group_start(r->group);
}

static void stop_executors(struct run *r)
{
    if (!r->group)
        return;
    executor_group_stop(r->group);
    r->cpu_ns += executor_group_cpu_ns(r->group);
    executor_group_destroy(r->group);
    r->group = NULL;
}

static enum sim_status start(struct run *r)
{
    r->progress = progress_create(r->sim, STDERR_FILENO);
    tap_outputs(r);
    SIM_TRY(signals_start(on_signal, r, &r->signals));
    if (stdio_chardev(r))
        r->terminal = terminal_create(r->sim->io, STDIN_FILENO, &terminal_ops, r);
    r->start_ns = sim_host_ns();
    if (r->config->timeout_ns) {
        r->timeout = sim_io_timer_create(r->sim->io, on_timeout, r);
        sim_io_timer_arm(r->timeout, r->start_ns + r->config->timeout_ns);
    }
    SIM_TRY(sim_io_start(r->sim->io));
    return start_executors(r);
}

/* --- running --- */

/* The guest's reset: the machine as after power-on, loaded again. */
static enum sim_status restart(struct run *r)
{
    stop_executors(r);
    machine_reset(r->machine);
    SIM_TRY(loader_load(r->machine));
    sim_clear_end(r->sim);
    /* What the host side asked for meanwhile was cleared, too. */
    uint64_t wanted = atomic_load_explicit(&r->wanted, memory_order_seq_cst);
    if (wanted)
        sim_request_end(r->sim, (enum sim_end)(wanted >> 32), (int)(uint32_t)wanted);
    return start_executors(r);
}

static enum sim_end wait_for_end(struct run *r, int *code)
{
    for (;;) {
        enum sim_end why = sim_wait_end(r->sim, code);
        if (why != SIM_END_RESET || r->config->no_reboot)
            return why;
        if (restart(r) != SIM_OK) {
            *code = EXIT_CODE_USAGE; /* a file of the command line has gone or changed */
            return SIM_END_ERROR;
        }
    }
}

/* Messages begin on a line of their own when they go where the guest's output went. */
static void end_guest_line(const struct run *r)
{
    struct stat out, err;

    if (progress_mid_line(r->progress) && fstat(STDOUT_FILENO, &out) == 0 &&
        fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev && out.st_ino == err.st_ino)
        fputc('\n', stderr);
}

/* The guest's last bytes reach --expect and the progress line before these are asked. */
static void flush_outputs(const struct run *r)
{
    for (unsigned i = 0; i < r->machine->nr_serials; i++)
        chardev_flush(r->machine->serial[i]);
    if (r->machine->virtconsole)
        chardev_flush(r->machine->virtconsole);
}

static void stop(struct run *r)
{
    stop_executors(r);
    sim_io_stop(r->sim->io);
    flush_outputs(r);
    terminal_destroy(r->terminal);
    r->terminal = NULL;
    if (stdio_chardev(r))
        end_guest_line(r);
    progress_end(r->progress);
}

static void tear_down(struct run *r)
{
    if (r->timeout)
        sim_io_timer_destroy(r->timeout);
    if (r->machine)
        machine_destroy(r->machine);
    progress_destroy(r->progress); /* these two listen to the machine's outputs */
    expect_destroy(r->expect);
    signals_stop(r->signals); /* last, so that a second Ctrl-C ends whatever hangs above */
    sim_destroy(r->sim);
}

/* --- the end --- */

int run_guest_exit_code(int code)
{
    return code && !(code & 0xff) ? 1 : code & 0xff;
}

static int unmatched(const struct run *r, const char *how)
{
    sim_error("--expect: '%s' never matched; %s", r->config->expect, how);
    return EXIT_CODE_NO_MATCH;
}

static int exit_code(struct run *r, enum sim_end why, int code)
{
    if (r->expect && why != SIM_END_ERROR && expect_finish(r->expect))
        return 0;
    switch (why) {
    case SIM_END_POWEROFF:
        return r->expect ? unmatched(r, "the guest powered off") : run_guest_exit_code(code);
    case SIM_END_RESET:
        return r->expect ? unmatched(r, "the guest asked for a reset") : 0;
    case SIM_END_USER:
        return r->expect && !code ? unmatched(r, "the run was ended by hand") : code;
    case SIM_END_TIMEOUT:
        sim_error("--timeout: the guest was still running after %.9g s%s",
                  (double)r->config->timeout_ns / 1e9,
                  r->expect ? ", and --expect had not matched" : "");
        return EXIT_CODE_TIMEOUT;
    default:
        return code ? code : EXIT_CODE_INTERNAL;
    }
}

static void print_stats(const struct run *r)
{
    struct stats_input in = {
        .machine = r->machine,
        .wall_ns = sim_host_ns() - r->start_ns,
        .cpu_ns = r->cpu_ns,
        .threads = r->threads,
        .jit = r->config->jit,
    };

    stats_print(&in, stderr);
}

static int run_machine(const struct config *config)
{
    struct run r = {.config = config};
    int code = EXIT_CODE_INTERNAL;

    if (sim_create(&r.sim) != SIM_OK)
        return EXIT_CODE_INTERNAL;
    if (config->virtual_clock)
        sim_clock_init(&r.sim->clock, SIM_CLOCK_VIRTUAL);
    if (set_up_machine(&r) != SIM_OK) {
        tear_down(&r);
        return EXIT_CODE_USAGE;
    }
    enum sim_end why = SIM_END_ERROR;
    if (start(&r) == SIM_OK)
        why = wait_for_end(&r, &code);
    stop(&r);
    code = exit_code(&r, why, code);
    if (config->stats)
        print_stats(&r);
    tear_down(&r);
    return code;
}

/* --- -dumpdtb --- */

static enum sim_status write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    bool ok = f && fwrite(data, 1, len, f) == len;

    ok = f && fclose(f) == 0 && ok;
    if (!ok) {
        sim_error("-dumpdtb: cannot write '%s': %m", path);
        return SIM_ERR_IO;
    }
    return SIM_OK;
}

static int dump_dtb(const struct config *c)
{
    void *fdt = NULL;
    enum sim_status status =
        c->dtb ? machine_read_fdt(c->dtb, &fdt) : virt_build_fdt(c, &fdt);

    if (status == SIM_OK)
        status = loader_set_bootargs(&fdt, c->append);
    if (status == SIM_OK) {
        fdt_pack(fdt);
        status = write_file(c->dump_dtb, fdt, fdt_totalsize(fdt));
    }
    sim_free(fdt);
    return status == SIM_OK ? 0 : EXIT_CODE_USAGE;
}

int run_config(const struct config *config)
{
    if (config->dump_config) {
        config_dump(config, stdout);
        return 0;
    }
    return config->dump_dtb ? dump_dtb(config) : run_machine(config);
}
