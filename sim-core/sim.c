/* One simulation: its vCPUs, its end. */
#include "sim-core/sim.h"

#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/timer.h"
#include "sim-core/vcpu.h"

enum sim_status sim_create(struct sim **out)
{
    struct sim *sim = sim_new(struct sim);
    enum sim_status status = sim_io_create(&sim->io);

    if (status != SIM_OK) {
        sim_free(sim);
        return status;
    }
    sim->turn = sim_zalloc_aligned(64, SIM_MAX_TURNS * sizeof(sim->turn[0]));
    sim->timers = sim_timers_create();
    sim_clock_init(&sim->clock, SIM_CLOCK_HOST);
    sim_mutex_init(&sim->exclusive_lock, SIM_RANK_EXCLUSIVE);
    sim_mutex_init(&sim->end_lock, SIM_RANK_LEAF);
    sim_cond_init(&sim->end_cond);
    *out = sim;
    return SIM_OK;
}

void sim_destroy(struct sim *sim)
{
    if (!sim)
        return;
    sim_io_destroy(sim->io);
    sim_timers_destroy(sim->timers);
    sim_cond_fini(&sim->end_cond);
    sim_mutex_fini(&sim->end_lock);
    sim_mutex_fini(&sim->exclusive_lock);
    sim_free(sim->turn);
    sim_free(sim->vcpus);
    sim_free(sim);
}

void sim_add_vcpu(struct sim *sim, struct vcpu *vcpu)
{
    /* Grows by doubling; the count's lowest set bit pattern tells when. */
    if ((sim->nr_vcpus & (sim->nr_vcpus - 1)) == 0) {
        size_t cap = sim->nr_vcpus ? (size_t)sim->nr_vcpus * 2 : 1;
        sim->vcpus = sim_realloc(sim->vcpus, cap * sizeof(sim->vcpus[0]));
    }
    vcpu->sim = sim;
    vcpu->index = sim->nr_vcpus;
    sim->vcpus[sim->nr_vcpus++] = vcpu;
}

void sim_request_end(struct sim *sim, enum sim_end why, int code)
{
    bool first = false;

    sim_mutex_lock(&sim->end_lock);
    if (atomic_load_explicit(&sim->end, memory_order_relaxed) == SIM_END_NONE) {
        sim->end_code = code;
        atomic_store_explicit(&sim->end, why, memory_order_release);
        sim_cond_broadcast(&sim->end_cond);
        first = true;
    }
    sim_mutex_unlock(&sim->end_lock);
    for (uint32_t i = 0; first && i < sim->nr_vcpus; i++)
        vcpu_kick(sim->vcpus[i]);
}

enum sim_end sim_wait_end(struct sim *sim, int *code)
{
    sim_mutex_lock(&sim->end_lock);
    while (!sim_ending(sim))
        sim_cond_wait(&sim->end_cond, &sim->end_lock);
    enum sim_end why = (enum sim_end)atomic_load_explicit(&sim->end, memory_order_relaxed);
    *code = sim->end_code;
    sim_mutex_unlock(&sim->end_lock);
    return why;
}

void sim_clear_end(struct sim *sim)
{
    sim_mutex_lock(&sim->end_lock);
    atomic_store_explicit(&sim->end, SIM_END_NONE, memory_order_release);
    sim->end_code = 0;
    sim_mutex_unlock(&sim->end_lock);
}
