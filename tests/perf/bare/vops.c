/* Times of single vector instructions by type and group: lines "VOP PICOSECONDS SEW LMUL LENGTH TEXT" (../vops.py).
 *
 * Each row of vops.def with each vtype and length (all of VLMAX, half of it, all but one) is a loop of its own in fresh memory, {vsetvli; REPEAT times the instruction},
 * run for longer and longer until it takes MIN_TICKS, then BURSTS times more: the shortest counts, for the host is
 * seldom alone. A type the instruction does not go with traps, and there is no line. */
#include <stdbool.h>

#include "bare.h"
#include "vec.h"

enum { REPEAT = 4, BURSTS = 4, MIN_TICKS = 3000, TICK_PS = 100000, GROUP_BYTES = 1024 };

extern const uint32_t vop_words[];
__asm__(".section .rodata\n .balign 4\n .global vop_words\n vop_words:\n .option push\n .option arch, +v\n"
#define VOP(_text) _text "\n"
#include "vops.def"
        ".option pop\n .text");

static const char *const texts[] = {
#define VOP(_text) _text,
#include "vops.def"
};
enum { NR_VOPS = sizeof texts / sizeof *texts };

/* lmul as in vtype */
static const struct {
    const char *name;
    unsigned bits;
} lmuls[] = {{"mf2", 7}, {"m1", 0}, {"m2", 1}, {"m8", 3}};

/* vl */
static const char *const lengths[] = {"all", "half", "odd"};
enum { ALL, HALF, ODD, NR_LENGTHS };

/* bnez a0, to the first of the instructions */
#define OFFSET (-4u * (REPEAT + 1))
#define BNEZ_A0_BACK (0x80051063u | (OFFSET >> 5 & 0x3f) << 25 | (OFFSET >> 1 & 15) << 8 | (OFFSET >> 11 & 1) << 7)

typedef void loop_fn(uint64_t rounds, uint64_t a1, uint64_t length, uint64_t a3, void *a4);
static uint64_t operand[3][GROUP_BYTES / 8] __attribute__((aligned(64)));
static unsigned char memory[64 * GROUP_BYTES] __attribute__((aligned(4096)));
static bool trapped;

static void put(const char *text)
{
    while (*text)
        bare_uart_put(*text++);
}

static void put_number(uint64_t value)
{
    if (value >= 10)
        put_number(value / 10);
    bare_uart_put((char)('0' + value % 10));
}

/* Out of the loop, as if it had returned. */
static void skip_loop(struct bare_frame *frame)
{
    trapped = true;
    frame->sepc = frame->x[1];
}

/* Floating point: small numbers; else small indices and bits of all kinds. */
static void fill_operands(bool is_float, unsigned sew)
{
    for (unsigned n = 0; n < (unsigned)GROUP_BYTES >> sew; n++) {
        for (unsigned k = 0; k < 3; k++) {
            uint64_t value = k == 2 ? n * 5 % 13 : n * 0x9e3779b97f4a7c15 >> k;
            if (is_float)
                value = sew == 2 ? 0x3f800000 + ((uint64_t)(n + k) << 20) : 0x3ff0000000000000 + ((uint64_t)(n + k) << 48);
            for (unsigned byte = 0; byte < 1u << sew; byte++)
                ((unsigned char *)operand[k])[(n << sew) + byte] = (unsigned char)(value >> 8 * byte);
        }
    }
}

static void load_operands(unsigned sew)
{
    static const uint64_t mask[16] = {[0 ... 15] = 0xa53cf01996e7b24d};
    static const uint64_t one_and_a_half[] = {0, 0, 0xffffffff3fc00000, 0x3ff8000000000000};

    __asm__ volatile(VEC("vl1re8.v v0, (%3)\n vl8re8.v v8, (%0)\n vl8re8.v v16, (%1)\n vl8re8.v v24, (%2)")
                     ::"r"(operand[0]), "r"(operand[1]), "r"(operand[2]), "r"(mask) : "memory");
    __asm__ volatile("fld fa0, (%0)" ::"r"(&one_and_a_half[sew]) : "fa0");
}

static uint64_t run(loop_fn *loop, unsigned sew, uint64_t length, uint64_t rounds)
{
    load_operands(sew);
    uint64_t start = bare_csr_read(time);
    loop(rounds, 0, length, 3, memory + sizeof memory / 2);
    return bare_csr_read(time) - start;
}

static uint32_t *assemble(uint32_t *at, uint32_t word, unsigned vtype, unsigned length)
{
    unsigned rs1 = length == ALL ? 0 : 12;

    *at++ = vtype << 20 | rs1 << 15 | 7u << 12 | 5u << 7 | 0x57; /* vsetvli t0, x0 or a2, vtype */
    for (unsigned n = 0; n < REPEAT; n++)
        *at++ = word;
    *at++ = 0xfff50513; /* addi a0, a0, -1 */
    *at++ = BNEZ_A0_BACK;
    *at++ = 0x00008067; /* ret */
    return at;
}

/* Picoseconds, or 0. */
static uint64_t measure(loop_fn *loop, unsigned sew, uint64_t length)
{
    uint64_t rounds = 16, best;

    trapped = false;
    while ((best = run(loop, sew, length, rounds)) < MIN_TICKS && !trapped)
        rounds *= best < MIN_TICKS / 8 ? 8 : 2;
    for (unsigned n = 0; n < BURSTS && !trapped; n++) {
        uint64_t ticks = run(loop, sew, length, rounds);
        best = ticks < best ? ticks : best;
    }
    return trapped ? 0 : best * TICK_PS / (rounds * REPEAT);
}

static uint64_t vlmax(unsigned vtype)
{
    uint64_t length;

    __asm__ volatile(VEC("vsetvl %0, x0, %1") : "=r"(length) : "r"((uint64_t)vtype));
    return length;
}

static void put_row(uint64_t ps, unsigned row, unsigned sew, unsigned lmul, unsigned length)
{
    put("VOP ");
    put_number(ps);
    put(" ");
    put_number(8u << sew);
    put(" ");
    put(lmuls[lmul].name);
    put(" ");
    put(lengths[length]);
    put(" ");
    put(texts[row]);
    put("\n");
}

/* Where half is one element less than all of them, that is that. Returns the end of the code. */
static uint32_t *measure_row(unsigned row, unsigned sew, unsigned lmul, uint32_t *code)
{
    unsigned vtype = sew << 3 | lmuls[lmul].bits | 0xc0;
    uint64_t all = vlmax(vtype), of[NR_LENGTHS] = {all, all / 2, all - 1};

    for (unsigned length = ALL; length < NR_LENGTHS && of[length] > (length == ODD ? all / 2 : 0); length++) {
        uint32_t *end = assemble(code, vop_words[row], vtype, length);
        __asm__ volatile("fence.i" ::: "memory");
        uint64_t ps = measure((loop_fn *)(uintptr_t)code, sew, of[length]);
        if (ps)
            put_row(ps, row, sew, lmul, length);
        code = end;
    }
    return code;
}

PERF_KERNEL(env)
{
    uint32_t *code = (uint32_t *)(uintptr_t)env->arena;

    bare_on_trap(skip_loop);
    for (unsigned row = 0; row < NR_VOPS; row++) {
        bool is_float = texts[row][1] == 'f' || (texts[row][1] == 'm' && texts[row][2] == 'f');
        for (unsigned sew = 0; sew < 4; sew++) {
            fill_operands(is_float, sew);
            for (unsigned lmul = 0; lmul < sizeof lmuls / sizeof *lmuls; lmul++)
                code = measure_row(row, sew, lmul, code);
        }
    }
    return NR_VOPS;
}
