/* A storm of remote fences and IPIs between all harts (S mode, built-in SBI), while pages are
 * mapped, unmapped, made read-only and replaced under them, and code is rewritten.
 *
 * Two address spaces (ASID 1 and 2) map a window of a few slots each; every hart reads and adds to
 * words in them all the time, and switches spaces without a fence. A slot is changed under its
 * lock: entry -> remote fence -> the frame that was there is nobody's any more, which is checked:
 *
 *   frame.tag    says which slot shows it; POISON while none does. A load that sees another tag
 * used a stale entry frame.sum[]  words that harts add to through the window: they stand still
 * after the fence, and no addition is lost letters      bits from hart to hart, an IPI each: all
 * are answered code         a function that returns its version: never one older than announced
 * after the remote fence.i
 *
 * Options (-append): rounds=N of each hart, seed=N, fault=nofence (no remote fences: must be seen).
 * The run ends with 0, or with one of enum failure. */
#include "guest.h"

enum {
    SPACES = 2,
    SLOTS = 6,
    PTE_V = 1,
    PTE_W = 4,
    PTE_LEAF = 0xcb, /* V R X A D */
    CAUSE_LOAD_FAULT = 13,
    CAUSE_STORE_FAULT = 15,
    SIP_SSIP = 2,
    SSTATUS_SIE = 2,
};
enum failure {
    FAIL_STALE_LOAD = 20, /* read through an entry that a fence had removed */
    FAIL_STALE_STORE,     /* wrote through one */
    FAIL_LOST_ADD,
    FAIL_OLD_CODE,
    FAIL_TRAP,
    FAIL_SBI,
    FAIL_LETTER, /* a letter twice, or from nobody */
};
enum { SBI_IPI = 0x735049, SBI_RFENCE = 0x52464e43, SBI_HSM = 0x48534d };
enum { RFENCE_I, RFENCE_VMA, RFENCE_VMA_ASID };

#define WINDOW 0x100000000ul /* root entry 4 */
#define POISON 0xdeadul
#define FAULT 0xfa17ul /* what an access gives that took a page fault */
#define SATP_SV39 (8ul << 60)

struct frame {
    uint64_t tag;
    uint64_t sum[GUEST_MAX_HARTS];
} GUEST_PAGE_ALIGNED;

struct trap_frame {
    uint64_t x[32], sepc, scause;
};

/* Owner of the slot's contents: who holds `lock`. */
struct slot {
    uint32_t lock;
    struct frame *frame;
};

/* What one hart knows and does. */
struct self {
    unsigned hart, space;
    uint64_t random;
    struct frame *spare;
    uint64_t added, sent;
};

static uint64_t root[SPACES][512] GUEST_PAGE_ALIGNED, middle[SPACES][512] GUEST_PAGE_ALIGNED,
    leaf[SPACES][512] GUEST_PAGE_ALIGNED;
static struct frame frames[SPACES * SLOTS + GUEST_MAX_HARTS];
static struct slot slots[SPACES][SLOTS];
static struct {
    uint64_t mail, answered; /* mail: a bit for each sender */
} boxes[GUEST_MAX_HARTS] GUEST_PAGE_ALIGNED;
static uint64_t totals[GUEST_MAX_HARTS];
static uint32_t code[1024] GUEST_PAGE_ALIGNED, code_lock, announced;
static uint32_t started;
static int no_fences;

void hart_start(void);

static void require(int ok, enum failure code_)
{
    if (ok)
        return;
    guest_print("STORM failed: %u\n", (unsigned)code_);
    guest_end(code_);
}

/* ---- SBI ---- */

static void sbi(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                uint64_t a4)
{
    require(guest_sbi(extension, function, a0, a1, a2, a3, a4) == 0, FAIL_SBI);
}

/* All harts, said in one way or the other. */
static uint64_t all_harts(struct self *me, uint64_t *base)
{
    *base = guest_random(&me->random) & 1 ? ~0ul : 0;
    return *base || guest_harts == 64 ? ~0ul : (1ul << guest_harts) - 1;
}

