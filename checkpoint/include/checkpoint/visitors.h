/* Who comes to the address of a migration's target. Strangers, and those that say nothing for some seconds, are sent away with a
 * warning each, while others are listened to.
 *
 *   listener -> visitor: HELLO [-> the frame that is awaited] -> visitors_next -> the caller's, who takes it or turns it away */
#ifndef CHECKPOINT_VISITORS_H
#define CHECKPOINT_VISITORS_H

#include "checkpoint/stream.h"

struct visitors;

/* `uri`: as ckpt_listen. Context of all: one thread. */
enum sim_status visitors_open(const char *uri, struct visitors **out) SIM_MUST_CHECK;
void visitors_close(struct visitors *v); /* those not taken yet are told; NULL is allowed */
unsigned visitors_port(const struct visitors *v); /* of TCP */

/* The next visitor that has said a right HELLO, and after it this frame (`first`, valid until the next receive from it; HELLO:
 * none is awaited). The stream is the caller's: its end is still told as a warning (ckpt_stream_on_broken). SIM_INPROGRESS: nobody
 * within that time. */
enum sim_status visitors_next(struct visitors *v, enum ckpt_frame_type type, int timeout_ms, struct ckpt_stream **out,
                              struct ckpt_frame *first) SIM_MUST_CHECK;
/* It does not belong here: a warning, and it is told why; destroyed. */
void visitors_turn_away(struct ckpt_stream *visitor, const char *why);

#endif
