/* The contract between a benchmark kernel and what runs it (bare/runtime.c or linux/main.c).
 *
 * A kernel is one file in kernels/ (portable), bare/ (uses supervisor features) or linux/ (uses
 * system calls). Its file name is its name and the part before the first '_' is its class: int, fp,
 * mem (streaming), chase (latency), sys (atomics, traps, paging). It keeps all writable state in the arena or on
 * the stack, so several harts can run it at once, and returns a checksum of everything it computed:
 * emulators must agree on it, and the compiler cannot drop the work. */
#ifndef PERF_H
#define PERF_H

#include <stddef.h>
#include <stdint.h>

struct perf_env {
    unsigned char *arena; /* zeroed before run */
    size_t size;
    size_t used;
    unsigned hart; /* 0 .. harts - 1 */
    unsigned harts;
};

typedef uint64_t perf_fn(struct perf_env *env);

struct perf_kernel {
    const char *name;
    perf_fn *run;
    unsigned rounds; /* under bare/runtime.c: so often in a row, measured as one; 0 is 1 */
};

/* Each kernel file defines exactly one function with PERF_KERNEL; the build says which name it has. */
#define PERF_KERNEL(env) uint64_t PERF_NAME(struct perf_env *env)

/* Never fails: a kernel that asks for more than the arena is a bug that the alignment trap shows. */
static inline void *perf_alloc(struct perf_env *env, size_t bytes)
{
    size_t at = (env->used + 63) & ~(size_t)63;
    if (at + bytes > env->size)
        __builtin_trap();
    env->used = at + bytes;
    return env->arena + at;
}

/* splitmix64: the kernels' only source of data, the same everywhere. */
static inline uint64_t perf_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Folds a value into a checksum. */
static inline uint64_t perf_mix(uint64_t sum, uint64_t value)
{
    sum ^= value + 0x9e3779b97f4a7c15u + (sum << 6) + (sum >> 2);
    return sum;
}

static inline uint64_t perf_bits(double value)
{
    uint64_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Hides a value from the optimiser, so that a repeated computation is repeated. */
#define PERF_OPAQUE(var) __asm__ volatile("" : "+r"(var))
#define PERF_CLOBBER() __asm__ volatile("" ::: "memory")

#endif
