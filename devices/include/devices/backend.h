/* Host side of devices: characters, blocks, frames. Each is an ops table with a trivial back end.
 *
 * Ownership: the configuration (launch) creates and destroys back ends; a device borrows one and
 * attaches its callbacks. */
#ifndef DEVICES_BACKEND_H
#define DEVICES_BACKEND_H

#include "sim-core/guard.h"
#include "sim-core/sim.h"
#include "sim-core/status.h"
#include "sim-core/types.h"

/* --- characters --- */

/* What a chardev calls on its device (I/O thread, no locks held). */
struct chardev_client {
    /* How many bytes the device takes now; 0 = stop reading until chardev_accept_input. */
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *data, size_t len);
    void *opaque;
};

/* An observer of output: --expect, progress line, log. Gets all output in pieces (lines, or what
 * came within 1 ms). Called under the device's and the chardev's lock: it takes SIM_RANK_LEAF locks
 * only, does not block and does not call back. */
struct chardev_tap {
    void (*output)(void *opaque, const uint8_t *data, size_t len);
    void *opaque;
};

struct chardev;

/* "stdio", "null", "file:PATH", "unix:PATH[,server=on|off][,wait=on|off]", "mem" (tests: keeps all).
 * Logs and returns SIM_ERR_* naming the path. stdio: raw mode and the escape key are the terminal's
 * (launch/terminal.c), which feeds chardev_inject. */
enum sim_status chardev_create(struct sim *sim, const char *spec, struct chardev **out) SIM_MUST_CHECK;
void chardev_destroy(struct chardev *c); /* flushes what it can within 100 ms */

void chardev_attach(struct chardev *c, const struct chardev_client *client); /* NULL detaches */
void chardev_add_tap(struct chardev *c, const struct chardev_tap *tap);
/* Writes guest output. Never blocks the guest: a slow reader makes it buffer up to 1 MiB, then drop
 * the oldest (counted, said once). Context: any thread, device lock may be held. */
void chardev_write(struct chardev *c, const uint8_t *data, size_t len);
/* Hands what is gathered so far to the taps and the back end now. Context: any thread. */
void chardev_flush(struct chardev *c);
/* The device has room again. Context: any thread. */
void chardev_accept_input(struct chardev *c);
/* Input from elsewhere (terminal, tests); what the device does not take now is queued (64 KiB). */
void chardev_inject(struct chardev *c, const uint8_t *data, size_t len);
/* How many bytes chardev_inject queues now: a source with back pressure asks first. Any thread. */
size_t chardev_input_room(const struct chardev *c);
/* "mem": everything written so far; NUL-terminated, valid until the next write. */
const char *chardev_mem_text(struct chardev *c, size_t *len);

/* --- blocks --- */

struct blockdev;

struct blockdev_options {
    const char *path;
    bool readonly;
    const char *serial; /* NULL: none */
};

/* Opens a raw image. A directory, a missing file, a size that is no multiple of 512: one message.
 * A file that cannot be opened for writing is an error unless readonly. */
enum sim_status blockdev_open(struct sim *sim, const struct blockdev_options *options,
                              struct blockdev **out) SIM_MUST_CHECK;
void blockdev_close(struct blockdev *b);
uint64_t blockdev_size(const struct blockdev *b);
bool blockdev_readonly(const struct blockdev *b);
const char *blockdev_serial(const struct blockdev *b);

enum blockdev_op { BLOCKDEV_READ, BLOCKDEV_WRITE, BLOCKDEV_FLUSH, BLOCKDEV_DISCARD, BLOCKDEV_ZERO };

struct iovec;
struct blockdev_request {
    enum blockdev_op op;
    uint64_t offset, len;      /* bytes */
    const struct iovec *iov;   /* guest memory (service mapping); valid until done */
    unsigned nr_iov;
    /* ok == false: I/O error. Called on the submitting thread before submit returns, or later on
     * the worker thread. */
    void (*done)(struct blockdev_request *r, bool ok);
    struct blockdev_request *next; /* the back end's */
};
/* Starts a request. Reads that the host has in memory (preadv2 RWF_NOWAIT) and short writes complete at once, on the I/O thread only
 * the reads; what would block goes to a worker thread. ENOSPC and the like: !ok, said once per drive. Context: any thread. */
void blockdev_submit(struct blockdev *b, struct blockdev_request *r);
/* Waits until nothing is in flight. Context: not a done callback. */
void blockdev_drain(struct blockdev *b);
/* As drain, but what is queued or half done fails instead (device reset). Quick even when a guest has
 * asked for terabytes. */
void blockdev_cancel(struct blockdev *b);

