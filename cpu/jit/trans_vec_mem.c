/* Vectors: loads and stores. Of whole groups side by side in memory (VLOAD, VSTORE), fields of segments too; all others an
 * element after the other (VGATHER, VSCATTER). */
#include "trans_vec.h"

/* Fields in memory side by side; type of the row: log2 of the element's bytes. */
static bool segments(struct trans *t, const struct trans_row *row)
{
    enum { MIN_MASKED = 8, MAX_SEGMENTS = 256, MAX_REGS = 8, NR_V = 32 };
    unsigned fields = t->i->rs3 + 1u;
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || !ir_host_has(t->host, IR_VLOAD, IR_I64, 0) ||
        (!t->i->rm && (row->op == IR_VSTORE || !t->i->rd)))
        return false;
    int emul = (int)row->type - (int)y.sew + y.lmul;
    unsigned bytes = y.bytes >> y.sew << row->type, regs = emul > 0 ? fields << emul : fields;
    if (emul < -3 || emul > 3 || !aligned(t->i->rd, emul) || regs > MAX_REGS || t->i->rd + regs > NR_V ||
        (!t->i->rm && bytes < MIN_MASKED) || bytes * fields > MAX_SEGMENTS)
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, (enum ir_op)row->op, IR_I64, IR_NONE, trans_x(t, t->i->rs1));
    *v = (struct ir_vec){.size = row->type, .key = rv_vkey(t->vtype), .fields = (uint8_t)fields, .elements = true,
                         .masked = !t->i->rm, .bytes = (uint16_t)(bytes * fields), .a = place(t, t->i->rd),
                         .d = place(t, t->i->rd), .b = (int32_t)(regs / fields * t->vlenb), .mask = place(t, 0)};
    return true;
}

/* Of elements that are anywhere. */
static struct ir_vec *emit_spread(struct trans *t, enum ir_op op, ir_ref stride, unsigned size)
{
    struct ir_vec *v = ir_emit_vec(t->r, op, IR_I64, IR_NONE, trans_x(t, t->i->rs1));

    t->r->insn[t->r->nr_insns - 1].src[1] = stride;
    *v = (struct ir_vec){.size = (uint8_t)size, .key = rv_vkey(t->vtype), .any_length = true, .masked = !t->i->rm,
                         .d = place(t, t->i->rd)};
    return v;
}

/* Bytes and halves only some hosts store under a mask. */
static bool host_has_masked(const struct trans *t, const struct trans_row *row, unsigned bytes)
{
    return bytes >= PIECE && (row->op == IR_VLOAD || row->type >= 2 || host_has(t, IR_V_LANES, row->type));
}

/* type of the row: log2 of the element's bytes */
static bool unit_stride(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (t->i->rs3)
        return segments(t, row);
    if (!type_of(t->vtype, t->vlenb, &y) || !ir_host_has(t->host, IR_VLOAD, IR_I64, 0))
        return false;
    if (!t->i->rm && row->op == IR_VLOAD && !t->i->rd)
        return false;
    int emul = (int)row->type - (int)y.sew + y.lmul;
    unsigned bytes = y.bytes >> y.sew << row->type;
    if (emul < -3 || emul > 3 || !aligned(t->i->rd, emul) || bytes > MAX_BYTES)
        return false;
    if (!t->i->rm && !host_has_masked(t, row, bytes)) {
        emit_spread(t, row->op == IR_VLOAD ? IR_VGATHER : IR_VSCATTER, ir_const(t->r, 1 << row->type), row->type);
        return true;
    }
    struct ir_vec *v = ir_emit_vec(t->r, (enum ir_op)row->op, IR_I64, IR_NONE, trans_x(t, t->i->rs1));
    v->size = row->type;
    v->key = rv_vkey(t->vtype);
    v->bytes = (uint16_t)bytes;
    v->a = v->d = place(t, t->i->rd);
    v->elements = true;
    v->masked = !t->i->rm;
    v->mask = place(t, 0);
    return true;
}

/* vlm, vsm: a bit an element */
static bool mask_bytes(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (!type_of(t->vtype, t->vlenb, &y) || !ir_host_has(t->host, IR_VLOAD, IR_I64, 0))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, (enum ir_op)row->op, IR_I64, IR_NONE, trans_x(t, t->i->rs1));
    v->key = rv_vkey(t->vtype);
    v->bytes = (uint16_t)(((y.bytes >> y.sew) + 7) / 8);
    v->a = v->d = place(t, t->i->rd);
    return true;
}

