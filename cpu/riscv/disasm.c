/* rv_disasm: one instruction as text, from the decode tables, in the style of objdump -M no-aliases.
 *
 * encoding (decode.h) -> name and syntax words -> operands of the decoded fields. A syntax is a list
 * of words with punctuation between them, "rd,simm(rs1)"; operand_table says what each word prints. */
#include <stdarg.h>
#include <string.h>

#include "decode.h"
#include "sim-core/compiler.h"

#define RV_GEN_TEXT
#include "rv_decode.inc"

static const char *const x_name[32] = {"zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2",
                                       "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5",
                                       "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7",
                                       "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
static const char *const f_name[32] = {"ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7",
                                       "fs0", "fs1", "fa0", "fa1", "fa2", "fa3", "fa4", "fa5",
                                       "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7",
                                       "fs8", "fs9", "fs10", "fs11", "ft8", "ft9", "ft10", "ft11"};

static const struct {
    uint16_t number;
    const char *name;
} csr_names[] = {
    {0x008, "vstart"},     {0x009, "vxsat"},       {0x00a, "vxrm"},       {0x00f, "vcsr"},
    {0xc20, "vl"},         {0xc21, "vtype"},       {0xc22, "vlenb"},
    {0x001, "fflags"},     {0x002, "frm"},         {0x003, "fcsr"},       {0x100, "sstatus"},
    {0x104, "sie"},        {0x105, "stvec"},       {0x106, "scounteren"}, {0x10a, "senvcfg"},
    {0x140, "sscratch"},   {0x141, "sepc"},        {0x142, "scause"},     {0x143, "stval"},
    {0x144, "sip"},        {0x14d, "stimecmp"},    {0x180, "satp"},       {0x300, "mstatus"},
    {0x301, "misa"},       {0x302, "medeleg"},     {0x303, "mideleg"},    {0x304, "mie"},
    {0x305, "mtvec"},      {0x306, "mcounteren"},  {0x30a, "menvcfg"},    {0x320, "mcountinhibit"},
    {0x340, "mscratch"},   {0x341, "mepc"},        {0x342, "mcause"},     {0x343, "mtval"},
    {0x344, "mip"},        {0x747, "mseccfg"},     {0xb00, "mcycle"},     {0xb02, "minstret"},
    {0xc00, "cycle"},      {0xc01, "time"},        {0xc02, "instret"},    {0xf11, "mvendorid"},
    {0xf12, "marchid"},    {0xf13, "mimpid"},      {0xf14, "mhartid"},    {0xf15, "mconfigptr"},
    {0x7a0, "tselect"},    {0x7a1, "tdata1"},      {0x7a2, "tdata2"},     {0x7a3, "tdata3"},
};

/* Rows of equal CSRs: name and first number in it. */
static const struct {
    uint16_t first, last;
    const char *name;
    unsigned from;
} csr_ranges[] = {
    {0x323, 0x33f, "mhpmevent", 3}, {0x3a0, 0x3af, "pmpcfg", 0},      {0x3b0, 0x3ef, "pmpaddr", 0},
    {0xb03, 0xb1f, "mhpmcounter", 3}, {0xc03, 0xc1f, "hpmcounter", 3},
};

/* ---- output ---- */

struct text {
    char *buf;
    size_t size, used; /* used < size, or size == 0 */
};

static void SIM_PRINTF(2, 3) put(struct text *t, const char *fmt, ...)
{
    va_list args;
    int n;

    if (t->used >= t->size)
        return;
    va_start(args, fmt);
    n = vsnprintf(t->buf + t->used, t->size - t->used, fmt, args);
    va_end(args);
    if (n > 0)
        t->used += (size_t)n < t->size - t->used ? (size_t)n : t->size - t->used - 1;
}

/* ---- operands ---- */

struct operands {
    const struct rv_insn *i;
    uint64_t pc;
    unsigned flags; /* of the op: which registers are f */
};

static void put_reg(struct text *t, unsigned n, bool is_f)
{
    put(t, "%s", is_f ? f_name[n] : x_name[n]);
}

static void put_rd(struct text *t, const struct operands *o)
{
    put_reg(t, o->i->rd, o->flags & RV_OPF_RD_F);
}

static void put_rs1(struct text *t, const struct operands *o)
{
    put_reg(t, o->i->rs1, o->flags & RV_OPF_RS1_F);
}

static void put_rs2(struct text *t, const struct operands *o)
{
    put_reg(t, o->i->rs2, o->flags & RV_OPF_RS2_F);
}

static void put_rs3(struct text *t, const struct operands *o)
{
    put_reg(t, o->i->rs3, true);
}

static void put_simm(struct text *t, const struct operands *o)
{
    put(t, "%d", o->i->imm);
}

static void put_shamt(struct text *t, const struct operands *o)
{
    put(t, "0x%x", (unsigned)o->i->imm);
}

/* The upper 20 bits of lui and auipc. */
static void put_himm(struct text *t, const struct operands *o)
{
    put(t, "0x%x", (unsigned)o->i->imm >> 12);
}

static void put_off(struct text *t, const struct operands *o)
{
    put(t, "0x%llx", (unsigned long long)(o->pc + (uint64_t)(int64_t)o->i->imm));
}

static void put_zimm(struct text *t, const struct operands *o)
{
    put(t, "%u", o->i->rs1);
}

static void put_csr(struct text *t, const struct operands *o)
{
    unsigned csr = (unsigned)o->i->imm;

    for (size_t n = 0; n < SIM_ARRAY_LEN(csr_names); n++) {
        if (csr_names[n].number == csr) {
            put(t, "%s", csr_names[n].name);
            return;
        }
    }
    for (size_t n = 0; n < SIM_ARRAY_LEN(csr_ranges); n++) {
        if (csr >= csr_ranges[n].first && csr <= csr_ranges[n].last) {
            put(t, "%s%u", csr_ranges[n].name, csr - csr_ranges[n].first + csr_ranges[n].from);
            return;
        }
    }
    put(t, "0x%x", csr);
}

static void put_fence_set(struct text *t, unsigned set)
{
    if (!set)
        put(t, "unknown");
    for (unsigned b = 0; b < 4; b++)
        if (set & 8u >> b)
            put(t, "%c", "iorw"[b]);
}

static void put_pred(struct text *t, const struct operands *o)
{
    put_fence_set(t, (unsigned)o->i->imm >> 4 & 15);
}

static void put_succ(struct text *t, const struct operands *o)
{
    put_fence_set(t, (unsigned)o->i->imm & 15);
}

static void put_rm(struct text *t, const struct operands *o)
{
    static const char *const names[8] = {"rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown",
                                         "dyn"};

    put(t, "%s", names[o->i->rm & 7]);
}

static void put_vd(struct text *t, const struct operands *o)
{
    put(t, "v%u", o->i->rd);
}

static void put_vs1(struct text *t, const struct operands *o)
{
    put(t, "v%u", o->i->rs1);
}

static void put_vs2(struct text *t, const struct operands *o)
{
    put(t, "v%u", o->i->rs2);
}

static void put_v0(struct text *t, const struct operands *o)
{
    (void)o;
    put(t, "v0");
}

static void put_mask(struct text *t, const struct operands *o)
{
    (void)o;
    put(t, "v0.t");
}

/* What has a reserved bit or size is written as a number. */
static void put_vtype(struct text *t, const struct operands *o)
{
    static const char *const lmul[8] = {"m1", "m2", "m4", "m8", NULL, "mf8", "mf4", "mf2"};
    unsigned vtype = (unsigned)o->i->imm, sew = vtype >> 3 & 7;

    if (vtype >> 8 || sew > 3 || !lmul[vtype & 7])
        put(t, "%u", vtype);
    else
        put(t, "e%u,%s,%s,%s", 8u << sew, lmul[vtype & 7], vtype & 0x40 ? "ta" : "tu",
            vtype & 0x80 ? "ma" : "mu");
}

static const struct {
    const char *word;
    void (*put)(struct text *t, const struct operands *o);
} operand_table[] = {
    {"rd", put_rd},       {"rs1", put_rs1},     {"rs2", put_rs2},   {"rs3", put_rs3},
    {"simm", put_simm},   {"shamt", put_shamt}, {"himm", put_himm}, {"off", put_off},
    {"csr", put_csr},     {"zimm", put_zimm},   {"pred", put_pred}, {"succ", put_succ},
    {"rm", put_rm},       {"vd", put_vd},       {"vs1", put_vs1},   {"vs2", put_vs2},
    {"v0", put_v0},       {"vm", put_mask},     {"vtype", put_vtype},
};

static void put_word(struct text *t, const struct operands *o, const char *word, size_t len)
{
    for (size_t n = 0; n < SIM_ARRAY_LEN(operand_table); n++) {
        if (strlen(operand_table[n].word) == len && !strncmp(operand_table[n].word, word, len)) {
            operand_table[n].put(t, o);
            return;
        }
    }
    put(t, "?%.*s", (int)len, word); /* a spec that disasm.c does not know; its test looks for it */
}

/* The default rounding mode, dynamic, is not written, nor that there is no mask. */
static void put_operands(struct text *t, const struct operands *o, const char *syntax)
{
    while (*syntax) {
        size_t len = strcspn(syntax, ",()");

        if ((!strcmp(syntax, ",rm") && o->i->rm == 7) || (!strcmp(syntax, ",vm") && o->i->rm == 1))
            return;
        if (len) {
            put_word(t, o, syntax, len);
            syntax += len;
        } else {
            put(t, "%c", *syntax++);
        }
    }
}

static const char *ordering_suffix(const struct rv_insn *i)
{
    static const char *const names[4] = {"", ".rl", ".aq", ".aqrl"};

    return rv_op_info[i->op].flags & RV_OPF_ATOMIC ? names[i->rm & 3] : "";
}

/* A vector access of several fields is a segment access: vle8.v is vlseg2e8.v then. */
static void put_name(struct text *t, const char *name, const struct rv_insn *i)
{
    bool segment = (rv_op_info[i->op].flags & RV_OPF_VECTOR) && i->rs3;
    int before = segment ? (int)strcspn(name, "e") : (int)strlen(name);

    put(t, "%.*s", before, name);
    if (segment)
        put(t, "seg%u%s", i->rs3 + 1u, name + before);
    put(t, "%s", ordering_suffix(i));
}

unsigned rv_disasm(uint32_t raw, uint64_t pc, char *buf, size_t size)
{
    const struct rv_isa all = {.ext = UINT64_MAX};
    const struct rv_decode_table *table = rv_decode_table_of(raw);
    const struct rv_encoding *e = rv_decode_find(raw, &all);
    const struct rv_encoding_text *text;
    struct rv_insn insn;
    char name[32];
    struct text t = {buf, size, 0}, t_name = {name, sizeof name, 0};

    rv_decode(raw, &all, &insn);
    if (!e) {
        put(&t, insn.len == 4 ? ".4byte  0x%x" : ".2byte  0x%x", insn.raw);
        return insn.len;
    }
    text = &(insn.len == 4 ? rv_text32 : rv_text16)[e - table->enc];
    put_name(&t_name, text->name, &insn);
    put(&t, text->syntax[0] ? "%-7s " : "%s", name);
    put_operands(&t, &(struct operands){&insn, pc, rv_op_info[insn.op].flags}, text->syntax);
    return insn.len;
}
