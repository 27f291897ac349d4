/* A plan as a picture: each host with its NUMA domains, L3 groups and cores, coloured by the rank whose executor
 * has the core; below, what the guest sees of it.
 *
 *   +-- host 0 -------------------------------+    each part has one function that measures, and with
 *   | +-- NUMA 0 ----------+ +-- NUMA 1 ----+ |    `draw` set also draws: so both agree
 *   | | [L3: core core] .. | | ..           | |
 *   | +--------------------+ +--------------+ |    part -> put_flow of its children -> ... -> put_tile
 *   | # rank 0  harts 0-3  1 GiB at 0x8000... |
 *   +-----------------------------------------+ */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "plan_view.h"
#include "sim-core/alloc.h"

enum {
    MARGIN = 36,
    GAP = 10,
    TILE_W = 52,
    TILE_H = 46,
    SMALL_TILE = 15,
    SMALL_FROM = 512, /* cores: then tiles are small and carry no text */
    CHIP_W = 14,
    CHIP_H = 12,
    CHIPS = 6, /* of a tile */
    DOMAIN_WIDTH = 460,
    HOST_WIDTH = 980,
    SMALL_HOST_WIDTH = 580,
    RANK_LINE = 18,
    VIEW_MIN_WIDTH = 720,
    VIEW_WIDTH = 1240, /* hosts stand in one line up to here */
    BAR_H = 30,
    MATRIX_CELL = 34,
    MAX_MATRIX = 12
};

struct size {
    double w, h;
};

struct svg {
    FILE *out;
    const struct plan_view *v;
    bool small; /* tiles */
};

/* --- colours --- */

static double channel(double hue, double saturation, double lightness, double shift)
{
    double k = fmod(shift + hue / 30, 12), a = saturation * fmin(lightness, 1 - lightness);

    return lightness - a * fmax(-1, fmin(fmin(k - 3, 9 - k), 1));
}

/* Neighbouring ranks are far apart on the colour circle (the golden angle), however many there are. */
static const char *rank_colour(uint32_t rank, char text[8])
{
    const double saturation = 0.44, lightness = 0.53, hue = fmod(212 + rank * 137.508, 360);

    if (rank == PART_NONE)
        return "#e1e7ee";
    snprintf(text, 8, "#%02x%02x%02x", (unsigned)(255 * channel(hue, saturation, lightness, 0)),
             (unsigned)(255 * channel(hue, saturation, lightness, 8)),
             (unsigned)(255 * channel(hue, saturation, lightness, 4)));
    return text;
}

/* --- elements --- */

static void put_escaped(FILE *out, const char *s)
{
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (strchr("<>&\"", c))
            fprintf(out, "&#%u;", c);
        else if (c >= 0x20 && c < 0x7f)
            fputc(c, out);
        else
            fputc('?', out);
    }
}

/* class: of the style sheet below. */
static void put_text(const struct svg *s, double x, double y, const char *class, const char *fmt, ...)
    SIM_PRINTF(5, 6);

