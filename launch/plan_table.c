/* A plan as text: a paragraph for each host, a line for each rank, the guest's NUMA distances. */
#include <inttypes.h>
#include <string.h>

#include "plan_view.h"
#include "sim-core/alloc.h"

enum { MAX_MATRIX = 16 };

enum column { RANK, NODE, HARTS, EXECUTORS, CPUS, DOMAINS, MEMORY, NR_COLUMNS };

static const struct {
    const char *title;
    bool right;
} columns[NR_COLUMNS] = {
    [RANK] = {"rank", true},      [NODE] = {"node", true},      [HARTS] = {"harts", false},
    [EXECUTORS] = {"executors", true}, [CPUS] = {"on CPUs", false}, [DOMAINS] = {"NUMA", false},
    [MEMORY] = {"guest memory", false},
};

struct row {
    char *cell[NR_COLUMNS];
};

/* --- the cells of a rank --- */

static char *number(uint64_t n)
{
    return sim_asprintf("%" PRIu64, n);
}

static char *harts_of(const struct part_rank *r)
{
    if (r->nr_harts == 1)
        return number(r->first_hart);
    return sim_asprintf("%" PRIu32 "-%" PRIu32, r->first_hart, r->first_hart + r->nr_harts - 1);
}

static char *cpus_of(const struct part_plan *p, const struct part_rank *r)
{
    struct number_list cpus = {0};

    if (!r->bound)
        return sim_strdup("not bound");
    for (uint32_t i = 0; i < r->nr_executors; i++) {
        const struct part_executor *e = &p->executor[r->first_executor + i];
        for (uint32_t n = 0; n < e->nr_cpus; n++)
            number_list_add(&cpus, p->cpu[e->first_cpu + n]);
    }
    return number_list_text(&cpus);
}

static char *domains_of(const struct part_plan *p, const struct part_rank *r)
{
    struct number_list domains = {0};

    for (uint32_t i = 0; i < r->nr_executors && r->bound; i++)
        number_list_add(&domains, p->executor[r->first_executor + i].numa);
    return number_list_text(&domains);
}

/* The machine virt has one range of RAM, and so a rank one block of it at most. */
static char *memory_of(const struct plan_view *v, uint32_t rank)
{
    const struct part_plan *p = v->plan;
    char size[32];

    plan_view_size(plan_view_memory(v, rank), size);
    for (uint32_t i = 0; i < p->nr_homes; i++)
        if (p->home[i].rank == rank)
            return sim_asprintf("0x%09" PRIx64 "-0x%09" PRIx64 "  %s",
                                p->home[i].first_page << GUEST_PAGE_BITS,
                                (p->home[i].last_page << GUEST_PAGE_BITS) - 1, size);
    return sim_strdup("-");
}

static struct row row_of(const struct plan_view *v, uint32_t rank)
{
    const struct part_plan *p = v->plan;
    const struct part_rank *r = &p->rank[rank];

    return (struct row){{
        [RANK] = number(rank),
        [NODE] = number(r->node),
        [HARTS] = harts_of(r),
        [EXECUTORS] = number(r->nr_executors),
        [CPUS] = cpus_of(p, r),
        [DOMAINS] = domains_of(p, r),
        [MEMORY] = memory_of(v, rank),
    }};
}

/* --- lines --- */

struct table {
    struct row *row; /* by rank */
    int width[NR_COLUMNS];
};

static void table_init(struct table *t, const struct plan_view *v)
{
    t->row = sim_new_array(struct row, v->plan->nr_ranks);
    for (unsigned c = 0; c < NR_COLUMNS; c++)
        t->width[c] = (int)strlen(columns[c].title);
    for (uint32_t i = 0; i < v->plan->nr_ranks; i++) {
        t->row[i] = row_of(v, i);
        for (unsigned c = 0; c < NR_COLUMNS; c++)
            if ((int)strlen(t->row[i].cell[c]) > t->width[c])
                t->width[c] = (int)strlen(t->row[i].cell[c]);
    }
}

static void table_fini(struct table *t, uint32_t nr_ranks)
{
    for (uint32_t i = 0; i < nr_ranks; i++)
        for (unsigned c = 0; c < NR_COLUMNS; c++)
            sim_free(t->row[i].cell[c]);
    sim_free(t->row);
}

static void put_row(const struct table *t, const struct row *row, FILE *out)
{
    for (unsigned c = 0; c < NR_COLUMNS; c++) {
        const char *text = row ? row->cell[c] : columns[c].title;
        int width = columns[c].right ? t->width[c] : c + 1 < NR_COLUMNS ? -t->width[c] : 0;
        fprintf(out, "  %*s", width, text);
    }
    fputc('\n', out);
}

/* Cores of other ranks that are lent to this one. */
static void put_spares(const struct plan_view *v, uint32_t rank, FILE *out)
{
    const struct part_plan *p = v->plan;
    const struct part_rank *r = &p->rank[rank];
    struct number_list cores = {0};

    for (uint32_t i = r->nr_executors; i < r->nr_executors + r->nr_spares; i++) {
        uint32_t executor = part_plan_core_of(p, rank, i), owner = rank;
        do
            owner = (owner + 1) % p->nr_ranks;
        while (executor - p->rank[owner].first_executor >= p->rank[owner].nr_executors);
        number_list_add(&cores, v->topology[owner]->core[p->executor[executor].core].id);
    }
    char *text = number_list_text(&cores);
    fprintf(out, "          %" PRIu32 " spare, for cores %s when they are idle\n", r->nr_spares, text);
    sim_free(text);
}

