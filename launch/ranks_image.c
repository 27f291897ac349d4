/* Messages by which all ranks make an image together; the picture is in ranks_image.h. */
#include "ranks_image.h"

#include <string.h>

#include "ranks_priv.h"
#include "run.h"
#include "sim-core/alloc.h"

enum { IDLE_NS = 100 * 1000 * 1000, NAP_NS = 200 * 1000 };

struct report_message {
    uint32_t serial, step;
    struct ranks_image_report report;
};

struct end_message {
    uint32_t serial, good;
};

struct progress_message {
    uint32_t serial, reserved;
    struct ranks_image_progress progress;
};

struct told {
    bool yes;
    struct ranks_image_report report;
};

/* Owner: `lock`, but for ops, which change while nothing is handled or under it. */
struct ranks_image {
    struct sim_mutex lock;
    struct sim_cond changed;
    const struct ranks_image_ops *ops;
    void *opaque;
    uint32_t serial;                /* of the image being made; messages of others come late */
    uint32_t taken;                  /* the last one whose instant has come */
    struct ranks_image_order *early; /* came before anybody was attached */
    /* Leader. Reports of different steps come from different threads, so the last one may come first. */
    struct told *told; /* rank * STEPS + step */
    struct ranks_image_progress *progress; /* by rank */
};

static struct told *told_by(const struct ranks *r, uint32_t rank, enum ranks_image_step step)
{
    return &r->image->told[rank * RANKS_IMAGE_STEPS + step];
}

/* --- leader --- */

void ranks_image_prepare(struct ranks *r, struct ranks_image_order *order)
{
    struct ranks_image *im = r->image;
    uint32_t nr = r->sim->nr_ranks;

    sim_mutex_lock(&im->lock);
    order->serial = ++im->serial;
    memset(im->told, 0, (size_t)nr * RANKS_IMAGE_STEPS * sizeof im->told[0]);
    memset(im->progress, 0, nr * sizeof im->progress[0]);
    sim_mutex_unlock(&im->lock);
    ic_broadcast(r->ic, MSG_IMAGE_PREPARE, order,
                 (uint32_t)(offsetof(struct ranks_image_order, path) + strlen(order->path) + 1));
}

/* Have all told? *failed: the first that cannot go on, told or not. */
static bool all_told_locked(const struct ranks *r, enum ranks_image_step step, uint32_t *failed)
{
    bool all = true;

    *failed = 0;
    for (uint32_t i = 1; i < r->sim->nr_ranks; i++) {
        const struct told *t = told_by(r, i, step);
        all = all && t->yes;
        if (t->yes && !*failed && t->report.status != SIM_OK)
            *failed = i;
    }
    return all || *failed;
}

static void wait_locked(struct ranks *r, bool poll)
{
    struct ranks_image *im = r->image;

    if (!poll) {
        sim_cond_wait_until(&im->changed, &im->lock, sim_host_ns() + IDLE_NS);
        return;
    }
    sim_mutex_unlock(&im->lock);
    ranks_nap(r, NAP_NS);
    sim_mutex_lock(&im->lock);
}

/* After WRITTEN was ordered the image is made, whatever the guest does; before that there is no use in it. */
static bool is_in_vain(const struct ranks *r, enum ranks_image_step step)
{
    return ranks_failed(r) || (step == RANKS_IMAGE_TAKEN && sim_ending(r->sim));
}

enum sim_status ranks_image_await(struct ranks *r, enum ranks_image_step step, bool poll, void (*idle)(void *opaque),
                                  void *opaque)
{
    struct ranks_image *im = r->image;
    enum sim_status status = SIM_OK;
    uint32_t failed;

    sim_mutex_lock(&im->lock);
    while (!all_told_locked(r, step, &failed) && !is_in_vain(r, step)) {
        wait_locked(r, poll);
        if (!idle)
            continue;
        sim_mutex_unlock(&im->lock);
        idle(opaque);
        sim_mutex_lock(&im->lock);
    }
    if (failed)
        status = (enum sim_status)told_by(r, failed, step)->report.status;
    else if (!all_told_locked(r, step, &failed))
        status = SIM_ERR_IO;
    sim_mutex_unlock(&im->lock);
    if (failed)
        sim_error("checkpoint: %s cannot save its part: %s", ic_rank_name(r->ic, (rank_t)failed),
                  sim_status_text(status));
    return status;
}

