/* --expect: a regular expression that ends the run when serial output matches.
 *
 *   chardev tap (any thread) -> pending bytes -> I/O thread: line by line -> matched()
 *
 * A complete line matches without its line end. The unfinished last line (a prompt) matches too, but
 * '$' fits there only when the output has paused, so that "^foo$" does not match half of "foobar". */
#ifndef LAUNCH_EXPECT_H
#define LAUNCH_EXPECT_H

#include "devices/backend.h"
#include "sim-core/io.h"
#include "sim-core/status.h"

struct expect;

/* Compiles a POSIX extended regular expression; SIM_ERR_INVALID (logged) when it is none.
 * matched(opaque) is called at most once, on the I/O thread or in expect_finish. */
enum sim_status expect_create(struct sim_io *io, const char *regex, void (*matched)(void *opaque),
                              void *opaque, struct expect **out) SIM_MUST_CHECK;
/* A tap for one more output stream; each has its own lines. Context: before the run. */
struct chardev_tap expect_add_stream(struct expect *e);
/* Looks at everything that is still pending; true when it has matched, now or before. Context:
 * launch thread, I/O loop stopped, no output any more. */
bool expect_finish(struct expect *e);
void expect_destroy(struct expect *e); /* NULL is allowed; I/O loop stopped */

#endif
