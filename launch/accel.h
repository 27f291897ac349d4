/* -accel ENGINE[:ENGINE...][,tier=T][,threshold=N][,hot=N]: which engine runs the vCPUs, and why not one named before it. */
#ifndef LAUNCH_ACCEL_H
#define LAUNCH_ACCEL_H

#include "config.h"
#include "keyval.h"

/* Takes the list's words; logs an unknown one. */
enum sim_status accel_parse(const char *option, const char *list, struct config *c) SIM_MUST_CHECK;
/* The settings "tier", "threshold" and "hot" of the list, where given; logs a value that is none. */
enum sim_status accel_take_settings(struct keyvals *kv, struct config *c) SIM_MUST_CHECK;
const char *accel_tier_name(enum rv_jit_tier tier);
/* Sets c->jit and c->kvm: the first engine of the list (or the machine's default) that can run this machine on this
 * host. One that was passed over is said with its reason; that none is left is the error. Opens /dev/kvm only when KVM is
 * in the list, and not for --dump-config. */
enum sim_status accel_choose(struct config *c) SIM_MUST_CHECK;

#endif
