/* Ring 0: see guest.h. Compiled without vector instructions. */
#include "guest.h"

/* --- the machine: launch/virt_x86.h --- */
#define LAPIC 0xfee00000ul
#define IOAPIC 0xfec00000ul
#define VIRTIO(slot) (0xd0000000ul + (slot) * 0x1000ul)
#define ACPI_TABLES 0xe0000ul
#define ACPI_TABLES_END 0xffff0ul
enum { PORT_UART = 0x3f8, PORT_UART_STATUS = 0x3fd, UART_HAS_INPUT = 1, PORT_EXIT = 0xf4, PORT_PM_TIMER = 0x608, PORT_PM_RESET = 0x60c,
       PORT_CMOS = 0x70, CMOS_RESETS = 0x40, GSI_VIRTIO = 16 };
enum { EXIT_OFF = 0x5555, EXIT_FAIL = 0x3333 };

enum { V_NMI = 2, V_INT3 = 3, V_UD = 6, V_GP = 13, V_PF = 14, V_TIMER = 64, V_IPI = 65, V_VIRTIO = 80, V_SPURIOUS = 255 };
enum { A_ID = 0x20, A_EOI = 0xb0, A_SVR = 0xf0, A_ICR = 0x300, A_ICR_HIGH = 0x310, A_TIMER = 0x320, A_TIMER_INITIAL = 0x380,
       A_TIMER_DIVIDE = 0x3e0, ICR_INIT = 0x4500, ICR_STARTUP = 0x4600, ICR_LOWEST = 0x100, ICR_SMI = 0x200,
       ICR_RESERVED = 0x300, ICR_NMI = 0x400, ICR_EXTINT = 0x700, ICR_SELF = 1 << 18, ICR_ALL = 2 << 18, ICR_OTHERS = 3 << 18, TIMER_PERIODIC = 1 << 17 };
enum { CODE = 0x08, TSS = 0x38, TRAMPOLINE = 0x8000, SMI_HANDLER = 0x38000, PAGE = 4096 };
enum { PTE_PRESENT = 1, PTE_WRITE = 2, PTE_USER = 4, PTE_LARGE = 0x80 };
#define POOL(cpu) (0x2000000ul + (cpu) * (u64)DATA_PAGES * PAGE) /* pages that page faults map */

struct frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error, rip, cs, rflags, rsp, ss;
};

struct cpu {
    volatile u32 ipis, rounds, done;
    u64 checksum;
    u64 ticks, pages;
    u32 last_tick, longest_gap; /* of the APIC's timer, by the PM timer */
    u32 nmis;
    u64 last_clock, last_tsc;
    u64 backwards;   /* how often kvmclock or the TSC was behind what it had been */
    long low, high;  /* kvmclock is at least `low`, at most `high` ns before the PM timer: compare_clocks */
};

extern u8 stacks[], trampoline[], trampoline_end[];
extern u32 trampoline_cr3;
extern void enter_user(void *entry, u64 stack, u64 cpu) __attribute__((noreturn));
extern u8 entry_2[], entry_3[], entry_6[], entry_13[], entry_14[], entry_64[], entry_65[], entry_80[], entry_81[], entry_255[];
void boot_cpu(const u8 *boot_params);
void other_cpu(void);
void interrupt(struct frame *f);

static struct cpu cpus[NR_CPUS];
static volatile u32 rounds = 100; /* 0: until something is typed, which the boot CPU sees */
static u32 more; /* rounds after that */
static u32 resets, faults; /* how often, and whether by a triple fault */
static u32 storms;         /* how long the boot CPU does its worst to the other; 0: they work together */
static volatile u32 other_is_up; /* how often it came up */

/* --- instructions --- */