static void put_text(const struct svg *s, double x, double y, const char *class, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(s->out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
    put_escaped(s->out, text);
    fputs("</text>\n", s->out);
}

static void put_rect(const struct svg *s, double x, double y, struct size size, double radius,
                     const char *fill, const char *more)
{
    fprintf(s->out,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.1f\" fill=\"%s\" %s/>\n",
            x, y, size.w, size.h, radius, fill, more);
}

static const char style[] =
    "<style>\n"
    "text { font-family: Inter, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #243b53 }\n"
    ".title { font-size: 23px; font-weight: 600 }\n"
    ".head { font-size: 15px; font-weight: 600 }\n"
    ".note { font-size: 12px; fill: #627d98 }\n"
    ".label { font-size: 11px; fill: #627d98 }\n"
    ".line { font-size: 12px }\n"
    ".bold { font-size: 12px; font-weight: 600 }\n"
    ".tile { font-size: 9px; fill: #ffffff; font-weight: 600 }\n"
    ".free { font-size: 9px; fill: #9fb3c8 }\n"
    ".chip { font-size: 8px; text-anchor: middle }\n"
    ".mid { font-size: 12px; text-anchor: middle; font-weight: 600; fill: #ffffff }\n"
    ".cell { font-size: 12px; text-anchor: middle }\n"
    ".axis { font-size: 11px; text-anchor: middle; fill: #627d98 }\n"
    ".tick { font-size: 10px; fill: #829ab1; font-family: 'DejaVu Sans Mono', monospace }\n"
    "</style>\n";

/* --- flows: children side by side, in lines of at most max_w --- */

typedef struct size (*put_fn)(const struct svg *s, double x, double y, const void *of, uint32_t i,
                              bool draw);

static struct size put_flow(const struct svg *s, double x, double y, double max_w, const void *of,
                            uint32_t n, put_fn put, bool draw)
{
    struct size all = {0, 0};
    double at = 0, line = 0, line_h = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct size child = put(s, x, y, of, i, false);
        if (at > 0 && at + child.w > max_w) {
            line += line_h + GAP;
            at = line_h = 0;
        }
        if (draw)
            put(s, x + at, y + line, of, i, true);
        at += child.w + GAP;
        line_h = fmax(line_h, child.h);
        all.w = fmax(all.w, at - GAP);
    }
    all.h = line + line_h;
    return all;
}

/* --- cores --- */

/* The harts of an executor, as far as they fit. */
static void put_chips(const struct svg *s, double x, double y, uint32_t rank, uint32_t executor)
{
    const struct part_rank *r = &s->v->plan->rank[rank];
    uint32_t n = (r->nr_harts - executor + r->nr_executors - 1) / r->nr_executors;
    uint32_t shown = n > CHIPS ? CHIPS - 1 : n;

    for (uint32_t i = 0; i < (n > CHIPS ? CHIPS : n); i++) {
        double cx = x + i % 3 * (CHIP_W + 1.5), cy = y + i / 3 * (CHIP_H + 1.5);
        put_rect(s, cx, cy, (struct size){CHIP_W, CHIP_H}, 3, "#ffffff", "fill-opacity=\"0.9\"");
        if (i < shown)
            put_text(s, cx + CHIP_W / 2.0, cy + 9, "chip", "%" PRIu32,
                     r->first_hart + executor + i * r->nr_executors);
        else
            put_text(s, cx + CHIP_W / 2.0, cy + 9, "chip", "+%" PRIu32, n - shown);
    }
}

static void put_tooltip(const struct svg *s, const char *what, uint32_t number, uint32_t rank,
                        uint32_t executor)
{
    fprintf(s->out, "<title>%s %" PRIu32, what, number);
    if (rank != PART_NONE) {
        char *harts = plan_view_harts(s->v, rank, executor);
        fprintf(s->out, ": rank %" PRIu32 ", executor %" PRIu32 ", harts %s", rank, executor, harts);
        sim_free(harts);
    }
    fputs("</title>\n", s->out);
}

/* A core, or an executor without one. */
static struct size put_tile(const struct svg *s, double x, double y, const char *what,
                            uint32_t number, uint32_t rank, uint32_t executor, bool draw)
{
    struct size size = s->small ? (struct size){SMALL_TILE, SMALL_TILE} : (struct size){TILE_W, TILE_H};
    char text[8];

    if (!draw)
        return size;
    fputs("<g>\n", s->out);
    put_tooltip(s, what, number, rank, executor);
    put_rect(s, x, y, size, s->small ? 3 : 6, rank_colour(rank, text), "");
    if (!s->small) {
        put_text(s, x + 5, y + 12, rank == PART_NONE ? "free" : "tile", "%s %" PRIu32, what, number);
        if (rank != PART_NONE)
            put_chips(s, x + 3.5, y + 16.5, rank, executor);
    }
    fputs("</g>\n", s->out);
    return size;
}

/* A run of cores that belong together. */
struct run {
    const struct plan_core *core;
    uint32_t nr;
};

static struct size put_cores(const struct svg *s, double x, double y, const struct run *run, bool draw)
{
    struct size tile = put_tile(s, 0, 0, "", 0, PART_NONE, 0, false);
    double gap = s->small ? 2 : 5;
    uint32_t columns = run->nr <= 4 ? 2 : 4;

