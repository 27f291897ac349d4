/* Two levels of bits. */
#include "ready_set.h"

#include "sim-core/alloc.h"

static uint64_t bit(uint32_t n)
{
    return 1ull << (n % 64);
}

void ready_set_init(struct ready_set *s, uint32_t size)
{
    s->nr_words = size / 64 + 1;
    s->nr_tops = s->nr_words / 64 + 1;
    s->word = sim_zalloc(s->nr_words * sizeof(s->word[0]));
    s->top = sim_zalloc(s->nr_tops * sizeof(s->top[0]));
}

void ready_set_fini(struct ready_set *s)
{
    sim_free((void *)s->word);
    sim_free((void *)s->top);
}

bool ready_set_add(struct ready_set *s, uint32_t n)
{
    uint32_t w = n / 64;

    if (atomic_load_explicit(&s->word[w], memory_order_seq_cst) & bit(n))
        return false;
    uint64_t old = atomic_fetch_or_explicit(&s->word[w], bit(n), memory_order_seq_cst);
    /* B1: the word before the top; pairs with B2 */
    if (!(atomic_load_explicit(&s->top[w / 64], memory_order_seq_cst) & bit(w)))
        atomic_fetch_or_explicit(&s->top[w / 64], bit(w), memory_order_seq_cst);
    return !(old & bit(n));
}

void ready_set_remove(struct ready_set *s, uint32_t n)
{
    uint32_t w = n / 64;

    if (atomic_fetch_and_explicit(&s->word[w], ~bit(n), memory_order_seq_cst) & ~bit(n))
        return;
    atomic_fetch_and_explicit(&s->top[w / 64], ~bit(w), memory_order_seq_cst);
    /* B2: who added meanwhile may have seen the top still set; pairs with B1 */
    if (atomic_load_explicit(&s->word[w], memory_order_seq_cst))
        atomic_fetch_or_explicit(&s->top[w / 64], bit(w), memory_order_seq_cst);
}

void ready_set_take(struct ready_set *s, uint32_t n)
{
    atomic_fetch_and_explicit(&s->word[n / 64], ~bit(n), memory_order_seq_cst);
}

bool ready_set_has(const struct ready_set *s, uint32_t n)
{
    return atomic_load_explicit(&s->word[n / 64], memory_order_seq_cst) & bit(n);
}

/* The bits of v from n % 64 on. */
static uint64_t from(uint64_t v, uint32_t n)
{
    return v & (UINT64_MAX << (n % 64));
}

/* The first member of words [w, end). */
static uint32_t first_in(const struct ready_set *s, uint32_t w, uint32_t end)
{
    while (w < end) {
        uint64_t tops = from(atomic_load_explicit(&s->top[w / 64], memory_order_seq_cst), w);
        w &= ~63u;
        for (; tops; tops &= tops - 1) {
            uint32_t at = w + (uint32_t)__builtin_ctzll(tops);
            uint64_t v = at < end ? atomic_load_explicit(&s->word[at], memory_order_seq_cst) : 0;
            if (v)
                return at * 64 + (uint32_t)__builtin_ctzll(v);
        }
        w += 64;
    }
    return READY_NONE;
}

uint32_t ready_set_next(const struct ready_set *s, uint32_t n)
{
    uint32_t start = n + 1, w = start / 64; /* READY_NONE + 1 is 0 */

    if (w >= s->nr_words)
        return first_in(s, 0, s->nr_words);
    uint64_t v = from(atomic_load_explicit(&s->word[w], memory_order_seq_cst), start);
    if (v)
        return w * 64 + (uint32_t)__builtin_ctzll(v);
    uint32_t found = first_in(s, w + 1, s->nr_words);
    return found != READY_NONE ? found : first_in(s, 0, w + 1);
}