static void outb(u16 port, u8 v) { __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port)); }
static u8 inb(u16 port) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static void outl(u16 port, u32 v) { __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port)); }
static u32 inl(u16 port) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static u32 read32(u64 at) { return *(volatile u32 *)at; }
static void write32(u64 at, u32 v) { *(volatile u32 *)at = v; }
static void wrmsr(u32 index, u64 v) { __asm__ volatile("wrmsr" ::"c"(index), "a"((u32)v), "d"((u32)(v >> 32))); }
static u64 rdtsc(void) { u32 a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return (u64)d << 32 | a; }
static void barrier(void) { __asm__ volatile("" ::: "memory"); }
static u32 this_cpu(void) { return read32(LAPIC + A_ID) >> 24; }

/* --- talking and ending --- */

static void say(const char *s)
{
    while (*s)
        outb(PORT_UART, (u8)*s++);
}

static void say_hex(const char *name, u64 v)
{
    say(name);
    for (int i = 60; i >= 0; i -= 4)
        outb(PORT_UART, (u8)"0123456789abcdef"[v >> i & 15]);
    outb(PORT_UART, '\n');
}

static void __attribute__((noreturn)) end(u32 how)
{
    for (;;)
        outl(PORT_EXIT, how);
}

static void check(int good, const char *what)
{
    if (good)
        return;
    say("GUEST-FAILED ");
    say(what);
    say("\n");
    end(1 << 16 | EXIT_FAIL);
}

/* --- clocks: kvmclock and the TSC beside the PM timer, which is Partita's own --- */

enum { MSR_KVMCLOCK = 0x4b564d01, PM_HZ = 3579545, PM_BITS = 24, SECOND = 1000000000 };

static volatile struct {
    u32 version, unused;
    u64 tsc, ns;
    u32 mul;
    signed char shift;
    u8 flags, more[2];
} kvmclock[NR_CPUS] __attribute__((aligned(64)));
static u64 first_clock; /* when the boot CPU began */
static u32 first_pm;

static u64 read_clock(u32 cpu, u64 *tsc)
{
    u32 version;
    u64 ns;

    do {
        version = kvmclock[cpu].version;
        barrier();
        *tsc = rdtsc();
        u64 passed = *tsc - kvmclock[cpu].tsc;
        passed = kvmclock[cpu].shift < 0 ? passed >> -kvmclock[cpu].shift : passed << kvmclock[cpu].shift;
        ns = kvmclock[cpu].ns + (u64)((unsigned __int128)passed * kvmclock[cpu].mul >> 32);
        barrier();
    } while (version & 1 || version != kvmclock[cpu].version);
    return ns;
}

/* The PM timer in ns since the beginning. It has few bits: kvmclock says how often it has begun anew. */
static long pm_ns(u32 pm, u64 clock)
{
    const u32 unused = 32 - PM_BITS;
    long ticks = (long)(clock * PM_HZ / SECOND);
    int off = (int)((pm - first_pm - (u32)ticks) << unused) >> unused;

    return (ticks + off) * SECOND / PM_HZ;
}

static void set_up_clock(u32 cpu)
{
    u64 tsc;

    wrmsr(MSR_KVMCLOCK, (u64)&kvmclock[cpu] | 1);
    cpus[cpu].low = -(1l << 62);
    cpus[cpu].high = 1l << 62;
    if (cpu == 0) {
        first_pm = inl(PORT_PM_TIMER);
        first_clock = read_clock(cpu, &tsc);
    }
}

/* kvmclock is read between two readings of the PM timer, so that each comparison gives bounds that hold however long it took.
 * Returns the first. */
static u32 compare_clocks(struct cpu *c)
{
    u32 before = inl(PORT_PM_TIMER);
    u64 tsc, clock = read_clock((u32)(c - cpus), &tsc);
    u32 after = inl(PORT_PM_TIMER);
    long passed = (long)(clock - first_clock), low = passed - pm_ns(after, clock - first_clock),
         high = passed - pm_ns(before, clock - first_clock);

    c->backwards += clock < c->last_clock || tsc < c->last_tsc;
    c->last_clock = clock;
    c->last_tsc = tsc;
    c->low = low > c->low ? low : c->low;
    c->high = high < c->high ? high : c->high;
    return before;
}

