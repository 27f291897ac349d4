/* Much straight code with branches: a function of `blocks` blocks of 16 instructions, each a little different. */
#ifndef COLD_H
#define COLD_H

#include "perf.h"

/* a0: 4 KiB of memory, a1: a seed; returns a mix of both. */
#define COLD_CODE(name, blocks)                                                                    \
    uint64_t name(uint64_t *memory, uint64_t seed);                                                \
    __asm__(".text\n.balign 4096\n.globl " #name "\n" #name ":\n"                                  \
            "mv a2, a1\nli a3, 1\n.set cold_n, 0\n"                                                \
            ".rept " #blocks "\n"                                                                  \
            "addi a2, a2, cold_n % 2000\nslli a4, a2, 1 + cold_n % 31\nsrli a5, a2, 3\n"           \
            "xor a2, a4, a5\nsd a2, 8 * (cold_n % 200)(a0)\nld a4, 8 * (cold_n % 190)(a0)\n"       \
            "addw a5, a4, a3\nadd a3, a3, a5\nandi a4, a2, 1 + cold_n % 7\nbnez a4, 1f\n"          \
            "addi a3, a3, 5\nsub a2, a2, a4\n"                                                     \
            "1: mul a4, a3, a2\nlw a5, 4 * (cold_n % 500)(a0)\nor a3, a3, a4\nadd a2, a2, a5\n"    \
            ".set cold_n, cold_n + 1\n.endr\n"                                                     \
            "add a0, a2, a3\nret\n")

#endif
