/* Scalars with a meaning. Host pointers stay pointers; guest addresses are never pointers. */
#ifndef SIM_CORE_TYPES_H
#define SIM_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t;   /* guest-physical address */
typedef uint64_t gva_t;   /* guest-virtual address */
typedef uint64_t vtime_t; /* guest time in nanoseconds since the machine started */
typedef int32_t rank_t;   /* MPI rank */

#define VTIME_NEVER UINT64_MAX

#define GUEST_PAGE_BITS 12
#define GUEST_PAGE_SIZE (1ull << GUEST_PAGE_BITS)
#define GUEST_PAGE_MASK (~(GUEST_PAGE_SIZE - 1))

#endif
