/* -accel ENGINE[:ENGINE...]: which engine runs the vCPUs, and why not one named before it. */
#ifndef LAUNCH_ACCEL_H
#define LAUNCH_ACCEL_H

#include "config.h"

/* Takes the list's words; logs an unknown one. */
enum sim_status accel_parse(const char *option, const char *list, struct config *c) SIM_MUST_CHECK;
/* Sets c->jit and c->kvm: the first engine of the list (or the machine's default) that can run this machine on this
 * host. One that was passed over is said with its reason; that none is left is the error. Opens /dev/kvm only when KVM is
 * in the list, and not for --dump-config. */
enum sim_status accel_choose(struct config *c) SIM_MUST_CHECK;

#endif
