/* One run: composes simulation, machine and terminal, waits for the end, and tells how it was.
 *
 * Several ranks: each does all this with its part of the machine; the first has devices, terminal and
 * messages (run_start.c).
 *
 *   sim -> expect -> machine -> loader -> signals, terminal -> I/O -> executors -> wait
 *       guest reset: machine_reset -> loader -> executors again
 *   end: executors, I/O, terminal -> --stats -> machine -> sim -> exit code */
#include "run_priv.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint_state.h"
#include "control.h"
#include "expect.h"
#include "images.h"
#include "incoming.h"
#include "loader.h"
#include "machine.h"
#include "partition/executor.h"
#include "progress.h"
#include "rank_facts.h"
#include "ranks.h"
#include "restore.h"
#include "signals.h"
#include "sim-core/log.h"
#include "stats.h"
#include "terminal.h"
#include "tools.h"
#include "virt_x86.h"

/* --- the host side's wishes: they survive a guest reset, which clears the sim's end --- */

void run_want_end(struct run *r, enum sim_end why, int code)
{
    uint64_t none = 0;

    atomic_compare_exchange_strong_explicit(&r->wanted, &none,
                                            (uint64_t)why << 32 | (uint32_t)code,
                                            memory_order_seq_cst, memory_order_seq_cst);
    sim_request_end(r->sim, why, code);
}

static void on_signal(void *opaque, int sig)
{
    struct run *r = opaque;

    if (r->peers) {
        r->peers->signal(r->peers->opaque, sig);
        return;
    }
    sim_mutex_lock(&r->images_lock);
    bool taken = r->images && images_take_signal(r->images, sig);
    sim_mutex_unlock(&r->images_lock);
    if (!taken)
        run_want_end(r, SIM_END_USER, EXIT_CODE_SIGNAL + sig);
}

static void on_timeout(void *opaque)
{
    run_want_end(opaque, SIM_END_TIMEOUT, EXIT_CODE_TIMEOUT);
}

