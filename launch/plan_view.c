/* What table and drawings of a plan have in common: the cores of hosts, sizes, lists of numbers. */
#include "plan_view.h"

#include <inttypes.h>
#include <stdlib.h>

#include "sim-core/alloc.h"

/* --- hosts --- */

/* Cores by id, as any rank of the host sees them. */
static void find_cores(const struct plan_view *v, uint32_t rank, struct plan_core *by_id)
{
    const struct part_topology *t = v->topology[rank];
    const struct part_rank *r = &v->plan->rank[rank];

    for (uint32_t i = 0; i < t->nr_cores; i++) {
        struct plan_core *c = &by_id[t->core[i].id];
        if (!c->core)
            *c = (struct plan_core){&t->core[i], PART_NONE, PART_NONE};
    }
    for (uint32_t i = 0; i < r->nr_executors; i++) {
        uint32_t core = v->plan->executor[r->first_executor + i].core;
        if (core != PART_NONE) {
            by_id[t->core[core].id].rank = rank;
            by_id[t->core[core].id].executor = i;
        }
    }
}

static void init_host(struct plan_view *v, uint32_t host)
{
    struct plan_host *h = &v->host[host];
    struct plan_core *by_id = sim_new_array(struct plan_core, PART_MAX_PUS);

    for (uint32_t i = 0; i < v->plan->nr_ranks; i++) {
        if (v->plan->rank[i].host != host)
            continue;
        if (h->nr_ranks++ == 0)
            h->topology = v->topology[i];
        find_cores(v, i, by_id);
    }
    for (uint32_t i = 0; i < PART_MAX_PUS; i++)
        if (by_id[i].core)
            by_id[h->nr_cores++] = by_id[i];
    h->core = sim_realloc(by_id, h->nr_cores * sizeof(by_id[0]));
}

void plan_view_init(struct plan_view *v, const struct part_plan *plan,
                    const struct part_topology *const *topology, uint64_t memory)
{
    *v = (struct plan_view){memory, plan, topology, sim_new_array(struct plan_host, plan->nr_hosts)};
    for (uint32_t host = 0; host < plan->nr_hosts; host++)
        init_host(v, host);
}

void plan_view_fini(struct plan_view *v)
{
    for (uint32_t host = 0; host < v->plan->nr_hosts; host++)
        sim_free(v->host[host].core);
    sim_free(v->host);
}

/* --- numbers --- */

uint64_t plan_view_memory(const struct plan_view *v, uint32_t rank)
{
    uint64_t pages = 0;

    for (uint32_t i = 0; i < v->plan->nr_homes; i++)
        if (v->plan->home[i].rank == rank)
            pages += v->plan->home[i].last_page - v->plan->home[i].first_page;
    return pages << GUEST_PAGE_BITS;
}

const char *plan_view_size(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    uint64_t scale = 1;

    while (unit + 1 < SIM_ARRAY_LEN(units) && bytes / scale >= 1024) {
        scale <<= 10;
        unit++;
    }
    uint64_t whole = bytes / scale, tenths = bytes % scale * 10 / scale;
    if (tenths)
        snprintf(text, 32, "%" PRIu64 ".%u %s", whole, (unsigned)tenths, units[unit]);
    else
        snprintf(text, 32, "%" PRIu64 " %s", whole, units[unit]);
    return text;
}

static const char *plural(uint32_t n)
{
    return n == 1 ? "" : "s";
}

void plan_view_title(const struct plan_view *v, char *text, size_t size)
{
    const struct part_plan *p = v->plan;
    char memory[32];

    snprintf(text, size, "%" PRIu32 " hart%s and %s over %" PRIu32 " rank%s on %" PRIu32 " host%s",
             p->nr_harts, plural(p->nr_harts), plan_view_size(v->memory, memory), p->nr_ranks,
             plural(p->nr_ranks), p->nr_hosts, plural(p->nr_hosts));
}

void number_list_add(struct number_list *l, uint32_t number)
{
    if (l->nr == l->room) {
        l->room = l->room ? l->room * 2 : 16;
        l->number = sim_realloc(l->number, l->room * sizeof(l->number[0]));
    }
    l->number[l->nr++] = number;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

char *number_list_text(struct number_list *l)
{
    char *text = sim_zalloc(l->nr * 24 + 2), *w = text;

    if (!l->nr)
        *w = '-';
    else
        qsort(l->number, l->nr, sizeof(l->number[0]), by_number);
    for (uint32_t i = 0, last; i < l->nr; i = last + 1) {
        last = i;
        while (last + 1 < l->nr && l->number[last + 1] <= l->number[last] + 1)
            last++;
        w += sprintf(w, "%s%" PRIu32, i ? "," : "", l->number[i]);
        if (l->number[last] > l->number[i])
            w += sprintf(w, "-%" PRIu32, l->number[last]);
    }
    sim_free(l->number);
    *l = (struct number_list){0};
    return text;
}

char *plan_view_harts(const struct plan_view *v, uint32_t rank, uint32_t executor)
{
    const struct part_rank *r = &v->plan->rank[rank];
    struct number_list harts = {0};

    for (uint32_t i = r->first_hart; i < r->first_hart + r->nr_harts; i++)
        if (v->plan->hart[i].executor == executor)
            number_list_add(&harts, i);
    return number_list_text(&harts);
}
