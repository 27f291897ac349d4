/* One region: protect its page -> scan -> IR -> passes -> allocation -> host code -> publish. */
#include <string.h>

#include "jit_priv.h"
#include "lrsc.h"
#include "mem.h"
#include "observe.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "trans.h"

/* --- the page --- */

/* False: other harts had to be asked, and our own requests served meanwhile: whatever the caller knew may be stale. */
static bool ask_writers(struct jit *jit, struct rv_hart *h, gpa_t gpa_page)
{
    uint32_t who = mem_mark_code(jit->space, gpa_page);

    if (!who)
        return true;
    if (who == MEM_PAGE_WRITER_MANY) {
        rv_revoke_writes(h, gpa_page);
        mem_settle_code(jit->space, gpa_page);
        return jit->machine->nr_harts == 1;
    }
    if (who - 1 == h->vcpu.index) {
        rv_tlb_write_protect(h, gpa_page);
        return true;
    }
    struct rv_hart *target = rv_hart_of(jit->sim->vcpus[who - 1]);
    rv_request_write_protect(h, target, gpa_page);
    rv_request_wait(h, target);
    return false;
}

/* Nobody may write the page unseen any more, as long as *epoch stays what it is. Only the first who marks a page learns who
 * may write it: until he has asked them all, others see `protecting`. */
static bool protect(struct jit *jit, struct rv_hart *h, gpa_t gpa_page, uint64_t *epoch)
{
    sim_mutex_lock(&jit->registry);
    struct jit_page *p = jit_page_get(jit, gpa_page);
    p->protecting++;
    *epoch = p->epoch;
    sim_mutex_unlock(&jit->registry);
    bool good = ask_writers(jit, h, gpa_page);
    sim_mutex_lock(&jit->registry);
    p = jit_page_get(jit, gpa_page); /* all pages may have been forgotten meanwhile */
    if (p->protecting)
        p->protecting--;
    sim_mutex_unlock(&jit->registry);
    return good;
}

/* --- IR --- */

enum { MAX_BACK = 3 };

struct builder {
    struct jit *jit;
    struct trans t;
    const struct scan *s;
    gpa_t page;
    uint8_t block_of[IR_MAX_ORIGINS]; /* leader -> block */
    /* Where returns are expected to go: the places behind calls that are in the region, best first. Each
     * has a block at each return, that compares; and so have the expected targets of other indirect jumps. */
    const struct scan_insn *back[MAX_BACK];
    unsigned nr_back;
    bool expect_targets;
    const struct jit_source *source;
    bool observed;
    unsigned known_to;  /* watchers of the instructions before it are known */
    const struct observed_insn *watchers[IR_MAX_ORIGINS]; /* of s->insn; NULL: more than can be observed */
    /* SCAN_IF: `skip` cc 0 tells whether the instructions up to skip_last are not wanted. */
    ir_ref skip;
    uint8_t skip_cc;
    unsigned skip_first, skip_last, skip_length;
};

/* Where control goes for a page offset: a block, or out. */
static ir_edge edge_to(struct builder *b, uint64_t offset)
{
    const struct scan_insn *n = offset < GUEST_PAGE_SIZE ? scan_at(b->s, (unsigned)offset) : NULL;

    if (n && n->leader)
        return b->block_of[n - b->s->insn];
    return ir_add_exit(b->t.r, (int64_t)offset, offset < GUEST_PAGE_SIZE);
}

static void add_origin(struct builder *b, const struct scan_insn *n)
{
    struct ir_region *r = b->t.r;
    struct ir_block *block = &r->block[r->nr_blocks - 1];
    struct ir_origin *o = &r->origin[r->nr_origins++];

    o->pc = n->offset;
    o->payload = n;
    o->before = (uint16_t)(r->nr_origins - 1 - block->first_origin);
    o->block = (uint16_t)(r->nr_blocks - 1);
    b->t.pc = o->pc;
    b->t.i = &n->insn;
    b->t.sc_mark = 0;
    if ((n->insn.op == RV_OP_lr_w || n->insn.op == RV_OP_lr_d) && !b->t.alone)
        b->t.sc_mark = scan_lr_mark(b->s, n);
}