static void put_executors(const struct plan_view *v, uint32_t rank, FILE *out)
{
    const struct part_plan *p = v->plan;
    const struct part_rank *r = &p->rank[rank];

    for (uint32_t i = 0; i < r->nr_executors; i++) {
        const struct part_executor *e = &p->executor[r->first_executor + i];
        char *harts = plan_view_harts(v, rank, i);
        fprintf(out, "          executor %" PRIu32, i);
        if (r->bound)
            fprintf(out, " on core %" PRIu32, v->topology[rank]->core[e->core].id);
        fprintf(out, ": harts %s\n", harts);
        sim_free(harts);
    }
    if (r->nr_spares)
        put_spares(v, rank, out);
}

/* --- hosts --- */

static void put_count(FILE *out, const char *separator, uint64_t n, const char *what)
{
    fprintf(out, "%s%" PRIu64 " %s%s", separator, n, what, n == 1 ? "" : "s");
}

static uint64_t memory_of_host(const struct plan_host *h)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < h->topology->nr_numas; i++)
        sum += h->topology->numa[i].memory;
    return sum;
}

static void put_host(const struct plan_view *v, uint32_t host, FILE *out)
{
    const struct plan_host *h = &v->host[host];
    uint64_t memory = memory_of_host(h), pus = 0;
    char size[32];

    for (uint32_t i = 0; i < h->nr_cores; i++)
        pus += h->core[i].core->nr_pus;
    fprintf(out, "\nhost %" PRIu32 ", %s: ", host, h->topology->host);
    put_count(out, "", h->topology->nr_packages, "package");
    put_count(out, ", ", h->topology->nr_numas, "NUMA domain");
    if (memory)
        fprintf(out, " (%s)", plan_view_size(memory, size));
    put_count(out, ", ", h->topology->nr_l3s, "L3 cache");
    put_count(out, ", ", h->nr_cores, "core");
    put_count(out, ", ", pus, "CPU");
    fputc('\n', out);
}

/* What the user should know before it runs. */
static void put_remarks(const struct plan_view *v, uint32_t host, FILE *out)
{
    const struct plan_host *h = &v->host[host];
    uint64_t has = memory_of_host(h), keeps = 0;
    uint32_t spares = 0;
    bool crowded = false;
    char a[32], b[32];

    for (uint32_t i = 0; i < v->plan->nr_ranks; i++) {
        if (v->plan->rank[i].host != host)
            continue;
        keeps += plan_view_memory(v, i);
        crowded |= !v->plan->rank[i].nr_cores;
        if (v->plan->rank[i].nr_spares > spares)
            spares = v->plan->rank[i].nr_spares;
    }
    if (spares)
        fprintf(out, "  its ranks lend each other cores that are idle, up to %" PRIu32 " to one\n", spares);
    if (crowded)
        fprintf(out, "  note: fewer cores than ranks: they share them, and none is bound to one\n");
    if (has && keeps > has)
        fprintf(out, "  note: its ranks keep %s of guest memory, the host has %s\n",
                plan_view_size(keeps, a), plan_view_size(has, b));
}

/* --- the guest's view --- */

static void put_distances(const struct part_plan *p, FILE *out)
{
    if (p->nr_nodes < 2)
        return;
    fprintf(out, "\nThe guest sees %" PRIu32 " NUMA nodes", p->nr_nodes);
    if (p->nr_nodes > MAX_MATRIX) {
        fprintf(out, ": %d from itself, %d on one host, %d on another\n", PART_NEAR, PART_SAME_HOST,
                PART_OTHER_HOST);
        return;
    }
    fputs(", at these distances:\n  node", out);
    for (uint32_t to = 0; to < p->nr_nodes; to++)
        fprintf(out, "%5" PRIu32, to);
    fputc('\n', out);
    for (uint32_t from = 0; from < p->nr_nodes; from++) {
        fprintf(out, "  %4" PRIu32, from);
        for (uint32_t to = 0; to < p->nr_nodes; to++)
            fprintf(out, "%5u", part_plan_distance(p, from, to));
        fputc('\n', out);
    }
}

void plan_table_write(const struct plan_view *v, bool executors, FILE *out)
{
    const struct part_plan *p = v->plan;
    struct table table;
    char title[128];

    plan_view_title(v, title, sizeof title);
    fprintf(out, "%s\n", title);
    table_init(&table, v);
    for (uint32_t host = 0; host < p->nr_hosts; host++) {
        put_host(v, host, out);
        put_row(&table, NULL, out);
        for (uint32_t i = 0; i < p->nr_ranks; i++) {
            if (p->rank[i].host != host)
                continue;
            put_row(&table, &table.row[i], out);
            if (executors)
                put_executors(v, i, out);
        }
        put_remarks(v, host, out);
    }
    table_fini(&table, p->nr_ranks);
    put_distances(p, out);
    fprintf(out, "\nDevices are on rank %" PRIu32 ". Plan %016" PRIx64 ", the same on every rank.\n",
            p->device_rank, part_plan_hash(p));
}
