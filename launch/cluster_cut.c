/* Images of a cluster: all machines at one cut.
 *
 *   signal -> each machine's checkpoint begins -> each stands, at rest, on its I/O thread -> the last one of them takes what is
 *   under way between them -> each saves itself and goes on, as a machine alone does -> all are written: the file that says so
 *
 * So a frame is in exactly one place: in the sender's memory, in the file, or in the receiver's memory. When a machine cannot be
 * saved there is no image of the cluster, and all go on. */
#include <signal.h>
#include <string.h>

#include "checkpoint.h"
#include "cluster_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* --- the cut --- */

/* All stand. */
static void take_frames_locked(struct cluster *c)
{
    for (unsigned i = 0; i < c->nr; i++) {
        const struct member *m = &c->m[i];
        for (unsigned k = 0; m->in_cut && k < m->config.nr_nets; k++)
            if (m->machine->net[k] && netdev_segment_name(m->machine->net[k]))
                cluster_image_add_net(&c->cut.image, m->name, k, m->machine->net[k]);
    }
}

enum sim_status cluster_cut_at_rest(struct member *m)
{
    struct cluster *c = m->c;
    struct cluster_cut *cut = &c->cut;

    sim_mutex_lock(&c->lock);
    if (++cut->nr_at_rest == cut->nr && !cut->failed)
        take_frames_locked(c);
    sim_cond_broadcast(&c->changed);
    while (!cut->failed && cut->nr_at_rest < cut->nr)
        sim_cond_wait(&c->changed, &c->lock);
    bool good = !cut->failed;
    sim_mutex_unlock(&c->lock);
    return good ? SIM_OK : SIM_ERR_BUSY;
}

/* --- after it --- */

static enum sim_status write_file(struct cluster *c)
{
    char *path;

    for (unsigned i = 0; i < c->nr; i++)
        if (!c->m[i].in_cut)
            SIM_TRY(cluster_image_add_machine(&c->cut.image, c->m[i].name, NULL));
    SIM_TRY(cluster_image_write(&c->cut.image, c->dir, &path));
    sim_info("cluster: image '%s' of %u machine%s", path, c->cut.nr, c->cut.nr == 1 ? "" : "s");
    sim_free(path);
    return SIM_OK;
}

/* All machines are through; they run, unless they were asked to stop. */
static void finish(struct cluster *c)
{
    bool good = !c->cut.failed && write_file(c) == SIM_OK;

    if (!good)
        sim_error("cluster: no image was made");
    else if (c->keep && cluster_image_prune(c->dir, c->keep) != SIM_OK)
        sim_warn("cluster: older images stay behind in '%s'", c->dir);
    cluster_image_fini(&c->cut.image);
    sim_mutex_lock(&c->lock);
    c->cut.active = false;
    if (c->cut.stop)
        cluster_end_locked(c, NULL, good ? EXIT_CODE_CHECKPOINTED : EXIT_CODE_SIGNAL + SIGTERM);
    sim_cond_broadcast(&c->changed);
    sim_mutex_unlock(&c->lock);
}

/* `path` is the image of m; NULL: there is none. */
static void member_is_through(struct member *m, const char *path)
{
    struct cluster *c = m->c;

    sim_mutex_lock(&c->lock);
    if (!path || cluster_image_add_machine(&c->cut.image, m->name, path) != SIM_OK)
        c->cut.failed = true;
    bool last = ++c->cut.nr_over == c->cut.nr;
    sim_cond_broadcast(&c->changed);
    sim_mutex_unlock(&c->lock);
    if (last)
        finish(c);
}

static void on_done(void *opaque, const struct checkpoint_result *result)
{
    member_is_through(opaque, result->status == SIM_OK ? result->path : NULL);
}

/* --- beginning --- */

static void ask(struct member *m)
{
    struct cluster *c = m->c;
    char *dir = sim_asprintf("%s/%s", c->dir, m->name);
    const struct checkpoint_request request = {
        .dir = dir, .incremental = c->incremental, .stop = c->cut.stop, .done = on_done, .opaque = m};

    if (run_peer_checkpoint(m->run, &request) != SIM_OK) {
        sim_warn("machine '%s' is about to end: it cannot be saved", m->name);
        member_is_through(m, NULL);
    }
    sim_free(dir);
}

static bool all_have_begun_locked(const struct cluster *c)
{
    for (unsigned i = 0; i < c->nr; i++)
        if (c->m[i].state < RUNNING)
            return false;
    return true;
}

/* Its file may be there already: who sees that may want the next one. */
static bool is_nearly_over(const struct cluster_cut *cut)
{
    return cut->active && cut->nr_over == cut->nr;
}

/* Who has a part in it; false: nothing is to be done now. */
static bool begin_locked(struct cluster *c, bool stop)
{
    while (!c->ending && (!all_have_begun_locked(c) || is_nearly_over(&c->cut)))
        sim_cond_wait(&c->changed, &c->lock);
    if (c->ending)
        return false;
    if (c->cut.active) {
        c->cut.stop |= stop; /* its end, then */
        if (!stop)
            sim_warn("cluster: the last image is still being made; this one is left out");
        return false;
    }
    c->cut = (struct cluster_cut){.active = true, .starting = true, .stop = stop};
    for (unsigned i = 0; i < c->nr; i++) {
        c->m[i].in_cut = c->m[i].state == RUNNING;
        c->cut.nr += c->m[i].in_cut;
    }
    if (!c->cut.nr) {
        c->cut = (struct cluster_cut){0};
        return false;
    }
    cluster_image_begin(&c->cut.image);
    return true;
}

void cluster_cut_start(struct cluster *c, bool stop)
{
    sim_mutex_lock(&c->lock);
    bool go = begin_locked(c, stop);
    sim_mutex_unlock(&c->lock);
    for (unsigned i = 0; go && i < c->nr; i++)
        if (c->m[i].in_cut)
            ask(&c->m[i]);
    sim_mutex_lock(&c->lock);
    if (go)
        c->cut.starting = false;
    sim_cond_broadcast(&c->changed);
    sim_mutex_unlock(&c->lock);
}

void cluster_cut_leave_locked(struct cluster *c)
{
    while (c->cut.starting)
        sim_cond_wait(&c->changed, &c->lock);
}
