/* A plan with what is needed to show it: what the table and the drawings have in common. */
#ifndef LAUNCH_PLAN_VIEW_H
#define LAUNCH_PLAN_VIEW_H

#include <stdio.h>

#include "partition/plan.h"

struct plan_view {
    uint64_t memory; /* of the machine */
    const struct part_plan *plan;
    const struct part_topology *const *topology; /* by rank */
    struct plan_host {
        const struct part_topology *topology; /* of its first rank; the others' are of the same machine */
        uint32_t nr_ranks;
        struct plan_core {
            const struct part_core *core;
            uint32_t rank, executor; /* PART_NONE: no executor is bound to it */
        } *core; /* all that any of its ranks may use, by id */
        uint32_t nr_cores;
    } *host;
};

void plan_view_init(struct plan_view *v, const struct part_plan *plan,
                    const struct part_topology *const *topology, uint64_t memory);
void plan_view_fini(struct plan_view *v);

/* Bytes of guest memory at home on a rank. */
uint64_t plan_view_memory(const struct plan_view *v, uint32_t rank);
/* The title of everything: "16 harts and 4 GiB over 4 ranks on 2 hosts". */
void plan_view_title(const struct plan_view *v, char *text, size_t size);
/* "4 GiB", "1.5 GiB", "340 KiB". */
const char *plan_view_size(uint64_t bytes, char text[32]);

/* Numbers as Linux lists them, "0-3,8": add them in any order. */
struct number_list {
    uint32_t *number;
    uint32_t nr, room;
};
void number_list_add(struct number_list *l, uint32_t number);
/* The text ("-" of none), which the caller frees; the list is empty after it. */
char *number_list_text(struct number_list *l);
/* The harts of one executor. */
char *plan_view_harts(const struct plan_view *v, uint32_t rank, uint32_t executor);

/* Each writes the whole of its form. */
void plan_table_write(const struct plan_view *v, bool executors, FILE *out);
void plan_svg_write(const struct plan_view *v, FILE *out);
void plan_dot_write(const struct plan_view *v, FILE *out);

#endif
