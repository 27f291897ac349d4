/* Messages by which all ranks of a machine leave together; the picture is in ranks_migrate.h. */
#include "ranks_migrate.h"

#include <stdio.h>
#include <string.h>

#include "ranks_priv.h"
#include "sim-core/alloc.h"

enum { LOOK_NS = 50 * 1000 * 1000, NAP_NS = 200 * 1000 };

struct order_message {
    uint32_t serial, step;
    uint64_t argument;
};

struct report_message {
    uint32_t serial, reserved;
    struct ranks_migrate_report report;
};

struct end_message {
    uint32_t serial, good;
};

struct broken_message {
    char peer[128], why[256];
};

/* Owner: `lock`. */
struct ranks_migrate {
    struct sim_mutex lock;
    struct sim_cond changed;
    const struct ranks_migrate_ops *ops; /* follower */
    void *opaque;
    ranks_incoming_fn *broke; /* target's first rank */
    void *broke_opaque;
    uint32_t serial;  /* of the last order; reports of others come late. Follower: of the order being carried out */
    bool *told;       /* leader, by rank: done with it */
    struct ranks_migrate_report *report;
};

/* --- leader --- */

enum sim_status ranks_migrate_begin(struct ranks *r, const struct migrate_target *target)
{
    for (uint32_t i = 0; i < target->nr_ranks; i++) {
        uint32_t len;
        void *place = migrate_target_encode(target, i, &len);
        if (len <= IC_MESSAGE_MAX)
            ic_broadcast(r->ic, MSG_MIGRATE_PLACE, place, len);
        sim_free(place);
        if (len > IC_MESSAGE_MAX) {
            sim_error("migration: rank %u of the target has too many pieces of memory", i);
            return SIM_ERR_UNSUPPORTED;
        }
    }
    sim_mutex_lock(&r->migrate->lock);
    memset(r->migrate->report, 0, r->sim->nr_ranks * sizeof r->migrate->report[0]);
    sim_mutex_unlock(&r->migrate->lock);
    return SIM_OK;
}

void ranks_migrate_order(struct ranks *r, enum ranks_migrate_step step, uint64_t argument)
{
    struct ranks_migrate *m = r->migrate;

    sim_mutex_lock(&m->lock);
    const struct order_message order = {++m->serial, step, argument};
    memset(m->told, 0, r->sim->nr_ranks * sizeof m->told[0]);
    sim_mutex_unlock(&m->lock);
    ic_broadcast(r->ic, MSG_MIGRATE_ORDER, &order, sizeof order);
}

/* *failed: the first that cannot go on; then the others are waited for if `every`. */
static bool all_told_locked(const struct ranks *r, bool every, uint32_t *failed)
{
    bool all = true;

    *failed = 0;
    for (uint32_t i = 1; i < r->sim->nr_ranks; i++) {
        all = all && r->migrate->told[i];
        if (r->migrate->told[i] && !*failed && r->migrate->report[i].status != SIM_OK)
            *failed = i;
    }
    return all || (*failed && !every);
}

static void wait_locked(struct ranks *r, bool poll)
{
    struct ranks_migrate *m = r->migrate;

    if (!poll) {
        sim_cond_wait_until(&m->changed, &m->lock, sim_host_ns() + LOOK_NS);
        return;
    }
    sim_mutex_unlock(&m->lock);
    ranks_nap(r, NAP_NS);
    sim_mutex_lock(&m->lock);
}

enum sim_status ranks_migrate_await(struct ranks *r, bool poll, bool (*give_up)(void *opaque), void *opaque)
{
    struct ranks_migrate *m = r->migrate;
    enum sim_status status = SIM_OK;
    uint32_t failed;

    sim_mutex_lock(&m->lock);
    while (!all_told_locked(r, poll, &failed) && status == SIM_OK) {
        wait_locked(r, poll);
        if (ranks_failed(r) || (give_up && give_up(opaque)))
            status = SIM_ERR_IO;
    }
    if (failed)
        status = (enum sim_status)m->report[failed].status;
    sim_mutex_unlock(&m->lock);
    if (failed && status != SIM_ERR_BUSY)
        sim_error("migration: %s cannot go on with it: %s", ic_rank_name(r->ic, (rank_t)failed),
                  sim_status_text(status));
    return status;
}

void ranks_migrate_sum(struct ranks *r, struct migrate_share_stats *out)
{
    struct ranks_migrate *m = r->migrate;

    *out = (struct migrate_share_stats){0};
    sim_mutex_lock(&m->lock);
    for (uint32_t i = 1; i < r->sim->nr_ranks; i++) {
        const struct migrate_share_stats *s = &m->report[i].stats;
        out->blocks += s->blocks;
        out->zeros += s->zeros;
        out->bytes += s->bytes;
        out->pending += s->pending;
    }
    sim_mutex_unlock(&m->lock);
}

void ranks_migrate_end(struct ranks *r, bool good)
{
    const struct end_message m = {r->migrate->serial, good};

    ic_broadcast(r->ic, MSG_MIGRATE_END, &m, sizeof m);
}

