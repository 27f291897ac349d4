/* What moved between the ranks: --stats. */
#include <inttypes.h>
#include <stdio.h>

#include "ranks_priv.h"

static void print_hot_pages(const struct ranks *r, FILE *out)
{
    struct dsm_hot_page hot[16];
    unsigned n = dsm_hottest(r->dsm, hot, SIM_ARRAY_LEN(hot));

    fprintf(out, "rank %d:   hottest pages", (int)ic_rank(r->ic));
    for (unsigned i = 0; i < n; i++)
        fprintf(out, "%s %#" PRIx64 " (%u)", i ? "," : "", mem_page_gpa(r->space, hot[i].page),
                hot[i].transfers);
    fputc('\n', out);
}

void ranks_print_stats(const struct ranks *r, FILE *out)
{
    struct ic_counter counters[IC_TYPES];
    struct dsm_stats s;
    uint64_t messages = 0, bytes = 0;

    if (!r->dsm)
        return;
    dsm_get_stats(r->dsm, &s);
    ic_counters(r->ic, counters);
    for (unsigned i = 0; i < IC_TYPES; i++) {
        messages += counters[i].sent;
        bytes += counters[i].sent_bytes;
    }
    fprintf(out,
            "rank %d: pages in %" PRIu64 ", out %" PRIu64 " (%" PRIu64 " zero), between others %" PRIu64
            ", invalidations %" PRIu64
            ", downgrades %" PRIu64 " in %" PRIu64 " batches; held %" PRIu64 " (%" PRIu64
            " timed out); ahead %" PRIu64 " (%" PRIu64 " used, %" PRIu64
            " useless), along %" PRIu64 "; waited %.3f s in %" PRIu64 " waits; sent %" PRIu64 " messages, %.1f MiB\n",
            (int)ic_rank(r->ic), s.pages_in, s.pages_out, s.zero_pages, s.between_others, s.invalidations, s.downgrades,
            s.revoke_batches, s.held, s.hold_timeouts, s.fetched_ahead, s.ahead_used, s.ahead_useless, s.came_along,
            (double)s.wait_ns_total / 1e9, s.waits, messages,
            (double)bytes / (1 << 20));
    print_hot_pages(r, out);
    if (r->hart_moves)
        fprintf(out, "rank %d:   balancing moved %" PRIu64 " harts\n", (int)ic_rank(r->ic), r->hart_moves);
    if (r->homes_moved.pauses)
        fprintf(out, "rank %d:   balancing moved the homes of %" PRIu64 " MiB in %u pauses of up to %.1f ms\n", (int)ic_rank(r->ic),
                r->homes_moved.bytes >> 20, r->homes_moved.pauses, (double)r->homes_moved.pause_ns / 1e6);
    if (r->loans)
        fprintf(out, "rank %d:   cores were lent or taken back %" PRIu64 " times\n", (int)ic_rank(r->ic), r->loans);
    if (world_spare_turns(r->world))
        fprintf(out, "rank %d:   %" PRIu64 " turns on lent cores\n", (int)ic_rank(r->ic), world_spare_turns(r->world));
    for (unsigned i = 0; i < IC_TYPES; i++)
        if (counters[i].sent || counters[i].received)
            fprintf(out, "rank %d:   %-16s sent %" PRIu64 ", received %" PRIu64 "\n",
                    (int)ic_rank(r->ic), counters[i].name ? counters[i].name : "?", counters[i].sent,
                    counters[i].received);
}