static const uint8_t branch_cc[RV_OP_COUNT] = {[RV_OP_beq] = IR_EQ,   [RV_OP_bne] = IR_NE,
                                               [RV_OP_blt] = IR_LT,   [RV_OP_bge] = IR_GE,
                                               [RV_OP_bltu] = IR_LTU, [RV_OP_bgeu] = IR_GEU};

/* --- ifs: instructions that run in any case, and then: were they wanted? --- */

static void begin_if(struct builder *b, const struct scan_insn *n)
{
    struct ir_region *r = b->t.r;
    uint8_t cc = branch_cc[n->insn.op];

    b->skip_length = n->skips;
    b->skip_last = (unsigned)(n - b->s->insn) + n->skips;
    b->skip = ir_temp(r, IR_I64);
    if (!n->insn.rs2 && n->insn.rs1 && (cc == IR_EQ || cc == IR_NE)) {
        ir_emit(r, IR_MOV, IR_I64, b->skip, trans_x(&b->t, n->insn.rs1), IR_NONE);
        b->skip_cc = cc;
    } else {
        ir_emit(r, IR_SET, IR_I64, b->skip, trans_x(&b->t, n->insn.rs1), trans_x(&b->t, n->insn.rs2))->cc =
            cc;
        b->skip_cc = IR_NE;
    }
    b->skip_first = r->nr_insns;
}

static void end_if(struct builder *b)
{
    struct ir_region *r = b->t.r;
    ir_ref now[IR_NR_GLOBALS] = {IR_NONE}; /* the temp that stands for a global's new value */

    for (unsigned k = b->skip_first; k < r->nr_insns; k++) {
        struct ir_insn *i = &r->insn[k];
        for (unsigned s = 0; s < ir_op_info[i->op].nsrc; s++)
            if (ir_is_global(i->src[s]) && now[i->src[s]])
                i->src[s] = now[i->src[s]];
        if (ir_is_global(i->dst))
            i->dst = now[i->dst] = ir_temp(r, IR_I64);
    }
    for (ir_ref g = 1; g < IR_NR_GLOBALS; g++) {
        if (!now[g])
            continue;
        struct ir_insn *i = ir_emit(r, IR_SELECT, IR_I64, g, b->skip, g);
        i->src[2] = now[g];
        i->cc = b->skip_cc;
    }
    struct ir_insn *i = ir_emit(r, IR_REFUND, IR_I64, IR_NONE, b->skip, IR_NONE);
    i->cc = b->skip_cc;
    i->imm = (int32_t)b->skip_length;
}

/* A branch that would leave an LR/SC sequence makes res_sc odd when it is taken (lrsc.h), whether there was an LR or not. */
static void leave_sequence(struct builder *b, const struct scan_insn *n, uint64_t target)
{
    struct ir_region *r = b->t.r;
    uint64_t sc = b->t.alone ? 0 : scan_sc_ahead(b->s, n);

    if (!sc || !rv_lrsc_leaves(n->offset, target, sc))
        return;
    ir_ref taken = ir_temp(r, IR_I64), mark = ir_temp(r, IR_I64), odd = ir_temp(r, IR_I64);
    ir_emit(r, IR_SET, IR_I64, taken, trans_x(&b->t, n->insn.rs1), trans_x(&b->t, n->insn.rs2))->cc =
        branch_cc[n->insn.op];
    ir_emit(r, IR_GETW, IR_I64, mark, IR_NONE, IR_NONE)->imm = (int32_t)offsetof(struct rv_hart, res_sc);
    ir_emit(r, IR_OR, IR_I64, odd, mark, taken);
    ir_emit(r, IR_SETW, IR_I64, IR_NONE, odd, IR_NONE)->imm = (int32_t)offsetof(struct rv_hart, res_sc);
}

static void end_branch(struct builder *b, const struct scan_insn *n)
{
    struct ir_region *r = b->t.r;
    struct ir_block *block = &r->block[r->nr_blocks - 1];
    uint64_t target = n->offset + (uint64_t)(int64_t)n->insn.imm;

    leave_sequence(b, n, target);
    block->succ[0] = edge_to(b, target);
    block->succ[1] = edge_to(b, n->offset + n->insn.len);
    block->nr_succ = 2;
    ir_emit(r, IR_BR, IR_I64, IR_NONE, trans_x(&b->t, n->insn.rs1), trans_x(&b->t, n->insn.rs2))
        ->cc = branch_cc[n->insn.op];
}

