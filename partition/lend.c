/* Lending cores: what cannot stay lent comes back, then what is left over goes round. */
#include "partition/lend.h"

#include "sim-core/alloc.h"

enum {
    IDLE_PERCENT = 20,      /* of one core: what harts that have next to nothing to do may use */
    IDLE_KEPT_PERCENT = 40, /* the same while a core is lent */
    BUSY_PERCENT = 60,      /* of its own cores: it could use another */
    BUSY_KEPT_PERCENT = 30  /* the same while it has another */
};

struct lender {
    const struct part_plan *plan;
    const struct part_load *load;
    uint32_t *user;
    uint32_t *lent, *borrowed; /* by rank: cores */
};

static uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Cores that a rank could do without. */
static uint32_t left_over(const struct lender *l, uint32_t rank, uint32_t idle_percent)
{
    const struct part_load *load = &l->load[rank];
    uint32_t has = l->plan->rank[rank].nr_executors;

    if (load->core_percent <= idle_percent)
        return has;
    return has - min(has, min(load->harts, (2 * load->core_percent + 99) / 100));
}

/* Cores of others that it could use. */
static uint32_t wanted(const struct lender *l, uint32_t rank, uint32_t busy_percent)
{
    const struct part_load *load = &l->load[rank];
    const struct part_rank *r = &l->plan->rank[rank];

    if (load->core_percent < busy_percent * r->nr_executors || load->harts <= r->nr_executors)
        return 0;
    return min(load->harts - r->nr_executors, r->nr_spares);
}

static void count_loans(const struct lender *l)
{
    const struct part_plan *plan = l->plan;

    for (uint32_t owner = 0; owner < plan->nr_ranks; owner++)
        for (uint32_t i = 0; i < plan->rank[owner].nr_executors; i++) {
            uint32_t user = l->user[plan->rank[owner].first_executor + i];
            l->lent[owner] += user != owner;
            l->borrowed[user] += user != owner;
        }
}

static void take_back_from(const struct lender *l, uint32_t owner)
{
    const struct part_rank *r = &l->plan->rank[owner];

    for (uint32_t i = 0; i < r->nr_executors; i++) {
        uint32_t *user = &l->user[r->first_executor + i];
        if (*user == owner || (l->lent[owner] <= left_over(l, owner, IDLE_KEPT_PERCENT) &&
                               l->borrowed[*user] <= wanted(l, *user, BUSY_KEPT_PERCENT)))
            continue;
        l->lent[owner]--;
        l->borrowed[*user]--;
        *user = owner;
    }
}

static uint32_t owner_of(const struct part_plan *plan, uint32_t executor)
{
    uint32_t low = 0, high = plan->nr_ranks;

    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (plan->rank[mid].first_executor <= executor)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* One more core for a rank, if it wants one and there is one. */
static bool borrow(const struct lender *l, uint32_t rank)
{
    const struct part_rank *r = &l->plan->rank[rank];

    /* Who lends does not borrow. */
    if (l->lent[rank] ||
        l->borrowed[rank] >= wanted(l, rank, l->borrowed[rank] ? BUSY_KEPT_PERCENT : BUSY_PERCENT))
        return false;
    for (uint32_t i = 0; i < r->nr_spares; i++) {
        uint32_t executor = l->plan->spare[r->first_spare + i], owner = owner_of(l->plan, executor);
        if (l->user[executor] != owner || l->borrowed[owner] ||
            l->lent[owner] >= left_over(l, owner, IDLE_PERCENT))
            continue;
        l->user[executor] = rank;
        l->lent[owner]++;
        l->borrowed[rank]++;
        return true;
    }
    return false;
}

void part_lend(const struct part_plan *plan, const struct part_load *load, uint32_t *user)
{
    struct lender l = {plan, load, user, sim_new_array(uint32_t, plan->nr_ranks), sim_new_array(uint32_t, plan->nr_ranks)};
    bool some = plan->nr_spares != 0;

    count_loans(&l);
    for (uint32_t i = 0; i < plan->nr_ranks; i++)
        take_back_from(&l, i);
    while (some) {
        some = false;
        for (uint32_t i = 0; i < plan->nr_ranks; i++)
            some |= borrow(&l, i);
    }
    sim_free(l.borrowed);
    sim_free(l.lent);
}

void part_lend_nothing(const struct part_plan *plan, uint32_t *user)
{
    for (uint32_t i = 0; i < plan->nr_executors; i++)
        user[i] = owner_of(plan, i);
}

void part_lend_works(const struct part_plan *plan, const uint32_t *user, uint32_t rank, bool *works)
{
    const struct part_rank *r = &plan->rank[rank];

    for (uint32_t i = 0; i < r->nr_executors + r->nr_spares; i++)
        works[i] = user[part_plan_core_of(plan, rank, i)] == rank || i == 0;
}
