/* Sharing the cores of a host: mpirun may have bound each rank to cores of its own, or to sockets, or not at
 * all, and containers may overlap.
 *
 *   core -> class: the set of members that may use it (nearly always one class, or one per member)
 *        -> classes with few takers first: each gives its cores one by one to whom lacks most
 *        -> runs of neighbouring cores, in the members' order */
#include "core_split.h"

#include <string.h>

#include "sim-core/alloc.h"

/* Cores that the same members may use. */
struct core_class {
    uint64_t *members; /* bit set */
    uint32_t nr_members;
    uint32_t *core; /* ids, ascending */
    uint32_t nr_cores, room;
};

struct splitter {
    struct core_member *member;
    uint32_t nr_members, words;
    struct core_class *class;
    uint32_t nr_classes;
    uint32_t *cursor; /* by member: the next core of its topology */
};

static bool has_member(const uint64_t *set, uint32_t i)
{
    return set[i / 64] >> (i % 64) & 1;
}

/* The members that may use core `id`; ids are asked for in ascending order. */
static uint32_t members_of(struct splitter *s, uint32_t id, uint64_t *set)
{
    uint32_t n = 0;

    memset(set, 0, s->words * sizeof(set[0]));
    for (uint32_t i = 0; i < s->nr_members; i++) {
        const struct part_topology *t = s->member[i].topology;
        if (s->cursor[i] >= t->nr_cores || t->core[s->cursor[i]].id != id)
            continue;
        s->cursor[i]++;
        set[i / 64] |= 1ull << (i % 64);
        n++;
    }
    return n;
}

static struct core_class *class_of(struct splitter *s, const uint64_t *set, uint32_t nr_members)
{
    size_t bytes = s->words * sizeof(set[0]);

    for (uint32_t i = 0; i < s->nr_classes; i++)
        if (memcmp(s->class[i].members, set, bytes) == 0)
            return &s->class[i];
    s->class = sim_realloc(s->class, (s->nr_classes + 1) * sizeof(s->class[0]));
    struct core_class *c = &s->class[s->nr_classes++];
    *c = (struct core_class){.members = sim_zalloc(bytes), .nr_members = nr_members};
    memcpy(c->members, set, bytes);
    return c;
}

static void class_add(struct core_class *c, uint32_t id)
{
    if (c->nr_cores == c->room) {
        c->room = c->room ? c->room * 2 : 16;
        c->core = sim_realloc(c->core, c->room * sizeof(c->core[0]));
    }
    c->core[c->nr_cores++] = id;
}

static void classify(struct splitter *s, uint32_t nr_ids)
{
    uint64_t *set = sim_new_array(uint64_t, s->words);

    for (uint32_t id = 0; id < nr_ids; id++) {
        uint32_t n = members_of(s, id, set);
        if (n)
            class_add(class_of(s, set, n), id);
    }
    sim_free(set);
}

/* Does a lack a core more than b? Who has none first, then whose next core is the smaller part of its due. */
static bool lacks_more(const struct core_member *a, const struct core_member *b)
{
    if ((a->nr == 0) != (b->nr == 0))
        return a->nr == 0;
    return (uint64_t)(a->nr + 1) * b->weight < (uint64_t)(b->nr + 1) * a->weight;
}

static struct core_member *neediest(const struct splitter *s, const struct core_class *c)
{
    struct core_member *found = NULL;

    for (uint32_t i = 0; i < s->nr_members; i++) {
        struct core_member *m = &s->member[i];
        if (has_member(c->members, i) && m->nr < m->limit && (!found || lacks_more(m, found)))
            found = m;
    }
    return found;
}

/* Counts first, then runs of neighbours. */
static void share_class(struct splitter *s, const struct core_class *c, uint32_t *owner)
{
    uint32_t *before = sim_new_array(uint32_t, s->nr_members);
    struct core_member *m;
    uint32_t next = 0;

    for (uint32_t i = 0; i < s->nr_members; i++)
        before[i] = s->member[i].nr;
    for (uint32_t n = 0; n < c->nr_cores && (m = neediest(s, c)); n++)
        m->nr++;
    for (uint32_t i = 0; i < s->nr_members; i++)
        for (uint32_t n = before[i]; n < s->member[i].nr; n++)
            owner[c->core[next++]] = i;
    sim_free(before);
}

/* Classes with few takers first, so that a rank which is free to choose leaves them their only cores. */
static void share_classes(struct splitter *s, uint32_t *owner)
{
    for (uint32_t takers = 1; takers <= s->nr_members; takers++)
        for (uint32_t i = 0; i < s->nr_classes; i++)
            if (s->class[i].nr_members == takers)
                share_class(s, &s->class[i], owner);
}

/* Gives all members of a class the lowest group among them; true when that changed something. */
static bool join_class(struct splitter *s, const struct core_class *c)
{
    uint32_t lowest = PART_NONE;
    bool changed = false;

    for (uint32_t i = 0; i < s->nr_members; i++)
        if (has_member(c->members, i) && s->member[i].group < lowest)
            lowest = s->member[i].group;
    for (uint32_t i = 0; i < s->nr_members; i++) {
        if (has_member(c->members, i) && s->member[i].group != lowest) {
            s->member[i].group = lowest;
            changed = true;
        }
    }
    return changed;
}

static void find_groups(struct splitter *s)
{
    bool changed = true;

    for (uint32_t i = 0; i < s->nr_members; i++)
        s->member[i].group = i;
    while (changed) {
        changed = false;
        for (uint32_t i = 0; i < s->nr_classes; i++)
            changed |= join_class(s, &s->class[i]);
    }
}

static uint32_t count_ids(const struct core_member *member, uint32_t nr_members)
{
    uint32_t nr_ids = 0;

    for (uint32_t i = 0; i < nr_members; i++) {
        const struct part_topology *t = member[i].topology;
        if (t->nr_cores && t->core[t->nr_cores - 1].id >= nr_ids)
            nr_ids = t->core[t->nr_cores - 1].id + 1;
    }
    return nr_ids;
}

void core_split_make(struct core_member *member, uint32_t nr_members, struct core_split *out)
{
    struct splitter s = {.member = member,
                         .nr_members = nr_members,
                         .words = (nr_members + 63) / 64,
                         .cursor = sim_new_array(uint32_t, nr_members)};

    out->nr_ids = count_ids(member, nr_members);
    out->owner = sim_new_array(uint32_t, out->nr_ids);
    for (uint32_t id = 0; id < out->nr_ids; id++)
        out->owner[id] = PART_NONE;
    for (uint32_t i = 0; i < nr_members; i++)
        member[i].nr = 0;
    classify(&s, out->nr_ids);
    share_classes(&s, out->owner);
    find_groups(&s);
    for (uint32_t i = 0; i < s.nr_classes; i++) {
        sim_free(s.class[i].members);
        sim_free(s.class[i].core);
    }
    sim_free(s.class);
    sim_free(s.cursor);
}

void core_split_fini(struct core_split *s)
{
    sim_free(s->owner);
    *s = (struct core_split){0};
}
