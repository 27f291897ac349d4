/* The user's terminal: raw mode, the escape key, and stdin as the guest's input.
 *
 *   stdin -> read as much as the guest has room for -> escape key (terminals only) -> input()
 *
 * Raw mode is a property of the process, not of a simulation: what restores it lives in static
 * data, because fatal-signal handlers and sim_bug() need it. One terminal at a time. */
#ifndef LAUNCH_TERMINAL_H
#define LAUNCH_TERMINAL_H

#include "sim-core/io.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

/* What the terminal does to the rest. All on the I/O thread. */
struct terminal_ops {
    size_t (*room)(void *opaque); /* how many bytes input() takes now */
    void (*input)(void *opaque, const uint8_t *data, size_t len);
    void (*quit)(void *opaque);  /* Ctrl-A x */
    void (*stats)(void *opaque); /* Ctrl-A s */
};

struct terminal;

/* Starts to feed input from fd (stdin; tests give a pty or pipe). A terminal in the foreground gets
 * raw mode; end of input is not an error and ends nothing. Context: launch thread, I/O loop not yet
 * started. */
struct terminal *terminal_create(struct sim_io *io, int fd, const struct terminal_ops *ops,
                                 void *opaque);
/* Stops reading and restores the terminal; NULL is allowed. Context: launch thread, I/O loop
 * stopped. */
void terminal_destroy(struct terminal *t);
/* Is raw mode on: do keys go to the guest? */
bool terminal_is_raw(void);

/* Puts the saved mode back. Async-signal-safe; does nothing when it is back already. */
void terminal_restore(void);
/* Raw mode again after terminal_restore (job control: continued in the foreground). */
void terminal_resume(void);

#endif
