/* For vector kernels (RVV 1.0, any VLEN): the compiler need not know of the extension, the assembler does.
 *
 * VEC(...) are the lines of an asm statement. Vector registers need not be named as clobbered: nothing else uses
 * them. */
#ifndef BARE_VEC_H
#define BARE_VEC_H

#include "perf.h"

#define VEC(text) ".option push\n .option arch, +v\n" text "\n .option pop"

#endif