static void on_match(void *opaque)
{
    run_want_end(opaque, SIM_END_EXPECT, 0);
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
    run_want_end(r, SIM_END_USER, 0);
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

/* A machine whose image cannot be read to its end. */
static void memory_is_lost(void *opaque)
{
    run_want_end(opaque, SIM_END_ERROR, EXIT_CODE_USAGE);
}

static enum sim_status load(struct run *r)
{
    if (r->restore)
        return restore_load(r->restore, r->machine, r->ranks, memory_is_lost, r);
    if (r->incoming)
        return incoming_load(r->incoming, r->machine, r->ranks, memory_is_lost, r);
    return r->ranks ? ranks_load(r->ranks) : loader_load(r->machine);
}

/* Everything that a wrong configuration or file can make fail. */
static enum sim_status set_up_machine(struct run *r)
{
    const struct config *c = r->config;

    if (c->expect && r->first)
        SIM_TRY(expect_create(r->sim->io, c->expect, on_match, r, &r->expect));
    SIM_TRY(r->ic ? ranks_create(r->sim, c, r->ic, &r->ranks) : rank_options_check(c, 0, true));
    if (r->ranks) {
        ranks_set_world(r->ranks, &r->world);
        ranks_set_up_begin(r->ranks);
    }
    enum sim_status status = machine_create(r->sim, c, r->ranks, &r->machine);
    if (status == SIM_OK)
        status = tools_create(r->machine->cpus, c, r->ic ? ic_rank(r->ic) : 0, r->ranks != NULL, &r->tools);
    if (r->ranks)
        status = ranks_set_up_end(r->ranks, status);
    SIM_TRY(status);
    if (r->ranks)
        SIM_TRY(ranks_connect(r->ranks, r->machine));
    return load(r);
}

static unsigned nr_executors(const struct run *r)
{
    if (r->config->virtual_clock)
        return 1; /* counted instructions are a clock only when one thread counts */
    if (r->ranks)
        return ranks_nr_executors(r->ranks);
    if (r->machine->kvm && !r->config->threads && !virt_x86_has_own_apics(r->machine->fdt))
        return r->sim->nr_vcpus; /* each waits in the kernel, on its thread */
    return r->config->threads;
}

static enum sim_status start_executors(struct run *r)
{
    struct executor_config config = {
        .nr_threads = nr_executors(r),
        .nr_spare = r->ranks ? ranks_nr_spares(r->ranks) : 0,
        .on_start = r->ranks && ranks_binds(r->ranks) ? ranks_bind_executor : NULL,
        .on_start_opaque = r->ranks,
        .own_cores = r->ranks && ranks_has_own_cores(r->ranks),
        .cursor = r->restore    ? restore_cursor(r->restore)
                  : r->incoming ? incoming_cursor(r->incoming)
                                : 0,
    };

    SIM_TRY(world_create_executors(&r->world, r->sim, &config, &r->group));
    r->threads = executor_group_nr_threads(r->group);
    return executor_group_start(r->group);
}

static void stop_executors(struct run *r)
{
    if (!r->group)
        return;
    world_detach(&r->world);
    executor_group_stop(r->group);
    r->cpu_ns += executor_group_cpu_ns(r->group);
    executor_group_destroy(r->group);
    r->group = NULL;
}

static enum sim_status start(struct run *r)
{
    if (r->first) {
        r->progress = progress_create(r->sim, STDERR_FILENO);
        tap_outputs(r);
    }
    SIM_TRY(run_start_control(r));
    if (r->signals_are_ours)
        SIM_TRY(signals_start(on_signal, r, &r->signals));
    if (stdio_chardev(r))
        r->terminal = terminal_create(r->sim->io, STDIN_FILENO, &terminal_ops, r);
    r->start_ns = sim_host_ns();
    if (r->config->timeout_ns && r->first) {
        r->timeout = sim_io_timer_create(r->sim->io, on_timeout, r);
        sim_io_timer_arm(r->timeout, r->start_ns + r->config->timeout_ns);
    }
    if (r->ranks && (r->config->rebalance || r->config->rehome))
        ranks_load_start(r->ranks);
    SIM_TRY(sim_io_start(r->sim->io));
    if (r->restore)
        SIM_TRY(restore_go(r->restore));
    if (r->incoming)
        SIM_TRY(incoming_go(r->incoming));
    SIM_TRY(start_executors(r));
    if (r->restore)
        SIM_TRY(restore_fetch(r->restore));
    if (r->incoming)
        incoming_started(r->incoming);
    return SIM_OK;
}

/* --- running --- */

/* The guest's reset: the machine as after power-on, loaded again. */
static enum sim_status reset_and_load(struct run *r)
{
    SIM_TRY(run_memory_is_there(r)); /* it is written next, and all of it is the guest's own from here on */
    if (r->ranks)
        SIM_TRY(ranks_settle(r->ranks));
    sim_clear_end(r->sim); /* another rank may run and ask for the next one before we do */
    machine_reset(r->machine);
    return r->ranks ? ranks_load(r->ranks) : loader_load(r->machine);
}

static enum sim_status restart_changing(struct run *r)
{
    stop_executors(r);
    SIM_TRY(reset_and_load(r));
    /* What the host side asked for meanwhile was cleared, too. */
    uint64_t wanted = atomic_load_explicit(&r->wanted, memory_order_seq_cst);
    if (wanted)
        sim_request_end(r->sim, (enum sim_end)(wanted >> 32), (int)(uint32_t)wanted);
    return start_executors(r);
}

static enum sim_status restart(struct run *r)
{
    world_begin_change(&r->world);
    enum sim_status status = restart_changing(r);
    world_end_change(&r->world);
    return status;
}

/* This rank cannot go on: ends the others, too. The exit code: `code`, or that of the rank that gave up first. */
static int give_up(struct run *r, int code)
{
    if (!r->ranks)
        return code;
    if (ranks_abort_code(r->ranks))
        return ranks_abort_code(r->ranks);
    ranks_abort(r->ranks, code);
    return code;
}

static enum sim_end wait_for_end(struct run *r, int *code)
{
    for (;;) {
        enum sim_end why = r->ranks ? ranks_wait_end(r->ranks, code) : sim_wait_end(r->sim, code);
        if (why != SIM_END_RESET || r->config->no_reboot)
            return why;
        if (restart(r) != SIM_OK) {
            *code = give_up(r, EXIT_CODE_USAGE); /* a file of the command line has gone or changed */
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
    if (r->images)
        images_close(r->images);
    sim_io_stop(r->sim->io);
    if (r->ranks) {
        ranks_load_stop(r->ranks);
        ranks_disconnect(r->ranks);
    }
    flush_outputs(r);
    terminal_destroy(r->terminal);
    r->terminal = NULL;
    if (!r->first)
        return;
    if (stdio_chardev(r))
        end_guest_line(r);
    progress_end(r->progress);
}

static void tear_down(struct run *r)
{
    if (r->timeout)
        sim_io_timer_destroy(r->timeout);
    control_destroy(r->control);
    if (r->ranks) {
        ranks_load_stop(r->ranks);
        ranks_disconnect(r->ranks);
    }
    sim_mutex_lock(&r->images_lock);
    struct images *images = r->images;
    r->images = NULL;
    sim_mutex_unlock(&r->images_lock);
    images_destroy(images);
    restore_close(r->restore);
    incoming_close(r->incoming);
    tools_detach(r->tools);
    if (r->machine)
        machine_destroy(r->machine);
    tools_destroy(r->tools);
    ranks_destroy(r->ranks);
    progress_destroy(r->progress); /* these two listen to the machine's outputs */
    expect_destroy(r->expect);
    signals_stop(r->signals); /* last, so that a second Ctrl-C ends whatever hangs above */
    sim_destroy(r->sim);
    world_fini(&r->world);
    sim_mutex_fini(&r->images_lock);
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
    if (!r->first)
        return why == SIM_END_TIMEOUT ? EXIT_CODE_TIMEOUT : why == SIM_END_RESET ? 0 : code;
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

/* The files of drives get what the guest wrote when the guest has ended. After an end from outside they stay as the images
 * need them. */
static void settle_drives(struct run *r, enum sim_end why, int code)
{
    bool guest_ended = why == SIM_END_POWEROFF || why == SIM_END_RESET;

    if (code == EXIT_CODE_MIGRATED || (guest_ended && run_memory_is_there(r) != SIM_OK))
        return;

    for (unsigned i = 0; i < r->config->nr_drives; i++) {
        struct blockdev *b = r->machine->block[i];
        if (!b || blockdev_overlay_fd(b) < 0) /* another rank's, or not frozen */
            continue;
        if (!guest_ended && code != EXIT_CODE_CHECKPOINTED)
            sim_warn("drive '%s' stays as it was when the first image was made; the last image has more",
                     blockdev_path(b));
        if (guest_ended && blockdev_commit(b) == SIM_OK)
            sim_info("drive '%s' has what the guest wrote; images made of this run are of no use any more",
                     blockdev_path(b));
    }
}

static void print_state_hash(struct run *r)
{
    struct machine_state state = {.guest_ns = sim_clock_now(&r->sim->clock),
                                  .carry_ps = r->sim->clock.carry_ps};

    if (run_memory_is_there(r) == SIM_OK)
        fprintf(stderr, "state hash: %016llx\n",
                (unsigned long long)machine_state_hash(r->machine, &state));
}

int run_machine(struct run *r)
{
    int code = EXIT_CODE_INTERNAL;

    world_init(&r->world);
    sim_mutex_init(&r->images_lock, SIM_RANK_LAUNCH);
    if (sim_create(&r->sim) != SIM_OK)
        return EXIT_CODE_INTERNAL;
    if (r->config->virtual_clock)
        sim_clock_init(&r->sim->clock, SIM_CLOCK_VIRTUAL);
    if (set_up_machine(r) != SIM_OK) {
        code = give_up(r, EXIT_CODE_USAGE);
        tear_down(r);
        return code;
    }
    if (r->peers && !r->peers->ready(r->peers->opaque, r, r->machine)) {
        code = give_up(r, EXIT_CODE_USAGE);
        tear_down(r);
        return code;
    }
    enum sim_end why = SIM_END_ERROR;
    if (start(r) == SIM_OK) {
        if (r->peers)
            r->peers->running(r->peers->opaque);
        why = wait_for_end(r, &code);
    } else /* a machine that did not come is no bug of this program */
        code = give_up(r, r->incoming ? EXIT_CODE_USAGE : code);
    stop(r);
    settle_drives(r, why, code);
    /* Who waits for the socket to go finds the disks as the guest left them; nor does it stand unanswered while others of a cluster run. */
    control_destroy(r->control);
    r->control = NULL;
    code = exit_code(r, why, code);
    if (r->config->state_hash)
        print_state_hash(r);
    if (r->config->stats && r->first)
        print_stats(r);
    if (r->config->stats && r->ranks)
        ranks_print_stats(r->ranks, stderr);
    if (r->peers)
        r->peers->stopped(r->peers->opaque, code);
    tear_down(r);
    return code;
}
