/* A machine that comes through connections, from every rank of the source to every rank here. */
#include <string.h>

#include "incoming_priv.h"
#include "mem/dsm.h"
#include "ranks_migrate.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"

/* --- what breaks: one message of all ranks, by the first --- */

bool incoming_is_first(const struct incoming *in)
{
    return !in->ranks || in->m->sim->rank == 0;
}

static void say_once(struct incoming *in, const char *peer, const char *why)
{
    if (!atomic_exchange_explicit(&in->said, true, memory_order_relaxed))
        sim_error("migration: %s: %s", peer, why);
}

/* Any thread. */
void incoming_broken(void *opaque, const char *peer, const char *why)
{
    struct incoming *in = opaque;

    if (incoming_is_first(in))
        say_once(in, peer, why);
    else if (!sim_ending(in->m->sim))
        ranks_incoming_tell(in->ranks, peer, why);
}

/* Another rank's. A handler. */
static void other_has_broken(void *opaque, const char *peer, const char *why)
{
    say_once(opaque, peer, why);
}

enum sim_status incoming_senseless(struct incoming *in, const char *what)
{
    ckpt_stream_break(in->stream[0], what);
    return SIM_ERR_FORMAT;
}

bool incoming_are_lost(const struct incoming *in)
{
    return in->ranks && ranks_are_lost(in->ranks);
}

enum sim_status incoming_barrier(struct incoming *in)
{
    return in->ranks ? ranks_barrier(in->ranks) : SIM_OK;
}

/* --- loading --- */

static enum sim_status take_frame(struct incoming *in, unsigned i, bool *stopped)
{
    struct ckpt_frame f;

    SIM_TRY(ckpt_stream_receive(in->stream[i], &f));
    if (f.type == CKPT_FRAME_SECTION)
        return incoming_keep_section(in, &f);
    if (f.type != CKPT_FRAME_STOPPED)
        return ckpt_receiver_take(in->receiver, i, &f);
    if (f.len != sizeof in->guest_ns)
        return incoming_senseless(in, "a time that makes no sense");
    if (i == 0)
        memcpy(&in->guest_ns, f.payload, sizeof in->guest_ns);
    *stopped = true;
    return SIM_OK;
}

/* Until all ranks of the source have said that they stand still. */
static enum sim_status receive_until_stopped(struct incoming *in, bool *stopped)
{
    unsigned last = 0, left = in->nr_streams;

    while (left) {
        int i = ckpt_stream_poll(in->stream, in->nr_streams, last, INCOMING_LOOK_MS);
        if (incoming_are_lost(in))
            return SIM_ERR_IO;
        if (i < 0)
            continue;
        last = (unsigned)i;
        bool before = stopped[last];
        SIM_TRY(take_frame(in, last, &stopped[last]));
        if (before)
            return incoming_senseless(in, "a frame comes after STOPPED");
        left -= stopped[last];
    }
    return SIM_OK;
}

static enum sim_status receive_guest(struct incoming *in)
{
    bool *stopped = sim_new_array(bool, in->nr_streams);
    enum sim_status status = receive_until_stopped(in, stopped);

    sim_free(stopped);
    return status;
}

/* Each rank its harts, then the first its devices: what those tell harts elsewhere comes after what was said of them. */
static enum sim_status load_over_ranks(struct incoming *in, const struct machine_objects *o,
                                       const struct section_source *source)
{
    SIM_TRY(incoming_barrier(in)); /* all have their guards */
    SIM_TRY(machine_objects_load_harts(o, source));
    SIM_TRY(incoming_barrier(in));
    if (incoming_is_first(in))
        SIM_TRY(machine_objects_load_devices(o, source));
    if (in->m->cpus)
        rv_machine_tell_states(in->m->cpus);
    return incoming_barrier(in);
}

static enum sim_status load_states(struct incoming *in)
{
    struct sim_clock *clock = &in->m->sim->clock;
    char *label = sim_asprintf("the machine from %s", in->uri);
    const struct section_source source = {
        .label = label, .find = incoming_find_section, .name = incoming_section_name, .opaque = in};
    struct machine_objects o;