    while (columns * columns < run->nr * 2)
        columns *= 2;
    columns = columns < run->nr ? columns : run->nr;
    for (uint32_t i = 0; i < run->nr && draw; i++)
        put_tile(s, x + i % columns * (tile.w + gap), y + i / columns * (tile.h + gap), "core",
                 run->core[i].core->id, run->core[i].rank, run->core[i].executor, true);
    uint32_t lines = (run->nr + columns - 1) / columns;
    return (struct size){columns * (tile.w + gap) - gap, lines * (tile.h + gap) - gap};
}

/* --- L3 groups and NUMA domains --- */

static uint32_t l3_of(const struct plan_core *c)
{
    return c->core->l3;
}

static uint32_t numa_of(const struct plan_core *c)
{
    return c->core->numa;
}

/* The i-th run of cores with equal `key`; nr 0 behind the last. */
static struct run nth_run(const struct run *all, uint32_t (*key)(const struct plan_core *), uint32_t i)
{
    uint32_t begin = 0, end = 0;

    for (;; i--) {
        for (begin = end; end < all->nr && key(&all->core[end]) == key(&all->core[begin]);)
            end++;
        if (i == 0 || begin == all->nr)
            return (struct run){all->core + begin, end - begin};
    }
}

static uint32_t count_runs(const struct run *all, uint32_t (*key)(const struct plan_core *))
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < all->nr; i++)
        n += i == 0 || key(&all->core[i]) != key(&all->core[i - 1]);
    return n;
}

static struct size put_l3(const struct svg *s, double x, double y, const void *of, uint32_t i, bool draw)
{
    const double pad = s->small ? 3 : 7;
    struct run run = nth_run(of, l3_of, i);
    struct size inner = put_cores(s, 0, 0, &run, false);
    struct size size = {inner.w + 2 * pad, inner.h + 2 * pad};

    if (draw) {
        fprintf(s->out, "<g><title>L3 cache %" PRIu32 "</title>\n", run.core->core->l3);
        put_rect(s, x, y, size, 9, "#ffffff", "stroke=\"#d9e2ec\"");
        fputs("</g>\n", s->out);
        put_cores(s, x + pad, y + pad, &run, true);
    }
    return size;
}

struct host_ref {
    const struct plan_host *host;
    struct run cores;
};

static struct size put_domain(const struct svg *s, double x, double y, const void *of, uint32_t i,
                              bool draw)
{
    enum { PAD = 10, HEAD = 18 };
    const struct host_ref *ref = of;
    struct run run = nth_run(&ref->cores, numa_of, i);
    uint32_t groups = count_runs(&run, l3_of);
    struct size inner = put_flow(s, 0, 0, DOMAIN_WIDTH, &run, groups, put_l3, false);
    const struct part_numa *numa = &ref->host->topology->numa[run.core->core->numa];
    struct size size = {fmax(inner.w, 110) + 2 * PAD, inner.h + 2 * PAD + HEAD};
    char memory[32];

    if (draw) {
        put_rect(s, x, y, size, 12, "#f0f4f8", "");
        put_text(s, x + PAD + 2, y + PAD + 9, "label", "NUMA %" PRIu32 "%s%s", numa->os_index,
                 numa->memory ? ", " : "", numa->memory ? plan_view_size(numa->memory, memory) : "");
        put_flow(s, x + PAD, y + PAD + HEAD, DOMAIN_WIDTH, &run, groups, put_l3, true);
    }
    return size;
}

/* --- hosts --- */

/* Executors that are bound to no core. */
static struct size put_loose(const struct svg *s, double x, double y, const void *of, uint32_t i,
                             bool draw)
{
    const struct part_plan *p = s->v->plan;
    uint32_t host = *(const uint32_t *)of;

    for (uint32_t rank = 0; rank < p->nr_ranks; rank++) {
        const struct part_rank *r = &p->rank[rank];
        if (r->host != host || r->bound)
            continue;
        if (i < r->nr_executors)
            return put_tile(s, x, y, "exec", i, rank, i, draw);
        i -= r->nr_executors;
    }
    return (struct size){0, 0};
}

