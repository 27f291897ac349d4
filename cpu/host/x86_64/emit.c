/* Emission of a region: entry, blocks, exits, then everything cold, then the records.
 *
 *   entry:  rax = pc: code base to the state   (patched to a jump when the region dies)
 *   inner:  sub r14, n | jl cold | load what is live
 *   blocks in order, one emit function per operation
 *   cold:   TLB misses, budget, conditional exits, cold copies of blocks
 *   records: struct ir_site[], struct ir_code_exit[] */
#include <string.h>

#include "sim-core/log.h"
#include "x86_priv.h"

/* ---- operands ---- */

bool emit_has(const struct emit *e, uint64_t feature)
{
    return (e->features & feature) == feature;
}

void emit_move_to(struct emit *e, unsigned reg, ir_ref ref)
{
    struct opnd o = emit_opnd(e, ref);

    if (o.place == IN_REG)
        x86_mov(&e->a, reg, o.reg);
    else if (o.place == IN_MEM)
        x86_load(&e->a, reg, o.mem);
    else
        x86_mov_imm(&e->a, reg, o.value);
}

unsigned emit_in_reg(struct emit *e, ir_ref ref, unsigned scratch)
{
    struct opnd o = emit_opnd(e, ref);

    if (o.place == IN_REG)
        return o.reg;
    emit_move_to(e, scratch, ref);
    return scratch;
}

unsigned emit_dst(struct emit *e, ir_ref ref, unsigned scratch)
{
    struct opnd o;

    if (ref == IR_NONE)
        return scratch;
    o = emit_opnd(e, ref);
    return o.place == IN_REG ? o.reg : scratch;
}

void emit_put(struct emit *e, ir_ref ref, unsigned reg)
{
    if (ref == IR_NONE)
        return;
    struct opnd o = emit_opnd(e, ref);

    if (o.place == IN_REG)
        x86_mov(&e->a, o.reg, reg);
    else
        x86_store(&e->a, o.mem, reg);
}

void emit_op_src(struct emit *e, uint32_t op, int w, unsigned reg, ir_ref ref)
{
    struct opnd o = emit_opnd(e, ref);
    bool immediate = (op & 0xff00) == 0; /* the group-1 operations have one */

    if (o.place == IN_REG) {
        x86_rr(&e->a, op, w, reg, o.reg);
    } else if (o.place == IN_MEM) {
        x86_rm(&e->a, op, w, reg, o.mem);
    } else if (immediate && (o.value == (int32_t)o.value || !w)) {
        x86_ri(&e->a, op, w, reg, (int32_t)o.value);
    } else {
        x86_mov_imm(&e->a, RCX, o.value);
        x86_rr(&e->a, op, w, reg, RCX);
    }
}

void emit_rip(struct emit *e, uint32_t op, int w, unsigned reg, const uint8_t *constant)
{
    x86_rm(&e->a, op, w, reg, x86_at_rip(constant));
}

void emit_vrip(struct emit *e, uint32_t op, int w, unsigned reg, unsigned vvvv,
               const uint8_t *constant)
{
    x86_vrm(&e->a, op, w, reg, vvvv, x86_at_rip(constant));
}

void emit_fmove(struct emit *e, unsigned dst, unsigned src)
{
    if (dst != src)
        x86_rr(&e->a, X86_MOVAPS, 0, dst, src);
}

unsigned emit_fin_reg(struct emit *e, ir_ref ref, unsigned scratch)
{
    struct opnd o = emit_opnd(e, ref);

    if (o.place == IN_REG)
        return o.reg;
    x86_rm(&e->a, X86_MOVQ_LOAD, 0, scratch, o.mem);
    return scratch;
}

unsigned emit_fdst(struct emit *e, ir_ref ref, unsigned scratch)
{
    return emit_dst(e, ref, scratch);
}

