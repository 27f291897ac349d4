/* rv_op_info: name, semantics, flags and access size of every op, from the generated rows. */
#include "exec.h"

#define RV_GEN_OP_INFO
#include "rv_decode.inc"