static uint32_t count_loose(const struct part_plan *p, uint32_t host)
{
    uint32_t n = 0;

    for (uint32_t rank = 0; rank < p->nr_ranks; rank++)
        if (p->rank[rank].host == host && !p->rank[rank].bound)
            n += p->rank[rank].nr_executors;
    return n;
}

static uint64_t first_address(const struct part_plan *p, uint32_t rank)
{
    for (uint32_t i = 0; i < p->nr_homes; i++)
        if (p->home[i].rank == rank)
            return p->home[i].first_page << GUEST_PAGE_BITS;
    return 0;
}

static void put_rank_line(const struct svg *s, double x, double y, uint32_t rank)
{
    const struct part_rank *r = &s->v->plan->rank[rank];
    char text[8], size[32];

    put_rect(s, x, y + 3, (struct size){11, 11}, 3, rank_colour(rank, text), "");
    put_text(s, x + 18, y + 13, "bold", "rank %" PRIu32, rank);
    put_text(s, x + 90, y + 13, "line", r->nr_harts > 1 ? "harts %" PRIu32 "-%" PRIu32 : "hart %" PRIu32,
             r->first_hart, r->first_hart + r->nr_harts - 1);
    put_text(s, x + 196, y + 13, "line", "%s", plan_view_size(plan_view_memory(s->v, rank), size));
    put_text(s, x + 266, y + 13, "tick", "0x%" PRIx64, first_address(s->v->plan, rank));
    if (!r->bound)
        put_text(s, x + 362, y + 13, "note", "not bound");
}

static double put_rank_lines(const struct svg *s, double x, double y, uint32_t host, bool draw)
{
    double at = y;

    for (uint32_t i = 0; i < s->v->plan->nr_ranks; i++) {
        if (s->v->plan->rank[i].host != host)
            continue;
        if (draw)
            put_rank_line(s, x, at, i);
        at += RANK_LINE;
    }
    return at - y;
}

static struct size put_host(const struct svg *s, double x, double y, const void *of, uint32_t i,
                            bool draw)
{
    enum { PAD = 18, HEAD = 22, LINES_W = 350, LOOSE_HEAD = 20 };
    const struct plan_host *h = &s->v->host[i];
    struct host_ref ref = {h, {h->core, h->nr_cores}};
    uint32_t domains = count_runs(&ref.cores, numa_of), loose = count_loose(s->v->plan, i);
    double max_w = s->small ? SMALL_HOST_WIDTH : HOST_WIDTH;
    struct size cores = put_flow(s, 0, 0, max_w, &ref, domains, put_domain, false);
    struct size free = put_flow(s, 0, 0, fmax(cores.w, LINES_W), &i, loose, put_loose, false);
    double inner = fmax(fmax(cores.w, free.w), loose ? LINES_W + 70 : LINES_W);
    double loose_h = loose ? free.h + LOOSE_HEAD + GAP : 0;
    double lines = put_rank_lines(s, 0, 0, i, false);
    struct size size = {inner + 2 * PAD, PAD + HEAD + cores.h + loose_h + 14 + lines + PAD};

    (void)of;
    if (!draw)
        return size;
    put_rect(s, x, y + 3, size, 16, "#102a43", "fill-opacity=\"0.07\""); /* its shadow */
    put_rect(s, x, y, size, 16, "#ffffff", "stroke=\"#d0dae5\"");
    put_text(s, x + PAD, y + PAD + 10, "head", "host %" PRIu32, i);
    put_text(s, x + PAD + 64 + (i >= 10 ? 10 : 0), y + PAD + 10, "note", "%.40s", h->topology->host);
    double at = y + PAD + HEAD;
    put_flow(s, x + PAD, at, max_w, &ref, domains, put_domain, true);
    at += cores.h;
    if (loose) {
        put_text(s, x + PAD, at + LOOSE_HEAD + 2, "label", "executors that share these cores");
        put_flow(s, x + PAD, at + LOOSE_HEAD + GAP, fmax(cores.w, LINES_W), &i, loose, put_loose, true);
        at += loose_h;
    }
    put_rank_lines(s, x + PAD, at + 14, i, true);
    return size;
}

/* --- the guest's view: bars over its harts and its memory --- */