static void end_jump(struct builder *b, uint64_t offset)
{
    struct ir_region *r = b->t.r;
    struct ir_block *block = &r->block[r->nr_blocks - 1];

    block->succ[0] = edge_to(b, offset);
    block->nr_succ = 1;
    ir_emit(r, IR_JMP, IR_I64, IR_NONE, IR_NONE, IR_NONE);
}

static void link_register(struct builder *b, const struct scan_insn *n)
{
    if (n->insn.rd)
        ir_pc(b->t.r, n->insn.rd, n->offset + n->insn.len);
}

/* Where the indirect jump is expected to go, in the region; returns how many. */
static unsigned expected(const struct builder *b, const struct scan_insn *n,
                         const struct scan_insn *to[SCAN_TARGETS])
{
    unsigned nr = 0;

    if (scan_is_return(n)) {
        memcpy(to, b->back, b->nr_back * sizeof to[0]);
        return b->nr_back;
    }
    for (unsigned k = 0; b->expect_targets && n->end == SCAN_INDIRECT && k < n->nr_targets; k++) {
        to[nr] = scan_at(b->s, n->target[k]);
        nr += to[nr] && to[nr]->leader;
    }
    return nr;
}

static void compare_targets(struct builder *b, const struct scan_insn *n, ir_ref target)
{
    const struct scan_insn *to[SCAN_TARGETS];
    struct ir_region *r = b->t.r;

    for (unsigned k = 0, nr = expected(b, n, to); k < nr; k++) {
        struct ir_block *block = &r->block[r->nr_blocks - 1];

        block->succ[0] = b->block_of[to[k] - b->s->insn];
        block->succ[1] = (ir_edge)r->nr_blocks;
        block->nr_succ = 2;
        ir_emit(r, IR_BR, IR_I64, IR_NONE, target, ir_pc(r, IR_NONE, to[k]->offset))->cc = IR_EQ;
        ir_block_end(r);
        ir_block_begin(r);
    }
}

static void end_indirect(struct builder *b, const struct scan_insn *n)
{
    struct ir_region *r = b->t.r;
    ir_ref target = trans_x(&b->t, n->insn.rs1);


    if (n->insn.imm || (n->insn.rd && n->insn.rd == n->insn.rs1)) {
        ir_ref sum = ir_temp(r, IR_I64);
        ir_emit(r, IR_ADD, IR_I64, sum, target, ir_const(r, n->insn.imm));
        target = sum;
    }
    link_register(b, n);
    compare_targets(b, n, target);
    ir_emit(r, IR_JMP_IND, IR_I64, IR_NONE, target, IR_NONE);
}

static void end_block(struct builder *b, const struct scan_insn *n)
{
    switch (n->end) {
    case SCAN_BRANCH: end_branch(b, n); break;
    case SCAN_CALL: link_register(b, n); /* fall through */
    case SCAN_JUMP: end_jump(b, n->offset + (uint64_t)(int64_t)n->insn.imm); break;
    case SCAN_INDIRECT: end_indirect(b, n); break;
    case SCAN_EXEC: trans_exec(&b->t, true); break;
    default: end_jump(b, n->offset + n->insn.len); break;
    }
}

/* Does the block of n end with it? */
static bool is_last(const struct scan *s, unsigned index)
{
    const struct scan_insn *n = &s->insn[index];

    if ((n->end != SCAN_NEXT && n->end != SCAN_IF) || index + 1 == s->nr)
        return true;
    const struct scan_insn *next = &s->insn[index + 1];
    return next->leader || next->offset != n->offset + n->insn.len;
}

static unsigned executions(const struct builder *b, const struct scan_insn *n)
{
    return atomic_load_explicit(jit_counter(b->jit, b->page + n->offset), memory_order_relaxed);
}

static void expect_return(struct builder *b, const struct scan_insn *to)
{
    unsigned n = b->nr_back < MAX_BACK ? b->nr_back++ : MAX_BACK;

    for (; n && executions(b, b->back[n - 1]) < executions(b, to); n--)
        if (n < MAX_BACK)
            b->back[n] = b->back[n - 1];
    if (n < MAX_BACK)
        b->back[n] = to;
}

