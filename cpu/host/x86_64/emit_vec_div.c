/* Division of vectors of integers one element after the other: of 64 bits, and where the host has no AVX-512.
 *
 *   rdi = destination, rsi = dividends, r8 = divisors, rcx = bytes from one of them to the next (0: a scalar) -> routine
 *
 * A routine for each operation and size, masked or not, for the elements below vl. */
#include "emit_vec.h"

/* In the routines; all but rax and rcx are what they were afterwards. */
enum { R_TO = RDI, R_FROM = RSI, R_BY = R8, R_N = R9, R_BITS = R10, R_VL = R11, R_STEP = RBX };
static const uint8_t saved[] = {RDX, R9, R10, R11, RBX};

static void load_element(struct x86_asm *a, unsigned size, bool is_signed, unsigned reg, unsigned from)
{
    static const uint32_t op[2][4] = {{X86_MOVZX8, X86_MOVZX16, X86_MOV_LOAD, X86_MOV_LOAD},
                                      {X86_MOVSX8, X86_MOVSX16, X86_MOV_LOAD, X86_MOV_LOAD}};

    x86_rm(a, op[is_signed][size], size == 3, reg, x86_at(from, 0));
}

static void store_element(struct x86_asm *a, unsigned size, unsigned reg)
{
    static const uint32_t op[] = {0, X86_MOV_STORE16, X86_MOV_STORE, X86_MOV_STORE};

    if (size == 0)
        x86_rm8(a, X86_MOV_STORE8, reg, x86_at(R_TO, 0));
    else
        x86_rm(a, op[size], size == 3, reg, x86_at(R_TO, 0));
}

/* rax, rdx = quotient and remainder of rax by rcx; what the host traps for is looked at first (V 11.11). */
static void emit_quotient(struct x86_asm *a, unsigned size, bool is_signed)
{
    int w = size == 3;
    uint8_t *minus = NULL, *done[3] = {NULL};

    x86_rr(a, X86_TEST, w, RCX, RCX);
    uint8_t *zero = x86_jcc(a, X86_E);
    if (is_signed) {
        x86_ri(a, X86_CMP, w, RCX, -1);
        minus = x86_jcc(a, X86_E);
        x86_sign_to_rdx(a, w);
    } else {
        x86_rr(a, X86_XOR, 0, RDX, RDX);
    }
    x86_r_n(a, X86_OP(0, 0, 0xf7), w, is_signed ? 7 : 6, RCX); /* idiv, div */
    done[0] = x86_jmp(a);
    if (minus) {
        x86_patch(minus, a->p);
        x86_r_n(a, X86_OP(0, 0, 0xf7), w, 3, RAX); /* neg */
        x86_rr(a, X86_XOR, 0, RDX, RDX);
        done[1] = x86_jmp(a);
    }
    x86_patch(zero, a->p);
    x86_mov(a, RDX, RAX);
    x86_mov_imm(a, RAX, -1);
    for (unsigned n = 0; n < 2; n++)
        if (done[n])
            x86_patch(done[n], a->p);
}

static uint8_t *emit_divide(struct ir_host *h, struct x86_asm *a, unsigned op, unsigned size, bool masked)
{
    bool is_signed = op == IR_V_DIV || op == IR_V_REM, remainder = op == IR_V_REM || op == IR_V_REMU;
    const struct ir_target *t = &h->target;
    uint8_t *at = a->p, *off = NULL;

    for (unsigned n = 0; n < sizeof saved; n++)
        x86_push(a, saved[n]);
    x86_load(a, R_VL, x86_at(R_STATE, t->vl - STATE_BIAS));
    x86_mov(a, R_STEP, RCX);
    x86_rr(a, X86_XOR, 0, R_N, R_N);
    x86_rr(a, X86_TEST, 1, R_VL, R_VL);
    uint8_t *none = x86_jcc(a, X86_E);
    uint8_t *loop = a->p;
    if (masked)
        off = x86_vec_next_bit(t, a, R_N, R_BITS);
    load_element(a, size, is_signed, RAX, R_FROM);
    load_element(a, size, is_signed, RCX, R_BY);
    emit_quotient(a, size, is_signed);
    store_element(a, size, remainder ? RDX : RAX);
    if (off)
        x86_patch(off, a->p);
    x86_ri(a, X86_ADD, 1, R_TO, 1 << size);
    x86_ri(a, X86_ADD, 1, R_FROM, 1 << size);
    x86_rr(a, X86_ADD, 1, R_BY, R_STEP);
    x86_ri(a, X86_ADD, 0, R_N, 1);
    x86_rr(a, X86_CMP, 1, R_N, R_VL);
    x86_patch(x86_jcc(a, X86_B), loop);
    x86_patch(none, a->p);
    for (unsigned n = sizeof saved; n--;)
        x86_pop(a, saved[n]);
    x86_ret(a);
    return at;
}

void x86_emit_vec_divide(struct ir_host *h, struct x86_asm *a)
{
    for (unsigned op = 0; op < 4; op++)
        for (unsigned size = 0; size < 4; size++)
            for (unsigned masked = 0; masked < 2; masked++) {
                x86_align(a, 16);
                h->rt.divide[op][size][masked] = emit_divide(h, a, IR_V_DIVU + op, size, masked);
            }
}

/* ---- in translated code; a scalar is in state.vsplat ---- */

void x86_vec_divide(struct emit *e, const struct ir_vec *v)
{
    static const uint8_t changed[] = {RDI, RSI, R8};

    for (unsigned n = 0; n < sizeof changed; n++)
        x86_push(&e->a, changed[n]);
    x86_rm(&e->a, X86_LEA, 1, R_TO, emit_state(v->d));
    x86_rm(&e->a, X86_LEA, 1, R_FROM, emit_state(v->a));
    x86_rm(&e->a, X86_LEA, 1, R_BY, emit_state(v->scalar ? e->t->vsplat : v->b));
    x86_mov_imm(&e->a, RCX, v->scalar ? 0 : 1 << v->size);
    emit_call(e, e->rt->divide[v->op - IR_V_DIVU][v->size][v->masked]);
    for (unsigned n = sizeof changed; n--;)
        x86_pop(&e->a, changed[n]);
    if (v->scalar && v->bytes >= 32)
        x86_vzeroupper(&e->a); /* of the splat */
}
