/* Pausing whatever executors there are. */
#include "world.h"

void world_init(struct world *w)
{
    *w = (struct world){0};
    sim_mutex_init(&w->lock, SIM_RANK_LAUNCH);
    sim_cond_init(&w->changed);
    sim_mutex_init(&w->group_lock, SIM_RANK_WORLD);
}

void world_fini(struct world *w)
{
    sim_mutex_fini(&w->group_lock);
    sim_cond_fini(&w->changed);
    sim_mutex_fini(&w->lock);
}

static void pause_locked(struct world *w)
{
    if (w->paused++ == 0 && w->group)
        executor_group_pause(w->group);
}

void world_pause(struct world *w)
{
    sim_mutex_lock(&w->lock);
    while (w->changing)
        sim_cond_wait(&w->changed, &w->lock);
    pause_locked(w);
    sim_mutex_unlock(&w->lock);
}

bool world_try_pause(struct world *w)
{
    sim_mutex_lock(&w->lock);
    bool can = !w->changing;
    if (can)
        pause_locked(w);
    sim_mutex_unlock(&w->lock);
    return can;
}

void world_resume(struct world *w)
{
    sim_mutex_lock(&w->lock);
    if (--w->paused == 0 && w->group)
        executor_group_resume(w->group);
    sim_cond_broadcast(&w->changed);
    sim_mutex_unlock(&w->lock);
}

bool world_is_paused(struct world *w)
{
    sim_mutex_lock(&w->lock);
    bool paused = w->paused != 0;
    sim_mutex_unlock(&w->lock);
    return paused;
}

uint32_t world_cursor(struct world *w)
{
    sim_mutex_lock(&w->lock);
    uint32_t cursor = w->group ? executor_group_cursor(w->group) : 0;
    sim_mutex_unlock(&w->lock);
    return cursor;
}

void world_add(struct world *w, struct vcpu *v)
{
    sim_mutex_lock(&w->group_lock);
    if (w->group)
        executor_group_add(w->group, v);
    sim_mutex_unlock(&w->group_lock);
}

void world_remove(struct world *w, struct vcpu *v)
{
    sim_mutex_lock(&w->group_lock);
    if (w->group)
        executor_group_remove(w->group, v);
    sim_mutex_unlock(&w->group_lock);
}

void world_set_works(struct world *w, const bool *works)
{
    sim_mutex_lock(&w->group_lock);
    if (w->group)
        executor_group_set_works(w->group, works);
    sim_mutex_unlock(&w->group_lock);
}

static uint64_t spare_turns_locked(const struct world *w)
{
    return w->spare_turns + (w->group ? executor_group_spare_turns(w->group) : 0);
}

uint64_t world_spare_turns(struct world *w)
{
    sim_mutex_lock(&w->group_lock);
    uint64_t turns = spare_turns_locked(w);
    sim_mutex_unlock(&w->group_lock);
    return turns;
}

static void set_group_locked(struct world *w, struct executor_group *group)
{
    w->spare_turns = spare_turns_locked(w);
    w->group = group;
}

enum sim_status world_create_executors(struct world *w, struct sim *sim, const struct executor_config *config,
                                       struct executor_group **out)
{
    sim_mutex_lock(&w->lock);
    sim_mutex_lock(&w->group_lock);
    enum sim_status status = executor_group_create(sim, config, out);
    if (status == SIM_OK)
        set_group_locked(w, *out);
    sim_mutex_unlock(&w->group_lock);
    if (status == SIM_OK && w->paused)
        executor_group_pause(*out);
    sim_mutex_unlock(&w->lock);
    return status;
}

void world_detach(struct world *w)
{
    sim_mutex_lock(&w->lock);
    if (w->group && w->paused)
        executor_group_resume(w->group); /* they find that the simulation ends */
    sim_mutex_lock(&w->group_lock);
    set_group_locked(w, NULL);
    sim_mutex_unlock(&w->group_lock);
    sim_mutex_unlock(&w->lock);
}

void world_begin_change(struct world *w)
{
    sim_mutex_lock(&w->lock);
    while (w->paused)
        sim_cond_wait(&w->changed, &w->lock);
    w->changing = true;
    sim_mutex_unlock(&w->lock);
}

void world_end_change(struct world *w)
{
    sim_mutex_lock(&w->lock);
    w->changing = false;
    sim_cond_broadcast(&w->changed);
    sim_mutex_unlock(&w->lock);
}