void emit_fput(struct emit *e, ir_ref ref, unsigned xmm)
{
    if (ref == IR_NONE)
        return;
    struct opnd o = emit_opnd(e, ref);

    if (o.place == IN_REG)
        emit_fmove(e, o.reg, xmm);
    else
        x86_rm(&e->a, X86_MOVQ_STORE, 0, xmm, o.mem);
}

/* ---- records and jumps ---- */

void emit_call(struct emit *e, const uint8_t *target)
{
    uint8_t *at = x86_call(&e->a);

    if (!e->a.overflow)
        x86_patch(at, target);
}

void emit_jmp_to(struct emit *e, const uint8_t *target)
{
    uint8_t *at = x86_jmp(&e->a);

    if (!e->a.overflow)
        x86_patch(at, target);
}

static void jcc_to(struct emit *e, enum x86_cond cc, const uint8_t *target)
{
    uint8_t *at = x86_jcc(&e->a, cc);

    if (!e->a.overflow)
        x86_patch(at, target);
}

struct cold *emit_cold(struct emit *e, enum cold_kind kind)
{
    if (e->nr_cold == MAX_COLD) {
        e->failed = true;
        e->nr_cold--;
    }
    struct cold *c = &e->cold[e->nr_cold++];

    memset(c, 0, sizeof(*c));
    c->kind = (uint8_t)kind;
    c->block = (uint16_t)e->block;
    c->index = (uint16_t)e->index;
    c->dirty = e->dirty;
    c->slot = NO_SLOT;
    return c;
}

/* Globals -> the host registers they live in; FP registers are counted from 16. */
static uint32_t host_registers(const struct emit *e, uint64_t globals)
{
    uint32_t set = 0;

    for (; globals; globals &= globals - 1) {
        unsigned g = (unsigned)__builtin_ctzll(globals);
        set |= 1u << (e->al->global[g] + (g < 32 ? 0 : 16));
    }
    return set;
}

static void add_site(struct emit *e, uint64_t dirty, unsigned origin)
{
    if (e->nr_sites == MAX_SITES) {
        e->failed = true;
        return;
    }
    struct site_fix *f = &e->site[e->nr_sites];

    f->at = x86_lea_rip(&e->a, RCX);
    f->site = (struct ir_site){host_registers(e, dirty), (uint16_t)origin, (uint16_t)e->nr_sites};
    e->nr_sites++;
}

void emit_site(struct emit *e, uint64_t dirty)
{
    add_site(e, dirty, e->r->insn[e->index].origin);
}

static void block_site(struct emit *e, unsigned block, uint64_t dirty)
{
    add_site(e, dirty, e->r->block[block].first_origin);
}

static void jump_to_block(struct emit *e, uint8_t *at, unsigned block)
{
    if (e->nr_block_fixes == MAX_BLOCK_FIXES) {
        e->failed = true;
        return;
    }
    e->block_fix[e->nr_block_fixes++] = (struct block_fix){at, (uint16_t)block};
}

/* ---- leaving the region ---- */

void emit_store_dirty(struct emit *e, uint64_t dirty)
{
    while (dirty) {
        unsigned g = (unsigned)__builtin_ctzll(dirty);
        struct x86_mem m = emit_state(e->t->global[g]);
        if (g < 32)
            x86_store(&e->a, m, e->al->global[g]);
        else
            x86_rm(&e->a, X86_MOVQ_STORE, 0, e->al->global[g], m);
        dirty &= dirty - 1;
    }
}

/* A jump whose displacement is 4-byte aligned, so that it can be changed while it runs. Until it is
 * linked it goes to the instructions behind it. */
static void chained_exit(struct emit *e, unsigned exit)
{
    if (e->nr_exits == MAX_EXIT_SITES) {
        e->failed = true;
        return;
    }
    struct exit_fix *f = &e->exit[e->nr_exits++];

    x86_nop(&e->a, (unsigned)(0 - ((uintptr_t)e->a.p + 1)) & 3);
    f->jump = x86_jmp(&e->a);
    f->exit = (uint16_t)exit;
    f->unlinked = e->a.p;
    if (!e->a.overflow)
        x86_patch(f->jump, f->unlinked);
    f->at = x86_lea_rip(&e->a, RCX);
    emit_jmp_to(e, e->rt->leave_link);
}