void ranks_image_take(struct ranks *r)
{
    ic_broadcast(r->ic, MSG_IMAGE_TAKE, &r->image->serial, sizeof r->image->serial);
}

void ranks_image_end(struct ranks *r, bool good)
{
    const struct end_message m = {r->image->serial, good};

    ic_broadcast(r->ic, MSG_IMAGE_END, &m, sizeof m);
}

const struct ranks_image_report *ranks_image_report_of(const struct ranks *r, uint32_t rank)
{
    return &told_by(r, rank, RANKS_IMAGE_WRITTEN)->report;
}

void ranks_image_add_progress(struct ranks *r, struct ranks_image_progress *sum, uint32_t *slowest)
{
    struct ranks_image *im = r->image;

    sim_mutex_lock(&im->lock);
    for (uint32_t i = 1; i < r->sim->nr_ranks; i++) {
        const struct ranks_image_progress *p = &im->progress[i];
        sum->given += p->given;
        sum->stored += p->stored;
        if (p->percent >= sum->percent)
            continue;
        sum->percent = p->percent;
        *slowest = i;
    }
    sim_mutex_unlock(&im->lock);
}

static void on_report(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;
    struct report_message m;

    if (len != sizeof m || r->sim->rank != 0)
        return;
    memcpy(&m, data, sizeof m);
    sim_mutex_lock(&im->lock);
    if (m.serial == im->serial && m.step < RANKS_IMAGE_STEPS) {
        *told_by(r, (uint32_t)from, (enum ranks_image_step)m.step) = (struct told){true, m.report};
        sim_cond_broadcast(&im->changed);
    }
    sim_mutex_unlock(&im->lock);
}

static void on_progress(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;
    struct progress_message m;

    if (len != sizeof m || r->sim->rank != 0)
        return;
    memcpy(&m, data, sizeof m);
    sim_mutex_lock(&im->lock);
    if (m.serial == im->serial)
        im->progress[from] = m.progress;
    sim_mutex_unlock(&im->lock);
}

static void on_wanted(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;
    int32_t sig;

    (void)from;
    if (len != sizeof sig)
        return;
    memcpy(&sig, data, sizeof sig);
    if (im->ops && im->ops->wanted)
        im->ops->wanted(im->opaque, sig);
    else /* too early for images */
        sim_request_end(r->sim, SIM_END_USER, EXIT_CODE_SIGNAL + sig);
}

/* --- followers --- */

void ranks_image_report(struct ranks *r, uint32_t serial, enum ranks_image_step step, const struct ranks_image_report *report)
{
    const struct report_message m = {serial, step, *report};

    ic_send_small(r->ic, 0, MSG_IMAGE_REPORT, &m, sizeof m);
}

void ranks_image_tell_progress(struct ranks *r, const struct ranks_image_progress *p)
{
    const struct progress_message m = {.serial = r->image->serial, .progress = *p};

    ic_send_small(r->ic, 0, MSG_IMAGE_PROGRESS, &m, sizeof m);
}

void ranks_image_want(struct ranks *r, int sig)
{
    const int32_t wanted = sig;

    ic_send_small(r->ic, 0, MSG_IMAGE_WANTED, &wanted, sizeof wanted);
}

