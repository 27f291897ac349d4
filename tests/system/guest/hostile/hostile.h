/* What the hostile guests share (start.S). They end by the finisher: 0 when nothing unexpected was seen. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdint.h>

#define UART 0x10000000ul
#define FINISHER 0x100000ul
#define RTC 0x101000ul
#define CLINT 0x2000000ul
#define PLIC 0xc000000ul
#define VIRTIO 0x10001000ul
#define ECAM 0x30000000ul
#define PCI_WINDOW 0x40000000ul
#define RAM 0x80000000ul
#define RAM_END (RAM + (16ul << 20))
#define KEPT (RAM + (12ul << 20)) /* no part of the program: survives resets */

enum { HARTS = 4 };

/* Of a virtio-mmio slot, and of a queue's descriptors (virtio 1.2, 4.2.2 and 2.7.5). */
enum {
    REG_ID = 0x08,
    REG_FEATURES = 0x20,
    REG_FEATURES_SEL = 0x24,
    REG_QUEUE = 0x30,
    REG_QUEUE_MAX = 0x34,
    REG_QUEUE_NUM = 0x38,
    REG_READY = 0x44,
    REG_NOTIFY = 0x50,
    REG_ACK = 0x64,
    REG_STATUS = 0x70,
    REG_DESC = 0x80,
    REG_AVAIL = 0x90,
    REG_USED = 0xa0,
    DESC_NEXT = 1,
    DESC_WRITE = 2
};

void guest_main(uint64_t hart);
void guest_irq(uint64_t cause);
__attribute__((noreturn)) void guest_end(uint64_t code);
void hart_start(void);
long probe(void (*what)(long arg), long arg);

static inline void write32(uint64_t a, uint32_t v) { *(volatile uint32_t *)a = v; }
static inline uint32_t read32(uint64_t a) { return *(volatile uint32_t *)a; }
static inline uint64_t hart_id(void)
{
    uint64_t id;

    __asm__("mv %0, tp" : "=r"(id));
    return id;
}

#define csr_read(name)                                                                             \
    ({                                                                                             \
        uint64_t value_;                                                                           \
        __asm__ volatile("csrr %0, " #name : "=r"(value_)::"memory");                              \
        value_;                                                                                    \
    })
#define csr_write(name, value) __asm__ volatile("csrw " #name ", %0" ::"rK"((uint64_t)(value)) : "memory")
#define csr_set(name, value) __asm__ volatile("csrs " #name ", %0" ::"rK"((uint64_t)(value)) : "memory")
#define csr_clear(name, value) __asm__ volatile("csrc " #name ", %0" ::"rK"((uint64_t)(value)) : "memory")

struct sbi_result {
    long error, value;
};

static inline struct sbi_result sbi(uint64_t eid, uint64_t fid, uint64_t a0, uint64_t a1, uint64_t a2,
                                    uint64_t a3, uint64_t a4)
{
    register uint64_t r0 __asm__("a0") = a0;
    register uint64_t r1 __asm__("a1") = a1;
    register uint64_t r2 __asm__("a2") = a2;
    register uint64_t r3 __asm__("a3") = a3;
    register uint64_t r4 __asm__("a4") = a4;
    register uint64_t r6 __asm__("a6") = fid;
    register uint64_t r7 __asm__("a7") = eid;

    __asm__ volatile("ecall"
                     : "+r"(r0), "+r"(r1)
                     : "r"(r2), "r"(r3), "r"(r4), "r"(r6), "r"(r7)
                     : "memory");
    return (struct sbi_result){(long)r0, (long)r1};
}
enum { SBI_IPI = 0x735049, SBI_RFENCE = 0x52464e43, SBI_HSM = 0x48534d, SBI_SRST = 0x53525354,
       SBI_DBCN = 0x4442434e, SBI_TIME = 0x54494d45, SBI_SUSP = 0x53555350 };

static inline uint64_t rnd(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 24;
}

/* Every hart calls it; returns when all have. One barrier each. */
struct barrier {
    volatile uint32_t count;
};
static inline void barrier_wait(struct barrier *b, uint32_t harts)
{
    __atomic_fetch_add(&b->count, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&b->count, __ATOMIC_SEQ_CST) < harts)
        __asm__ volatile(".word 0x0100000f"); /* pause */
}

static inline void expect(int ok, uint64_t code)
{
    if (!ok)
        guest_end(code);
}

#endif