/* Goes to the guest address in rax through the jump cache; every register is free. */
static void lookup_rax(struct emit *e)
{
    int32_t mask = (int32_t)((1u << e->t->jc_bits) - 1) << 2;

    x86_load(&e->a, RCX, emit_state(e->t->code_tlb));
    x86_mov32(&e->a, RDX, RAX);
    x86_ri(&e->a, X86_AND, 0, RDX, mask);
    x86_rm(&e->a, X86_CMP, 1, RAX, x86_at_index(RCX, RDX, 3, e->t->jc));
    jcc_to(e, X86_NE, e->rt->jump_again);
    x86_jmp_mem(&e->a, x86_at_index(RCX, RDX, 3, e->t->jc + 8));
}

/* rax = guest address of an offset from the code base */
static void pc_to_rax(struct emit *e, int64_t offset)
{
    x86_load(&e->a, RAX, emit_state(e->t->code_base));
    if (offset)
        x86_ri(&e->a, X86_ADD, 1, RAX, (int32_t)offset);
}

static void emit_exit(struct emit *e, ir_edge edge, uint64_t dirty)
{
    const struct ir_exit *x = &e->r->exit[~edge];

    emit_store_dirty(e, dirty);
    if (x->chain)
        chained_exit(e, (unsigned)~edge);
    else {
        pc_to_rax(e, x->pc);
        lookup_rax(e);
    }
}

/* Indirect. Bit 0 of the target is ignored. */
static void emit_jmp_ind(struct emit *e, const struct ir_insn *i)
{
    emit_move_to(e, RAX, i->src[0]);
    x86_ri(&e->a, X86_AND, 1, RAX, -2);
    emit_store_dirty(e, e->dirty);
    lookup_rax(e);
}

/* A cold copy has not opened the windows that copies of a loop rely on: it goes on at their head. */
static ir_edge edge_of(const struct emit *e, ir_edge edge)
{
    return edge >= 0 && e->slow && e->r->block[edge].copy_of ? e->r->block[edge].copy_of - 1 : edge;
}

static void goto_edge(struct emit *e, ir_edge edge, unsigned next)
{
    if (edge < 0)
        emit_exit(e, edge, e->dirty);
    else if ((unsigned)edge != next)
        jump_to_block(e, x86_jmp(&e->a), (unsigned)edge);
}

static void jcc_edge(struct emit *e, enum x86_cond cond, ir_edge edge)
{
    uint8_t *at = x86_jcc(&e->a, cond);

    if (edge >= 0) {
        jump_to_block(e, at, (unsigned)edge);
        return;
    }
    struct cold *c = emit_cold(e, COLD_EXIT);
    c->from[0] = at;
    c->edge = edge;
}

static void emit_br(struct emit *e, const struct ir_insn *i, unsigned next)
{
    const struct ir_block *b = &e->r->block[e->block];
    ir_edge taken = edge_of(e, b->succ[0]), other = edge_of(e, b->succ[1]);
    enum ir_cc cc = (enum ir_cc)i->cc;

    if (ir_is_const(i->src[0]) && ir_is_const(i->src[1])) {
        bool yes = ir_cc_eval(cc, ir_const_value(e->r, i->src[0]), ir_const_value(e->r, i->src[1]));
        goto_edge(e, yes ? taken : other, next);
        return;
    }
    if (taken == (ir_edge)next) { /* fall into the next block */
        taken = other;
        other = (ir_edge)next;
        cc = ir_cc_invert(cc);
    }
    enum x86_cond cond = emit_compare(e, 1, cc, i->src[0], i->src[1]);
    jcc_edge(e, cond, taken);
    goto_edge(e, other, next);
}