static unsigned nr_blocks(const struct builder *b)
{
    const struct scan_insn *to[SCAN_TARGETS];
    unsigned nr = b->s->nr_leaders;

    for (unsigned n = 0; n < b->s->nr; n++)
        nr += expected(b, &b->s->insn[n], to);
    return nr;
}

static void expect_jumps(struct builder *b)
{
    const struct scan *s = b->s;

    b->nr_back = 0;
    b->expect_targets = true;
    for (unsigned n = 0; n < s->nr; n++) {
        const struct scan_insn *back = scan_behind_call(s, &s->insn[n]);
        if (back)
            expect_return(b, back);
    }
    if (nr_blocks(b) > IR_MAX_BLOCKS)
        b->nr_back = 0;
    if (nr_blocks(b) > IR_MAX_BLOCKS)
        b->expect_targets = false;
}

static void number_blocks(struct builder *b)
{
    const struct scan_insn *to[SCAN_TARGETS];
    unsigned block = 0;

    for (unsigned n = 0; n < b->s->nr; n++) {
        if (b->s->insn[n].leader)
            b->block_of[n] = (uint8_t)block++;
        block += expected(b, &b->s->insn[n], to);
    }
}

/* --- observers --- */

/* The block that begins at s->insn[index] as observers know it: a long one is several to them. */
static void find_watchers(struct builder *b, unsigned index)
{
    const struct rv_insn *insn[OBSERVE_BLOCK_INSNS];
    const struct scan *s = b->s;
    unsigned nr = 0, offset = s->insn[index].offset;

    do
        insn[nr] = &s->insn[index + nr].insn;
    while (!is_last(s, index + nr++) && nr < OBSERVE_BLOCK_INSNS);
    const struct observed_block *block =
        rv_observe_block(b->source->observed, b->source->va_page + offset, b->page + offset, nr, insn);
    for (unsigned n = 0; n < nr; n++)
        b->watchers[index + n] = block ? &block->insn[n] : NULL;
    b->known_to = index + nr;
}

static bool emit_counters(struct builder *b, const struct observe_action *a)
{
    struct ir_region *r = b->t.r;
    bool calls = false;

    for (; a; a = a->next) {
        if (a->fn)
            calls = true;
        else
            ir_emit(r, IR_COUNT, IR_I64, IR_NONE, ir_const(r, a->n), IR_NONE)->imm = (int32_t)a->counter;
    }
    return calls;
}

/* What observers want done before the instruction. */
static void observe(struct builder *b, unsigned index)
{
    if (index == b->known_to)
        find_watchers(b, index);
    const struct observed_insn *w = b->watchers[index];
    if (!w)
        return;
    bool calls = w == w->block->insn && emit_counters(b, w->block->entered);
    calls |= emit_counters(b, w->actions);
    if (calls)
        ir_emit(b->t.r, IR_OBSERVE, IR_I64, IR_NONE, IR_NONE, IR_NONE);
}

static void build(struct builder *b)
{
    const struct scan *s = b->s;
    struct ir_region *r = b->t.r;

    ir_reset(r);
    r->entry_pc = s->insn[0].offset;
    r->alone = b->t.alone;
    r->quick = b->source->quick;
    b->skip_last = 0;
    expect_jumps(b);
    number_blocks(b);
    for (unsigned n = 0; n < s->nr && !r->overflow; n++) {
        const struct scan_insn *i = &s->insn[n];
        if (i->leader) {
            ir_block_begin(r);
            r->block[r->nr_blocks - 1].spins = jit_loop_spins(s, n);
            trans_block_begin(&b->t);
        }
        add_origin(b, i);
        if (SIM_UNLIKELY(b->observed))
            observe(b, n);
        if (i->end == SCAN_NEXT)
            trans_insn(&b->t);
        else if (i->end == SCAN_IF)
            begin_if(b, i);
        if (n && n == b->skip_last)
            end_if(b);
        if (is_last(s, n)) {
            end_block(b, i);
            ir_block_end(r);
        }
    }
}

static void add_guards(struct builder *b)
{
    struct ir_region *r = b->t.r;

    if (b->t.uses_fp) {
        r->guard[r->nr_guards++] = (struct ir_guard){(int32_t)offsetof(struct rv_hart, fp_on), b->t.fp_on};
        r->guard[r->nr_guards++] = (struct ir_guard){(int32_t)offsetof(struct rv_hart, frm), b->t.frm};
    }
    if (b->t.uses_priv)
        r->guard[r->nr_guards++] = (struct ir_guard){(int32_t)offsetof(struct rv_hart, priv), b->t.priv};
}

