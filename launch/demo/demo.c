/* The guest that `partita run --demo` boots: S mode on the built-in SBI, all harts.
 *
 *   boot hart: device tree -> HSM starts the others -> stages -> SRST power-off
 *   others:    WFI until the IPI of a stage, work on it together, WFI again
 *
 * Two stages: the Mandelbrot set (doubles, rows claimed by atomic add) and a sieve of primes for one
 * second (integers, memory, chunks claimed alike), checked against a known count. Freestanding. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sbi.h"

enum { MAX_HARTS = 4096, STACK_SIZE = 16384, SHOWN_HARTS = 16 };

/* Lies at the bottom of a hart's piece of memory; the stack is above it. */
struct hart {
    uint64_t stack_top; /* first: start.S */
    uint64_t id, index;
    volatile uint64_t rows, numbers, primes, insns;
};

static struct {
    uint64_t nr_harts, hartid[MAX_HARTS]; /* of the tree; the boot hart comes first */
    uint64_t memory, memory_end, timebase;
    char isa[400];
    bool color;
} machine;

static struct hart *harts[MAX_HARTS];
static uint64_t nr_harts, boot_index;
static volatile uint64_t nr_alive, nr_done, stage;

extern char image_end[];
void hart_start(void); /* start.S */

/* --- small things --- */

static inline uint64_t rdtime(void)
{
    uint64_t v;
    __asm__ volatile("rdtime %0" : "=r"(v));
    return v;
}

static inline uint64_t rdinstret(void)
{
    uint64_t v;
    __asm__ volatile("rdinstret %0" : "=r"(v));
    return v;
}

static inline void relax(void)
{
    __asm__ volatile(".insn i 0x0f, 0, x0, x0, 0x010"); /* pause */
}

static uint64_t fetch_add(volatile uint64_t *p, uint64_t n)
{
    return __atomic_fetch_add(p, n, __ATOMIC_ACQ_REL);
}

void *memset(void *to, int c, size_t n)
{
    for (char *p = to; n--; p++)
        *p = (char)c;
    return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
    const char *s = from;
    for (char *p = to; n--; p++)
        *p = *s++;
    return to;
}

static bool equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static bool begins(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return false;
    return true;
}

