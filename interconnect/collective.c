/* What all ranks do together at start and stop: gather, agree, barrier. Made of control messages, so that
 * every wait is bounded and names who is missing.
 *
 *   gather:  blob -> pieces -> all others; complete when every rank's blob is
 *   agree:   gather of the facts; everybody compares all with rank 0's, so all come to the same result
 *   barrier: ARRIVE to rank 0, RELEASE from it */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum {
    PIECE_BYTES = 8192, /* small enough to pass as one eager message */
    GATHER_MAX = 64 << 20,
    SPIN_NS = 50000,
    NAP_NS = 10000000,
    FACT_NAME = 40
};

struct collect {
    uint32_t round, total, offset, unused;
};

struct fact {
    char name[FACT_NAME];
    char value[sizeof((struct ic_fact *)0)->value];
};

/* --- waiting --- */

void ic_give_up(struct ic *ic)
{
    atomic_store_explicit(&ic->given_up, true, memory_order_release);
    ic_wake(ic);
}

enum sim_status ic_wait(struct ic *ic, bool (*done)(struct ic *ic), uint64_t deadline_ns)
{
    uint64_t now = sim_host_ns(), next_tick = now + IC_TICK_NS, quiet = now + SPIN_NS;

    for (;;) {
        if (atomic_load_explicit(&ic->a_rank_is_lost, memory_order_acquire) ||
            (atomic_load_explicit(&ic->given_up, memory_order_acquire) && !ic->leaving))
            return SIM_ERR_IO;
        if (done(ic))
            return SIM_OK;
        if (now >= deadline_ns)
            return SIM_INPROGRESS;
        if (now >= next_tick) {
            atomic_store_explicit(&ic->tick_due, true, memory_order_relaxed);
            next_tick = now + IC_TICK_NS;
        }
        unsigned handled = now < quiet ? ic_poll(ic) : ic_nap(ic, NAP_NS);
        now = sim_host_ns();
        if (handled)
            quiet = now + SPIN_NS;
    }
}

/* --- gather --- */

static struct ic_round *round_now(struct ic *ic)
{
    return &ic->round[ic->gathers & 1];
}

static void on_collect(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;
    const struct collect *c = data;

    if (len < sizeof *c || c->total > GATHER_MAX || c->offset > c->total ||
        len - sizeof *c > c->total - c->offset) {
        ic_lose(ic, from, "it sent a malformed piece of a gather");
        return;
    }
    struct ic_round *round = &ic->round[c->round & 1];
    struct ic_piece *piece = &round->piece[from];
    len -= (uint32_t)sizeof *c;
    if (!piece->data) {
        piece->data = sim_zalloc(c->total + 1u);
        piece->len = c->total;
    }
    if (piece->len != c->total || piece->got != c->offset) {
        ic_lose(ic, from, "it sent pieces of a gather that do not fit");
        return;
    }
    memcpy(piece->data + c->offset, c + 1, len);
    piece->got += len;
    if (piece->got == piece->len) {
        piece->complete = true;
        atomic_fetch_add_explicit(&round->complete, 1, memory_order_release);
    }
}

static bool gather_done(struct ic *ic)
{
    return atomic_load_explicit(&round_now(ic)->complete, memory_order_acquire) ==
           (uint32_t)ic->nr - 1;
}

static void send_pieces(struct ic *ic, const void *mine, uint32_t len)
{
    struct collect c = {.round = ic->gathers, .total = len};

    do {
        uint32_t n = len - c.offset < PIECE_BYTES ? len - c.offset : PIECE_BYTES;
        for (rank_t r = 0; r < ic->nr; r++)
            if (r != ic->rank)
                ic_send(ic, r, IC_CONTROL_COLLECT, &c, sizeof c, (const char *)mine + c.offset, n);
        c.offset += n;
    } while (c.offset < len);
}