/* --- code --- */

static uint64_t line_of(unsigned offset)
{
    return offset < GUEST_PAGE_SIZE ? 1ull << (offset / 64) : 0;
}

static struct jit_region *new_region(const struct builder *b, const struct ir_alloc *alloc)
{
    const struct jit_source *source = b->source;
    const struct scan *s = b->s;
    const struct ir_region *ir = b->t.r;
    size_t head = (sizeof(struct jit_region) + ir->nr_origins * sizeof(struct jit_origin) + 7) & ~(size_t)7;
    size_t bytes = head + (b->observed ? ir->nr_origins * sizeof(struct observed_insn *) : 0);
    struct jit_region *r = sim_zalloc(bytes);

    r->bytes = (uint32_t)bytes;
    r->gpa = source->page + s->insn[0].offset;
    r->va_page = source->va_page;
    r->hart = source->hart;
    r->priv = source->priv;
    r->quick = source->quick;
    r->loops_at_entry = ir->block[0].loop_head;
    r->isa_class = source->isa_class;
    r->uses_fp = b->t.uses_fp;
    r->uses_priv = b->t.uses_priv;
    r->fp_on = source->fp_on;
    r->frm = source->frm;
    r->lines = s->lines;
    for (unsigned n = 0; n < ir->nr_exits; n++)
        if (ir->exit[n].chain)
            r->exit_lines |= 1ull << (ir->exit[n].pc / 64);
    r->observed = b->observed;
    r->watchers = b->observed ? (const struct observed_insn **)(void *)((uint8_t *)r + head) : NULL;
    r->nr_origins = ir->nr_origins;
    for (unsigned n = 0; n < ir->nr_origins; n++) {
        const struct ir_origin *o = &ir->origin[n];
        const struct scan_insn *i = o->payload;
        r->origin[n] = (struct jit_origin){
            .insn = i->insn,
            .offset = i->offset,
            .refund = (uint16_t)(ir->block[o->block].charge - o->before),
            .mem = trans_mem_kind(i->insn.op),
            .end = i->end == SCAN_EXEC};
        r->returns |= scan_is_return(i);
        if (i->end == SCAN_CALL)
            r->exit_lines |= line_of(i->offset + i->insn.len);
        for (unsigned k = 0; i->end == SCAN_INDIRECT && k < i->nr_targets; k++)
            r->exit_lines |= line_of(i->target[k]);
        if (b->observed)
            r->watchers[n] = b->watchers[i - s->insn];
    }
    memcpy(r->loc, alloc->global, sizeof r->loc);
    for (unsigned g = 1; g < IR_NR_GLOBALS; g++)
        if (r->loc[g] != IR_LOC_MEMORY)
            r->global[r->loc[g] + (g < 32 ? 0 : 16)] = (uint8_t)g;
    return r;
}

static void optimise(struct ir_region *r)
{
    ir_pass_unroll(r);
    ir_find_loops(r);
    ir_pass_rename(r);
    ir_pass_narrow(r);
    ir_pass_fold(r);
    ir_pass_fuse(r);
    ir_pass_dce(r);
    ir_pass_narrow(r); /* again: it marks what is there now */
    ir_pass_windows(r);
}

/* The passes that earn more than they cost in code that seldom runs. */
static void optimise_quickly(struct ir_region *r)
{
    ir_find_loops(r);
    ir_pass_rename(r);
    ir_pass_fold(r);
    ir_pass_dce(r);
    ir_pass_windows(r);
}

static void dump(struct jit *jit, const struct jit_region *r)
{
    FILE *out = jit->options.dump;

    ir_print(jit->translator.ir, out);
    fprintf(out, "code %p, %u bytes:", (void *)(jit->cache.rx + r->code.entry), r->code.host_bytes);
    for (uint32_t n = 0; n < r->code.host_bytes; n++)
        fprintf(out, "%s%02x", n % 32 ? " " : "\n  ", jit->cache.rw[r->code.entry + n]);
    fprintf(out, "\n\n");
    fflush(out);
}

/* What `seen` needs. */
struct profile {
    struct jit *jit;
    gpa_t page;
};

