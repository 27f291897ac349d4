/* Indirect calls through tables of functions, as object-oriented code makes them. */
#include "perf.h"

enum { OBJECTS = 512, ROUNDS = 9100 };

struct object;
struct ops {
    uint64_t (*area)(const struct object *o);
    void (*grow)(struct object *o, uint32_t by);
};
struct object {
    const struct ops *ops;
    uint32_t a, b;
};

static uint64_t square_area(const struct object *o)
{
    return (uint64_t)o->a * o->a;
}
static uint64_t box_area(const struct object *o)
{
    return (uint64_t)o->a * o->b;
}
static uint64_t triangle_area(const struct object *o)
{
    return (uint64_t)o->a * o->b / 2;
}
static uint64_t line_area(const struct object *o)
{
    return o->a ^ o->b;
}
static void grow_both(struct object *o, uint32_t by)
{
    o->a += by;
    o->b ^= by << 1;
}
static void grow_one(struct object *o, uint32_t by)
{
    o->b += by & 7;
}

static const struct ops kinds[] = {
    {square_area, grow_one}, {box_area, grow_both}, {triangle_area, grow_one}, {line_area, grow_both}};

PERF_KERNEL(env)
{
    struct object *o = perf_alloc(env, OBJECTS * sizeof *o);
    uint64_t seed = 11, sum = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        o[i] = (struct object){&kinds[perf_random(&seed) & 3], i, i * 3 + 1};
    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned i = 0; i < OBJECTS; i++) {
            o[i].ops->grow(&o[i], round & 31);
            sum += o[i].ops->area(&o[i]);
        }
    return sum;
}