struct bar {
    double x, y, w;
    const char *title;
};

static void put_segment(const struct svg *s, const struct bar *b, double from, double to, uint32_t rank,
                        const char *text)
{
    struct size size = {fmax((to - from) * b->w - 1.5, 0.8), BAR_H};
    char fill[8];
    double x = b->x + from * b->w;

    put_rect(s, x, b->y, size, size.w > 8 ? 5 : 0, rank_colour(rank, fill), "");
    if (size.w > 9 + 7.2 * (double)strlen(text))
        put_text(s, x + size.w / 2, b->y + 20, "mid", "%s", text);
}

static void put_harts_bar(const struct svg *s, const struct bar *b)
{
    const struct part_plan *p = s->v->plan;
    char text[64];

    put_text(s, b->x, b->y - 8, "label", "%s", b->title);
    for (uint32_t i = 0; i < p->nr_ranks; i++) {
        const struct part_rank *r = &p->rank[i];
        double n = p->nr_harts;
        snprintf(text, sizeof text, r->nr_harts > 1 ? "%" PRIu32 "-%" PRIu32 : "%" PRIu32, r->first_hart,
                 r->first_hart + r->nr_harts - 1);
        put_segment(s, b, r->first_hart / n, (r->first_hart + r->nr_harts) / n, i, text);
    }
}

/* Addresses below the bar, as many as do not touch. */
static void put_memory_bar(const struct svg *s, const struct bar *b)
{
    const struct part_plan *p = s->v->plan;
    double pages = (double)(s->v->memory >> GUEST_PAGE_BITS), at = 0, free_from = 0;
    char text[64];

    put_text(s, b->x, b->y - 8, "label", "%s", b->title);
    for (uint32_t i = 0; i < p->nr_homes; i++) {
        const struct part_home *h = &p->home[i];
        double n = (double)(h->last_page - h->first_page);
        plan_view_size((h->last_page - h->first_page) << GUEST_PAGE_BITS, text);
        put_segment(s, b, at / pages, (at + n) / pages, h->rank, text);
        double x = at / pages * b->w;
        if (x >= free_from) {
            put_text(s, b->x + x, b->y + BAR_H + 14, "tick", "0x%" PRIx64,
                     h->first_page << GUEST_PAGE_BITS);
            free_from = x + 84;
        }
        at += n;
    }
}

/* Which harts and memory the guest takes for one node: its ranks follow each other in both bars. */
static void put_nodes_bar(const struct svg *s, const struct bar *b)
{
    const struct part_plan *p = s->v->plan;

    put_text(s, b->x, b->y - 8, "label", "%s", b->title);
    for (uint32_t i = 0; i < p->nr_nodes; i++) {
        const struct part_node *n = &p->node[i];
        const struct part_rank *last = &p->rank[n->first_rank + n->nr_ranks - 1];
        double from = (double)p->rank[n->first_rank].first_hart / p->nr_harts;
        double to = (double)(last->first_hart + last->nr_harts) / p->nr_harts;
        struct size size = {fmax((to - from) * b->w - 1.5, 0.8), BAR_H - 6};
        put_rect(s, b->x + from * b->w, b->y, size, 5, "#e4eaf1", "stroke=\"#bcccdc\"");
        if (size.w > 60)
            put_text(s, b->x + from * b->w + size.w / 2, b->y + 16, "cell", "node %" PRIu32, i);
    }
}

/* Warmer is farther. */
static const char *distance_colour(unsigned distance)
{
    return distance <= PART_NEAR ? "#d3f2df" : distance <= PART_SAME_HOST ? "#fdf2c8" : "#fcdcc4";
}

static struct size put_matrix(const struct svg *s, double x, double y, bool draw)
{
    const struct part_plan *p = s->v->plan;
    double side = p->nr_nodes * MATRIX_CELL;