static void fence_everywhere(struct self *me, unsigned space, uintptr_t va)
{
    unsigned with_asid = guest_random(&me->random) & 1;
    uint64_t size = guest_random(&me->random) & 3 ? GUEST_PAGE : ~0ul, base,
             mask = all_harts(me, &base);

    __asm__ volatile("fence rw, rw\n\tsfence.vma %0" ::"r"(va) : "memory");
    if (!no_fences)
        sbi(SBI_RFENCE, with_asid ? RFENCE_VMA_ASID : RFENCE_VMA, mask, base,
            size == GUEST_PAGE ? va : 0, size, space + 1);
}

/* ---- the window ---- */

static uintptr_t slot_va(unsigned slot)
{
    return WINDOW + (uintptr_t)slot * GUEST_PAGE;
}

static uint64_t tag_of(unsigned space, unsigned slot)
{
    return 0x1000 + space * 256 + slot;
}

static uint64_t entry_of(const void *page, uint64_t flags)
{
    return (uint64_t)page >> 12 << 10 | flags;
}

static void set_entry(unsigned space, unsigned slot, uint64_t entry)
{
    __atomic_store_n(&leaf[space][slot], entry, __ATOMIC_RELEASE);
}

/* One instruction of four bytes, so that the trap handler can step over it. */
static uint64_t window_load(uintptr_t va)
{
    register uint64_t value __asm__("a0");
    register uintptr_t at __asm__("a1") = va;

    __asm__ volatile(".option push\n\t.option norvc\n\tld %0, 0(%1)\n\t.option pop"
                     : "=r"(value)
                     : "r"(at)
                     : "memory");
    return value;
}

static uint64_t window_add(uintptr_t va)
{
    register uint64_t value __asm__("a0") = 1;
    register uintptr_t at __asm__("a1") = va;

    __asm__ volatile("amoadd.d %0, %0, (%1)" : "+r"(value) : "r"(at) : "memory");
    return value;
}

static void use_window(struct self *me)
{
    unsigned slot = (unsigned)(guest_random(&me->random) % SLOTS);
    uint64_t tag = window_load(slot_va(slot));

    if (tag != FAULT && tag != tag_of(me->space, slot)) {
        guest_print("STORM hart %u: slot %u shows %x, not %x\n", me->hart, slot, tag,
                    tag_of(me->space, slot));
        guest_end(FAIL_STALE_LOAD);
    }
    if (window_add(slot_va(slot) + offsetof(struct frame, sum) + me->hart * 8) != FAULT)
        me->added++;
}

static void switch_space(struct self *me)
{
    me->space ^= 1;
    __asm__ volatile("csrw satp, %0" ::"r"(SATP_SV39 | (uint64_t)(me->space + 1) << 44 |
                                           (uint64_t)root[me->space] >> 12)
                     : "memory");
}

/* ---- changing a slot ---- */

static void lock(uint32_t *l)
{
    while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
        guest_pause();
}

static void unlock(uint32_t *l)
{
    __atomic_store_n(l, 0, __ATOMIC_RELEASE);
}

/* Nobody adds to a frame that no entry lets write. Its sums are read twice, with time in between.
 */
static void check_still(const struct frame *f)
{
    uint64_t before = 0, after = 0;

    for (unsigned i = 0; i < guest_harts; i++)
        before += __atomic_load_n(&f->sum[i], __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 20; i++)
        guest_pause();
    for (unsigned i = 0; i < guest_harts; i++)
        after += __atomic_load_n(&f->sum[i], __ATOMIC_RELAXED);
    require(before == after, FAIL_STALE_STORE);
}

static void set_tag(struct frame *f, uint64_t tag)
{
    __atomic_store_n(&f->tag, tag, __ATOMIC_SEQ_CST);
}

/* The frame is seen by nobody: whoever still sees it finds POISON, whoever writes is caught. */
static void keep_alone(struct frame *f)
{
    set_tag(f, POISON);
    check_still(f);
}

static void replace(struct self *me, unsigned space, unsigned slot)
{
    struct slot *s = &slots[space][slot];
    struct frame *old = s->frame;

    set_tag(me->spare, tag_of(space, slot));
    set_entry(space, slot, entry_of(me->spare, PTE_LEAF | PTE_W));
    fence_everywhere(me, space, slot_va(slot));
    s->frame = me->spare;
    me->spare = old;
    keep_alone(old);
}