void ranks_image_attach(struct ranks *r, const struct ranks_image_ops *ops, void *opaque)
{
    struct ranks_image *im = r->image;

    sim_mutex_lock(&im->lock);
    im->ops = ops;
    im->opaque = opaque;
    struct ranks_image_order *early = im->early;
    im->early = NULL;
    sim_mutex_unlock(&im->lock);
    if (early && ops)
        ops->prepare(opaque, early);
    sim_free(early);
}

/* Keeps the order for whoever attaches later. */
static void on_prepare(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;
    const size_t head = offsetof(struct ranks_image_order, path);

    if (from != 0 || len <= head || len > sizeof(struct ranks_image_order) || ((const char *)data)[len - 1])
        return;
    struct ranks_image_order *order = sim_new(struct ranks_image_order);
    memcpy(order, data, len);
    sim_mutex_lock(&im->lock);
    im->serial = order->serial;
    const struct ranks_image_ops *ops = im->ops;
    if (!ops) {
        sim_free(im->early);
        im->early = order;
    }
    sim_mutex_unlock(&im->lock);
    if (!ops)
        return;
    ops->prepare(im->opaque, order);
    sim_free(order);
}

/* Not when the leader has given that image up meanwhile, and begun another one. */
static void take_here(void *opaque)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;
    struct ranks_image_report report = {.status = SIM_ERR_INVALID};

    sim_mutex_lock(&im->lock);
    uint32_t serial = im->taken;
    bool due = serial == im->serial && im->ops;
    sim_mutex_unlock(&im->lock);
    if (due)
        report.status = im->ops->take(im->opaque);
    ranks_image_report(r, serial, RANKS_IMAGE_TAKEN, &report);
}

static void on_take(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;

    if (from != 0 || len != sizeof im->taken)
        return;
    sim_mutex_lock(&im->lock);
    memcpy(&im->taken, data, sizeof im->taken);
    sim_mutex_unlock(&im->lock);
    sim_io_post(r->sim->io, take_here, r);
}

static void on_end(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ranks *r = opaque;
    struct ranks_image *im = r->image;
    struct end_message m;

    if (from != 0 || len != sizeof m)
        return;
    memcpy(&m, data, sizeof m);
    sim_mutex_lock(&im->lock);
    sim_free(im->early);
    im->early = NULL;
    const struct ranks_image_ops *ops = m.serial == im->serial ? im->ops : NULL;
    sim_mutex_unlock(&im->lock);
    if (ops)
        ops->end(im->opaque, m.good);
}

/* --- life --- */

void ranks_image_register(struct ranks *r)
{
    static const struct {
        enum message_type type;
        const char *name;
        ic_handler_fn *fn;
    } handlers[] = {
        {MSG_IMAGE_PREPARE, "image-prepare", on_prepare}, {MSG_IMAGE_TAKE, "image-take", on_take},
        {MSG_IMAGE_END, "image-end", on_end},             {MSG_IMAGE_REPORT, "image-report", on_report},
        {MSG_IMAGE_WANTED, "image-wanted", on_wanted},    {MSG_IMAGE_PROGRESS, "image-progress", on_progress},
    };
    size_t nr = (size_t)ic_nr_ranks(r->ic);
    struct ranks_image *im = sim_new(struct ranks_image);

    sim_mutex_init(&im->lock, SIM_RANK_LEAF);
    sim_cond_init(&im->changed);
    im->told = sim_new_array(struct told, nr * RANKS_IMAGE_STEPS);
    im->progress = sim_new_array(struct ranks_image_progress, nr);
    r->image = im;
    for (size_t i = 0; i < SIM_ARRAY_LEN(handlers); i++)
        ic_register(r->ic, handlers[i].type, handlers[i].name, handlers[i].fn, r);
}

void ranks_image_destroy(struct ranks *r)
{
    struct ranks_image *im = r->image;

    if (!im)
        return;
    sim_cond_fini(&im->changed);
    sim_mutex_fini(&im->lock);
    sim_free(im->early);
    sim_free(im->told);
    sim_free(im->progress);
    sim_free(im);
    r->image = NULL;
}
