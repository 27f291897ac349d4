/* Fences that a hart has yet to do: a short list that never runs over. A hart without a turn may be sent hundreds, one for
 * each page of a process that another hart copies: they become ranges of that address space.
 *
 *   one that a fence of the same address space touches: that one grows | room: a new one | else the one of that address space
 *   that grows least | else all that spare global pages become one, of every address space (RV_ASID_EACH), or the others one
 *
 * Fences may do too much, never too little: a range stands for all those that went into it. */
#include "hart.h"

struct span {
    uint64_t first, last;
};

static struct span span_of(const struct rv_fence_range *r)
{
    uint64_t last = r->va + (r->size - 1);

    if (r->size == UINT64_MAX || last < r->va)
        return (struct span){0, UINT64_MAX};
    return (struct span){r->va, last};
}

static struct span hull(struct span a, struct span b)
{
    return (struct span){a.first < b.first ? a.first : b.first, a.last > b.last ? a.last : b.last};
}

static void include(struct rv_fence_range *r, const struct rv_fence_range *other)
{
    struct span s = hull(span_of(r), span_of(other));

    r->va = s.first;
    r->size = s.first || s.last != UINT64_MAX ? s.last - s.first + 1 : UINT64_MAX;
}

/* Bytes that the range of the list stands for without need once the new one is in it. */
static uint64_t excess(const struct rv_fence_range *r, const struct rv_fence_range *added)
{
    struct span a = span_of(r), b = span_of(added);
    struct span low = a.first <= b.first ? a : b, high = a.first <= b.first ? b : a;

    return high.first <= low.last ? 0 : high.first - low.last - 1;
}

static bool spares_global(const struct rv_fence_range *r)
{
    return r->asid != RV_ASID_ANY;
}

/* All of one kind become the first of them. */
static void gather(struct rv_fence_range *list, uint32_t *nr, bool spare)
{
    struct rv_fence_range *first = NULL;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < *nr; i++) {
        if (spares_global(&list[i]) != spare) {
            list[kept++] = list[i];
        } else if (!first) {
            first = &list[kept];
            list[kept++] = list[i];
        } else {
            include(first, &list[i]);
        }
    }
    if (first && spare)
        first->asid = RV_ASID_EACH;
    *nr = kept;
}

static struct rv_fence_range *nearest(struct rv_fence_range *list, uint32_t nr, const struct rv_fence_range *r)
{
    struct rv_fence_range *best = NULL;

    for (uint32_t i = 0; i < nr; i++)
        if (list[i].asid == r->asid && (!best || excess(&list[i], r) < excess(best, r)))
            best = &list[i];
    return best;
}

void rv_fence_list_add(struct rv_fence_range *list, uint32_t *nr, const struct rv_fence_range *r)
{
    if (!r->size)
        return;
    struct rv_fence_range *near = nearest(list, *nr, r);

    if (near && (*nr == RV_FENCE_LIST || !excess(near, r))) {
        include(near, r);
        return;
    }
    for (unsigned spare = 2; spare-- > 0 && *nr == RV_FENCE_LIST;)
        gather(list, nr, spare);
    list[(*nr)++] = *r;
}
