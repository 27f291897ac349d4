/* Code written, made visible by fence.i and run: a few hundred small functions, over and over. */
#include "bare.h"

enum { ROUNDS = 530, FUNCTIONS = 64, WORDS = 8 };

static uint32_t addi(unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | rd << 7 | 0x13;
}

static void write_function(uint32_t *code, int imm)
{
    for (unsigned i = 0; i < WORDS - 1; i++)
        code[i] = addi(10, 10, imm + (int)i);
    code[WORDS - 1] = 0x00008067; /* ret */
}

PERF_KERNEL(env)
{
    uint32_t *code = perf_alloc(env, FUNCTIONS * WORDS * sizeof *code);
    uint64_t sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned f = 0; f < FUNCTIONS; f++) {
            write_function(code + f * WORDS, (int)(round + f));
            __asm__ volatile("fence.i" ::: "memory");
            sum = ((uint64_t(*)(uint64_t))(void *)(code + f * WORDS))(sum) * 3;
        }
        for (unsigned i = 0; i < 100; i++)
            for (unsigned f = 0; f < FUNCTIONS; f++)
                sum = ((uint64_t(*)(uint64_t))(void *)(code + f * WORDS))(sum);
    }
    return sum;
}