static void unmap_for_a_while(struct self *me, unsigned space, unsigned slot)
{
    struct frame *f = slots[space][slot].frame;

    set_entry(space, slot, 0);
    fence_everywhere(me, space, slot_va(slot));
    keep_alone(f);
    set_tag(f, tag_of(space, slot));
    set_entry(space, slot, entry_of(f, PTE_LEAF | PTE_W));
}

static void protect_for_a_while(struct self *me, unsigned space, unsigned slot)
{
    struct frame *f = slots[space][slot].frame;

    set_entry(space, slot, entry_of(f, PTE_LEAF));
    fence_everywhere(me, space, slot_va(slot));
    check_still(f);
    set_entry(space, slot, entry_of(f, PTE_LEAF | PTE_W));
}

static void change_slot(struct self *me)
{
    static void (*const change[])(struct self *, unsigned, unsigned) = {replace, unmap_for_a_while,
                                                                        protect_for_a_while};
    uint64_t r = guest_random(&me->random);
    unsigned space = r & 1, slot = (unsigned)(r >> 1) % SLOTS;

    lock(&slots[space][slot].lock);
    change[(r >> 8) % 3](me, space, slot);
    unlock(&slots[space][slot].lock);
}

/* ---- letters ---- */

/* By interrupt. Whoever waits for the answer in wfi is woken. */
static void open_mail(unsigned hart)
{
    uint64_t mail;

    __asm__ volatile("csrc sip, %0" ::"r"((uint64_t)SIP_SSIP) : "memory");
    mail = __atomic_exchange_n(&boxes[hart].mail, 0, __ATOMIC_SEQ_CST);
    for (unsigned from = 0; from < guest_harts; from++)
        if (mail >> from & 1)
            __atomic_fetch_add(&boxes[from].answered, 1, __ATOMIC_SEQ_CST);
    if (mail)
        sbi(SBI_IPI, 0, mail, 0, 0, 0, 0);
}

static int all_answered(const struct self *me)
{
    return __atomic_load_n(&boxes[me->hart].answered, __ATOMIC_ACQUIRE) == me->sent;
}

/* Looks with interrupts off, so that an answer after the look still ends the wfi. */
static void wait_for_answers(const struct self *me)
{
    for (int done = 0; !done;) {
        __asm__ volatile("csrc sstatus, %0" ::"r"((uint64_t)SSTATUS_SIE) : "memory");
        done = all_answered(me);
        if (!done)
            __asm__ volatile("wfi" ::: "memory");
        __asm__ volatile("csrs sstatus, %0" ::"r"((uint64_t)SSTATUS_SIE) : "memory");
    }
}

/* Only when the last ones are answered, so that a hart's bit stands for one letter. */
static void send_letters(struct self *me)
{
    uint64_t to =
        (guest_random(&me->random) << 32 | guest_random(&me->random)) & ~(1ul << me->hart);

    if (to >> 40 & 1)
        wait_for_answers(me);
    else if (!all_answered(me))
        return;
    if (guest_harts < 64)
        to &= (1ul << guest_harts) - 1;
    for (unsigned i = 0; i < guest_harts; i++)
        if (to >> i & 1) {
            uint64_t mail = __atomic_fetch_or(&boxes[i].mail, 1ul << me->hart, __ATOMIC_SEQ_CST);
            require(!(mail >> me->hart & 1), FAIL_LETTER);
            me->sent++;
        }
    if (to)
        sbi(SBI_IPI, 0, to, 0, 0, 0, 0);
}

/* ---- code ---- */

/* li a0, version; ret */
static void rewrite_code(struct self *me)
{
    uint64_t base, mask = all_harts(me, &base);

    if (__atomic_exchange_n(&code_lock, 1, __ATOMIC_ACQUIRE))
        return;
    uint32_t version = (announced + 1) & 0x3ff;
    if (version) { /* 0 would be older than all */
        __atomic_store_n(&code[0], 0x513 | version << 20, __ATOMIC_RELAXED);
        __asm__ volatile("fence rw, rw\n\tfence.i" ::: "memory");
        if (!no_fences)
            sbi(SBI_RFENCE, RFENCE_I, mask, base, 0, 0, 0);
        __atomic_store_n(&announced, version, __ATOMIC_RELEASE);
        unlock(&code_lock);
    } /* else: enough of it, the lock stays */
}