/* Drives of a machine that is saved. Memory and disk must never disagree, so from the first image on the file stays as
 * it is, and what the guest writes goes to an overlay: a file without a name, whose 4 KiB blocks belong to the images. */

/* Tells whether a file is as it was. SIM_ERR_UNSUPPORTED (logged) for block devices. Nothing in flight. */
struct blockdev_identity {
    uint64_t size, mtime_ns;
};
enum sim_status blockdev_identify(const struct blockdev *b, struct blockdev_identity *out) SIM_MUST_CHECK;
const char *blockdev_path(const struct blockdev *b);
/* From now on the file is not written. Does nothing for a drive that is frozen or read-only. Context: nothing in flight. */
enum sim_status blockdev_freeze(struct blockdev *b, const char *folder) SIM_MUST_CHECK;
/* What was written before the freeze reaches the host's disk. Any thread; may block long. */
enum sim_status blockdev_sync(struct blockdev *b) SIM_MUST_CHECK;
/* Writes the overlay into the file and forgets it: images made before cannot be restored any more. */
enum sim_status blockdev_commit(struct blockdev *b) SIM_MUST_CHECK;
/* The overlay's descriptor, -1: not frozen; does it have block n; it does now (restore); was the block written since this was
 * last asked; the guard of its blocks. */
int blockdev_overlay_fd(const struct blockdev *b);
bool blockdev_overlay_has(const struct blockdev *b, uint64_t block);
void blockdev_overlay_mark(struct blockdev *b, uint64_t block);
bool blockdev_overlay_take_dirty(struct blockdev *b, uint64_t block);
void blockdev_set_guard(struct blockdev *b, struct sim_guard *guard);

/* --- frames --- */

struct netdev;

struct netdev_client {
    /* One received Ethernet frame; false: no buffer, keep it (the back end queues up to 256). I/O
     * thread. */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t len);
    void *opaque;
};

/* "user[,hostfwd=tcp::2222-:22]" (libslirp, when built with it), "socket,listen=[H]:P",
 * "socket,connect=H:P", "socket,path=UNIX[,server=on]", "segment,name=NAME" (machines of a cluster), "null", "pair" (tests,
 * see netdev_join).
 * Socket framing is QEMU's: 4-byte big-endian length, then the frame. */
enum sim_status netdev_create(struct sim *sim, const char *spec, const uint8_t mac[6],
                              struct netdev **out) SIM_MUST_CHECK;
void netdev_destroy(struct netdev *n);
const uint8_t *netdev_mac(const struct netdev *n);
void netdev_attach(struct netdev *n, const struct netdev_client *client);
/* Sends one frame (copied). Never blocks: drops and counts when the peer is slow. Any thread. */
void netdev_send(struct netdev *n, const uint8_t *frame, size_t len);
/* The device has receive buffers again. */
void netdev_accept_input(struct netdev *n);
void netdev_join(struct netdev *a, struct netdev *b);

/* A piece of Ethernet that back ends of several simulations of a process share: each gets what the others send. */
struct netdev_segment;
struct netdev_link {
    uint64_t latency_ns; /* of guest time of whoever receives; 0: none */
    uint32_t loss_ppm;   /* so many of a million frames are lost, which ones depends on `seed`, whose they are and how many came before */
    uint64_t seed;
};
struct netdev_segment *netdev_segment_create(const struct netdev_link *link);
/* All members have stopped: no executor and no I/O thread of theirs runs. */
void netdev_segment_destroy(struct netdev_segment *s);
/* Which one a "segment" back end wants to be on; NULL: it is of another kind. */
const char *netdev_segment_name(const struct netdev *n);
/* Before any member sends. */
void netdev_segment_join(struct netdev_segment *s, struct netdev *n);
/* Its machine has stopped, others send still: what is under way to it is dropped, and nothing more is. Nothing to do for one that is
 * on no segment. Context: any. */
void netdev_segment_leave(struct netdev *n);

/* What is under way to a member, for images. Context: no executor and no I/O thread of any member does anything. */
struct netdev_under_way {
    uint64_t left_ns; /* until it arrives; 0: it waits for a receive buffer */
    const uint8_t *frame;
    size_t len;
};
void netdev_segment_each(struct netdev *n, void (*fn)(void *opaque, const struct netdev_under_way *w), void *opaque);
void netdev_segment_put(struct netdev *n, const struct netdev_under_way *w);
/* How many frames have been on their way to it, lost ones included: by which loss goes on. */
uint64_t netdev_segment_count(struct netdev *n);
void netdev_segment_set_count(struct netdev *n, uint64_t count);

#endif
