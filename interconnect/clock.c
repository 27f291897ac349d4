/* How far the hosts' clocks are apart: every rank on another host than rank 0's asks rank 0 for the time some
 * times and believes the fastest answer.
 *
 *   t0 --ask--> rank 0 reads t1 --tell--> t2      offset = t1 - (t0 + t2) / 2, wrong by at most (t2 - t0) / 2 */
#include "core_priv.h"

enum { ROUND_TRIPS = 16 };

struct clock_message {
    uint64_t rank0_ns;
};

static void on_ask(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct clock_message m = {.rank0_ns = sim_host_ns()};

    (void)data, (void)len;
    ic_send_small(opaque, from, IC_CONTROL_CLOCK_TELL, &m, sizeof m);
}

static void on_tell(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;
    const struct clock_message *m = data;

    (void)from;
    if (len == sizeof *m)
        atomic_store_explicit(&ic->clock_answer, m->rank0_ns, memory_order_release);
}

static bool answered(struct ic *ic)
{
    return atomic_load_explicit(&ic->clock_answer, memory_order_acquire) != 0;
}

static enum sim_status ask(struct ic *ic)
{
    uint64_t t0 = sim_host_ns();

    atomic_store_explicit(&ic->clock_answer, 0, memory_order_relaxed);
    ic_send_small(ic, 0, IC_CONTROL_CLOCK_ASK, NULL, 0);
    SIM_TRY(ic_wait(ic, answered, UINT64_MAX));
    uint64_t t1 = atomic_load_explicit(&ic->clock_answer, memory_order_relaxed);
    uint64_t half = (sim_host_ns() - t0) / 2;
    if (half < ic->clock_error_ns) {
        ic->clock_error_ns = half;
        ic->clock_offset_ns = (int64_t)(t1 - (t0 + half));
    }
    return SIM_OK;
}

static bool one_host(const struct ic *ic)
{
    for (rank_t r = 1; r < ic->nr; r++)
        if (!ic_same_host(ic, 0, r))
            return false;
    return true;
}

enum sim_status ic_clock_compare(struct ic *ic)
{
    if (one_host(ic))
        return SIM_OK;
    if (!ic_same_host(ic, 0, ic->rank)) {
        ic->clock_error_ns = UINT64_MAX;
        for (unsigned i = 0; i < ROUND_TRIPS; i++)
            SIM_TRY(ask(ic));
    }
    return ic_barrier(ic); /* until then rank 0 polls, and answers */
}

int64_t ic_clock_offset_ns(const struct ic *ic, uint64_t *error_ns)
{
    if (error_ns)
        *error_ns = ic->clock_error_ns;
    return ic->clock_offset_ns;
}

void ic_clock_init(struct ic *ic)
{
    ic_register(ic, IC_CONTROL_CLOCK_ASK, "clock-ask", on_ask, ic);
    ic_register(ic, IC_CONTROL_CLOCK_TELL, "clock-tell", on_tell, ic);
}