/* By how much the two have moved apart at least, on whichever CPU. */
static u64 clock_drift(void)
{
    long low = cpus[0].low, high = cpus[0].high;

    for (u32 i = 1; i < NR_CPUS; i++) {
        low = cpus[i].low > low ? cpus[i].low : low;
        high = cpus[i].high < high ? cpus[i].high : high;
    }
    return low > high ? (u64)(low - high) : 0;
}

/* --- page tables: 64 MiB and the devices at their own addresses; the workers' data page by page --- */

static u64 pml4[512] __attribute__((aligned(PAGE))), pdpt[512] __attribute__((aligned(PAGE)));
static u64 low[512] __attribute__((aligned(PAGE))), data[512] __attribute__((aligned(PAGE)));
static u64 devices[512] __attribute__((aligned(PAGE)));
static u64 leaf[NR_CPUS][2][512] __attribute__((aligned(PAGE)));
enum { TABLE = PTE_PRESENT | PTE_WRITE | PTE_USER };

static void map_large(u64 *table, u64 at, u64 flags)
{
    table[at >> 21 & 511] = at | flags | PTE_LARGE | PTE_PRESENT | PTE_WRITE;
}

static void build_tables(void)
{
    pml4[0] = (u64)pdpt | TABLE;
    pdpt[0] = (u64)low | TABLE;
    pdpt[1] = (u64)data | TABLE;
    pdpt[3] = (u64)devices | TABLE;
    for (u64 at = 0; at < 64ul << 20; at += 2ul << 20)
        map_large(low, at, PTE_USER);
    map_large(devices, LAPIC, 0);
    map_large(devices, IOAPIC, 0);
    map_large(devices, VIRTIO(0), PTE_USER);
    for (u32 cpu = 0; cpu < NR_CPUS; cpu++)
        for (u32 i = 0; i < 2; i++)
            data[(DATA_BASE(cpu) >> 21 & 511) + i] = (u64)leaf[cpu][i] | TABLE;
    __asm__ volatile("mov %0, %%cr3" ::"r"(pml4) : "memory");
}

/* A page for a worker's first touch. */
static void page_fault(struct frame *f)
{
    u64 at, cpu = this_cpu();

    __asm__ volatile("mov %%cr2, %0" : "=r"(at));
    u64 page = (at - DATA_BASE(cpu)) / PAGE;
    check(f->cs & 3 && at >= DATA_BASE(cpu) && page < DATA_PAGES && !leaf[cpu][page >> 9][page & 511], "page fault");
    leaf[cpu][page >> 9][page & 511] = (POOL(cpu) + page * PAGE) | TABLE;
    cpus[cpu].pages++;
}

/* --- descriptors --- */

static u64 gdt[NR_CPUS][9];
static struct { u32 reserved; u64 rsp0; u8 rest[92]; } __attribute__((packed)) tss[NR_CPUS];
static struct { u64 low, high; } idt[256];

static void set_gate(u32 vector, u8 *entry, u64 dpl)
{
    u64 at = (u64)entry;

    idt[vector].low = (at & 0xffff) | (u64)CODE << 16 | 0x8e00ul << 32 | dpl << 45 | (at >> 16 & 0xffff) << 48;
    idt[vector].high = at >> 32;
}

static void load(const char *what, const void *base, u16 limit)
{
    struct { u16 limit; u64 base; } __attribute__((packed)) r = {limit, (u64)base};

    if (what[0] == 'g')
        __asm__ volatile("lgdt %0" ::"m"(r));
    else
        __asm__ volatile("lidt %0" ::"m"(r));
}

