/* The run of one bare-metal benchmark: page tables, harts in step, result lines, power-off.
 *
 * Every hart: bare_setup (M mode) -> bare_main (S mode, Sv39) -> all wait -> perf_kernel -> all wait
 * -> hart 0 prints one PERF line per hart and writes "pass" to the SiFive test finisher. */
#include "bare.h"

enum { TICK_NS = 100 }; /* virt's timebase is 10 MHz */
enum { FDT_MAGIC = 0, FDT_STRUCT = 2, FDT_BEGIN_NODE = 1, FDT_PROP = 3, FDT_END = 9 };
enum { LEAF_TABLES = BARE_MAPPED >> 21, PTE_SHIFT = 10 };
#define UART ((volatile uint8_t *)0x10000000)
#define FINISHER ((volatile uint32_t *)0x100000)
#define SATP_SV39 (8ull << 60)

extern const struct perf_kernel perf_kernel;
extern char _end[], _user_start[], _user_end[], user_return[];

struct result {
    uint64_t ticks, instructions, sum;
};

static uint64_t root[512] __attribute__((aligned(4096)));
static uint64_t devices[512] __attribute__((aligned(4096)));
static uint64_t middle[512] __attribute__((aligned(4096)));
static uint64_t leaf[LEAF_TABLES][512] __attribute__((aligned(4096)));
static bare_trap_fn *on_trap;
static struct result results[BARE_MAX_HARTS];
static unsigned online, ready, arrived, finished;

static uint64_t table_entry(const void *table)
{
    return (uintptr_t)table >> 12 << PTE_SHIFT | PTE_V;
}

static uint64_t leaf_entry(uintptr_t address)
{
    uint64_t flags = PTE_KERNEL;
    if (address >= (uintptr_t)_user_start && address < (uintptr_t)_user_end)
        flags |= PTE_U;
    return address >> 12 << PTE_SHIFT | flags;
}

static void build_tables(void)
{
    uint64_t device = PTE_V | PTE_R | PTE_W | PTE_A | PTE_D;
    root[0] = table_entry(devices);
    devices[0] = device;                                                  /* the finisher */
    devices[(uintptr_t)UART >> 21] = (uintptr_t)UART >> 12 << PTE_SHIFT | device;
    root[BARE_RAM >> 30] = table_entry(middle);
    for (unsigned i = 0; i < LEAF_TABLES; i++) {
        middle[i] = table_entry(leaf[i]);
        for (unsigned j = 0; j < 512; j++)
            leaf[i][j] = leaf_entry(BARE_RAM + ((uintptr_t)i << 21) + ((uintptr_t)j << 12));
    }
}

static uint64_t ticks(void)
{
    return bare_csr_read(time);
}

static uint32_t big_endian(uint32_t v)
{
    return v << 24 | (v & 0xff00) << 8 | (v >> 8 & 0xff00) | v >> 24;
}

static const uint32_t *after(const uint32_t *at, uint32_t bytes)
{
    return at + (bytes + 3) / 4;
}

static uint32_t length(const char *text)
{
    uint32_t n = 0;

    while (text[n])
        n++;
    return n;
}

/* The harts of a device tree: its nodes cpu@N. */
static unsigned count_harts(const uint32_t *fdt)
{
    const uint32_t *at = after(fdt, big_endian(fdt[FDT_STRUCT]));
    unsigned count = 0;

    for (uint32_t token; (token = big_endian(*at++)) != FDT_END;) {
        if (token == FDT_BEGIN_NODE) {
            const char *name = (const char *)at;
            count += name[0] == 'c' && name[1] == 'p' && name[2] == 'u' && name[3] == '@';
            at = after(at, length(name) + 1);
        } else if (token == FDT_PROP) {
            at = after(at + 2, big_endian(*at));
        }
    }
    return count < BARE_MAX_HARTS ? count : BARE_MAX_HARTS;
}