    if (p->nr_nodes < 2 || p->nr_nodes > MAX_MATRIX)
        return (struct size){0, 0};
    if (draw)
        put_text(s, x, y - 8, "label", "distances between nodes");
    for (uint32_t i = 0; i < p->nr_nodes * p->nr_nodes && draw; i++) {
        uint32_t from = i / p->nr_nodes, to = i % p->nr_nodes;
        unsigned distance = part_plan_distance(p, from, to);
        double cx = x + 16 + to * MATRIX_CELL, cy = y + 18 + from * (MATRIX_CELL - 8);
        if (from == 0)
            put_text(s, cx + MATRIX_CELL / 2.0, y + 12, "axis", "%" PRIu32, to);
        if (to == 0)
            put_text(s, x + 5, cy + 17, "axis", "%" PRIu32, from);
        put_rect(s, cx, cy, (struct size){MATRIX_CELL - 2, MATRIX_CELL - 10}, 4,
                 distance_colour(distance), "");
        put_text(s, cx + MATRIX_CELL / 2.0 - 1, cy + 17, "cell", "%u", distance);
    }
    return (struct size){fmax(side + 18, 150), side + 20};
}

static double put_guest(const struct svg *s, double x, double y, double w, bool draw)
{
    enum { HEAD = 46, STEP = 62 };
    struct size matrix = put_matrix(s, 0, 0, false);
    double bar_w = matrix.w > 0 ? w - matrix.w - 40 : w, at = y + HEAD;
    bool nodes = s->v->plan->nr_nodes > 1;

    if (draw) {
        put_text(s, x, y + 12, "head", "What the guest sees");
        put_harts_bar(s, &(struct bar){x, at, bar_w, "harts"});
        put_memory_bar(s, &(struct bar){x, at + STEP, bar_w, "memory"});
        if (nodes)
            put_nodes_bar(s, &(struct bar){x, at + 2 * STEP + 14, bar_w, "NUMA nodes"});
        put_matrix(s, x + bar_w + 40, at, true);
    }
    return HEAD + fmax((nodes ? 2 * STEP + 14 + BAR_H : STEP + BAR_H + 20), matrix.h);
}

/* --- the page --- */

static uint32_t count_cores(const struct plan_view *v)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < v->plan->nr_hosts; i++)
        n += v->host[i].nr_cores;
    return n;
}

/* Many hosts make a page about half as wide again as high. */
static double page_width(const struct svg *s)
{
    double area = 0, line = 0, widest = VIEW_MIN_WIDTH;

    for (uint32_t i = 0; i < s->v->plan->nr_hosts; i++) {
        struct size h = put_host(s, 0, 0, NULL, i, false);
        area += (h.w + GAP) * (h.h + GAP);
        line += h.w + GAP;
        widest = fmax(widest, h.w);
    }
    return fmax(fmax(widest, fmin(line, VIEW_WIDTH)), sqrt(area * 1.5));
}

void plan_svg_write(const struct plan_view *v, FILE *out)
{
    enum { HEAD = 74, BEFORE_GUEST = 34 };
    struct svg s = {.out = out, .v = v, .small = count_cores(v) > SMALL_FROM};
    double max_w = page_width(&s);
    struct size hosts = put_flow(&s, 0, 0, max_w, NULL, v->plan->nr_hosts, put_host, false);
    double w = fmax(hosts.w, VIEW_MIN_WIDTH), guest = put_guest(&s, 0, 0, w, false);
    struct size page = {w + 2 * MARGIN, MARGIN + HEAD + hosts.h + BEFORE_GUEST + guest + MARGIN};
    char title[128];

    plan_view_title(v, title, sizeof title);
    fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
                 "viewBox=\"0 0 %.0f %.0f\">\n<title>%s</title>\n%s",
            page.w, page.h, page.w, page.h, title, style);
    put_rect(&s, 0, 0, page, 0, "#f8fafc", "");
    put_text(&s, MARGIN, MARGIN + 18, "title", "%s", title);
    put_text(&s, MARGIN, MARGIN + 42, "note", "devices on rank %" PRIu32 "; plan %016" PRIx64,
             v->plan->device_rank, part_plan_hash(v->plan));
    put_flow(&s, MARGIN, MARGIN + HEAD, max_w, NULL, v->plan->nr_hosts, put_host, true);
    put_guest(&s, MARGIN, MARGIN + HEAD + hosts.h + BEFORE_GUEST, w, true);
    fputs("</svg>\n", out);
}
