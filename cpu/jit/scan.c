/* Region discovery. Depth first, fall-through first: the order of finding is a good order for the
 * code. A successor the interpreter has not seen stays outside (an exit), and so does everything
 * behind a SYSTEM instruction. A call is followed into a function that has its start in
 * the region or a little before it (recursion) or is short and calls nothing: that is taken in even where it has a translation
 * of its own. Then the place behind the call is a successor too, which translate.c lets the function's
 * return find. Indirect jumps and calls are followed to where the interpreter saw them go.
 * A branch over a few instructions that the host could not predict is none: they run in any case, and what
 * they computed is taken or not.
 * Blocks are limited, and a jump into the middle of one would have to leave for a region of its own that
 * repeats the rest of this one. So whatever is on the stack has its block reserved: leaders + stack
 * never exceed the limit, and the region ends where a branch could not have both of its blocks. */
#include "scan.h"

#include <string.h>

#include "lrsc.h"
#include "mem/space.h"
#include "trans.h"

enum {
    MAX_IF = 4,      /* instructions that are run whether they are wanted or not */
    MAX_CALLEE = 40, /* instructions of a function that calls take in */
    RECURSION = 256  /* bytes from a function's start to the entry: it calls itself */
};

static bool decode_at(const struct scan *s, unsigned offset, struct rv_insn *out)
{
    uint16_t low, high = 0;

    if (offset + 2 > GUEST_PAGE_SIZE)
        return false;
    mem_copy(&low, s->page + offset, 2);
    if (rv_insn_len(low) == 4) {
        if (offset + 4 > GUEST_PAGE_SIZE)
            return false;
        mem_copy(&high, s->page + offset + 2, 2);
    }
    rv_decode((uint32_t)high << 16 | low, s->isa, out);
    return true;
}

static bool is_csr(unsigned op)
{
    return op == RV_OP_csrrw || op == RV_OP_csrrs || op == RV_OP_csrrc || op == RV_OP_csrrwi ||
           op == RV_OP_csrrsi || op == RV_OP_csrrci;
}

/* A CSR access that changes nothing that matters returns RV_NEXT and the block goes on. Without C a
 * target may be misaligned, which the interpreter's function knows. */
static enum scan_end end_of(const struct scan *s, const struct rv_insn *i)
{
    unsigned flags = rv_op_info[i->op].flags;
    bool c = rv_isa_has(s->isa, RV_EXT_C);

    if (i->op == RV_OP_jal)
        return !c && (i->imm & 2) ? SCAN_EXEC : i->rd ? SCAN_CALL : SCAN_JUMP;
    if (i->op == RV_OP_jalr)
        return c ? SCAN_INDIRECT : SCAN_EXEC;
    if (flags & RV_OPF_BRANCH)
        return !c && (i->imm & 2) ? SCAN_EXEC : SCAN_BRANCH;
    if ((flags & RV_OPF_SYSTEM) && !is_csr(i->op))
        return SCAN_EXEC;
    if (i->op == RV_OP_illegal || i->op == RV_OP_amocas_q) /* writes two registers */
        return SCAN_EXEC;
    return SCAN_NEXT;
}

const struct scan_insn *scan_at(const struct scan *s, unsigned offset)
{
    unsigned n = offset < GUEST_PAGE_SIZE ? s->at[offset / 2] : 0;

    return n ? &s->insn[n - 1] : NULL;
}

static bool has_room(const struct scan *s)
{
    return s->nr_leaders + s->depth < IR_MAX_BLOCKS;
}

static void mark_leader(struct scan *s, unsigned index)
{
    if (s->insn[index].leader || !has_room(s))
        return;
    s->insn[index].leader = 1;
    s->nr_leaders++;
}

enum { CALLEE = 1 }; /* in the stack: added to the offset, which is even, of code in a short function */

static void push(struct scan *s, uint64_t offset, unsigned callee)
{
    if (offset >= GUEST_PAGE_SIZE)
        return;
    if (s->at[offset / 2])
        mark_leader(s, s->at[offset / 2] - 1u);
    else if (has_room(s) && s->seen(s->opaque, (unsigned)offset))
        s->stack[s->depth++] = (uint16_t)(offset | callee);
}

static void add(struct scan *s, unsigned offset, const struct rv_insn *i)
{
    struct scan_insn *n = &s->insn[s->nr++];

    *n = (struct scan_insn){.insn = *i, .offset = (uint16_t)offset, .end = (uint8_t)end_of(s, i)};
    s->at[offset / 2] = (uint16_t)s->nr;
    s->lines |= 1ull << (offset / 64) | 1ull << ((offset + i->len - 1u) / 64);
}

