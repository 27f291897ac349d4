/* Guest-virtual memory for onlookers: nothing is changed by looking, no accessed bit, no TLB, no device. */
#ifndef CPU_OBSERVE_PEEK_H
#define CPU_OBSERVE_PEEK_H

#include "hart.h"

/* Where va is for loads of the hart; false: not mapped. Permissions are not looked at. */
bool rv_peek_address(const struct rv_hart *h, gva_t va, gpa_t *gpa);
/* Copies RAM; false: not all of it is there. */
bool rv_peek(const struct rv_hart *h, gva_t va, void *buf, size_t len);

#endif