/* Hart 0 makes the tables and waits for the others, however long the host lets them wait. */
uint64_t bare_setup(unsigned hart, const uint32_t *fdt);
uint64_t bare_setup(unsigned hart, const uint32_t *fdt)
{
    __atomic_fetch_add(&online, 1, __ATOMIC_SEQ_CST);
    if (hart == 0) {
        unsigned harts = big_endian(fdt[FDT_MAGIC]) == 0xd00dfeed ? count_harts(fdt) : 1;
        build_tables();
        while (__atomic_load_n(&online, __ATOMIC_SEQ_CST) < harts)
            ;
        __atomic_store_n(&ready, harts, __ATOMIC_RELEASE);
    }
    while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
        ;
    return SATP_SV39 | (uintptr_t)root >> 12;
}

uint64_t *bare_pte(uintptr_t address)
{
    return &leaf[0][0] + ((address - BARE_RAM) >> 12);
}

uint64_t *bare_root(void)
{
    return root;
}

void bare_on_trap(bare_trap_fn *handler)
{
    on_trap = handler;
}

void bare_user_leave(struct bare_frame *frame)
{
    frame->sepc = (uintptr_t)user_return;
    frame->sstatus |= 0x100;
    frame->x[2] = (uintptr_t)(frame + 1);
}

void bare_uart_put(char c)
{
    while (!(UART[5] & 0x20))
        ;
    UART[0] = (uint8_t)c;
}

static void print(const char *text)
{
    for (; *text; text++)
        bare_uart_put(*text);
}

static void print_number(const char *before, uint64_t value, unsigned base)
{
    char digits[24], *p = digits + sizeof digits - 1;
    *p = 0;
    do {
        *--p = "0123456789abcdef"[value % base];
        value /= base;
    } while (value);
    print(before);
    print(p);
}

static void __attribute__((noreturn)) power_off(uint32_t code)
{
    *FINISHER = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        __asm__ volatile("wfi");
}

void bare_trap(struct bare_frame *frame);
void bare_trap(struct bare_frame *frame)
{
    if (on_trap) {
        on_trap(frame);
        return;
    }
    print_number("unexpected trap: cause ", frame->scause, 16);
    print_number(" pc ", frame->sepc, 16);
    print_number(" value ", frame->stval, 16);
    print("\n");
    power_off(98);
}

static void wait_for_all(unsigned *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < ready)
        ;
}

static void report(unsigned harts)
{
    for (unsigned i = 0; i < harts; i++) {
        print("PERF ");
        print(perf_kernel.name);
        print_number(" hart=", i, 10);
        print_number(" ns=", results[i].ticks * TICK_NS, 10);
        print_number(" instructions=", results[i].instructions, 10);
        print_number(" sum=", results[i].sum, 16);
        print("\n");
    }
}

/* gcc may call these for structure copies and clearing loops. */
void *memcpy(void *to, const void *from, size_t n);
void *memcpy(void *to, const void *from, size_t n)
{
    unsigned char *t = to;
    for (const unsigned char *f = from; n--;)
        *t++ = *f++;
    return to;
}

void *memset(void *to, int value, size_t n);
void *memset(void *to, int value, size_t n)
{
    for (unsigned char *t = to; n--;)
        *t++ = (unsigned char)value;
    return to;
}

static uint64_t run(struct perf_env *env)
{
    uint64_t sum = perf_kernel.run(env);

    for (unsigned i = 1; i < perf_kernel.rounds; i++) {
        memset(env->arena, 0, env->used);
        env->used = 0;
        sum = perf_mix(sum, perf_kernel.run(env));
    }
    return sum;
}

void bare_main(unsigned hart);
void bare_main(unsigned hart)
{
    uintptr_t arena = (uintptr_t)_end;
    struct perf_env env = {.hart = hart, .harts = ready};
    env.size = (BARE_RAM + BARE_MAPPED - arena) / ready & ~(size_t)0x1fffff;
    env.arena = (unsigned char *)arena + env.size * hart;
    bare_csr_write(fflags, 1); /* inexact, as in any program that has computed for a while */
    wait_for_all(&arrived);
    uint64_t start = ticks(), first = bare_csr_read(instret);
    results[hart].sum = run(&env);
    results[hart].instructions = bare_csr_read(instret) - first;
    results[hart].ticks = ticks() - start;
    wait_for_all(&finished);
    if (hart == 0) {
        report(ready);
        power_off(0);
    }
    for (;;)
        __asm__ volatile("wfi");
}
