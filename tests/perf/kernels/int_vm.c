/* An interpreter for a small stack machine with threaded dispatch: one hard indirect jump per step. */
#include "perf.h"

enum op { PUSH, LOAD, STORE, ADD, SUB, MUL, XOR, SHR, LESS, JUMPZ, JUMP, HALT };
enum { ROUNDS = 46 };

/* while (i < 20000) { a = (a * 31 + i) ^ (a >> 7); if (a < b) b -= i; else b += a; i++; } */
enum { VAR_I, VAR_A, VAR_B, VARS };
enum { TOP = 0, BODY = 7, COMPARE = 23, OTHERWISE = 37, JOIN = 42, END = 53 };
static const uint32_t program[] = {
    LOAD, VAR_I, PUSH, 20000, LESS, JUMPZ, END,                  /* TOP */
    LOAD, VAR_A, PUSH, 31, MUL, LOAD, VAR_I, ADD,                /* BODY */
    LOAD, VAR_A, PUSH, 7, SHR, XOR, STORE, VAR_A,
    LOAD, VAR_A, LOAD, VAR_B, LESS, JUMPZ, OTHERWISE,            /* COMPARE */
    LOAD, VAR_B, LOAD, VAR_I, SUB, JUMP, JOIN,
    LOAD, VAR_B, LOAD, VAR_A, ADD,                               /* OTHERWISE */
    STORE, VAR_B, LOAD, VAR_I, PUSH, 1, ADD, STORE, VAR_I, JUMP, TOP, /* JOIN */
    HALT,                                                        /* END */
};
_Static_assert(sizeof program / sizeof *program == END + 1, "the labels above count words");

static uint64_t execute(const uint32_t *code, uint64_t *var)
{
    static const void *const label[] = {&&push, &&load, &&store, &&add,   &&sub,  &&mul,
                                        &&xor,  &&shr,  &&less,  &&jumpz, &&jump, &&halt};
    uint64_t stack[16], *sp = stack, steps = 0;
    const uint32_t *pc = code;
#define NEXT steps++; goto *label[*pc++]
    NEXT;
push:  *sp++ = *pc++; NEXT;
load:  *sp++ = var[*pc++]; NEXT;
store: var[*pc++] = *--sp; NEXT;
add:   sp--; sp[-1] += sp[0]; NEXT;
sub:   sp--; sp[-1] -= sp[0]; NEXT;
mul:   sp--; sp[-1] *= sp[0]; NEXT;
xor:   sp--; sp[-1] ^= sp[0]; NEXT;
shr:   sp--; sp[-1] >>= sp[0] & 63; NEXT;
less:  sp--; sp[-1] = sp[-1] < sp[0]; NEXT;
jumpz: pc = *--sp ? pc + 1 : code + *pc; NEXT;
jump:  pc = code + *pc; NEXT;
halt:  return steps;
#undef NEXT
}

PERF_KERNEL(env)
{
    uint64_t *var = perf_alloc(env, VARS * sizeof *var), sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        var[VAR_I] = 0;
        sum = perf_mix(sum, execute(program, var));
        sum = perf_mix(sum, var[VAR_B]);
    }
    return sum;
}
