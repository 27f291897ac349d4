/* Two guests that talk over Ethernet, one program for both instruction sets: virtio-net on virtio-mmio, polled.
 *
 *   asker (RISC-V)     ASK n, x ->                     sends again when no answer comes: the other may not be up yet
 *                          <- ANSWER n, f(x)   answerer (x86-64)
 *
 * x of each round is the answer of the last, so that both end with the same chain. ASK of round LAST ends the answerer.
 * Built otherwise: -DROLE_ASKS=0 (RISC-V), -DROUNDS=N, -DPATIENT (the asker, once answered, waits for ever: a lost frame ends nothing), -DSTAYS (the
 * answerer answers the last round as often as it is asked). */
#ifndef PEERS_H
#define PEERS_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

/* What each machine has: start_*.S and the two halves of peers.c. */
#if defined(__riscv)
#ifndef ROLE_ASKS
#define ROLE_ASKS 1
#endif
#define VIRTIO_BASE 0x10001000ul
#else
#define ROLE_ASKS 0
#define VIRTIO_BASE 0xd0000000ul
#endif

void run(void) __attribute__((noreturn));

#endif