bool scan_is_return(const struct scan_insn *n)
{
    return n->end == SCAN_INDIRECT && !n->insn.rd && n->insn.rs1 == 1 && !n->insn.imm;
}

/* Does a straight line from here return soon, without calls? */
static bool is_short_function(const struct scan *s, uint64_t offset)
{
    for (unsigned nr = 0; nr < MAX_CALLEE && offset < GUEST_PAGE_SIZE; nr++) {
        struct scan_insn n;

        if (!decode_at(s, (unsigned)offset, &n.insn))
            return false;
        n.end = (uint8_t)end_of(s, &n.insn);
        if (scan_is_return(&n))
            return true;
        if (n.end != SCAN_NEXT && n.end != SCAN_BRANCH)
            return false;
        offset += n.insn.len;
    }
    return false;
}

/* Follows a call; false: not this one. */
static bool push_callee(struct scan *s, uint64_t target)
{
    if (target >= GUEST_PAGE_SIZE)
        return false;
    bool here = s->at[target / 2] || (target <= s->entry && s->entry - target < RECURSION);
    if (!s->seen(s->opaque, (unsigned)target) || (!here && !is_short_function(s, target)))
        return false;
    push(s, target, CALLEE);
    return true;
}

static void push_call(struct scan *s, const struct scan_insn *n, uint64_t target)
{
    if (n->insn.rd == 1 && push_callee(s, target))
        push(s, n->offset + n->insn.len, 0);
}

/* A jump is followed as if it belonged to a function that was taken in: other parts of an interpreter's loop,
 * say, may have translations of their own. */
static void push_indirect(struct scan *s, struct scan_insn *n)
{
    bool plain = !n->insn.imm && n->insn.rs1 && n->insn.rs1 != n->insn.rd && !scan_is_return(n);
    bool any = false;

    n->nr_targets = plain && n->insn.rd <= 1 ? (uint8_t)s->targets(s->opaque, n->offset, n->target) : 0;
    for (unsigned k = n->nr_targets; k-- > 0;) {
        if (n->insn.rd)
            any |= push_callee(s, n->target[k]);
        else
            push(s, n->target[k], CALLEE);
    }
    if (any)
        push(s, n->offset + n->insn.len, 0);
}

static void push_successors(struct scan *s, struct scan_insn *n, unsigned callee)
{
    uint64_t target = n->offset + (uint64_t)(int64_t)n->insn.imm;

    if (n->end == SCAN_INDIRECT)
        push_indirect(s, n);
    if (n->end == SCAN_CALL)
        push_call(s, n, target);
    if (n->end == SCAN_BRANCH || n->end == SCAN_JUMP)
        push(s, target, callee);
    if (n->end == SCAN_BRANCH)
        push(s, n->offset + n->insn.len, callee);
}

static bool is_stop(const struct scan *s, unsigned offset)
{
    return offset < GUEST_PAGE_SIZE && (s->stop[offset / 128] >> (offset / 2 % 64) & 1);
}

/* A straight line from `offset` to its end, to known instructions, or to a limit. */
static void walk(struct scan *s, unsigned offset, unsigned callee)
{
    bool first = true;

    for (;;) {
        struct rv_insn i;
        unsigned known = offset < GUEST_PAGE_SIZE ? s->at[offset / 2] : 0;

        if (known) {
            mark_leader(s, known - 1);
            return;
        }
        if (s->nr == s->max_insns || (is_stop(s, offset) && !callee) || !decode_at(s, offset, &i))
            return;
        add(s, offset, &i);
        if (first)
            mark_leader(s, s->nr - 1);
        first = false;
        struct scan_insn *n = &s->insn[s->nr - 1];
        if (n->end != SCAN_NEXT) {
            push_successors(s, n, callee);
            return;
        }
        offset += i.len;
    }
}

const struct scan_insn *scan_behind_call(const struct scan *s, const struct scan_insn *n)
{
    bool call = n->insn.rd == 1 && (n->end == SCAN_CALL || (n->end == SCAN_INDIRECT && n->nr_targets));
    const struct scan_insn *behind = call ? scan_at(s, n->offset + n->insn.len) : NULL;

    return behind && behind->leader ? behind : NULL;
}

/* --- ifs --- */

static void count_jump(struct scan *s, uint64_t target)
{
    if (target < GUEST_PAGE_SIZE && s->jumps_to[target / 2] < 2)
        s->jumps_to[target / 2]++;
}

