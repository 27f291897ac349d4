/* A plan as a graph for graphviz: hosts are clusters, ranks are nodes that list their executors, cores, harts and
 * memory, edges carry the distances that the guest is told. */
#include <inttypes.h>
#include <string.h>

#include "plan_view.h"
#include "sim-core/alloc.h"

enum { MAX_EDGES = 64 };

static void put_escaped(FILE *out, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (strchr("\"\\", c))
            fputc('\\', out);
        fputc(c >= 0x20 && c < 0x7f ? c : '?', out);
    }
}

static void put_executor(const struct plan_view *v, uint32_t rank, uint32_t i, FILE *out)
{
    const struct part_rank *r = &v->plan->rank[rank];
    const struct part_executor *e = &v->plan->executor[r->first_executor + i];
    char *harts = plan_view_harts(v, rank, i);

    fprintf(out, "<tr><td>executor %" PRIu32 "</td><td>", i);
    if (r->bound)
        fprintf(out, "core %" PRIu32, v->topology[rank]->core[e->core].id);
    else
        fputs("not bound", out);
    fprintf(out, "</td><td align=\"left\">harts %s</td></tr>\n", harts);
    sim_free(harts);
}

static void put_memory(const struct plan_view *v, uint32_t rank, FILE *out)
{
    const struct part_plan *p = v->plan;
    char size[32];

    for (uint32_t i = 0; i < p->nr_homes; i++)
        if (p->home[i].rank == rank)
            fprintf(out,
                    "<tr><td>memory</td><td>%s</td><td align=\"left\">0x%" PRIx64 "-0x%" PRIx64
                    "</td></tr>\n",
                    plan_view_size((p->home[i].last_page - p->home[i].first_page) << GUEST_PAGE_BITS,
                                   size),
                    p->home[i].first_page << GUEST_PAGE_BITS,
                    (p->home[i].last_page << GUEST_PAGE_BITS) - 1);
}

static void put_rank(const struct plan_view *v, uint32_t rank, FILE *out)
{
    const struct part_rank *r = &v->plan->rank[rank];

    fprintf(out,
            "    r%" PRIu32 " [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" "
            "cellpadding=\"4\" color=\"#bcccdc\">\n<tr><td colspan=\"3\" bgcolor=\"%.3f 0.20 0.95\">"
            "<b>rank %" PRIu32 "</b>, node %" PRIu32 "</td></tr>\n",
            rank, (double)((590 + rank * 382) % 1000) / 1000, rank, r->node);
    for (uint32_t i = 0; i < r->nr_executors; i++)
        put_executor(v, rank, i, out);
    put_memory(v, rank, out);
    fputs("</table>>];\n", out);
}

static void put_host(const struct plan_view *v, uint32_t host, FILE *out)
{
    fprintf(out, "  subgraph cluster_h%" PRIu32 " {\n    label=\"host %" PRIu32 ", ", host, host);
    put_escaped(out, v->host[host].topology->host);
    fputs("\"; style=rounded; color=\"#829ab1\"; margin=16;\n", out);
    for (uint32_t i = 0; i < v->plan->nr_ranks; i++)
        if (v->plan->rank[i].host == host)
            put_rank(v, i, out);
    fputs("  }\n", out);
}

/* As long as they can be told apart. */
static void put_distances(const struct part_plan *p, FILE *out)
{
    if ((uint64_t)p->nr_ranks * (p->nr_ranks - 1) / 2 > MAX_EDGES)
        return;
    for (uint32_t i = 0; i < p->nr_ranks; i++)
        for (uint32_t j = i + 1; j < p->nr_ranks; j++)
            fprintf(out, "  r%" PRIu32 " -- r%" PRIu32 " [label=\"%u\"%s];\n", i, j,
                    part_plan_distance(p, p->rank[i].node, p->rank[j].node),
                    p->rank[i].host == p->rank[j].host ? "" : ", style=dashed");
}

void plan_dot_write(const struct plan_view *v, FILE *out)
{
    char title[128];

    plan_view_title(v, title, sizeof title);
    fprintf(out,
            "graph plan {\n  label=\"%s\"; labelloc=t; fontname=\"sans-serif\"; nodesep=0.5; "
            "ranksep=1;\n"
            "  node [shape=plain, fontname=\"sans-serif\", fontsize=10];\n"
            "  edge [fontname=\"sans-serif\", fontsize=10, color=\"#829ab1\", "
            "fontcolor=\"#627d98\"];\n",
            title);
    for (uint32_t host = 0; host < v->plan->nr_hosts; host++)
        put_host(v, host, out);
    put_distances(v->plan, out);
    fputs("}\n", out);
}
