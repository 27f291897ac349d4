/* A bitmap of what is to be sent for each space, and words of it that become frames. */
#include "checkpoint/sender.h"

#include <string.h>

#include "bitmap.h"
#include "format.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "sim-core/pages.h"

enum { WORD_BLOCKS = 64, DEMAND_BLOCKS = 16 /* neighbours that come with a demanded block */ };

struct space {
    struct ckpt_source source;
    bitmap_word *todo; /* by local block; only the sending thread changes it */
    uint64_t nr_words;
};

/* Owner: the sending thread. */
struct ckpt_sender {
    struct ckpt_sender_config config;
    struct space *space;
    unsigned nr;
    uint64_t pending;
    unsigned at_space; /* where push goes on */
    uint64_t at_word;
    _Atomic uint64_t blocks, zeros;
    uint8_t buf[WORD_BLOCKS * FORMAT_BLOCK];
};

static uint64_t word_of(const struct space *sp, uint64_t word)
{
    return atomic_load_explicit(&sp->todo[word], memory_order_relaxed);
}

/* --- places --- */

static bool is_ours(const struct ckpt_source *source, uint64_t local)
{
    return !source->owns || source->owns(source->opaque, local);
}

static uint64_t block_of(const struct space *sp, uint64_t local)
{
    const struct ckpt_range *r = ckpt_range_of_local(&sp->source, local);

    return r->block + (local - r->local);
}

static unsigned route(const struct ckpt_sender *s, const struct space *sp, uint64_t block)
{
    return s->config.route ? s->config.route(s->config.opaque, (unsigned)(sp - s->space), block) : 0;
}

/* Does the next local block belong to the same frame? */
static bool is_next(const struct ckpt_sender *s, const struct space *sp, uint64_t local)
{
    if (ckpt_range_of_local(&sp->source, local) != ckpt_range_of_local(&sp->source, local + 1))
        return false;
    uint64_t block = block_of(sp, local);
    return route(s, sp, block) == route(s, sp, block + 1);
}

static enum sim_status send_frame(struct ckpt_sender *s, const struct space *sp, struct ckpt_frame *f, uint64_t block)
{
    unsigned stream = route(s, sp, block);

    f->space = (uint16_t)(sp - s->space);
    if (s->config.done && s->config.done[stream])
        return SIM_OK;
    return ckpt_stream_send(s->config.stream[stream], f);
}

/* --- marking --- */

static void add(struct ckpt_sender *s, struct space *sp, uint64_t local)
{
    if (ckpt_range_of_local(&sp->source, local) &&
        bitmap_claim(sp->todo, local / WORD_BLOCKS, 1ull << (local % WORD_BLOCKS)))
        s->pending++;
}

static bool may_be_dirty(const struct ckpt_source *source, uint64_t local)
{
    return !source->is_dirty || source->is_dirty(source->opaque, local);
}

static void mark_dirty(struct ckpt_sender *s, struct space *sp)
{
    const struct ckpt_source *source = &sp->source;

    /* The mark of another's block stays: it may be the one that comes before the block. */
    for (uint64_t i = 0; i < source->nr_blocks; i++)
        if (may_be_dirty(source, i) && is_ours(source, i) && source->take_dirty(source->opaque, i))
            add(s, sp, i);
}

/* Blocks where a sparse space has data, or that the space owns. */
static void mark_data(struct ckpt_sender *s, struct space *sp)
{
    const struct ckpt_source *source = &sp->source;
    uint64_t end = source->sparse ? 0 : source->nr_blocks;

    for (uint64_t i = 0; i < source->nr_blocks; i++) {
        if (i >= end) {
            end = source->nr_blocks;
            if (!ckpt_source_next_data(source, &i, &end))
                return;
        }
        if (is_ours(source, i))
            add(s, sp, i);
    }
}

/* Their new owners have marks of them. */
static void drop_others(struct ckpt_sender *s, struct space *sp)
{
    for (uint64_t w = 0; sp->source.owns && w < sp->nr_words; w++)
        for (uint64_t bits = word_of(sp, w); bits; bits &= bits - 1) {
            uint64_t local = w * WORD_BLOCKS + (unsigned)__builtin_ctzll(bits);
            if (is_ours(&sp->source, local))
                continue;
            atomic_fetch_and_explicit(&sp->todo[w], ~(1ull << (local % WORD_BLOCKS)), memory_order_relaxed);
            s->pending--;
        }
}

uint64_t ckpt_sender_mark(struct ckpt_sender *s, bool all)
{
    for (unsigned i = 0; i < s->nr; i++) {
        drop_others(s, &s->space[i]);
        mark_dirty(s, &s->space[i]);
        if (all)
            mark_data(s, &s->space[i]);
    }
    s->at_space = 0;
    s->at_word = 0;
    return s->pending;
}

uint64_t ckpt_sender_pending(const struct ckpt_sender *s)
{
    return s->pending;
}

/* --- sending --- */

