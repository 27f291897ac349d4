/* One hart rewrites a function that the others call. They see an old or a new version, never a mixture,
 * and the new one after the writer says so. */
#include "hostile.h"

enum { VERSIONS = 1500 };

static uint32_t code[1024] __attribute__((aligned(4096)));
static volatile uint32_t announced;
static struct barrier ready, end;

/* li a0, version; ret */
static uint32_t version_word(uint32_t version)
{
    return 0x513 | (version & 0x7ff) << 20;
}

static void write_version(uint32_t version)
{
    for (unsigned at = 0; at < 1024; at += 16)
        __atomic_store_n(&code[at], version_word(version), __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    announced = version;
}

static uint32_t call(unsigned at)
{
    __asm__ volatile("fence.i" ::: "memory");
    return (uint32_t)((long (*)(void)) & code[at])();
}

static void reader(uint64_t hart)
{
    unsigned at = (unsigned)hart * 16;

    for (uint32_t before = 0; before < VERSIONS;) {
        before = announced;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < 30; i++) {
            uint32_t v = call(at);
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            uint32_t after = announced;
            expect(v >= before && v <= after + 1, 10 + hart);
            at = (at + 16) % 1024;
        }
    }
}

void guest_main(uint64_t hart)
{
    if (hart == 0)
        for (unsigned at = 0; at < 1024; at++)
            code[at] = at % 16 == 1 ? 0x8067 : version_word(0);
    barrier_wait(&ready, HARTS);
    if (hart)
        reader(hart);
    else
        for (uint32_t v = 1; v <= VERSIONS; v++) {
            write_version(v);
            for (unsigned i = 0; i < 200; i++)
                __asm__ volatile("" ::: "memory");
        }
    barrier_wait(&end, HARTS);
    if (hart == 0)
        guest_end(0);
}