    /* The clock first: devices arm their timers by it. */
    sim_clock_stop(clock);
    sim_clock_set(clock, in->guest_ns);
    machine_objects_list(in->m, incoming_is_first(in) ? &in->state : NULL, &o);
    enum sim_status status =
        in->ranks ? load_over_ranks(in, &o, &source) : machine_objects_load(&o, &source);
    if (status == SIM_OK && !in->ranks)
        machine_clock_stop(in->m); /* on several ranks they are set when all go */
    machine_objects_fini(&o);
    sim_free(label);
    clock->carry_ps = in->state.carry_ps;
    return status;
}

/* The files of drives are those of the source, as they were when it stood still. */
static enum sim_status check_drives(const struct incoming *in)
{
    for (unsigned i = 0; incoming_is_first(in) && i < in->m->config->nr_drives; i++)
        SIM_TRY(drive_state_check(&in->state.drive[i], in->m->block[i], "the machine stopped at its source"));
    return SIM_OK;
}

enum sim_status incoming_load(struct incoming *in, struct machine *m, struct ranks *ranks, void (*failed)(void *opaque),
                              void *opaque)
{
    in->m = m;
    in->ranks = ranks;
    in->failed = failed;
    in->opaque = opaque;
    if (ranks)
        ranks_incoming_attach(ranks, other_has_broken, in);
    SIM_TRY(incoming_join(in));
    SIM_TRY(receive_guest(in));
    /* Memory on demand first: devices look at their rings when they are loaded. */
    SIM_TRY(ckpt_receiver_serve(in->receiver));
    SIM_TRY(load_states(in));
    return check_drives(in);
}

uint32_t incoming_cursor(const struct incoming *in)
{
    return in->state.cursor;
}

static enum sim_status await_go(struct incoming *in)
{
    enum sim_status status;

    do {
        status = ckpt_receiver_await_go(in->receiver, INCOMING_LOOK_MS);
    } while (status == SIM_INPROGRESS && !incoming_are_lost(in));
    return status == SIM_INPROGRESS ? SIM_ERR_IO : status;
}

static enum sim_status start_clocks(struct incoming *in)
{
    if (in->ranks)
        return ranks_start_clocks(in->ranks);
    sim_clock_go(&in->m->sim->clock);
    machine_clock_go(in->m);
    return SIM_OK;
}

enum sim_status incoming_go(struct incoming *in)
{
    if (incoming_is_first(in))
        SIM_TRY(ckpt_stream_send(in->stream[0], &(struct ckpt_frame){.type = CKPT_FRAME_LOADED}));
    SIM_TRY(await_go(in));
    SIM_TRY(incoming_barrier(in)); /* nobody runs unless all have been told to */
    in->ours = true;
    SIM_TRY(start_clocks(in));
    sim_timers_shifted(in->m->sim);
    return SIM_OK;
}

void incoming_started(struct incoming *in)
{
    /* A connection that fails is the receiver's to report. */
    if (incoming_is_first(in) &&
        ckpt_stream_send(in->stream[0], &(struct ckpt_frame){.type = CKPT_FRAME_STARTED}) != SIM_OK)
        return;
}

enum sim_status incoming_finish(struct incoming *in)
{
    return ckpt_receiver_finish(in->receiver);
}

static void close_streams(struct incoming *in)
{
    for (unsigned i = 0; i < in->nr_streams; i++)
        if (in->stream[i] && !in->ours)
            ckpt_stream_refuse(in->stream[i], "the target cannot take the machine; its own messages say why");
    ckpt_receiver_destroy(in->receiver);
    for (unsigned i = 0; i < in->nr_streams; i++)
        ckpt_stream_destroy(in->stream[i]);
    sim_free(in->stream);
}

void incoming_close(struct incoming *in)
{
    if (!in)
        return;
    if (in->ranks)
        ranks_incoming_attach(in->ranks, NULL, NULL);
    visitors_close(in->visitors);
    close_streams(in);
    incoming_forget_sections(in);
    sim_free(in->section);
    sim_free(in->range);
    sim_free(in->uri);
    sim_free(in);
}