static void count_jumps(struct scan *s)
{
    memset(s->jumps_to, 0, sizeof s->jumps_to);
    for (unsigned n = 0; n < s->nr; n++) {
        const struct scan_insn *i = &s->insn[n];
        if (i->end == SCAN_BRANCH || i->end == SCAN_JUMP || i->end == SCAN_CALL)
            count_jump(s, i->offset + (uint64_t)(int64_t)i->insn.imm);
        if (i->end == SCAN_CALL || i->end == SCAN_INDIRECT)
            count_jump(s, i->offset + i->insn.len);
        for (unsigned k = 0; i->end == SCAN_INDIRECT && k < i->nr_targets; k++)
            count_jump(s, i->target[k]);
    }
}

/* Cheap, without effect but on rd, and never in need of the interpreter. */
static bool is_harmless(const struct scan_insn *n)
{
    const struct trans_row *row = &trans_int_rows[n->insn.op];

    return n->end == SCAN_NEXT && n->insn.rd && row->fn && row->op <= IR_MUL && n->insn.op != RV_OP_fence;
}

/* The number of harmless instructions between the branch and its target when they are all there is, are
 * entered only from the branch, and run so often that the host could not guess; or 0. */
static unsigned length_of_if(const struct scan *s, unsigned branch)
{
    const struct scan_insn *b = &s->insn[branch];
    unsigned target = b->offset + (unsigned)b->insn.imm, next = b->offset + b->insn.len;

    if (b->insn.imm <= (int)b->insn.len || target >= GUEST_PAGE_SIZE)
        return 0;
    for (unsigned k = 1; k <= MAX_IF && branch + k < s->nr; k++) {
        const struct scan_insn *n = &s->insn[branch + k];

        if (n->offset != next || !is_harmless(n) || s->jumps_to[next / 2])
            return 0;
        next += n->insn.len;
        if (next != target)
            continue;
        unsigned runs = s->seen(s->opaque, b->offset + b->insn.len), not = s->seen(s->opaque, target);
        bool uncertain = runs <= 4 * not && not <= 4 * runs;
        return uncertain && branch + k + 1 < s->nr && s->insn[branch + k + 1].offset == target ? k : 0;
    }
    return 0;
}

static void unmark_leader(struct scan *s, unsigned index)
{
    s->nr_leaders -= s->insn[index].leader;
    s->insn[index].leader = 0;
}

/* Branches over a few instructions become part of their block. */
static void find_ifs(struct scan *s)
{
    count_jumps(s);
    for (unsigned n = 0; n + 2 < s->nr; n++) {
        struct scan_insn *b = &s->insn[n];
        unsigned k = b->end == SCAN_BRANCH ? length_of_if(s, n) : 0;

        if (!k)
            continue;
        b->end = SCAN_IF;
        b->skips = (uint8_t)k;
        unmark_leader(s, n + 1);
        if (s->jumps_to[s->insn[n + k + 1].offset / 2] == 1)
            unmark_leader(s, n + k + 1);
        n += k;
    }
}

bool scan_region(struct scan *s, unsigned entry_offset)
{
    struct rv_insn i;

    s->nr = s->nr_leaders = s->depth = 0;
    s->lines = 0;
    s->entry = entry_offset;
    memset(s->at, 0, sizeof s->at);
    if (!decode_at(s, entry_offset, &i))
        return false;
    walk(s, entry_offset, 0);
    while (s->depth) {
        unsigned next = s->stack[--s->depth];
        walk(s, next & ~(unsigned)CALLEE, next & CALLEE);
    }
    if (!s->no_ifs)
        find_ifs(s);
    return true;
}

static bool decode_for_lr(const void *opaque, uint64_t offset, struct rv_insn *insn)
{
    return decode_at(opaque, (unsigned)offset, insn);
}

uint64_t scan_lr_mark(const struct scan *s, const struct scan_insn *n)
{
    uint64_t sc;

    return rv_lrsc_scan(decode_for_lr, s, n->offset, n->insn.len, &sc) ? sc : 0;
}

uint64_t scan_sc_ahead(const struct scan *s, const struct scan_insn *n)
{
    unsigned offset = n->offset + n->insn.len;
    struct rv_insn i;

    for (unsigned k = 0; k < RV_LRSC_SCAN_MAX && decode_at(s, offset, &i); k++) {
        enum rv_lrsc step = rv_lrsc_step(&i);
        if (step != RV_LRSC_GO_ON)
            return step == RV_LRSC_SC ? offset : 0;
        offset += i.len;
    }
    return 0;
}