/* ---- blocks ---- */

static const emit_fn emit_table[IR_NR_OPS] = {
    [IR_MOV] = emit_mov, [IR_PC] = emit_pc,
    [IR_ADD] = emit_alu, [IR_SUB] = emit_alu, [IR_AND] = emit_alu, [IR_OR] = emit_alu,
    [IR_XOR] = emit_alu,
    [IR_ANDN] = emit_notalu, [IR_ORN] = emit_notalu, [IR_XNOR] = emit_notalu,
    [IR_SHL] = emit_shift, [IR_SHR] = emit_shift, [IR_SAR] = emit_shift, [IR_ROL] = emit_shift,
    [IR_ROR] = emit_shift,
    [IR_SHADD] = emit_shadd, [IR_SHADD_UW] = emit_shadd,
    [IR_SEXT8] = emit_extend, [IR_SEXT16] = emit_extend, [IR_SEXT32] = emit_extend,
    [IR_ZEXT16] = emit_extend, [IR_ZEXT32] = emit_extend,
    [IR_SET] = emit_set, [IR_CZERO] = emit_czero,
    [IR_SELECT] = emit_select, [IR_REFUND] = emit_refund,
    [IR_MIN] = emit_minmax, [IR_MAX] = emit_minmax, [IR_MINU] = emit_minmax,
    [IR_MAXU] = emit_minmax,
    [IR_MUL] = emit_mul, [IR_MULH] = emit_mulh, [IR_MULHU] = emit_mulh, [IR_MULHSU] = emit_mulh,
    [IR_DIV] = emit_div, [IR_DIVU] = emit_div, [IR_REM] = emit_div, [IR_REMU] = emit_div,
    [IR_CLZ] = emit_count, [IR_CTZ] = emit_count, [IR_POPCNT] = emit_count,
    [IR_BSWAP] = emit_bswap, [IR_ORCB] = emit_orcb,
    [IR_BSET] = emit_bit, [IR_BCLR] = emit_bit, [IR_BINV] = emit_bit, [IR_BEXT] = emit_bit,
    [IR_LOAD] = emit_load, [IR_STORE] = emit_store, [IR_AMO] = emit_amo, [IR_CAS] = emit_cas,
    [IR_LR] = emit_lr, [IR_SC] = emit_sc, [IR_ZERO64] = emit_zero64, [IR_FENCE] = emit_fence,
    [IR_GETW] = emit_getw, [IR_SETW] = emit_setw, [IR_MASK] = emit_mask,
    [IR_VSET] = emit_vset, [IR_VLOAD] = emit_vload, [IR_VSTORE] = emit_vstore, [IR_VGATHER] = emit_vspread, [IR_VSCATTER] = emit_vspread, [IR_VOP] = emit_vop,
    [IR_VGET] = emit_vget, [IR_VCALL] = emit_vcall,
    [IR_FMOV] = emit_fmov,
    [IR_FADD] = emit_farith, [IR_FSUB] = emit_farith, [IR_FMUL] = emit_farith,
    [IR_FDIV] = emit_farith, [IR_FSQRT] = emit_fsqrt,
    [IR_FMADD] = emit_fma, [IR_FMSUB] = emit_fma, [IR_FNMSUB] = emit_fma, [IR_FNMADD] = emit_fma,
    [IR_FMIN] = emit_fminmax, [IR_FMAX] = emit_fminmax, [IR_FSGNJ] = emit_fsgnj,
    [IR_FCMP] = emit_fcmp, [IR_FUNBOX] = emit_funbox, [IR_FTOI] = emit_ftoi,
    [IR_ITOF] = emit_itof, [IR_FWIDEN] = emit_fcvt, [IR_FNARROW] = emit_fcvt,
    [IR_FBITS] = emit_fbits, [IR_BITSF] = emit_bitsf, [IR_FDIRTY] = emit_fdirty,
    [IR_EXEC] = emit_exec, [IR_COUNT] = emit_count_up, [IR_OBSERVE] = emit_observe,
};