/* "rank 1, rank 3 and 5 more" */
static void name_missing(struct ic *ic, char *text, size_t room)
{
    unsigned missing = 0;

    *text = 0;
    for (rank_t r = 0; r < ic->nr; r++) {
        size_t n = strlen(text);
        if (r == ic->rank || round_now(ic)->piece[r].complete || ++missing > 8)
            continue;
        snprintf(text + n, room - n, "%s%s", missing > 1 ? ", " : "", ic_rank_name(ic, r));
    }
    if (missing > 8)
        snprintf(text + strlen(text), room - strlen(text), " and %u more", missing - 8);
}

static enum sim_status start_failed(struct ic *ic)
{
    char text[1100];

    ic->disorderly = true;
    name_missing(ic, text, sizeof text);
    sim_error("%s did not show up within %.1f s of start-up: not running, or its host cannot be reached", text,
              (double)ic->config.start_timeout_ns / 1e9);
    return SIM_ERR_IO;
}

enum sim_status ic_gather(struct ic *ic, const void *mine, uint32_t len, void **out, uint32_t *lens)
{
    struct ic_round *round = round_now(ic);

    SIM_BUG_ON(len > GATHER_MAX, "gather of %u bytes", len);
    send_pieces(ic, mine, len);
    enum sim_status status = ic_wait(ic, gather_done, sim_host_ns() + ic->config.start_timeout_ns);
    if (status == SIM_INPROGRESS)
        return start_failed(ic);
    SIM_TRY(status);
    for (rank_t r = 0; r < ic->nr; r++) {
        struct ic_piece *piece = &round->piece[r];
        if (r == ic->rank) {
            piece->data = sim_zalloc(len + 1u);
            piece->len = len;
            if (len)
                memcpy(piece->data, mine, len);
        }
        out[r] = piece->data;
        lens[r] = piece->len;
        *piece = (struct ic_piece){0};
    }
    atomic_store_explicit(&round->complete, 0, memory_order_relaxed);
    ic->gathers++;
    return SIM_OK;
}

void ic_gather_free(struct ic *ic, void **out)
{
    for (rank_t r = 0; r < ic->nr; r++)
        sim_free(out[r]);
}

/* --- agree --- */

static unsigned own_facts(struct ic *ic, struct fact *f)
{
    static const union {
        uint16_t word;
        char byte[2];
    } order = {.word = 1};
    struct fact own[] = {{.name = "program version"},
                         {.name = "message layout"},
                         {.name = "byte order"},
                         {.name = "host page size"}};

    snprintf(own[0].value, sizeof own[0].value, "%s", ic->version);
    snprintf(own[1].value, sizeof own[1].value, "%u", IC_LAYOUT);
    snprintf(own[2].value, sizeof own[2].value, "%s", order.byte[0] ? "little-endian" : "big-endian");
    snprintf(own[3].value, sizeof own[3].value, "%ld", sysconf(_SC_PAGESIZE));
    if (f)
        memcpy(f, own, sizeof own);
    return SIM_ARRAY_LEN(own);
}

static const char *value_of(const struct fact *facts, uint32_t bytes, const char *name)
{
    for (uint32_t i = 0; i < bytes / sizeof *facts; i++)
        if (!strncmp(facts[i].name, name, FACT_NAME))
            return facts[i].value;
    return "nothing";
}

/* One rank's facts against rank 0's, with a message if `loud`: about the first difference only, because one that
 * is of another version differs in everything. */
static bool agrees(struct ic *ic, rank_t r, void **facts, const uint32_t *lens, bool loud)
{
    const struct fact *first = facts[0], *other = facts[r];

    for (uint32_t i = 0; i < lens[0] / sizeof *first; i++) {
        const char *theirs = value_of(other, lens[r], first[i].name);
        if (!strncmp(first[i].value, theirs, sizeof first[i].value))
            continue;
        if (loud)
            sim_error("%.*s: %s has %.*s, %s has %.*s; all ranks must have the same", FACT_NAME,
                      first[i].name, ic_rank_name(ic, 0), (int)sizeof first[i].value,
                      first[i].value, ic_rank_name(ic, r), (int)sizeof first[i].value, theirs);
        return false;
    }
    if (lens[r] != lens[0] && loud)
        sim_error("%s has %u facts to agree on, %s has %u", ic_rank_name(ic, 0),
                  (unsigned)(lens[0] / sizeof *first), ic_rank_name(ic, r),
                  (unsigned)(lens[r] / sizeof *first));
    return lens[r] == lens[0];
}