static enum sim_status send_piece(struct ckpt_sender *s, const struct space *sp, uint64_t block, unsigned nr,
                                  const uint8_t *data)
{
    bool zero = sim_page_is_zero(data);
    struct ckpt_frame f = {.type = zero ? CKPT_FRAME_ZEROS : CKPT_FRAME_BLOCKS, .block = block, .nr = nr,
                           .len = zero ? 0 : nr * FORMAT_BLOCK, .payload = data};

    atomic_fetch_add_explicit(zero ? &s->zeros : &s->blocks, nr, memory_order_relaxed);
    return send_frame(s, sp, &f, block);
}

enum kind { KIND_BYTES, KIND_ZEROS, KIND_GONE };

/* Of a block that has been read. One that went to another owner meanwhile has a mark there. */
static enum kind kind_of(const struct ckpt_sender *s, const struct space *sp, uint64_t local, unsigned i)
{
    if (!is_ours(&sp->source, local + i))
        return KIND_GONE;
    return sim_page_is_zero(s->buf + i * FORMAT_BLOCK) ? KIND_ZEROS : KIND_BYTES;
}

/* Consecutive blocks of one range and route: as many frames as zeros and others alternate. */
static enum sim_status send_run(struct ckpt_sender *s, struct space *sp, uint64_t local, unsigned nr)
{
    uint64_t block = block_of(sp, local);

    SIM_TRY(ckpt_source_read(&sp->source, local, nr, s->buf, "migration"));
    enum kind kind = kind_of(s, sp, local, 0), next = kind;
    for (unsigned i = 0, n; i < nr; i += n, kind = next) {
        for (n = 1; i + n < nr && (next = kind_of(s, sp, local, i + n)) == kind;)
            n++;
        if (kind != KIND_GONE)
            SIM_TRY(send_piece(s, sp, block + i, n, s->buf + i * FORMAT_BLOCK));
    }
    return SIM_OK;
}

static bool continues(const struct ckpt_sender *s, const struct space *sp, uint64_t local, uint64_t bits, unsigned bit)
{
    return bit < WORD_BLOCKS && bits >> bit & 1 && is_next(s, sp, local);
}

/* Blocks that have been written since they were marked come again in any case: the next mark takes them. */
static uint64_t written_again(const struct space *sp, uint64_t word, uint64_t bits)
{
    uint64_t again = 0;

    for (uint64_t left = sp->source.is_dirty ? bits : 0; left; left &= left - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(left);
        if (sp->source.is_dirty(sp->source.opaque, word * WORD_BLOCKS + bit))
            again |= 1ull << bit;
    }
    return again;
}

/* Sends the blocks of `mask` in a word that are to be sent. */
static enum sim_status send_word(struct ckpt_sender *s, struct space *sp, uint64_t word, uint64_t mask)
{
    uint64_t bits = atomic_fetch_and_explicit(&sp->todo[word], ~mask, memory_order_relaxed) & mask;

    s->pending -= (uint64_t)__builtin_popcountll(bits);
    bits &= ~written_again(sp, word, bits);
    while (bits) {
        unsigned first = (unsigned)__builtin_ctzll(bits), n = 1;
        while (continues(s, sp, word * WORD_BLOCKS + first + n - 1, bits, first + n))
            n++;
        SIM_TRY(send_run(s, sp, word * WORD_BLOCKS + first, n));
        bits &= ~((n == WORD_BLOCKS ? UINT64_MAX : (1ull << n) - 1) << first);
    }
    return SIM_OK;
}

enum sim_status ckpt_sender_push(struct ckpt_sender *s, unsigned max)
{
    uint64_t before = s->pending;

    while (s->pending && before - s->pending < max) {
        struct space *sp = &s->space[s->at_space];
        if (s->at_word == sp->nr_words) {
            s->at_space = (s->at_space + 1) % s->nr;
            s->at_word = 0;
            continue;
        }
        SIM_TRY(send_word(s, sp, s->at_word, UINT64_MAX));
        s->at_word++;
    }
    return SIM_OK;
}

/* Pairs of one route. */
static enum sim_status send_missing(struct ckpt_sender *s, const struct space *sp, const uint64_t *pair, unsigned nr)
{
    struct ckpt_frame f = {
        .type = CKPT_FRAME_MISSING, .len = nr * 2 * sizeof *pair, .payload = (const uint8_t *)pair};

    return nr ? send_frame(s, sp, &f, pair[0]) : SIM_OK;
}

/* The length of the run of set bits from `local` on, within its range and route. */
static uint64_t run_length(const struct ckpt_sender *s, const struct space *sp, uint64_t local)
{
    uint64_t n = 1;

    while (local + n < sp->source.nr_blocks && bitmap_get(sp->todo, local + n) && is_next(s, sp, local + n - 1))
        n++;
    return n;
}

static enum sim_status missing_of(struct ckpt_sender *s, struct space *sp)
{
    enum { PAIRS = 4096 };
    uint64_t *pair = sim_new_array(uint64_t, 2 * PAIRS);
    enum sim_status status = SIM_OK;
    unsigned n = 0;

