/* What every rank does by itself, and fails at: one says it, all end.
 *
 *   command line: messages are kept -> ranks_meet: {status, messages} to all, as below
 *   begin: messages are kept, the first rank's also written -> machine_create -> end: {status, messages} to all
 *       -> all have the same status; the first rank writes the lines that it did not have itself */
#include <stdio.h>
#include <string.h>

#include "ranks_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

struct set_up_report {
    int32_t status;
    char text[sizeof((struct sim_log_kept *)0)->text]; /* lines */
};

void ranks_set_up_begin(struct ranks *r)
{
    r->kept.write_too = ic_rank(r->ic) == 0;
    sim_log_keep(&r->kept);
}

static bool has_line(const char *text, const char *line, size_t len)
{
    for (const char *at = strstr(text, line); at; at = strstr(at + 1, line))
        if ((at == text || at[-1] == '\n') && at[len] == '\n')
            return true;
    return false;
}

/* Has a rank before this one said so? Cuts `line` off the text it stands in. */
static bool was_said(void **reports, rank_t rank, char *line, size_t len)
{
    line[len] = 0;
    for (rank_t i = 0; i < rank; i++)
        if (has_line(((const struct set_up_report *)reports[i])->text, line, len))
            return true;
    return false;
}

/* "partita: error: ..." of another rank -> "partita: rank 1 (...): error: ..." */
static void repeat_new_lines(struct ic *ic, void **reports, rank_t rank)
{
    static const char prefix[] = "partita: ";
    char text[sizeof((struct set_up_report *)0)->text];

    memcpy(text, ((const struct set_up_report *)reports[rank])->text, sizeof text);
    text[sizeof text - 1] = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
        if (!was_said(reports, rank, line, (size_t)(end - line)))
            sim_info("%s: %s", ic_rank_name(ic, rank),
                     strncmp(line, prefix, sizeof prefix - 1) ? line : line + sizeof prefix - 1);
}

static enum sim_status judge_reports(struct ic *ic, void **reports, const uint32_t *lens)
{
    enum sim_status status = SIM_OK;

    for (rank_t i = 0; i < ic_nr_ranks(ic); i++) {
        struct set_up_report *report = reports[i];
        if (lens[i] != sizeof *report) {
            sim_error("%s told how it was set up in %u bytes", ic_rank_name(ic, i), lens[i]);
            return SIM_ERR_FORMAT;
        }
        report->text[sizeof report->text - 1] = 0;
        if (status == SIM_OK)
            status = (enum sim_status)report->status;
        if (ic_rank(ic) == 0 && i)
            repeat_new_lines(ic, reports, i);
    }
    return status;
}

/* Collective: the status of the first rank that failed. Rank 0 has written its own messages. */
static enum sim_status exchange(struct ic *ic, enum sim_status status, const struct sim_log_kept *kept)
{
    rank_t nr = ic_nr_ranks(ic);
    struct set_up_report *mine = sim_new(struct set_up_report);
    void **all = sim_new_array(void *, (size_t)nr);
    uint32_t *lens = sim_new_array(uint32_t, (size_t)nr);

    mine->status = status;
    memcpy(mine->text, kept->text, sizeof mine->text);
    enum sim_status gathered = ic_gather(ic, mine, sizeof *mine, all, lens);
    if (gathered == SIM_OK) {
        status = judge_reports(ic, all, lens);
        ic_gather_free(ic, all);
    } else if (status == SIM_OK) {
        status = gathered;
    }
    sim_free(lens);
    sim_free(all);
    sim_free(mine);
    return status;
}

enum sim_status ranks_set_up_end(struct ranks *r, enum sim_status status)
{
    sim_log_keep_end();
    return exchange(r->ic, status, &r->kept);
}

enum sim_status ranks_meet(struct ic *ic, enum sim_status status, const struct sim_log_kept *said)
{
    enum sim_status met = ic_agree(ic, NULL, 0); /* another version tells other things */

    if (ic_rank(ic) == 0)
        sim_log_write_kept(said);
    return met == SIM_OK ? exchange(ic, status, said) : met;
}
