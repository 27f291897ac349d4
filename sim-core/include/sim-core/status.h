/* Result of an operation that can fail for a reason outside the program (configuration, I/O, peer).
 *
 * Guest events (page fault, illegal instruction) are never a status, and our own bugs are SIM_BUG_ON.
 * The first function that detects a failure logs it with sim_error(), naming the object; callers
 * only forward it with SIM_TRY. */
#ifndef SIM_CORE_STATUS_H
#define SIM_CORE_STATUS_H

#include "sim-core/compiler.h"

#define SIM_STATUS_LIST(X)                                                                         \
    X(SIM_OK, 0, "ok")                                                                             \
    X(SIM_INPROGRESS, 1, "in progress")                                                            \
    X(SIM_ERR_NOMEM, -1, "out of memory")                                                          \
    X(SIM_ERR_INVALID, -2, "invalid argument or configuration")                                    \
    X(SIM_ERR_IO, -3, "input/output error")                                                        \
    X(SIM_ERR_FORMAT, -4, "malformed data")                                                        \
    X(SIM_ERR_UNSUPPORTED, -5, "not supported")                                                    \
    X(SIM_ERR_NOTFOUND, -6, "not found")                                                           \
    X(SIM_ERR_BUSY, -7, "busy")                                                                    \
    X(SIM_ERR_RANGE, -8, "out of range")

#define SIM_STATUS_ENUM(name, value, text) name = (value),
enum sim_status { SIM_STATUS_LIST(SIM_STATUS_ENUM) };
#undef SIM_STATUS_ENUM

/* The text of a status; a static string. Context: any. */
const char *sim_status_text(enum sim_status status);

#define SIM_TRY(expr)                                                                              \
    do {                                                                                           \
        enum sim_status sim_try_status_ = (expr);                                                  \
        if (sim_try_status_ != SIM_OK)                                                             \
            return sim_try_status_;                                                                \
    } while (0)

#endif