static unsigned seen(void *opaque, unsigned offset)
{
    const struct profile *p = opaque;

    return atomic_load_explicit(jit_counter(p->jit, p->page + offset), memory_order_relaxed);
}

static unsigned targets_of(void *opaque, unsigned offset, uint16_t target[SCAN_TARGETS])
{
    const struct profile *p = opaque;

    return jit_targets_of(p->jit, p->page + offset, target);
}

static void scan(struct jit *jit, struct scan *s, const struct jit_source *source, unsigned max_insns)
{
    struct profile profile = {jit, source->page};

    s->isa = source->isa;
    s->page = source->bytes;
    s->max_insns = max_insns;
    s->no_ifs = source->observed; /* observers are told of what is executed, and only of that */
    s->seen = seen;
    s->targets = targets_of;
    s->opaque = &profile;
    scan_region(s, source->offset);
}

static void init_builder(struct builder *b, struct jit *jit, struct jit_translator *t, const struct jit_source *source)
{
    *b = (struct builder){.jit = jit, .s = t->scan, .source = source, .page = source->page, .observed = source->observed};
    b->t.r = t->ir;
    b->t.host = jit->host;
    b->t.alone = jit->machine->nr_harts == 1;
    b->t.priv = source->priv;
    b->t.fp_on = source->fp_on;
    b->t.frm = source->frm;
    b->t.isa = source->isa;
    b->t.vtype = source->vtype;
    b->t.vlenb = source->vlenb;
}

static struct jit_region *compile(struct jit *jit, struct jit_translator *t, const struct jit_source *source,
                                  unsigned max_insns)
{
    struct builder b;

    scan(jit, t->scan, source, max_insns);
    init_builder(&b, jit, t, source);
    build(&b);
    if (t->ir->overflow)
        return NULL;
    add_guards(&b);
    if (source->quick)
        optimise_quickly(t->ir);
    else
        optimise(t->ir);
    ir_allocate(t->ir, ir_host_regfile(jit->host), t->alloc);
    if (t->ir->overflow || t->alloc->failed)
        return NULL;
    ir_analyse(t->ir, t->alloc->in_registers);
    SIM_ASSERT(ir_verify(t->ir) == NULL);
    struct jit_region *r = new_region(&b, t->alloc);
    if (!ir_host_emit_part(jit->host, t->emit, t->part, t->ir, t->alloc, r, &r->code)) {
        sim_free(r);
        return NULL;
    }
    return r;
}

/* A region that is too large for some table is tried again smaller. */
struct jit_region *jit_compile(struct jit *jit, struct jit_translator *t, const struct jit_source *source)
{
    unsigned max = jit->options.max_insns ? jit->options.max_insns : DEFAULT_MAX_INSNS;
    struct jit_region *r = NULL;

    if (max > IR_MAX_ORIGINS)
        max = IR_MAX_ORIGINS;
    for (; max && !r; max /= 4)
        r = compile(jit, t, source, max);
    return r;
}

void jit_translator_init(struct jit_translator *t, struct ir_cache *part)
{
    t->ir = sim_new(struct ir_region);
    t->alloc = sim_new(struct ir_alloc);
    t->scan = sim_new(struct scan);
    t->emit = ir_host_emitter_create();
    t->part = part;
}

void jit_translator_fini(struct jit_translator *t)
{
    sim_free(t->ir);
    sim_free(t->alloc);
    sim_free(t->scan);
    ir_host_emitter_destroy(t->emit);
}

static void count(struct jit *jit, const struct jit_region *r)
{
    atomic_fetch_add_explicit(&jit->count.translations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&jit->count.insns, r->nr_origins, memory_order_relaxed);
    atomic_fetch_add_explicit(&jit->count.bytes, r->code.end - r->code.entry, memory_order_relaxed);
}

/* Announces the translator to writers of the page; *generation is that of its bytes. NULL when a
 * writer has taken the protection of `epoch` away again, or somebody is still asking writers. Tells the scan where to stop. */