static void call_code(void)
{
    uint32_t before = __atomic_load_n(&announced, __ATOMIC_ACQUIRE);
    uint32_t version = (uint32_t)((long (*)(void))code)();

    require(version >= before, FAIL_OLD_CODE);
}

/* ---- traps ---- */

void guest_trap(struct trap_frame *f)
{
    unsigned hart;

    __asm__("mv %0, tp" : "=r"(hart));
    if (f->scause == (1ul << 63 | 1)) {
        open_mail(hart);
        return;
    }
    require(f->scause == CAUSE_LOAD_FAULT || f->scause == CAUSE_STORE_FAULT, FAIL_TRAP);
    f->x[10] = FAULT;
    f->sepc += 4;
}

/* ---- the run ---- */

static void start_others(void)
{
    for (unsigned i = 0, hart; i < guest_harts; i++) {
        __asm__("mv %0, tp" : "=r"(hart));
        if (i != hart)
            sbi(SBI_HSM, 0, i, (uint64_t)hart_start, 0, 0, 0);
    }
}

static void build_tables(void)
{
    for (unsigned space = 0; space < SPACES; space++) {
        root[space][0] = PTE_LEAF | PTE_W;                                 /* devices */
        root[space][2] = entry_of((void *)0x80000000ul, PTE_LEAF | PTE_W); /* RAM */
        root[space][WINDOW >> 30] = entry_of(middle[space], PTE_V);
        middle[space][0] = entry_of(leaf[space], PTE_V);
        for (unsigned slot = 0; slot < SLOTS; slot++) {
            struct frame *f = &frames[space * SLOTS + slot];
            slots[space][slot].frame = f;
            set_tag(f, tag_of(space, slot));
            set_entry(space, slot, entry_of(f, PTE_LEAF | PTE_W));
        }
    }
    code[0] = 0x513;
    code[1] = 0x8067;
}

static void one_round(struct self *me)
{
    uint64_t r = guest_random(&me->random);

    for (unsigned i = r & 7; i; i--)
        use_window(me);
    call_code();
    switch (r >> 3 & 7) {
    case 0:
    case 1:
        change_slot(me);
        break;
    case 2:
    case 3:
        send_letters(me);
        break;
    case 4:
        switch_space(me);
        break;
    case 5:
        if (!(r >> 6 & 7))
            rewrite_code(me);
        break;
    default:
        break;
    }
}

static void check_sums(void)
{
    for (unsigned hart = 0; hart < guest_harts; hart++) {
        uint64_t sum = 0;
        for (unsigned f = 0; f < sizeof frames / sizeof *frames; f++)
            sum += frames[f].sum[hart];
        require(sum == totals[hart], FAIL_LOST_ADD);
    }
}

void guest_main(unsigned hart)
{
    const char *fault = guest_option_text("fault");
    struct self me = {hart, 0, guest_option("seed", 1) * 64 + hart, &frames[SPACES * SLOTS + hart],
                      0,    0};

    if (!__atomic_exchange_n(&started, 1, __ATOMIC_ACQ_REL)) {
        no_fences = fault && fault[0] == 'n';
        build_tables();
        start_others();
    }
    set_tag(me.spare, POISON);
    guest_barrier();
    switch_space(&me);
    __asm__ volatile(
        "sfence.vma\n\tfence.i\n\tcsrs sie, %0\n\tcsrs sstatus, %0" ::"r"((uint64_t)SIP_SSIP)
        : "memory");
    for (uint64_t n = guest_option("rounds", 3000); n; n--)
        one_round(&me);
    wait_for_answers(&me);
    totals[hart] = me.added;
    guest_barrier(); /* letters from others may still come until here */
    if (hart)
        return;
    check_sums();
    guest_print("STORM %u harts, code version %u, hart 0: %U additions, %U letters\n", guest_harts,
                announced, me.added, me.sent);
    guest_end(0);
}
