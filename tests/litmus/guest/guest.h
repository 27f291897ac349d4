/* What the guests of tests/litmus stand on. In M mode without firmware (start.S) all harts come to
 * guest_main; in S mode under the SBI (start_s.S) the boot hart does, and those that it starts at
 * hart_start. */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>

enum { GUEST_MAX_HARTS = 64, GUEST_PAGE = 4096 };
#define GUEST_PAGE_ALIGNED __attribute__((aligned(GUEST_PAGE)))

/* Harts come here when guest_harts and the options are known. */
void guest_main(unsigned hart);

/* Of the device tree; read-only after the start. */
extern unsigned guest_harts;

/* `name`=NUMBER or `name`=TEXT in the kernel command line (-append). */
uint64_t guest_option(const char *name, uint64_t otherwise);
const char *guest_option_text(const char *name); /* ends at a blank or 0; NULL when absent */

/* All harts: returns when all have called it. */
void guest_barrier(void);

/* %s %u (unsigned) %U (uint64_t) %x (uint64_t) %c. One hart at a time. */
void guest_print(const char *format, ...);

/* Ends the run: the emulator's exit code is `code`. */
__attribute__((noreturn)) void guest_end(unsigned code);

extern char _end[]; /* where free memory starts, page-aligned */

static inline uint64_t guest_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 32;
}

/* In S mode; the error, 0: none (SBI 3). */
static inline uint64_t guest_sbi(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                                 uint64_t a4)
{
    register uint64_t r0 __asm__("a0") = a0;
    register uint64_t r1 __asm__("a1") = a1;
    register uint64_t r2 __asm__("a2") = a2;
    register uint64_t r3 __asm__("a3") = a3;
    register uint64_t r4 __asm__("a4") = a4;
    register uint64_t r6 __asm__("a6") = function;
    register uint64_t r7 __asm__("a7") = extension;

    __asm__ volatile("ecall" : "+r"(r0), "+r"(r1) : "r"(r2), "r"(r3), "r"(r4), "r"(r6), "r"(r7) : "memory");
    return r0;
}

static inline void guest_pause(void)
{
    __asm__ volatile(".word 0x0100000f"); /* pause */
}

#endif
