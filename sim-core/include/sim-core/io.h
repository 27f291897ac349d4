/* The I/O loop: one thread per simulation that waits on file descriptors and timers (epoll) and
 * runs work posted from other threads. Chardev and network back ends live here; device models run
 * wherever they are called and use their own lock.
 *
 * All callbacks run on the I/O thread with no lock held. */
#ifndef SIM_CORE_IO_H
#define SIM_CORE_IO_H

#include "sim-core/status.h"
#include "sim-core/types.h"

struct sim_io;
struct sim_io_watch;
struct sim_io_timer;

enum { SIM_IO_READ = 1, SIM_IO_WRITE = 2 };

enum sim_status sim_io_create(struct sim_io **out) SIM_MUST_CHECK;
enum sim_status sim_io_start(struct sim_io *io) SIM_MUST_CHECK;
/* Stops and joins the thread; no callback runs after it returns. Idempotent. */
void sim_io_stop(struct sim_io *io);
void sim_io_destroy(struct sim_io *io);

/* Watches fd for `events` (SIM_IO_READ | SIM_IO_WRITE; may be 0). fn gets the events that are ready;
 * an error or hang-up reports the watched events. The fd stays the caller's. Context: any thread. */
enum sim_status sim_io_watch_add(struct sim_io *io, int fd, unsigned events,
                                 void (*fn)(void *opaque, unsigned events), void *opaque,
                                 struct sim_io_watch **out) SIM_MUST_CHECK;
void sim_io_watch_set(struct sim_io_watch *w, unsigned events);
/* After this returns fn is not running and will not run again (callable from fn itself). */
void sim_io_watch_remove(struct sim_io_watch *w);

/* One-shot timers on CLOCK_MONOTONIC (ns, as sim_host_ns()). Context: any thread. Arming again
 * replaces the deadline; cancel does not wait for a callback that has begun, destroy does (callable
 * from fn itself). Timers are destroyed before the loop is. */
struct sim_io_timer *sim_io_timer_create(struct sim_io *io, void (*fn)(void *opaque), void *opaque);
void sim_io_timer_arm(struct sim_io_timer *t, uint64_t deadline_host_ns);
void sim_io_timer_cancel(struct sim_io_timer *t);
void sim_io_timer_destroy(struct sim_io_timer *t);

/* Runs fn once on the I/O thread. Context: any thread; does not block. */
void sim_io_post(struct sim_io *io, void (*fn)(void *opaque), void *opaque);
/* Is the caller the I/O thread? Context: any thread; does not block. */
bool sim_io_is_current(struct sim_io *io);

#endif