static void set_up_descriptors(u32 cpu)
{
    static const u64 segments[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff, 0, 0, 0x00cff3000000ffff, 0x00affb000000ffff};
    u64 t = (u64)&tss[cpu];

    for (u32 i = 0; i < 7; i++)
        gdt[cpu][i] = segments[i]; /* Linux' selectors for ring 3: 0x2b, 0x33 */
    gdt[cpu][7] = (sizeof tss[0] - 1) | (t & 0xffffff) << 16 | 0x89ul << 40 | (t >> 24 & 0xff) << 56;
    gdt[cpu][8] = t >> 32;
    tss[cpu].rsp0 = (u64)stacks + (cpu + 1) * STACK_BYTES;
    load("gdt", gdt[cpu], sizeof gdt[cpu] - 1);
    __asm__ volatile("push $0x08; lea 1f(%%rip), %%rax; push %%rax; lretq; 1:" ::: "rax", "memory");
    __asm__ volatile("mov %0, %%ss; mov %0, %%ds; mov %0, %%es" ::"r"(0x10));
    __asm__ volatile("ltr %0" ::"r"((u16)TSS));
    load("idt", idt, sizeof idt - 1);
}

static void build_idt(void)
{
    set_gate(V_NMI, entry_2, 0);
    set_gate(V_INT3, entry_3, 3);
    set_gate(V_UD, entry_6, 0);
    set_gate(V_GP, entry_13, 0);
    set_gate(V_PF, entry_14, 0);
    set_gate(V_TIMER, entry_64, 0);
    set_gate(V_IPI, entry_65, 0);
    set_gate(V_VIRTIO, entry_80, 0);
    set_gate(V_VIRTIO + 1, entry_81, 0);
    set_gate(V_SPURIOUS, entry_255, 0);
}

/* --- local APIC --- */

static void set_up_apic(void)
{
    write32(LAPIC + A_SVR, 0x100 | V_SPURIOUS);
    write32(LAPIC + A_TIMER_DIVIDE, 3);
    write32(LAPIC + A_TIMER, V_TIMER | TIMER_PERIODIC);
    write32(LAPIC + A_TIMER_INITIAL, 1250000); /* of 1 GHz / 16: 50 a second */
}

static void send(u32 cpu, u32 command)
{
    write32(LAPIC + A_ICR_HIGH, cpu << 24);
    write32(LAPIC + A_ICR, command);
}

/* With interrupts on until `*p` is at least `want`; sti takes effect after hlt, so that nothing is missed. */
static void wait_until(volatile u32 *p, u32 want)
{
    while (*p < want) {
        __asm__ volatile("sti; hlt; cli" ::: "memory");
        barrier();
    }
}

/* --- virtio over MMIO: one queue, one request at a time --- */

enum { R_MAGIC = 0, R_VERSION = 4, R_DEVICE = 8, R_DRIVER_FEATURES = 0x20, R_DRIVER_FEATURES_SEL = 0x24, R_QUEUE_SEL = 0x30,
       R_QUEUE_NUM = 0x38, R_QUEUE_READY = 0x44, R_NOTIFY = 0x50, R_ISR = 0x60, R_ACK = 0x64, R_STATUS = 0x70, R_DESC = 0x80,
       R_AVAIL = 0x90, R_USED = 0xa0, MAGIC = 0x74726976 };
enum { QUEUE = 8, F_NEXT = 1, F_WRITE = 2, DEVICE_BLK = 2, DEVICE_RNG = 4 };

struct queue {
    struct { u64 at; u32 len; u16 flags, next; } desc[QUEUE];
    struct { u16 flags, index, ring[QUEUE]; } avail;
    struct { u16 flags, index; struct { u32 id, len; } ring[QUEUE]; } used __attribute__((aligned(8)));
} __attribute__((aligned(PAGE)));

enum { NR_SLOTS = 2 };
static struct virtio { u64 base; struct queue q; volatile u32 done; } slots[NR_SLOTS], *rng, *blk;

