/* SBI calls of the demo guest. */
#ifndef DEMO_SBI_H
#define DEMO_SBI_H

#include <stdint.h>

struct sbi_result {
    long error, value;
};

static inline struct sbi_result sbi_call(unsigned long ext, unsigned long fn, unsigned long arg0,
                                         unsigned long arg1, unsigned long arg2)
{
    register unsigned long a0 __asm__("a0") = arg0;
    register unsigned long a1 __asm__("a1") = arg1;
    register unsigned long a2 __asm__("a2") = arg2;
    register unsigned long a6 __asm__("a6") = fn;
    register unsigned long a7 __asm__("a7") = ext;

    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(long)a0, (long)a1};
}

enum {
    SBI_BASE = 0x10,
    SBI_BASE_SPEC_VERSION = 0,
    SBI_IPI = 0x735049,
    SBI_HSM = 0x48534d,
    SBI_SRST = 0x53525354,
    SBI_DBCN = 0x4442434e,
    SBI_ALL_HARTS = -1
};

#endif
