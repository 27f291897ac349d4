/* See peers.h. */
#include "peers.h"

#ifndef ROUNDS
#define ROUNDS 64
#endif
#ifdef PATIENT
#define TRIES(round) ((round) ? ~0ul : 3000000)
#else
#define TRIES(round) 3000000
#endif
#ifdef STAYS
#define STAYS_ON 1
#else
#define STAYS_ON 0
#endif
enum { TYPE = 0xb588 /* 0x88b5, for experiments, as it lies in memory */ };

static u32 read32(u64 at) { return *(volatile u32 *)at; }
static void write32(u64 at, u32 v) { *(volatile u32 *)at = v; }

/* --- the machine --- */

#if defined(__riscv)
static void fence(void) { __asm__ volatile("fence iorw, iorw" ::: "memory"); }
static void put(char c) { *(volatile u8 *)0x10000000ul = (u8)c; }
static void __attribute__((noreturn)) end(u32 how) { for (;;) write32(0x100000ul, how); }
#else
static void fence(void) { __asm__ volatile("" ::: "memory"); }
static void put(char c) { __asm__ volatile("outb %0, %1" ::"a"(c), "Nd"((u16)0x3f8)); }
static void __attribute__((noreturn)) end(u32 how) { for (;;) __asm__ volatile("outl %0, %1" ::"a"(how), "Nd"((u16)0xf4)); }
#endif
enum { END_OFF = 0x5555, END_FAIL = 3 << 16 | 0x3333 };

static void say(const char *s)
{
    while (*s)
        put(*s++);
}

static void __attribute__((noreturn)) fail(const char *what)
{
    say("PEER-FAILED ");
    say(what);
    say("\n");
    end(END_FAIL);
}

static void say_chain(u64 v)
{
    say("CHAIN ");
    for (int i = 60; i >= 0; i -= 4)
        put("0123456789abcdef"[v >> i & 15]);
    say("\n");
}

/* --- virtio-net: queue 0 receives, queue 1 sends --- */

enum { R_MAGIC = 0, R_DEVICE = 8, R_DRIVER_FEATURES = 0x20, R_DRIVER_FEATURES_SEL = 0x24, R_QUEUE_SEL = 0x30, R_QUEUE_NUM = 0x38,
       R_QUEUE_READY = 0x44, R_NOTIFY = 0x50, R_STATUS = 0x70, R_DESC = 0x80, R_AVAIL = 0x90, R_USED = 0xa0, R_CONFIG = 0x100 };
enum { SLOTS = 8, QUEUE = 4, F_WRITE = 2, DEVICE_NET = 1, HEADER = 12 };

struct frame {
    u8 header[HEADER], to[6], from[6];
    u16 type;
    u16 pad;
    u32 round, answer;
    u64 x;
    u8 rest[32];
} __attribute__((packed));

struct queue {
    struct { u64 at; u32 len; u16 flags, next; } desc[QUEUE];
    struct { volatile u16 flags, index, ring[QUEUE]; } avail;
    struct { volatile u16 flags, index; struct { volatile u32 id, len; } ring[QUEUE]; } used __attribute__((aligned(8)));
} __attribute__((aligned(4096)));

static struct queue queues[2];
static struct frame in[QUEUE] __attribute__((aligned(16))), out __attribute__((aligned(16)));
static u64 device;
static u16 taken, sent;

static void find_device(void)
{
    for (u32 i = 0; i < SLOTS; i++) {
        device = VIRTIO_BASE + i * 0x1000;
        if (read32(device + R_MAGIC) == 0x74726976 && read32(device + R_DEVICE) == DEVICE_NET)
            return;
    }
    fail("no network device");
}

static void set_address(u32 reg, const volatile void *at)
{
    write32(device + reg, (u32)(u64)at);
    write32(device + reg + 4, (u32)((u64)at >> 32));
}

static void set_up_queue(u32 n)
{
    write32(device + R_QUEUE_SEL, n);
    write32(device + R_QUEUE_NUM, QUEUE);
    set_address(R_DESC, queues[n].desc);
    set_address(R_AVAIL, &queues[n].avail);
    set_address(R_USED, &queues[n].used);
    write32(device + R_QUEUE_READY, 1);
}

static void offer(u16 id)
{
    struct queue *q = &queues[0];

    q->avail.ring[q->avail.index % QUEUE] = id;
    fence();
    q->avail.index++;
    fence();
    write32(device + R_NOTIFY, 0);
}

static void set_up(void)
{
    find_device();
    write32(device + R_STATUS, 3);
    write32(device + R_DRIVER_FEATURES_SEL, 1);
    write32(device + R_DRIVER_FEATURES, 1); /* VERSION_1 */
    write32(device + R_STATUS, 11);
    set_up_queue(0);
    set_up_queue(1);
    write32(device + R_STATUS, 15);
    for (u16 i = 0; i < QUEUE; i++) {
        queues[0].desc[i].at = (u64)&in[i];
        queues[0].desc[i].len = sizeof in[i];
        queues[0].desc[i].flags = F_WRITE;
        offer(i);
    }
    for (u32 i = 0; i < 6; i++) {
        out.to[i] = 0xff;
        out.from[i] = (u8)(read32(device + R_CONFIG + i / 4 * 4) >> i % 4 * 8);
    }
    out.type = TYPE;
}

static void send(u32 round, u32 answer, u64 x)
{
    struct queue *q = &queues[1];

    out.round = round;
    out.answer = answer;
    out.x = x;
    q->desc[0].at = (u64)&out;
    q->desc[0].len = sizeof out;
    q->avail.ring[q->avail.index % QUEUE] = 0;
    fence();
    q->avail.index++;
    fence();
    write32(device + R_NOTIFY, 1);
    for (sent++; q->used.index != sent;) /* one at a time */
        fence();
}

/* The next frame of ours, looked for so often; 0: none. */
static int receive(struct frame *f, u64 tries)
{
    struct queue *q = &queues[0];

    while (tries--) {
        fence();
        if (q->used.index == taken)
            continue;
        u32 id = q->used.ring[taken++ % QUEUE].id;
        *f = in[id];
        fence();
        offer((u16)id);
        if (f->type == TYPE && f->answer == (u32)ROLE_ASKS)
            return 1;
    }
    return 0;
}

/* --- the two --- */

static u64 step(u64 x)
{
    x ^= x << 13;
    x ^= x >> 7;
    return x ^ x << 17;
}

static u64 ask_all(void)
{
    struct frame f;
    u64 x = 0x9e3779b97f4a7c15ul;
    u32 tries = 0;

    for (u32 round = 0; round < ROUNDS;) {
        u32 got;
        send(round, 0, x);
        do /* A second answer to what was asked twice is passed over: asking again for it would keep two under way for ever. */
            got = (u32)receive(&f, TRIES(round));
        while (got && f.round != round);
        if (got) {
            if (f.x != step(x))
                fail("a wrong answer");
            x = f.x;
            round++;
        } else if (++tries > 20000) {
            fail("no answer");
        }
    }
    return x;
}

static u64 answer_all(void)
{
    struct frame f;
    u64 x;

    do {
        while (!receive(&f, 1000))
            ;
        x = step(f.x);
        send(f.round, 1, x);
    } while (STAYS_ON || f.round != ROUNDS - 1);
    return x;
}

void run(void)
{
    set_up();
    say(ROLE_ASKS ? "ASKS\n" : "ANSWERS\n");
    say_chain(ROLE_ASKS ? ask_all() : answer_all());
    end(END_OFF);
}
