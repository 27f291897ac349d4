/* Compiler attributes and small helpers; the only header with compiler conditionals. */
#ifndef SIM_CORE_COMPILER_H
#define SIM_CORE_COMPILER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_LIKELY(x) __builtin_expect(!!(x), 1)
#define SIM_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SIM_NOINLINE __attribute__((noinline))
#define SIM_INLINE static inline __attribute__((always_inline))
#define SIM_COLD __attribute__((noinline, cold))
#define SIM_NORETURN __attribute__((noreturn))
#define SIM_MUST_CHECK __attribute__((warn_unused_result))
#define SIM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define SIM_ALIGNED(n) __attribute__((aligned(n)))
#define SIM_UNUSED __attribute__((unused))

#define SIM_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define SIM_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

static inline uint64_t sim_align_down(uint64_t v, uint64_t a)
{
    return v & ~(a - 1);
}

static inline uint64_t sim_align_up(uint64_t v, uint64_t a)
{
    return (v + a - 1) & ~(a - 1);
}

/* bits [lo, lo + n) of v; n < 64 */
static inline uint64_t sim_bits(uint64_t v, unsigned lo, unsigned n)
{
    return (v >> lo) & ((1ull << n) - 1);
}

/* the low n bits of v as a signed number; 1 <= n <= 64 */
static inline int64_t sim_sext(uint64_t v, unsigned n)
{
    return (int64_t)(v << (64 - n)) >> (64 - n);
}

/* 16-byte compare and swap, sequentially consistent; p is 16-byte aligned. On failure *expected gets
 * what was there. */
struct sim_u128 {
    uint64_t lo, hi;
};

static inline bool sim_cas_u128(void *p, struct sim_u128 *expected, struct sim_u128 desired)
{
#if defined(__x86_64__)
    bool done;

    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@cce"(done), "+m"(*(struct sim_u128 *)p), "+a"(expected->lo),
                       "+d"(expected->hi)
                     : "b"(desired.lo), "c"(desired.hi)
                     : "memory");
    return done;
#else
    return __atomic_compare_exchange((unsigned __int128 *)p, (unsigned __int128 *)expected,
                                     (unsigned __int128 *)&desired, 0, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
#endif
}

/* A sequentially consistent fence, for Dekker's "write mine, then look at yours". gcc's TSan does
 * not know fences and refuses them; an exchange on a private word is a full barrier on x86-64. */
static inline void sim_fence(void)
{
#if defined(__SANITIZE_THREAD__)
    atomic_int word = 0;

    atomic_exchange_explicit(&word, 1, memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

/* What this thread executes from here on is code as it is in memory now. A core may have fetched ahead of the load that told
 * it of another thread's patch; it starts afresh at a serializing instruction only. */
static inline void sim_sync_code(void)
{
#if defined(__x86_64__)
    uint64_t sp, word;

    /* iretq to the next instruction: CPUID serializes as well, but leaves a virtual machine. */
    __asm__ volatile("mov %%rsp, %0\n\t"
                     "sub $128, %%rsp\n\t" /* below the red zone */
                     "mov %%ss, %1\n\t"
                     "push %1\n\t"
                     "push %0\n\t"
                     "pushfq\n\t"
                     "mov %%cs, %1\n\t"
                     "push %1\n\t"
                     "lea 1f(%%rip), %1\n\t"
                     "push %1\n\t"
                     "iretq\n"
                     "1:"
                     : "=&r"(sp), "=&r"(word)
                     :
                     : "memory", "cc");
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* Between these two ThreadSanitizer does not look at this thread's accesses: for copies from and to guest
 * RAM, whose races are the guest's (mem/space.h). Nothing in other builds. */
#if defined(__SANITIZE_THREAD__)
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
#endif

static inline void sim_guest_races_begin(void)
{
#if defined(__SANITIZE_THREAD__)
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}

static inline void sim_guest_races_end(void)
{
#if defined(__SANITIZE_THREAD__)
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

/* Zeroes the bytes of *p that belong to no member (state.h). Compilers without the builtin leave them. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define SIM_CLEAR_PADDING(p) __builtin_clear_padding(p)
#endif
#endif
#ifndef SIM_CLEAR_PADDING
#define SIM_CLEAR_PADDING(p) ((void)(p))
#endif

/* a hint to the host that this thread spins */
static inline void sim_cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