/* aux of the row: registers. Neither vtype nor vl counts. */
static bool whole(struct trans *t, const struct trans_row *row)
{
    if (t->i->rd & (row->aux - 1u) || !ir_host_has(t->host, IR_VLOAD, IR_I64, 0))
        return false;
    struct ir_vec *v = ir_emit_vec(t->r, (enum ir_op)row->op, IR_I64, IR_NONE, trans_x(t, t->i->rs1));
    *v = (struct ir_vec){.any_type = true, .bytes = (uint16_t)(row->aux * t->vlenb), .d = place(t, t->i->rd),
                         .a = place(t, t->i->rd)};
    return true;
}

/* type of the row: log2 of the element's bytes */
static bool strided(struct trans *t, const struct trans_row *row)
{
    struct type y;

    if (t->i->rs3 || !type_of(t->vtype, t->vlenb, &y) || !ir_host_has(t->host, IR_VGATHER, IR_I64, 0) ||
        (!t->i->rm && !t->i->rd))
        return false;
    int emul = (int)row->type - (int)y.sew + y.lmul;
    if (emul < -3 || emul > 3 || !aligned(t->i->rd, emul))
        return false;
    emit_spread(t, (enum ir_op)row->op, trans_x(t, t->i->rs2), row->type);
    return true;
}

/* type of the row: log2 of the index's bytes. The group may be its own index. */
static bool indexed(struct trans *t, const struct trans_row *row)
{
    const struct rv_insn *i = t->i;
    struct type y;

    if (i->rs3 || !type_of(t->vtype, t->vlenb, &y) || !ir_host_has(t->host, IR_VGATHER, IR_I64, 0) ||
        (!i->rm && (!i->rd || !i->rs2)))
        return false;
    int emul = (int)row->type - (int)y.sew + y.lmul;
    if (emul < -3 || emul > 3 || !aligned(i->rd, y.lmul) || !aligned(i->rs2, emul) ||
        !(groups_apart(i->rd, y.lmul, i->rs2, emul) || (row->type == y.sew && i->rd == i->rs2)))
        return false;
    struct ir_vec *v = emit_spread(t, (enum ir_op)row->op, ir_const(t->r, 0), y.sew);
    v->index = (uint8_t)(row->type + 1);
    v->b = place(t, i->rs2);
    return true;
}

#define MEMORY(bits, log2)                                                                         \
    [RV_OP_vle##bits##_v] = {unit_stride, IR_VLOAD, log2, 0},                                      \
    [RV_OP_vle##bits##ff_v] = {unit_stride, IR_VLOAD, log2, 0},                                    \
    [RV_OP_vse##bits##_v] = {unit_stride, IR_VSTORE, log2, 0},                                     \
    [RV_OP_vlse##bits##_v] = {strided, IR_VGATHER, log2, 0},                                       \
    [RV_OP_vsse##bits##_v] = {strided, IR_VSCATTER, log2, 0},                                      \
    [RV_OP_vluxei##bits##_v] = {indexed, IR_VGATHER, log2, 0},                                     \
    [RV_OP_vloxei##bits##_v] = {indexed, IR_VGATHER, log2, 0},                                     \
    [RV_OP_vsuxei##bits##_v] = {indexed, IR_VSCATTER, log2, 0},                                    \
    [RV_OP_vsoxei##bits##_v] = {indexed, IR_VSCATTER, log2, 0}
#define WHOLE(nr)                                                                                  \
    [RV_OP_vl##nr##re8_v] = {whole, IR_VLOAD, 0, nr}, [RV_OP_vl##nr##re16_v] = {whole, IR_VLOAD, 0, nr}, \
    [RV_OP_vl##nr##re32_v] = {whole, IR_VLOAD, 0, nr}, [RV_OP_vl##nr##re64_v] = {whole, IR_VLOAD, 0, nr}, \
    [RV_OP_vs##nr##r_v] = {whole, IR_VSTORE, 0, nr}
/* clang-format off */
const struct trans_row trans_vec_mem_rows[RV_OP_COUNT] = {
    MEMORY(8, 0), MEMORY(16, 1), MEMORY(32, 2), MEMORY(64, 3),
    [RV_OP_vlm_v] = {mask_bytes, IR_VLOAD, 0, 0}, [RV_OP_vsm_v] = {mask_bytes, IR_VSTORE, 0, 0},
    WHOLE(1), WHOLE(2), WHOLE(4), WHOLE(8),
};
/* clang-format on */
