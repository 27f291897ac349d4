/* Register allocation: one host location per global for the whole region, temps scanned linearly in
 * their block over what the globals leave. The host's register file is data. */
#ifndef CPU_IR_ALLOC_H
#define CPU_IR_ALLOC_H

#include "ir.h"

/* Registers the allocator may hand out, best first. */
struct ir_regfile {
    uint8_t nr_int, nr_fp;
    uint8_t int_reg[16];
    uint8_t fp_reg[32];
};

#define IR_LOC_MEMORY 0xff /* globals: in the guest state; temps: in `slot` */
enum { IR_MAX_SLOTS = 64 };

struct ir_alloc {
    uint8_t global[IR_NR_GLOBALS]; /* host register or IR_LOC_MEMORY */
    uint8_t temp[IR_MAX_TEMPS];
    uint8_t slot[IR_MAX_TEMPS];    /* spill slot when temp[] is IR_LOC_MEMORY */
    uint64_t in_registers;         /* globals that have a host register */
    bool failed;                   /* more spilled temps than slots */
};

void ir_allocate(const struct ir_region *r, const struct ir_regfile *file, struct ir_alloc *out);

#endif