    for (uint64_t local = 0; local < sp->source.nr_blocks && status == SIM_OK;) {
        if (!word_of(sp, local / WORD_BLOCKS)) {
            local = (local / WORD_BLOCKS + 1) * WORD_BLOCKS;
            continue;
        }
        if (!bitmap_get(sp->todo, local)) {
            local++;
            continue;
        }
        uint64_t block = block_of(sp, local);
        if (n == PAIRS || (n && route(s, sp, pair[0]) != route(s, sp, block))) {
            status = send_missing(s, sp, pair, n);
            n = 0;
        }
        pair[2 * n] = block;
        pair[2 * n + 1] = run_length(s, sp, local);
        local += pair[2 * n++ + 1];
    }
    if (status == SIM_OK)
        status = send_missing(s, sp, pair, n);
    sim_free(pair);
    return status;
}

enum sim_status ckpt_sender_missing(struct ckpt_sender *s)
{
    for (unsigned i = 0; i < s->nr; i++)
        SIM_TRY(missing_of(s, &s->space[i]));
    return SIM_OK;
}

/* The demanded block's group, at once; blocks that have been sent are under way. */
static enum sim_status demand_block(struct ckpt_sender *s, struct space *sp, uint64_t block)
{
    const struct ckpt_range *r = ckpt_range_of_block(&sp->source, block);

    if (!r) {
        sim_error("migration: %s demands block %llu of '%s', which it has not",
                  ckpt_stream_peer(s->config.stream[0]), (unsigned long long)block, sp->source.name);
        return SIM_ERR_FORMAT;
    }
    uint64_t local = r->local + (block - r->block);
    unsigned bit = (unsigned)(local % WORD_BLOCKS) / DEMAND_BLOCKS * DEMAND_BLOCKS;
    if (!bitmap_get(sp->todo, local))
        return SIM_OK;
    return send_word(s, sp, local / WORD_BLOCKS, ((1ull << DEMAND_BLOCKS) - 1) << bit);
}

enum sim_status ckpt_sender_demand(struct ckpt_sender *s, const struct ckpt_frame *f)
{
    if (f->space >= s->nr || f->nr > WORD_BLOCKS) {
        sim_error("migration: %s demands %u blocks of space %u: makes no sense",
                  ckpt_stream_peer(s->config.stream[0]), f->nr, f->space);
        return SIM_ERR_FORMAT;
    }
    for (uint32_t i = 0; i < f->nr; i++)
        SIM_TRY(demand_block(s, &s->space[f->space], f->block + i));
    return SIM_OK;
}

enum sim_status ckpt_sender_announce(struct ckpt_stream *stream, const struct ckpt_source *source, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        size_t len = sizeof(uint64_t) + strlen(source[i].name);
        uint8_t *payload = sim_zalloc(len);
        memcpy(payload, &(uint64_t){ckpt_range_end(&source[i])}, sizeof(uint64_t));
        memcpy(payload + sizeof(uint64_t), source[i].name, len - sizeof(uint64_t));
        enum sim_status status = ckpt_stream_send(
            stream, &(struct ckpt_frame){.type = CKPT_FRAME_SPACE, .len = (uint32_t)len, .payload = payload});
        sim_free(payload);
        SIM_TRY(status);
    }
    return SIM_OK;
}

void ckpt_sender_stats(const struct ckpt_sender *s, uint64_t *blocks, uint64_t *zeros)
{
    *blocks = atomic_load_explicit(&s->blocks, memory_order_relaxed);
    *zeros = atomic_load_explicit(&s->zeros, memory_order_relaxed);
}

/* --- life --- */

enum sim_status ckpt_sender_create(const struct ckpt_sender_config *config, struct ckpt_sender **out)
{
    struct ckpt_sender *s = sim_new(struct ckpt_sender);
    const struct ckpt_source *source = config->source;

    s->config = *config;
    s->config.source = NULL; /* copied */
    s->nr = config->nr;
    s->space = sim_new_array(struct space, s->nr);
    for (unsigned i = 0; i < s->nr; i++) {
        s->space[i] = (struct space){.source = source[i],
                                     .todo = bitmap_create(source[i].nr_blocks),
                                     .nr_words = (source[i].nr_blocks + WORD_BLOCKS - 1) / WORD_BLOCKS};
        if (!s->space[i].todo) {
            sim_error("migration: no memory for %llu blocks of '%s'", (unsigned long long)source[i].nr_blocks,
                      source[i].name);
            ckpt_sender_destroy(s);
            return SIM_ERR_NOMEM;
        }
    }
    *out = s;
    return SIM_OK;
}

void ckpt_sender_destroy(struct ckpt_sender *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->nr; i++)
        bitmap_destroy(s->space[i].todo, s->space[i].source.nr_blocks);
    sim_free(s->space);
    sim_free(s);
}