static size_t length(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

/* --- output: one buffer, one SBI call per flush --- */

static char out[2048];
static size_t out_len;

static void flush(void)
{
    size_t done = 0;
    while (done < out_len) {
        struct sbi_result r = sbi_call(SBI_DBCN, 0, out_len - done, (uintptr_t)out + done, 0);
        if (r.error || !r.value)
            break;
        done += (size_t)r.value;
    }
    out_len = 0;
}

static void put_char(char c)
{
    if (out_len == sizeof out)
        flush();
    out[out_len++] = c;
}

static void put(const char *s)
{
    for (; *s; s++) {
        if (*s == '\n')
            put_char('\r');
        put_char(*s);
    }
}

/* Colours and cursor movements only where they are welcome. */
static void ansi(const char *s)
{
    if (machine.color)
        put(s);
}

static void put_repeated(char c, uint64_t n)
{
    while (n--)
        put_char(c);
}

/* Right-aligned, thousands separated by commas. */
static void put_number(uint64_t v, unsigned width)
{
    char text[32];
    unsigned n = 0, digits = 0;

    do {
        if (digits && digits % 3 == 0)
            text[n++] = ',';
        text[n++] = (char)('0' + v % 10);
        v /= 10;
        digits++;
    } while (v);
    put_repeated(' ', n < width ? width - n : 0);
    while (n)
        put_char(text[--n]);
}

static void put_hex(uint64_t v)
{
    put("0x");
    for (int shift = 60; shift >= 0; shift -= 4)
        if (v >> shift || shift == 0)
            put_char("0123456789abcdef"[v >> shift & 15]);
}

/* Seconds of a time span with two decimals. */
static void put_seconds(uint64_t ticks)
{
    uint64_t hundredths = ticks * 100 / machine.timebase;

    put_number(hundredths / 100, 0);
    put_char('.');
    put_char((char)('0' + hundredths / 10 % 10));
    put_char((char)('0' + hundredths % 10));
    put(" s");
}

static void power_off(bool failed)
{
    flush();
    sbi_call(SBI_SRST, 0, 0, failed, 0);
    for (;;)
        __asm__ volatile("wfi");
}

void demo_trap(uint64_t cause, uint64_t pc, uint64_t value)
{
    put("\ndemo: unexpected trap, scause ");
    put_hex(cause);
    put(", sepc ");
    put_hex(pc);
    put(", stval ");
    put_hex(value);
    put("\n");
    power_off(true);
}

/* --- device tree: just what the demo shows --- */

enum { FDT_BEGIN = 1, FDT_END = 2, FDT_PROP = 3, FDT_NOP = 4 };

static uint32_t be32(const uint32_t *p)
{
    const uint8_t *b = (const uint8_t *)p;

    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The value of one or two cells. */
static uint64_t cells(const uint32_t *p, uint32_t len)
{
    return len >= 8 ? (uint64_t)be32(p) << 32 | be32(p + 1) : be32(p);
}

static void cpu_property(const char *name, const uint32_t *value, uint32_t len)
{
    if (equal(name, "reg") && machine.nr_harts < MAX_HARTS)
        machine.hartid[machine.nr_harts++] = cells(value, len);
    if (equal(name, "riscv,isa") && !machine.isa[0])
        memcpy(machine.isa, value, len < sizeof machine.isa - 1 ? len : sizeof machine.isa - 1);
}

static void memory_property(const char *name, const uint32_t *value, uint32_t len)
{
    if (!equal(name, "reg") || machine.memory || len < 16)
        return;
    machine.memory = cells(value + 2, 8);
    machine.memory_end = cells(value, 8) + machine.memory;
}

static void property(const char *node, const char *name, const uint32_t *value, uint32_t len)
{
    if (begins(node, "cpu@"))
        cpu_property(name, value, len);
    else if (begins(node, "memory@"))
        memory_property(name, value, len);
    else if (equal(node, "cpus") && equal(name, "timebase-frequency"))
        machine.timebase = be32(value);
    else if (equal(node, "chosen") && equal(name, "bootargs"))
        machine.color = equal((const char *)value, "color");
}

static void read_tree(const uint32_t *fdt)
{
    const char *base = (const char *)fdt, *strings = base + be32(fdt + 3);
    const uint32_t *p = (const uint32_t *)(base + be32(fdt + 2));
    const char *node = "";

    for (;;) {
        uint32_t token = be32(p++);
        if (token == FDT_BEGIN) {
            node = (const char *)p;
            p += length(node) / 4 + 1;
        } else if (token == FDT_PROP) {
            uint32_t len = be32(p);
            property(node, strings + be32(p + 1), p + 2, len);
            p += 2 + (len + 3) / 4;
        } else if (token != FDT_END && token != FDT_NOP) {
            return;
        }
    }
}

/* --- stage 1: the Mandelbrot set --- */

enum { COLUMNS = 76, ROWS = 24, STILL_ITERATIONS = 10000, FLIGHT_ITERATIONS = 1000 };

static uint16_t picture[ROWS][COLUMNS];
static volatile uint64_t next_row, iterations;
static uint32_t max_iterations = STILL_ITERATIONS;
static double view_scale = 1; /* 1: the whole set; smaller: around the target */

static uint32_t mandelbrot(double cr, double ci)
{
    double zr = 0, zi = 0;
    uint32_t n = 0;

    while (n < max_iterations) {
        double rr = zr * zr, ii = zi * zi;
        if (rr + ii > 4)
            break;
        zi = 2 * zr * zi + ci;
        zr = rr - ii + cr;
        n++;
    }
    return n;
}

/* The view shrinks from the whole set to a valley full of spirals. */
static const double target_x = -0.743643887037151, target_y = 0.131825904205330;

static double view_x(uint64_t column)
{
    double whole = -2.1 + 2.9 * (double)column / COLUMNS;

    return target_x + (whole - target_x) * view_scale;
}

static double view_y(uint64_t row)
{
    double whole = -1.2 + 2.4 * ((double)row + 0.5) / ROWS;

    return target_y + (whole - target_y) * view_scale;
}

static void mandelbrot_work(uint64_t me)
{
    uint64_t row, sum = 0;

    while ((row = fetch_add(&next_row, 1)) < ROWS) {
        for (uint64_t x = 0; x < COLUMNS; x++) {
            uint32_t n = mandelbrot(view_x(x), view_y(row));
            picture[row][x] = (uint16_t)n;
            sum += n;
        }
        harts[me]->rows++;
    }
    fetch_add(&iterations, sum);
}

/* Few steps: one shade each; many: one shade per doubling. */
static uint32_t shade(uint32_t n, uint32_t last)
{
    uint32_t level = n < 9 ? n : 9;

    for (uint32_t rest = n / 12; rest && level < last; rest /= 2)
        level++;
    return level;
}

static void put_pixel(uint32_t n)
{
    static const char shades[] = "  .,:;-=+ivxoXO#@";
    static const uint8_t colors[] = {17, 17, 18, 19, 20, 26, 32, 38,
                                     44, 50, 84, 118, 154, 190, 226, 220};
    uint32_t level = shade(n, sizeof colors - 1);

    if (n == max_iterations) {
        put_char(machine.color ? ' ' : '@');
        return;
    }
    if (machine.color) {
        put("\033[38;5;");
        put_number(colors[level], 0);
        put_char('m');
    }
    put_char(shades[level]);
}

static void put_row(uint64_t row)
{
    put("  ");
    for (uint64_t x = 0; x < COLUMNS; x++)
        put_pixel(picture[row][x]);
    ansi("\033[0m");
    put("\n");
    flush();
}

/* --- stage 2: primes --- */

enum { CHUNK = 100000, MAX_CHUNK = 21474, BASE_LIMIT = 46341 };
enum { CHECKED_CHUNKS = 10, CHECKED_PRIMES = 78498 };

static uint16_t base_prime[4800]; /* odd primes below 2^15.5: sieve numbers below 2^31 */
static uint32_t nr_base_primes;
static volatile uint64_t next_chunk, checked_primes, primes_begin, deadline;
static void show_prime_progress(void);

static void find_base_primes(void)
{
    for (uint32_t n = 3; n < BASE_LIMIT; n += 2) {
        uint32_t i = 0;
        while (i < nr_base_primes && n % base_prime[i] &&
               (uint32_t)base_prime[i] * base_prime[i] <= n)
            i++;
        if (i == nr_base_primes || n % base_prime[i])
            base_prime[nr_base_primes++] = (uint16_t)n;
    }
}

/* Primes in [first, first + CHUNK), first even. Bit i stands for first + 2i + 1. */
static uint64_t sieve(uint64_t first)
{
    uint64_t bits[CHUNK / 128 + 1], count = 0;

    memset(bits, 0, sizeof bits);
    for (uint32_t i = 0; i < nr_base_primes; i++) {
        uint64_t p = base_prime[i], n = p * p;
        if (n >= first + CHUNK)
            break;
        if (n < first)
            n = (first + p) / (2 * p) * (2 * p) + p; /* the first odd multiple at or after first */
        for (uint64_t bit = (n - first) / 2; bit < CHUNK / 2; bit += p)
            bits[bit / 64] |= 1ull << (bit % 64);
    }
    for (uint64_t bit = 0; bit < CHUNK / 2; bit++)
        count += !(bits[bit / 64] >> (bit % 64) & 1);
    return count; /* 1, which nothing strikes out, stands in for 2 */
}

static void prime_work(uint64_t me)
{
    uint64_t begin = rdinstret();

    while (rdtime() < deadline || next_chunk < CHECKED_CHUNKS) {
        uint64_t chunk = fetch_add(&next_chunk, 1);
        if (chunk >= MAX_CHUNK)
            break;
        uint64_t count = sieve(chunk * CHUNK);
        if (chunk < CHECKED_CHUNKS)
            fetch_add(&checked_primes, count);
        harts[me]->primes += count;
        harts[me]->numbers += CHUNK;
        harts[me]->insns = rdinstret() - begin;
        if (me == boot_index)
            show_prime_progress();
    }
}

/* --- harts --- */

enum { STAGE_WAIT, STAGE_MANDELBROT, STAGE_PRIMES, NR_STAGES };

static void work(uint64_t me, uint64_t what)
{
    if (what == STAGE_MANDELBROT)
        mandelbrot_work(me);
    else if (what == STAGE_PRIMES)
        prime_work(me);
    fetch_add(&nr_done, 1);
}

/* Sleeps until the boot hart's interprocessor interrupt tells of a new stage. */
void hart_main(struct hart *self)
{
    uint64_t me = self->index, seen = 0;

    __asm__ volatile("csrs sie, %0" : : "r"(2));
    fetch_add(&nr_alive, 1);
    for (;;) {
        uint64_t now = __atomic_load_n(&stage, __ATOMIC_ACQUIRE);
        if (now != seen) {
            seen = now;
            work(me, now % NR_STAGES);
            continue;
        }
        __asm__ volatile("wfi");
        __asm__ volatile("csrc sip, %0" : : "r"(2));
    }
}

/* Each stage has a new number, also when the same work comes again. */
static void begin_stage(uint64_t what)
{
    nr_done = 0;
    __atomic_store_n(&stage, stage - stage % NR_STAGES + NR_STAGES + what, __ATOMIC_RELEASE);
    sbi_call(SBI_IPI, 0, 0, (unsigned long)SBI_ALL_HARTS, 0);
}

static void wait_all_done(void)
{
    while (nr_done < nr_harts)
        relax();
}

/* A piece of memory behind the image for hart n; NULL when there is no room. */
static struct hart *carve_hart(uint64_t n)
{
    uint64_t base = (uint64_t)image_end + n * STACK_SIZE;
    struct hart *h = (struct hart *)base;

    if (base + STACK_SIZE > machine.memory_end - machine.memory / 4) /* the tree is at the top */
        return NULL;
    memset(h, 0, sizeof *h);
    h->stack_top = base + STACK_SIZE;
    return h;
}

static void start_harts(uint64_t boot_hartid)
{
    for (uint64_t i = 0; i < machine.nr_harts; i++) {
        uint64_t id = machine.hartid[i];
        struct hart *h = carve_hart(nr_harts);
        if (!h)
            break;
        h->id = id;
        h->index = nr_harts;
        harts[nr_harts] = h;
        if (id == boot_hartid) {
            boot_index = nr_harts++;
            fetch_add(&nr_alive, 1);
        } else if (!sbi_call(SBI_HSM, 0, id, (unsigned long)hart_start, (unsigned long)h).error) {
            nr_harts++;
        }
    }
    while (nr_alive < nr_harts)
        relax();
}

/* --- what the user sees --- */

static void banner(void)
{
    ansi("\033[1;36m");
    put("\n"
        "   ____            _   _ _        \n"
        "  |  _ \\ __ _ _ __| |_(_) |_ __ _ \n"
        "  | |_) / _` | '__| __| | __/ _` |\n"
        "  |  __/ (_| | |  | |_| | || (_| |   this text comes from a RISC-V guest\n"
        "  |_|   \\__,_|_|   \\__|_|\\__\\__,_|\n\n");
    ansi("\033[0m");
}

static void label(const char *name)
{
    put("  ");
    ansi("\033[1m");
    put(name);
    put_repeated(' ', 10 - length(name));
    ansi("\033[0m");
}

/* Breaks at underscores. */
static void put_wrapped(const char *s)
{
    enum { FIRST = 12, LAST = 76 };
    size_t column = FIRST;

    while (*s) {
        size_t n = 1;
        while (s[n] && s[n] != '_')
            n++;
        if (column + n > LAST) {
            put("\n");
            put_repeated(' ', FIRST);
            column = FIRST;
        }
        column += n;
        while (n--)
            put_char(*s++);
    }
}

static void describe(uint64_t ticks)
{
    struct sbi_result version = sbi_call(SBI_BASE, SBI_BASE_SPEC_VERSION, 0, 0, 0);

    label("harts");
    put_number(nr_harts, 0);
    put(nr_harts == 1 ? " hart\n" : " harts, started by SBI HSM in ");
    if (nr_harts > 1) {
        put_number(ticks * 1000000 / machine.timebase, 0);
        put(" us\n");
    }
    label("isa");
    put_wrapped(machine.isa);
    put("\n");
    label("memory");
    put_number(machine.memory >> 20, 0);
    put(" MiB\n");
    label("firmware");
    put("SBI ");
    put_number((uint64_t)version.value >> 24, 0);
    put_char('.');
    put_number((uint64_t)version.value & 0xffffff, 0);
    put("\n\n");
    flush();
}

/* One picture. Returns the time of the computation in ticks. */
static uint64_t show_frame(uint64_t me)
{
    uint64_t begin = rdtime(), ticks;

    next_row = 0;
    begin_stage(STAGE_MANDELBROT);
    work(me, STAGE_MANDELBROT);
    wait_all_done();
    ticks = rdtime() - begin;
    for (uint64_t row = 0; row < ROWS; row++)
        put_row(row);
    return ticks;
}

static void wait_until(uint64_t time)
{
    while (rdtime() < time)
        relax();
}

static void show_mandelbrot(uint64_t me)
{
    uint64_t begin = rdtime(), ticks = show_frame(me), frames = 1;

    /* A flight into the picture where the cursor can go back: 25 frames a second, one second. */
    while (machine.color && rdtime() - begin < machine.timebase) {
        max_iterations = FLIGHT_ITERATIONS;
        view_scale *= 0.85;
        wait_until(begin + frames++ * machine.timebase / 25);
        put("\033[24A");
        ticks += show_frame(me);
    }
    put("\n");
    label("floating");
    put_number(iterations / 1000000, 0);
    put(" M Mandelbrot steps in double precision, ");
    put_seconds(ticks);
    put(": ");
    put_number(iterations * 7 / 1000000 * machine.timebase / (ticks ? ticks : 1), 0);
    put(" MFLOPS\n");
    flush();
}

static void show_hart(uint64_t i, uint64_t ticks, uint64_t most)
{
    enum { BAR = 30 };
    const struct hart *h = harts[i];
    uint64_t filled = most ? h->numbers * BAR / most : 0;

    put("    hart ");
    put_number(h->id, 4);
    put("  ");
    ansi("\033[32m");
    put_repeated('#', filled);
    ansi("\033[0m");
    put_repeated('.', BAR - filled);
    put_number(h->numbers / 1000, 10);
    put(" k numbers");
    put_number(h->insns / 1000000 * machine.timebase / (ticks ? ticks : 1), 8);
    put(" MIPS\n");
}

/* A bar per hart; full is what the busiest has done, or would do until the deadline. */
static void show_harts(uint64_t ticks)
{
    uint64_t most = 0;

    for (uint64_t i = 0; i < nr_harts; i++)
        most = harts[i]->numbers > most ? harts[i]->numbers : most;
    if (ticks && ticks < machine.timebase)
        most = most * machine.timebase / ticks;
    for (uint64_t i = 0; i < nr_harts && i < SHOWN_HARTS; i++)
        show_hart(i, ticks, most);
    flush();
}

/* Between two chunks of the boot hart: the bars grow where the cursor can go back. */
static void show_prime_progress(void)
{
    static uint64_t last;
    uint64_t now = rdtime();

    if (!machine.color || now - last < machine.timebase / 20)
        return;
    last = now;
    show_harts(now - primes_begin);
    put("\033[");
    put_number(nr_harts < SHOWN_HARTS ? nr_harts : SHOWN_HARTS, 0);
    put("A");
}

static void show_prime_totals(uint64_t ticks)
{
    uint64_t numbers = 0, primes = 0, insns = 0;

    for (uint64_t i = 0; i < nr_harts; i++) {
        numbers += harts[i]->numbers;
        primes += harts[i]->primes;
        insns += harts[i]->insns;
    }
    if (nr_harts > SHOWN_HARTS)
        put("    ...\n");
    label("");
    put_number(primes, 0);
    put(" primes below ");
    put_number(numbers, 0);
    put(", ");
    put_number(insns / 1000000 * machine.timebase / (ticks ? ticks : 1), 0);
    put(" MIPS together\n");
}

static void show_primes(uint64_t me)
{
    find_base_primes();
    label("primes");
    put("one second of sieving on all harts ...\n");
    flush();
    primes_begin = rdtime();
    deadline = primes_begin + machine.timebase;
    begin_stage(STAGE_PRIMES);
    work(me, STAGE_PRIMES);
    wait_all_done();
    uint64_t ticks = rdtime() - primes_begin;
    show_harts(ticks);
    show_prime_totals(ticks);
}

void demo_main(uint64_t hartid, const uint32_t *fdt)
{
    uint64_t begin = rdtime();

    read_tree(fdt);
    if (!machine.timebase)
        machine.timebase = 10000000;
    banner();
    flush();
    uint64_t before = rdtime();
    start_harts(hartid);
    describe(rdtime() - before);
    show_mandelbrot(boot_index);
    show_primes(boot_index);
    bool right = checked_primes == CHECKED_PRIMES;
    label("check");
    put_number(checked_primes, 0);
    put(right ? " primes below 1,000,000: right\n" : " primes below 1,000,000: WRONG\n");
    put("\n  The guest powers off after ");
    put_seconds(rdtime() - begin);
    put(".\n\n");
    power_off(!right);
}