static enum sim_status compare_facts(struct ic *ic, const struct fact *facts, unsigned nr)
{
    void **all = sim_new_array(void *, ic->nr);
    uint32_t *lens = sim_new_array(uint32_t, ic->nr);
    enum sim_status status = ic_gather(ic, facts, (uint32_t)(nr * sizeof *facts), all, lens);

    if (status == SIM_OK) {
        for (rank_t r = 1; r < ic->nr && status == SIM_OK; r++)
            if (!agrees(ic, r, all, lens, ic->rank == 0))
                status = SIM_ERR_INVALID;
        ic_gather_free(ic, all);
    }
    sim_free(all);
    sim_free(lens);
    return status;
}

enum sim_status ic_agree(struct ic *ic, const struct ic_fact *facts, unsigned nr)
{
    unsigned own = own_facts(ic, NULL);
    struct fact *all = sim_new_array(struct fact, own + nr);

    own_facts(ic, all);
    for (unsigned i = 0; i < nr; i++) {
        snprintf(all[own + i].name, FACT_NAME, "%s", facts[i].name);
        snprintf(all[own + i].value, sizeof all[own + i].value, "%s", facts[i].value);
    }
    enum sim_status status = compare_facts(ic, all, own + nr);
    sim_free(all);
    SIM_TRY(status);
    return ic_clock_compare(ic);
}

/* --- barrier --- */

static void on_arrive(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;

    (void)from, (void)data, (void)len;
    atomic_fetch_add_explicit(&ic->arrived, 1, memory_order_release);
}

static void on_release(void *opaque, rank_t from, const void *data, uint32_t len)
{
    struct ic *ic = opaque;

    (void)from, (void)data, (void)len;
    atomic_fetch_add_explicit(&ic->released, 1, memory_order_release);
}

/* Nobody arrives at the next barrier before this one's release, so counting is enough. */
static bool all_arrived(struct ic *ic)
{
    return atomic_load_explicit(&ic->arrived, memory_order_acquire) ==
           ic->barriers * (uint32_t)(ic->nr - 1);
}

static bool is_released(struct ic *ic)
{
    return atomic_load_explicit(&ic->released, memory_order_acquire) == ic->barriers;
}

enum sim_status ic_barrier(struct ic *ic)
{
    ic->barriers++;
    if (ic->rank) {
        ic_send_small(ic, 0, IC_CONTROL_ARRIVE, NULL, 0);
        return ic_wait(ic, is_released, UINT64_MAX);
    }
    SIM_TRY(ic_wait(ic, all_arrived, UINT64_MAX));
    ic_broadcast(ic, IC_CONTROL_RELEASE, NULL, 0);
    return SIM_OK;
}

void ic_collective_init(struct ic *ic)
{
    for (unsigned i = 0; i < 2; i++)
        ic->round[i].piece = sim_new_array(struct ic_piece, ic->nr);
    ic_register(ic, IC_CONTROL_COLLECT, "gather", on_collect, ic);
    ic_register(ic, IC_CONTROL_ARRIVE, "barrier-arrive", on_arrive, ic);
    ic_register(ic, IC_CONTROL_RELEASE, "barrier-release", on_release, ic);
}

void ic_collective_fini(struct ic *ic)
{
    for (unsigned i = 0; i < 2; i++) {
        for (rank_t r = 0; r < ic->nr; r++)
            sim_free(ic->round[i].piece[r].data);
        sim_free(ic->round[i].piece);
    }
}
