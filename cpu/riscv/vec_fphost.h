/* Vector floating point by the host's FPU: the arithmetic of vec_fp.c where the host has the rounding mode.
 *
 * C under a control word of its own (ir/backend.h): what the caller's holds (in helpers of translated code it is the
 * guest's) comes back untouched, and the flags that were raised are returned. */
#ifndef CPU_RISCV_VEC_FPHOST_H
#define CPU_RISCV_VEC_FPHOST_H

#include "softfloat.h"
#include "vec.h"

enum vec_fphost {
    VEC_HOST_NONE, VEC_HOST_ADD, VEC_HOST_SUB, VEC_HOST_RSUB, VEC_HOST_MUL, VEC_HOST_DIV, VEC_HOST_RDIV, VEC_HOST_SQRT,
    VEC_HOST_MACC, VEC_HOST_NMACC, VEC_HOST_MSAC, VEC_HOST_NMSAC, VEC_HOST_MADD, VEC_HOST_NMADD, VEC_HOST_MSUB,
    VEC_HOST_NMSUB,
    /* from 32 to 64 bits, _W: vs2 of 64 */
    VEC_HOST_WADD, VEC_HOST_WSUB, VEC_HOST_WADD_W, VEC_HOST_WSUB_W, VEC_HOST_WMUL, VEC_HOST_WMACC, VEC_HOST_WNMACC,
    VEC_HOST_WMSAC, VEC_HOST_WNMSAC, VEC_HOST_COUNT
};

/* Elements of `size` (VEC_32, VEC_64); false: not with this rounding mode, or too few to pay: nothing was done.
 * *nan: some result is a NaN, out and flags are good for nothing. */
bool vec_fphost(enum vec_fphost op, unsigned size, const struct vec *c, void *out, const void *a, const void *b,
                const void *d, enum sf_round rm, unsigned *flags, bool *nan);
/* *acc = *acc + a[n] for the active elements, in order; likewise. */
bool vec_fphost_sum(unsigned size, const struct vec *c, const void *a, uint64_t *acc, enum sf_round rm, unsigned *flags,
                    bool *nan);

#endif