/* What the ACPI tables say of a slot's interrupt (an extended interrupt descriptor, 6.4.3.6): an edge? */
static u32 is_edge(u32 gsi)
{
    for (volatile u8 *p = (volatile u8 *)ACPI_TABLES; p < (volatile u8 *)ACPI_TABLES_END; p++)
        if (p[0] == 0x89 && p[1] == 6 && p[2] == 0 && p[4] == 1 && p[5] == gsi)
            return p[3] >> 1 & 1;
    check(0, "no interrupt for a slot");
    return 0;
}

static void route_to_boot_cpu(u32 slot)
{
    u32 level = is_edge(GSI_VIRTIO + slot) ? 0 : 1 << 15;

    write32(IOAPIC, 0x10 + (GSI_VIRTIO + slot) * 2);
    write32(IOAPIC + 0x10, (V_VIRTIO + slot) | level);
    write32(IOAPIC, 0x11 + (GSI_VIRTIO + slot) * 2);
    write32(IOAPIC + 0x10, 0);
}

static struct virtio *find_virtio(u32 device)
{
    for (u32 slot = 0; slot < NR_SLOTS; slot++) {
        u64 base = VIRTIO(slot);
        if (read32(base + R_MAGIC) != MAGIC || read32(base + R_VERSION) != 2 || read32(base + R_DEVICE) != device)
            continue;
        slots[slot].base = base;
        route_to_boot_cpu(slot);
        return &slots[slot];
    }
    check(0, "a virtio device is missing");
    return 0;
}

static struct virtio *set_up_virtio(u32 device)
{
    struct virtio *v = find_virtio(device);
    u64 base = v->base;

    write32(base + R_STATUS, 3);
    write32(base + R_DRIVER_FEATURES_SEL, 1);
    write32(base + R_DRIVER_FEATURES, 1); /* VERSION_1 */
    write32(base + R_STATUS, 11);
    write32(base + R_QUEUE_SEL, 0);
    write32(base + R_QUEUE_NUM, QUEUE);
    write32(base + R_DESC, (u32)(u64)v->q.desc);
    write32(base + R_AVAIL, (u32)(u64)&v->q.avail);
    write32(base + R_USED, (u32)(u64)&v->q.used);
    write32(base + R_QUEUE_READY, 1);
    write32(base + R_STATUS, 15);
    check(read32(base + R_STATUS) == 15, "virtio status");
    return v;
}

static void describe(struct virtio *v, u32 n, const volatile void *at, u32 len, u32 flags)
{
    v->q.desc[n].at = (u64)at;
    v->q.desc[n].len = len;
    v->q.desc[n].flags = (u16)flags;
    v->q.desc[n].next = (u16)(n + 1);
}

/* Submits the chain that begins at descriptor 0 and waits for its interrupt. */
static void submit(struct virtio *v)
{
    u32 want = v->done + 1;

    v->q.avail.ring[v->q.avail.index % QUEUE] = 0;
    barrier();
    v->q.avail.index++;
    barrier();
    write32(v->base + R_NOTIFY, 0);
    wait_until(&v->done, want);
}

static void virtio_interrupt(struct virtio *v)
{
    write32(v->base + R_ACK, read32(v->base + R_ISR));
    barrier();
    v->done = v->q.used.index;
}

static void use_rng(void)
{
    static volatile u64 random[2];

    random[0] = random[1] = 0;
    describe(rng, 0, random, sizeof random, F_WRITE);
    submit(rng);
    check(rng->q.used.ring[(rng->done - 1) % QUEUE].len == sizeof random && (random[0] | random[1]), "rng");
}

static u64 sector[64], again[64];

static void use_disk(u32 type, u64 number, void *buffer)
{
    static struct { u32 type, reserved; u64 sector; } request;
    static volatile u8 status;

    request.type = type;
    request.sector = number;
    status = 0xff;
    describe(blk, 0, &request, sizeof request, F_NEXT);
    describe(blk, 1, buffer, 512, F_NEXT | (type ? 0 : F_WRITE));
    describe(blk, 2, &status, 1, F_WRITE);
    submit(blk);
    check(status == 0, "disk");
}