static void emit_end(struct emit *e, const struct ir_insn *i, unsigned next)
{
    switch (i->op) {
    case IR_JMP: goto_edge(e, edge_of(e, e->r->block[e->block].succ[0]), next); break;
    case IR_BR: emit_br(e, i, next); break;
    case IR_JMP_IND: emit_jmp_ind(e, i); break;
    default: emit_exec(e, i); break; /* EXEC_END: the helper never says go on */
    }
}

/* What comes next is of this origin. A map that is full ends early. */
static void note_origin(struct emit *e, unsigned origin)
{
    if (!e->host->want_map || e->nr_map == MAX_MAP || (e->nr_map && e->map[e->nr_map - 1].origin == origin))
        return;
    e->map[e->nr_map++] = (struct ir_map_row){(uint32_t)(e->a.p - e->entry), origin};
}

static void emit_insns(struct emit *e, unsigned block, unsigned from, unsigned next)
{
    const struct ir_block *b = &e->r->block[block];

    e->block = block;
    for (unsigned k = from; k < b->first + b->nr; k++) {
        const struct ir_insn *i = &e->r->insn[k];
        e->index = k;
        note_origin(e, i->origin);
        if (ir_op_info[i->op].flags & IRF_END)
            emit_end(e, i, next);
        else
            emit_table[i->op](e, i);
        emit_note_near_code(e, i);
        if (ir_is_global(i->dst))
            e->dirty |= ir_bit(i->dst) & e->al->in_registers;
    }
}

void emit_slow_copy(struct emit *e, unsigned block, unsigned index, uint64_t dirty)
{
    e->slow = true;
    e->dirty = dirty;
    emit_insns(e, block, index, IR_MAX_BLOCKS);
    e->slow = false;
}

static void charge(struct emit *e, const struct ir_block *b, enum cold_kind kind)
{
    x86_ri(&e->a, X86_SUB, 1, R_BUDGET, b->charge);
    uint8_t *at = x86_jcc(&e->a, X86_L); /* one operation with the subtraction, unlike S */
    struct cold *c = emit_cold(e, kind);
    c->from[0] = at;
    c->back = e->a.p;
}

static void load_live(struct emit *e)
{
    uint64_t live = e->r->block[0].live_in & e->al->in_registers;

    while (live) {
        unsigned g = (unsigned)__builtin_ctzll(live);
        struct x86_mem m = emit_state(e->t->global[g]);
        if (g < 32)
            x86_load(&e->a, e->al->global[g], m);
        else
            x86_rm(&e->a, X86_MOVQ_LOAD, 0, e->al->global[g], m);
        live &= live - 1;
    }
}

static void emit_guards(struct emit *e)
{
    for (unsigned n = 0; n < e->r->nr_guards; n++) {
        x86_m_n(&e->a, X86_OP(0, 0, 0x80), 0, 7, emit_state(e->r->guard[n].offset)); /* cmp */
        x86_byte(&e->a, e->r->guard[n].value);
        e->guard_fail[n] = x86_jcc(&e->a, X86_NE);
    }
}

/* rax = pc. The first instruction has at least five bytes, so that it can be replaced by a jump at
 * once. */
static void emit_base(struct emit *e)
{
    x86_ri32(&e->a, X86_SUB, 1, RAX, (int32_t)e->r->entry_pc);
    x86_store(&e->a, emit_state(e->t->code_base), RAX);
}

static void emit_entry(struct emit *e)
{
    const struct ir_block *b = &e->r->block[0];

    e->block = 0;
    e->index = b->first;
    e->dirty = 0;
    emit_guards(e);
    if (!b->loop_head)
        charge(e, b, COLD_ENTRY);
    load_live(e);
}

