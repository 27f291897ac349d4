/* Code of a kernel whose harts share what an executor knows of it (S mode, built-in SBI; cpu/README.md, "Harts that share").
 *
 * All code runs in the upper half, in global pages. Some more of them, the slots, have a function each that returns its version.
 * Harts call them all the time, in two address spaces, and put new versions there: into another frame, by the slot's entry, with
 * a remote fence. Each hart has root tables of its own, whose entry for the slots goes and comes as it likes.
 * Nobody may come to a version older than one that was announced after its fence.
 *
 * Options (-append): rounds=N of each hart, seed=N, fault=nofence (none after a change of a slot: must be seen). */
#include "guest.h"

enum { SLOTS = 4, PTE_V = 1, PTE_X = 0x69 /* V X G A */, PTE_RWX = 0xef /* V R W X G A D */, PTE_RW = 0xc7 };
enum failure { FAIL_STALE = 23, FAIL_TRAP, FAIL_SBI };
enum { SBI_RFENCE = 0x52464e43, SBI_HSM = 0x48534d };

#define HIGH 0xffffffff00000000ul /* and the physical address: root entry 510 for RAM */
#define WINDOW 0xffffffffc0000000ul /* root entry 511 */
#define SATP_SV39 (8ul << 60)

struct trap_frame {
    uint64_t x[32], sepc, scause;
};

static uint64_t root[GUEST_MAX_HARTS][2][512] GUEST_PAGE_ALIGNED, middle[512] GUEST_PAGE_ALIGNED, leaf[512] GUEST_PAGE_ALIGNED;
static uint32_t frame[SLOTS * 2][1024] GUEST_PAGE_ALIGNED;
static struct {
    uint32_t lock, announced, frame;
} slots[SLOTS];
static uint32_t started;
static int no_fences;

void hart_start(void);

static uint64_t physical(const void *p)
{
    return (uint64_t)p & ~HIGH;
}

static void require(int ok, enum failure code)
{
    if (ok)
        return;
    guest_print("SHARED failed: %u\n", (unsigned)code);
    guest_end(code);
}

static void sbi(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    require(guest_sbi(extension, function, a0, a1, a2, a3, 0) == 0, FAIL_SBI);
}

static uint64_t entry_of(const void *page, uint64_t flags)
{
    return physical(page) >> 12 << 10 | flags;
}

/* li a0, version; ret */
static void write_code(uint32_t *at, uint32_t version)
{
    __atomic_store_n(&at[0], 0x513 | version << 20, __ATOMIC_RELAXED);
    __atomic_store_n(&at[1], 0x8067, __ATOMIC_RELAXED);
    __asm__ volatile("fence rw, rw\n\tfence.i" ::: "memory");
    sbi(SBI_RFENCE, 0, 0, ~0ul, 0, 0);
}

static uintptr_t slot_va(unsigned slot)
{
    return WINDOW + (uintptr_t)slot * GUEST_PAGE;
}