static struct jit_page *open_page(struct jit *jit, const struct rv_hart *h, gpa_t gpa_page, uint64_t epoch,
                                  const uint8_t *host, uint64_t *generation)
{
    _Atomic uint32_t *state = mem_page_state(jit->space, (uint64_t)(host - jit->space->vram));

    sim_mutex_lock(&jit->registry);
    struct jit_page *p = jit_page_get(jit, gpa_page);
    bool safe = (atomic_load_explicit(state, memory_order_acquire) & MEM_PAGE_CODE) && p->epoch == epoch &&
                !p->protecting;
    if (safe) {
        p->translating = true;
        *generation = p->generation;
        memset(jit->translator.scan->stop, 0, sizeof jit->translator.scan->stop);
        jit_page_stops(p, h, gpa_page | (h->pc & ~GUEST_PAGE_MASK), jit->translator.scan->stop);
    }
    sim_mutex_unlock(&jit->registry);
    return safe ? p : NULL;
}

/* True when the bytes stayed as they were: then r is published. */
static bool close_page(struct jit *jit, struct jit_page *p, uint64_t generation,
                       struct jit_region *r)
{
    sim_mutex_lock(&jit->registry);
    bool good = r && p->generation == generation;
    p->translating = false;
    if (good) {
        r->page = p;
        jit_publish(jit, r);
    }
    sim_mutex_unlock(&jit->registry);
    return good;
}

static struct jit_source source_of(const struct jit *jit, struct rv_hart *h, gpa_t page, const uint8_t *bytes)
{
    return (struct jit_source){
        .bytes = bytes,
        .page = page,
        .offset = (unsigned)(h->pc & ~GUEST_PAGE_MASK),
        .va_page = h->pc & GUEST_PAGE_MASK,
        .hart = h->vcpu.index,
        .priv = h->priv,
        .frm = h->frm,
        .fp_on = h->fp_on,
        .quick = jit->options.tier != RV_JIT_OPT,
        .isa = &h->isa,
        .isa_class = h->isa_class,
        .vtype = h->vtype,
        .vlenb = (unsigned)h->vlenb,
        .observed = h->observe_class ? h : NULL};
}

static bool crosses_page(const uint8_t *host, uint64_t pc)
{
    uint16_t low;

    mem_copy(&low, host + (pc & ~GUEST_PAGE_MASK), 2);
    return (pc & ~GUEST_PAGE_MASK) == GUEST_PAGE_SIZE - 2 && rv_insn_len(low) == 4;
}

static enum jit_translated translate_locked(struct jit *jit, struct rv_hart *h, gpa_t protected, uint64_t epoch,
                                            struct jit_region **out)
{
    gpa_t gpa_page;
    const uint8_t *host = rv_fetch_page(h, h->pc, &gpa_page);
    uint64_t generation;

    if (!host || !rv_fetch_whole(h, h->pc))
        return JIT_NEVER;
    if (gpa_page != protected)
        return JIT_NOT_NOW;
    if (crosses_page(host, h->pc))
        return JIT_NEVER;
    if (jit_records_full(jit))
        return JIT_FULL;
    struct jit_page *page = open_page(jit, h, gpa_page, epoch, host, &generation);
    if (!page)
        return JIT_NOT_NOW;
    struct jit_source source = source_of(jit, h, gpa_page, host);
    struct jit_region *r = jit_compile(jit, &jit->translator, &source);
    if (r && jit->options.dump)
        dump(jit, r);
    if (!close_page(jit, page, generation, r)) {
        bool full = !r;
        sim_free(r);
        return full ? JIT_FULL : JIT_NOT_NOW;
    }
    count(jit, r);
    jit_cache_settle(&jit->cache);
    *out = r;
    return JIT_TRANSLATED;
}

enum jit_translated jit_translate(struct jit *jit, struct rv_hart *h, struct jit_region **out)
{
    gpa_t gpa_page;
    uint64_t epoch;
    const uint8_t *host = rv_fetch_page(h, h->pc, &gpa_page);

    /* An instruction in two pages is interpreted each time, so it must be found out cheaply. */
    if (!host || !rv_fetch_whole(h, h->pc) || crosses_page(host, h->pc))
        return JIT_NEVER;
    /* Without the lock: the harts that are asked may be waiting for it. */
    if (!protect(jit, h, gpa_page, &epoch))
        return JIT_NOT_NOW;
    sim_mutex_lock(&jit->lock);
    enum jit_translated result = translate_locked(jit, h, gpa_page, epoch, out);
    sim_mutex_unlock(&jit->lock);
    return result;
}