/* Writes a sector and reads it back; what it had before goes into the checksum. */
static u64 turn_over_sector(u64 number, u64 x)
{
    use_disk(0, number, sector);
    u64 before = sector[7];

    for (u32 i = 0; i < 64; i++)
        sector[i] = x + i;
    use_disk(1, number, sector);
    use_disk(0, number, again);
    for (u32 i = 0; i < 64; i++)
        check(again[i] == x + i, "sector");
    return before;
}

/* --- calls and interrupts --- */

/* True: there is another one. */
static u64 round_of_cpu(u32 cpu, u64 x)
{
    struct cpu *c = &cpus[cpu];
    u32 n = ++c->rounds;

    if (cpu == 0) {
        c->checksum = (c->checksum << 1 | c->checksum >> 63) ^ turn_over_sector(n % 16, x);
        if (n % 8 == 0)
            use_rng();
        if (!rounds && inb(PORT_UART_STATUS) & UART_HAS_INPUT)
            rounds = n + more; /* before its IPI of this round */
    } else {
        check(read32(VIRTIO(7) + R_MAGIC) == MAGIC, "MMIO");
    }
    send(!cpu, V_IPI);
    wait_until(&c->ipis, n); /* the other one's, of the same round */
    while (cpus[!cpu].ipis < n) /* taken there, or ours of the next round might become one with it */
        __asm__ volatile("sti; pause; cli" ::: "memory");
    return n != rounds;
}

static void tick(struct cpu *c)
{
    u32 now = compare_clocks(c), gap = (now - c->last_tick) & 0xffffff;

    if (c->ticks++ && gap > c->longest_gap)
        c->longest_gap = gap;
    c->last_tick = now;
}

/* An exception for which there is no gate, nor for those that come of that. */
static void triple_fault(void)
{
    load("idt", idt, 0);
    __asm__ volatile("ud2");
}

/* Once for each of `resets`: the battery-backed memory counts them. */
static void reset_if_wished(void)
{
    outb(PORT_CMOS, CMOS_RESETS);
    u8 done = inb(PORT_CMOS + 1);

    if (done >= resets)
        return;
    outb(PORT_CMOS + 1, (u8)(done + 1));
    if (faults)
        triple_fault();
    for (;;)
        outb(PORT_PM_RESET, 1);
}

static void __attribute__((noreturn)) finish(void)
{
    u64 sum = 0;

    for (u32 i = 0; i < NR_CPUS; i++) {
        check(cpus[i].ipis == rounds && cpus[i].rounds == rounds && cpus[i].ticks, "counts");
        sum = (sum << 7 | sum >> 57) ^ cpus[i].checksum;
        say_hex("TICKS ", cpus[i].ticks);
        say_hex("LONGEST-GAP ", cpus[i].longest_gap);
    }
    say_hex("CLOCK-BACKWARDS ", cpus[0].backwards + cpus[1].backwards);
    say_hex("CLOCK-DRIFT ", clock_drift());
    say_hex("ROUNDS ", rounds);
    say_hex("PAGES ", cpus[0].pages + cpus[1].pages);
    say_hex("CHECKSUM ", sum);
    reset_if_wished();
    end(EXIT_OFF);
}

static void kernel_call(struct frame *f)
{
    u32 cpu = this_cpu();

    if (f->rax == CALL_ROUND) {
        f->rax = round_of_cpu(cpu, f->rdi);
        return;
    }
    cpus[cpu].checksum ^= f->rdi;
    cpus[cpu].done = 1;
    while (cpu) /* the boot CPU speaks */
        __asm__ volatile("sti; hlt");
    wait_until(&cpus[1].done, 1);
    finish();
}