static void on_report(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_migrate *m = r->migrate;
    struct report_message told;

    if (len != sizeof told || r->sim->rank != 0)
        return;
    memcpy(&told, data, sizeof told);
    sim_mutex_lock(&m->lock);
    if (told.serial == m->serial) {
        m->report[from] = told.report;
        m->told[from] = true;
        sim_cond_broadcast(&m->changed);
    }
    sim_mutex_unlock(&m->lock);
}

/* --- followers --- */

void ranks_migrate_attach(struct ranks *r, const struct ranks_migrate_ops *ops, void *opaque)
{
    struct ranks_migrate *m = r->migrate;

    sim_mutex_lock(&m->lock);
    m->ops = ops;
    m->opaque = opaque;
    sim_mutex_unlock(&m->lock);
}

static const struct ranks_migrate_ops *ops_of(struct ranks_migrate *m, void **opaque)
{
    sim_mutex_lock(&m->lock);
    const struct ranks_migrate_ops *ops = m->ops;
    *opaque = m->opaque;
    sim_mutex_unlock(&m->lock);
    return ops;
}

void ranks_migrate_report(struct ranks *r, const struct ranks_migrate_report *report)
{
    sim_mutex_lock(&r->migrate->lock);
    const struct report_message m = {.serial = r->migrate->serial, .report = *report};
    sim_mutex_unlock(&r->migrate->lock);
    ic_send_small(r->ic, 0, MSG_MIGRATE_REPORT, &m, sizeof m);
}

static void on_place(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    const struct ranks_migrate_ops *ops = ops_of(r->migrate, &opaque);

    if (from == 0 && ops)
        ops->place(opaque, data, len);
}

static void on_order(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    const struct ranks_migrate_ops *ops = ops_of(r->migrate, &opaque);
    const struct ranks_migrate_report busy = {.status = SIM_ERR_BUSY};
    struct order_message m;

    if (from != 0 || len != sizeof m)
        return;
    memcpy(&m, data, sizeof m);
    sim_mutex_lock(&r->migrate->lock);
    r->migrate->serial = m.serial;
    sim_mutex_unlock(&r->migrate->lock);
    if (ops)
        ops->order(opaque, (enum ranks_migrate_step)m.step, m.argument);
    else /* too early */
        ranks_migrate_report(r, &busy);
}

static void on_end(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    const struct ranks_migrate_ops *ops = ops_of(r->migrate, &opaque);
    struct end_message m;

    if (from != 0 || len != sizeof m || !ops)
        return;
    memcpy(&m, data, sizeof m);
    ops->end(opaque, m.good);
}

/* --- target --- */

void ranks_incoming_attach(struct ranks *r, ranks_incoming_fn *broke, void *opaque)
{
    struct ranks_migrate *m = r->migrate;

    sim_mutex_lock(&m->lock);
    m->broke = broke;
    m->broke_opaque = opaque;
    sim_mutex_unlock(&m->lock);
}

void ranks_incoming_tell(struct ranks *r, const char *peer, const char *why)
{
    struct broken_message m = {0};

    snprintf(m.peer, sizeof m.peer, "%s: rank %u", peer, r->sim->rank);
    snprintf(m.why, sizeof m.why, "%s", why);
    ic_send(r->ic, 0, MSG_MIGRATE_BROKEN, &m, sizeof m, NULL, 0);
}

static void on_broken(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct broken_message m;

    (void)from;
    if (len != sizeof m || r->sim->rank != 0)
        return;
    memcpy(&m, data, sizeof m);
    m.peer[sizeof m.peer - 1] = m.why[sizeof m.why - 1] = 0;
    sim_mutex_lock(&r->migrate->lock);
    ranks_incoming_fn *broke = r->migrate->broke;
    opaque = r->migrate->broke_opaque;
    sim_mutex_unlock(&r->migrate->lock);
    if (broke)
        broke(opaque, m.peer, m.why);
}

/* --- life --- */

void ranks_migrate_register(struct ranks *r)
{
    static const struct {
        enum message_type type;
        const char *name;
        ic_handler_fn *fn;
    } handlers[] = {
        {MSG_MIGRATE_PLACE, "migrate-place", on_place},
        {MSG_MIGRATE_ORDER, "migrate-order", on_order},
        {MSG_MIGRATE_REPORT, "migrate-report", on_report},
        {MSG_MIGRATE_END, "migrate-end", on_end},
        {MSG_MIGRATE_BROKEN, "migrate-broken", on_broken},
    };
    size_t nr = (size_t)ic_nr_ranks(r->ic);
    struct ranks_migrate *m = sim_new(struct ranks_migrate);

    sim_mutex_init(&m->lock, SIM_RANK_LEAF);
    sim_cond_init(&m->changed);
    m->told = sim_new_array(bool, nr);
    m->report = sim_new_array(struct ranks_migrate_report, nr);
    r->migrate = m;
    for (size_t i = 0; i < SIM_ARRAY_LEN(handlers); i++)
        ic_register(r->ic, handlers[i].type, handlers[i].name, handlers[i].fn, r);
}

void ranks_migrate_destroy(struct ranks *r)
{
    struct ranks_migrate *m = r->migrate;

    if (!m)
        return;
    sim_cond_fini(&m->changed);
    sim_mutex_fini(&m->lock);
    sim_free(m->told);
    sim_free(m->report);
    sim_free(m);
    r->migrate = NULL;
}
