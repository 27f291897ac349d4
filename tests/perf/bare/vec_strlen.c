/* strlen of long and short strings: fault-only-first loads, compare, find first. */
#include "vec.h"

enum { TEXT = 40000, ROUNDS = 1000 };

static size_t length(const char *s)
{
    const char *p = s;
    size_t vl, first;

    __asm__ volatile(VEC("1: vsetvli %1, zero, e8, m8, ta, ma\n"
                         "vle8ff.v v8, (%0)\n"
                         "csrr %1, vl\n"
                         "vmseq.vi v0, v8, 0\n"
                         "vfirst.m %2, v0\n"
                         "add %0, %0, %1\n"
                         "bltz %2, 1b\n"
                         "sub %0, %0, %1\n"
                         "add %0, %0, %2")
                     : "+r"(p), "=&r"(vl), "=&r"(first)::"memory");
    return (size_t)(p - s);
}

PERF_KERNEL(env)
{
    char *text = perf_alloc(env, TEXT + 2048);
    uint64_t seed = 55, sum = 0;

    for (unsigned i = 0; i < TEXT; i++)
        text[i] = (char)(1 + perf_random(&seed) % 255);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t end = TEXT - round % 777, at = round % 64;
        char was = text[end];
        text[end] = 0;
        sum = perf_mix(sum, length(text + at));
        text[end] = was;
        for (unsigned i = 0; i < 20; i++) {
            at = perf_random(&seed) % (TEXT - 400);
            end = at + perf_random(&seed) % 300;
            was = text[end];
            text[end] = 0;
            sum = perf_mix(sum, length(text + at));
            text[end] = was;
        }
    }
    return sum;
}