void interrupt(struct frame *f)
{
    struct cpu *c = &cpus[this_cpu()];

    if (f->vector == V_NMI) {
        for (u32 i = 0; i < 50; i++) /* long enough for an INIT to come meanwhile */
            barrier();
        c->nmis++;
        return;
    }
    switch (f->vector) {
    case V_INT3: kernel_call(f); return;
    case V_PF: page_fault(f); return;
    case V_TIMER: tick(c); break;
    case V_IPI: c->ipis++; break;
    case V_VIRTIO:
    case V_VIRTIO + 1: virtio_interrupt(&slots[f->vector - V_VIRTIO]); break;
    case V_SPURIOUS: return;
    default:
        say_hex("RIP ", f->rip);
        check(0, "exception");
    }
    write32(LAPIC + A_EOI, 0);
}

/* --- storms: INIT and STARTUP to the other CPU while pages go to and fro, and nonsense for interrupt controllers --- */

enum { BOUNCED = 4, BOUNCES = 20, PIN_UNUSED = GSI_VIRTIO + NR_SLOTS, NR_UNUSED = 4 };
#define BOUNCED_WORD(page, cpu) ((volatile u64 *)(POOL(0) + (page) * PAGE) + (cpu))

static void bounce(u32 cpu, u32 times)
{
    for (u32 i = 0; i < times; i++)
        __asm__ volatile("lock incq %0" : "+m"(*BOUNCED_WORD(i % BOUNCED, cpu)));
}

/* Ring 3 of the other CPU, until INIT ends it. */
static void bounce_for_ever(u64 cpu)
{
    for (;;)
        bounce((u32)cpu, BOUNCED);
}