static void replace(unsigned n, uint64_t random)
{
    uint64_t size = random & 3 ? GUEST_PAGE : ~0ul;

    if (__atomic_exchange_n(&slots[n].lock, 1, __ATOMIC_ACQUIRE))
        return;
    uint32_t version = slots[n].announced + 1, next = slots[n].frame ^ 1;
    if (version < 0x7ff) {
        write_code(frame[n * 2 + next], version);
        __atomic_store_n(&leaf[n], entry_of(frame[n * 2 + next], PTE_X), __ATOMIC_RELEASE);
        if (!no_fences)
            sbi(SBI_RFENCE, 1, 0, ~0ul, size == GUEST_PAGE ? slot_va(n) : 0, size); /* also here */
        slots[n].frame = next;
        __atomic_store_n(&slots[n].announced, version, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&slots[n].lock, 0, __ATOMIC_RELEASE);
}

static void call(unsigned n)
{
    uint32_t before = __atomic_load_n(&slots[n].announced, __ATOMIC_ACQUIRE);
    uint32_t version = (uint32_t)((long (*)(void))slot_va(n))();

    require(version >= before, FAIL_STALE);
}

static void set_satp(unsigned hart, unsigned space)
{
    uint64_t satp = SATP_SV39 | (uint64_t)(space + 1) << 44 | physical(root[hart][space]) >> 12;

    __asm__ volatile("csrw satp, %0" ::"r"(satp) : "memory");
}

/* The own root entry of the window goes and comes, without a word to anybody else: nobody else uses it. */
static void touch_root(unsigned hart, unsigned space)
{
    uint64_t *entry = &root[hart][space][511];

    *entry = 0;
    __asm__ volatile("sfence.vma" ::: "memory");
    *entry = entry_of(middle, PTE_V);
    __asm__ volatile("sfence.vma" ::: "memory");
}

void guest_trap(struct trap_frame *f)
{
    guest_print("SHARED trap: cause %x, pc %x\n", f->scause, f->sepc);
    guest_end(FAIL_TRAP);
}

/* No code is mapped in the lower half: the first instruction after satp is written goes to where stvec points. */
static void go_high(unsigned hart)
{
    uint64_t satp = SATP_SV39 | 1ul << 44 | physical(root[hart][0]) >> 12, old, at;

    __asm__ volatile("csrr %1, stvec\n\tla %0, 1f\n\tor %0, %0, %3\n\tcsrw stvec, %0\n\tor %1, %1, %3\n\t"
                     "sfence.vma\n\tcsrw satp, %2\n\t.balign 4\n1:\n\tcsrw stvec, %1"
                     : "=&r"(at), "=&r"(old)
                     : "r"(satp), "r"(HIGH)
                     : "memory");
}

static void build_tables(void)
{
    for (unsigned hart = 0; hart < guest_harts; hart++)
        for (unsigned space = 0; space < 2; space++) {
            uint64_t *r = root[hart][space];
            r[0] = PTE_RW;                                 /* devices */
            r[2] = entry_of((void *)0x80000000ul, PTE_RW); /* data, by addresses from before */
            r[510] = entry_of((void *)0x80000000ul, PTE_RWX);
            r[511] = entry_of(middle, PTE_V);
        }
    middle[0] = entry_of(leaf, PTE_V);
    for (unsigned n = 0; n < SLOTS; n++) {
        write_code(frame[n * 2], 0);
        leaf[n] = entry_of(frame[n * 2], PTE_X);
    }
}

static void one_round(unsigned hart, unsigned *space, uint64_t *random)
{
    uint64_t r = guest_random(random);

    for (unsigned i = r & 15; i; i--)
        call((r >> 4 ^ i) % SLOTS);
    switch (r >> 8 & 15) {
    case 0: replace((r >> 12) % SLOTS, r >> 20); break;
    case 1: set_satp(hart, *space ^= 1); break;
    case 2: touch_root(hart, *space); break;
    default: guest_pause(); /* another hart's turn */
    }
}

/* Never returns: where it was called from has no code any more. */
void guest_main(unsigned hart)
{
    uint64_t random = guest_option("seed", 1) * 64 + hart;
    const char *fault = guest_option_text("fault");
    unsigned space = 0;

    if (!__atomic_exchange_n(&started, 1, __ATOMIC_ACQ_REL)) {
        no_fences = fault && fault[0] == 'n';
        build_tables();
        for (unsigned i = 0; i < guest_harts; i++)
            if (i != hart)
                sbi(SBI_HSM, 0, i, (uint64_t)hart_start, 0, 0);
    }
    go_high(hart);
    guest_barrier();
    for (uint64_t n = guest_option("rounds", 3000); n; n--)
        one_round(hart, &space, &random);
    guest_barrier();
    while (hart)
        __asm__ volatile("wfi");
    guest_print("SHARED %u harts, version %u\n", guest_harts, slots[0].announced);
    guest_end(0);
}
