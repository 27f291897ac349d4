/* PLACE frames: who the ranks of the target are, and whose memory is whose. */
#include "migrate_target.h"

#include <stdlib.h>
#include <string.h>

#include "partition/plan.h"
#include "sim-core/alloc.h"

enum { MAX_ADDRESS = 4096 };

struct place {
    uint32_t rank, nr_ranks, nr_ranges, reserved;
    uint64_t range[]; /* pairs of first and number; then the address */
};

/* "": as dialled; "tcp::PORT": another port of the host that was dialled. */
static char *complete(const char *address, const char *dialled)
{
    const char *port = dialled ? strrchr(dialled, ':') : NULL;

    if (!*address && dialled)
        return sim_strdup(dialled);
    if (port && strncmp(dialled, "tcp:", 4) == 0 && strncmp(address, "tcp::", 5) == 0)
        return sim_asprintf("%.*s:%s", (int)(port - dialled), dialled, address + 5);
    return sim_strdup(address);
}

static int by_first(const void *a, const void *b)
{
    const struct migrate_home *x = a, *y = b;

    return (x->first > y->first) - (x->first < y->first);
}

static void add_homes(struct migrate_target *t, const struct place *p)
{
    t->home = sim_realloc(t->home, (t->nr_homes + p->nr_ranges + 1) * sizeof t->home[0]);
    for (uint32_t i = 0; i < p->nr_ranges; i++)
        t->home[t->nr_homes++] = (struct migrate_home){p->range[2 * i], p->range[2 * i + 1], p->rank};
    qsort(t->home, t->nr_homes, sizeof t->home[0], by_first);
}

static bool makes_sense(const struct migrate_target *t, const struct place *p, uint32_t len, uint32_t *text)
{
    if (len < sizeof *p || p->nr_ranges > (len - sizeof *p) / (2 * sizeof p->range[0]))
        return false;
    *text = (uint32_t)(sizeof *p + p->nr_ranges * 2 * sizeof p->range[0]);
    return p->nr_ranks && p->nr_ranks <= PART_MAX_RANKS && p->rank < p->nr_ranks && len - *text < MAX_ADDRESS &&
           (!t->nr_ranks || (p->nr_ranks == t->nr_ranks && !t->address[p->rank]));
}

enum sim_status migrate_target_add(struct migrate_target *t, const void *data, uint32_t len, const char *dialled)
{
    struct place *p = sim_zalloc(len + sizeof *p); /* aligned */
    uint32_t text = 0;

    memcpy(p, data, len);
    bool good = makes_sense(t, p, len, &text);
    if (good) {
        if (!t->nr_ranks)
            t->address = sim_new_array(char *, p->nr_ranks);
        t->nr_ranks = p->nr_ranks;
        char *address = sim_asprintf("%.*s", (int)(len - text), (const char *)p + text);
        t->address[p->rank] = complete(address, dialled);
        sim_free(address);
        add_homes(t, p);
    }
    sim_free(p);
    return good ? SIM_OK : SIM_ERR_FORMAT;
}

bool migrate_target_is_complete(const struct migrate_target *t)
{
    for (uint32_t i = 0; i < t->nr_ranks; i++)
        if (!t->address[i])
            return false;
    return t->nr_ranks != 0;
}

void *migrate_target_encode(const struct migrate_target *t, uint32_t rank, uint32_t *len)
{
    const char *address = t->address[rank] ? t->address[rank] : "";
    size_t text = sizeof(struct place) + t->nr_homes * 2 * sizeof(uint64_t);
    struct place *p = sim_zalloc(text + strlen(address) + 1);

    p->rank = rank;
    p->nr_ranks = t->nr_ranks;
    for (uint32_t i = 0; i < t->nr_homes; i++) {
        if (t->home[i].rank != rank)
            continue;
        p->range[2 * p->nr_ranges] = t->home[i].first;
        p->range[2 * p->nr_ranges++ + 1] = t->home[i].nr;
    }
    text = sizeof *p + p->nr_ranges * 2 * sizeof p->range[0];
    memcpy((char *)p + text, address, strlen(address));
    *len = (uint32_t)(text + strlen(address));
    return p;
}

uint32_t migrate_target_home(const struct migrate_target *t, uint64_t block)
{
    uint32_t low = 0, high = t->nr_homes;

    while (low < high) { /* the first that begins behind the block */
        uint32_t mid = low + (high - low) / 2;
        if (t->home[mid].first <= block)
            low = mid + 1;
        else
            high = mid;
    }
    return low && block - t->home[low - 1].first < t->home[low - 1].nr ? t->home[low - 1].rank : 0;
}

void migrate_target_fini(struct migrate_target *t)
{
    for (uint32_t i = 0; i < t->nr_ranks; i++)
        sim_free(t->address[i]);
    sim_free(t->address);
    sim_free(t->home);
    *t = (struct migrate_target){0};
}