static u64 next_random(void)
{
    static u64 x = 88172645463325252ul;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* Nonmaskable interrupts, system management interrupts and what no APIC should be asked for, to itself, the other CPU and both; an
 * INIT that finds the other one in its handler of NMI. */
static void unmaskable_storm(u64 x)
{
    static const u32 commands[] = {ICR_NMI, ICR_SELF | ICR_NMI, ICR_ALL | ICR_NMI, ICR_OTHERS | ICR_NMI, ICR_SMI, ICR_ALL | ICR_SMI,
                                   ICR_EXTINT, ICR_ALL | ICR_EXTINT, ICR_RESERVED, ICR_ALL | ICR_LOWEST | V_IPI};

    for (u32 i = 0; i <= x % 4; i++)
        send(1, commands[(x >> 2) % 10]);
}

/* The other CPU has come up since it was last told to: it has a handler of NMI. */
static u32 up_before;
static int is_up(void) { return other_is_up != up_before; }

static void storm_once(u64 x)
{
    static const u32 commands[] = {ICR_INIT, ICR_STARTUP | TRAMPOLINE >> 12, V_IPI, ICR_OTHERS | ICR_INIT,
                                   ICR_OTHERS | ICR_STARTUP | TRAMPOLINE >> 12, ICR_OTHERS | V_IPI, 0x8500 /* INIT's end */, V_IPI | 0x100};

    send(0, x >> 2 & 1 ? ICR_SELF | ICR_NMI : ICR_SELF | ICR_SMI);
    if (is_up())
        unmaskable_storm(x >> 3);
    if (0x1b >> x % 8 & 1) /* INIT or STARTUP */
        up_before = other_is_up;
    send(1, commands[x % 8]);
    write32(IOAPIC, 0x10 + PIN_UNUSED * 2 + (u32)(x >> 8) % (2 * NR_UNUSED));
    write32(IOAPIC + 0x10, (u32)(x >> 16));
    read32(IOAPIC + 0x10);
    write32(LAPIC + A_TIMER_DIVIDE, (u32)(x >> 40));
    write32(LAPIC + A_TIMER_INITIAL, (u32)(x >> 32) | 1);
    read32(LAPIC + (u32)(x >> 24) % 0x400);
    bounce(0, BOUNCES);
}

static void start_other_cpu(void)
{
    u64 begin;
    u32 before;

    trampoline_cr3 = (u32)(u64)pml4;
    for (u32 i = 0; i < (u32)(trampoline_end - trampoline); i++)
        ((volatile u8 *)TRAMPOLINE)[i] = trampoline[i];
    send(1, ICR_INIT);
    for (begin = rdtsc(); rdtsc() - begin < 20000000;)
        ;
    before = other_is_up;
    send(1, ICR_STARTUP | TRAMPOLINE >> 12);
    for (begin = rdtsc(); other_is_up == before;)
        check(rdtsc() - begin < 60000000000ul, "no second CPU");
}

/* Afterwards the other CPU still starts, and nobody has lost a word that was not the other's. */
static void storm(void)
{
    u32 pages[BOUNCED] = {0};

    *(volatile u16 *)SMI_HANDLER = 0xaa0f; /* RSM */
    for (u32 page = 0; page < BOUNCED; page++)
        pages[page] = (u32)*BOUNCED_WORD(page, 0);
    for (u32 i = 0; i < storms; i++)
        storm_once(next_random());
    for (u32 page = 0; page < BOUNCED; page++)
        check((u32)*BOUNCED_WORD(page, 0) - pages[page] == storms * (BOUNCES / BOUNCED), "a word of a page that went to and fro");
    say_hex("STARTS ", other_is_up);
    say_hex("NMIS ", cpus[0].nmis);
    say_hex("NMIS-OF-OTHER ", cpus[1].nmis);
    start_other_cpu();
    say("STORM-OK\n");
    reset_if_wished();
    end(EXIT_OFF);
}

/* --- the beginning --- */

static u64 user_call(u64 number, u64 argument)
{
    u64 more;

    __asm__ volatile("int3" : "=a"(more) : "a"(number), "D"(argument) : "memory");
    return more;
}

/* Ring 3 from here on. A reset leaves memory as it was. */
static void user_entry(u64 cpu)
{
    for (u64 i = 0; resets && i < (u64)DATA_PAGES * PAGE / 8; i++)
        ((volatile u64 *)POOL(cpu))[i] = 0;
    worker((u32)cpu, (u8 *)DATA_BASE(cpu), user_call);
}

static u8 user_stack[NR_CPUS][STACK_BYTES] __attribute__((aligned(16)));

static void __attribute__((noreturn)) work(u32 cpu)
{
    enter_user(user_entry, (u64)user_stack[cpu] + STACK_BYTES - 8, cpu);
}

void other_cpu(void)
{
    set_up_descriptors(1);
    set_up_clock(1);
    set_up_apic();
    other_is_up++;
    if (storms)
        enter_user(bounce_for_ever, (u64)user_stack[1] + STACK_BYTES - 8, 1);
    work(1);
}

/* "KEY=N" of the command line. */
static void read_number(const char *s, const char *key, volatile u32 *value)
{
    for (; *s; s++) {
        const char *k = key, *p = s;
        while (*k && *p == *k)
            k++, p++;
        if (*k)
            continue;
        for (*value = 0; *p >= '0' && *p <= '9'; p++)
            *value = *value * 10 + (u32)(*p - '0');
    }
}

static void read_command_line(const u8 *boot_params)
{
    const char *line = (const char *)(u64)*(const u32 *)(boot_params + 0x228);

    read_number(line, "rounds=", &rounds);
    read_number(line, "more=", &more);
    read_number(line, "resets=", &resets);
    read_number(line, "faults=", &faults);
    read_number(line, "storms=", &storms);
}

void boot_cpu(const u8 *boot_params)
{
    read_command_line(boot_params);
    build_tables();
    build_idt();
    set_up_descriptors(0);
    set_up_clock(0);
    set_up_apic();
    rng = set_up_virtio(DEVICE_RNG);
    blk = set_up_virtio(DEVICE_BLK);
    start_other_cpu();
    say("GUEST-UP\n");
    if (storms)
        storm();
    work(0);
}