static void emit_block(struct emit *e, unsigned block)
{
    const struct ir_block *b = &e->r->block[block];

    e->block = block;
    e->index = b->first;
    e->dirty = b->dirty_in;
    e->label[block] = e->a.p;
    note_origin(e, b->first_origin);
    if (block || b->loop_head) {
        if (b->loop_head)
            charge(e, b, COLD_BUDGET);
        else if (b->charge)
            x86_ri(&e->a, X86_SUB, 1, R_BUDGET, b->charge);
    }
    emit_insns(e, block, b->first, block + 1);
}

/* ---- cold code ---- */

static void cold_budget(struct emit *e, const struct cold *c)
{
    uint64_t dirty = c->kind == COLD_ENTRY ? 0 : e->r->block[c->block].dirty_in;

    x86_mov_imm(&e->a, RAX, e->r->block[c->block].charge);
    emit_call(e, e->r->block[c->block].spins ? e->rt->poll_spin : e->rt->poll);
    jcc_to(e, X86_AE, c->back);
    block_site(e, c->block, dirty);
    emit_jmp_to(e, e->rt->leave_budget);
}

static void cold_fix(struct emit *e, const struct cold *c)
{
    emit_rip(e, X86_MOVQ_LOAD, 0, c->reg, c->constant);
    emit_jmp_to(e, c->back);
}

static void emit_cold_one(struct emit *e, const struct cold *c)
{
    e->block = c->block;
    e->index = c->index;
    e->dirty = c->dirty;
    note_origin(e, e->r->insn[c->index].origin);
    for (unsigned n = 0; n < 2; n++)
        if (c->from[n] && !e->a.overflow)
            x86_patch(c->from[n], e->a.p);
    switch (c->kind) {
    case COLD_BUDGET:
    case COLD_ENTRY: cold_budget(e, c); break;
    case COLD_MEM: emit_cold_mem(e, c); break;
    case COLD_WINDOW: emit_cold_window(e, c); break;
    case COLD_EXIT: emit_exit(e, c->edge, c->dirty); break;
    case COLD_EXEC: emit_cold_exec(e, c); break;
    case COLD_VSET: emit_cold_vset(e, c); break;
    case COLD_VEC: emit_cold_vec(e, c); break;
    case COLD_VEC_PART: emit_cold_vec_part(e, c); break;
    case COLD_VEC_TAIL: emit_cold_vec_tail(e, c); break;
    case COLD_VEC_LEFT: emit_cold_vec_left(e, c); break;
    case COLD_VEC_REST: emit_cold_vec_rest(e, c); break;
    default: cold_fix(e, c); break;
    }
}

/* Cold code may ask for more cold code (a slow copy's misses). */
static void emit_cold_all(struct emit *e)
{
    for (unsigned n = 0; n < e->nr_cold && !e->a.overflow && !e->failed; n++) {
        struct cold c = e->cold[n];
        emit_cold_one(e, &c);
    }
}

/* ---- records ---- */

static void emit_sites(struct emit *e)
{
    x86_align(&e->a, 8);
    x86_u64(&e->a, (uint64_t)(uintptr_t)e->owner);
    for (unsigned n = 0; n < e->nr_sites; n++) {
        if ((size_t)(e->a.end - e->a.p) < sizeof(struct ir_site)) {
            e->a.overflow = true;
            return;
        }
        x86_patch(e->site[n].at, e->a.p);
        memcpy(e->a.p, &e->site[n].site, sizeof(struct ir_site));
        e->a.p += sizeof(struct ir_site);
    }
}

static void emit_exits(struct emit *e, struct ir_code *out)
{
    x86_align(&e->a, 8);
    out->exits = (uint32_t)(e->a.p - e->host->cache->rw);
    out->nr_exits = e->nr_exits;
    for (unsigned n = 0; n < e->nr_exits; n++) {
        const struct exit_fix *f = &e->exit[n];
        struct ir_code_exit x = {.pc = e->r->exit[f->exit].pc, .region = e->owner};

        if ((size_t)(e->a.end - e->a.p) < sizeof x) {
            e->a.overflow = true;
            return;
        }
        x.jump = (int32_t)(f->jump - e->a.p);
        x.unlinked = (int32_t)(f->unlinked - e->a.p);
        x86_patch(f->at, e->a.p);
        memcpy(e->a.p, &x, sizeof x);
        e->a.p += sizeof x;
    }
}

static void emit_map(struct emit *e, struct ir_code *out)
{
    size_t bytes = e->nr_map * sizeof e->map[0];

    if (!bytes)
        return;
    x86_align(&e->a, 8);
    out->map = (uint32_t)(e->a.p - e->host->cache->rw);
    out->nr_map = e->nr_map;
    if ((size_t)(e->a.end - e->a.p) < bytes) {
        e->a.overflow = true;
        return;
    }
    memcpy(e->a.p, e->map, bytes);
    e->a.p += bytes;
}

static void emit_dead_entry(struct emit *e, struct ir_code *out)
{
    for (unsigned n = 0; n < e->r->nr_guards && !e->a.overflow; n++)
        x86_patch(e->guard_fail[n], e->a.p);
    if (e->r->nr_guards)
        pc_to_rax(e, e->r->entry_pc);
    out->dead = (uint32_t)(e->a.p - e->host->cache->rw);
    emit_jmp_to(e, e->rt->leave_lookup);
}

static void begin(struct emit *e, struct ir_host *host, const struct ir_cache *c, const struct ir_region *r,
                  const struct ir_alloc *al, void *owner)
{
    /* Room to spare: a displacement that did not fit may still be patched. */
    e->a = (struct x86_asm){c->rw + c->used, c->rw + c->used, c->rw + c->size - 64, false};
    e->host = host;
    e->t = &host->target;
    e->r = r;
    e->al = al;
    e->rt = &host->rt;
    e->features = host->features;
    e->owner = owner;
    e->slow = e->failed = false;
    e->zero_ref = IR_NONE;
    e->fp = false;
    for (unsigned g = 32; g < IR_NR_GLOBALS; g++)
        e->fp |= al->global[g] != IR_LOC_MEMORY;
    for (unsigned t = 0; t < r->nr_temps; t++)
        e->fp |= ir_type_is_fp(r->temp_type[t]);
    e->nr_cold = e->nr_sites = e->nr_exits = e->nr_block_fixes = e->nr_map = 0;
    memset(e->near_code, 0, sizeof e->near_code);
}

bool ir_host_emit_part(struct ir_host *host, struct emit *e, struct ir_cache *part, const struct ir_region *r,
                       const struct ir_alloc *al, void *owner, struct ir_code *out)
{
    begin(e, host, part, r, al, owner);
    x86_align(&e->a, 16);
    out->entry = (uint32_t)(e->a.p - part->rw);
    e->entry = e->a.p;
    note_origin(e, 0);
    emit_base(e);
    out->inner = (uint32_t)(e->a.p - part->rw);
    emit_entry(e);
    for (unsigned b = 0; b < r->nr_blocks; b++)
        emit_block(e, b);
    out->hot_bytes = (uint32_t)(e->a.p - part->rw) - out->entry;
    emit_cold_all(e);
    emit_dead_entry(e, out);
    out->host_bytes = (uint32_t)(e->a.p - part->rw) - out->entry;
    if (e->a.overflow || e->failed)
        return false;
    for (unsigned n = 0; n < e->nr_block_fixes; n++)
        x86_patch(e->block_fix[n].at, e->label[e->block_fix[n].block]);
    emit_sites(e);
    emit_exits(e, out);
    emit_map(e, out);
    if (e->a.overflow)
        return false;
    out->end = (uint32_t)(e->a.p - part->rw);
    part->used = out->end;
    return true;
}

bool ir_host_emit(struct ir_host *host, const struct ir_region *r, const struct ir_alloc *al,
                  void *owner, struct ir_code *out)
{
    return ir_host_emit_part(host, host->emit, host->cache, r, al, owner, out);
}
