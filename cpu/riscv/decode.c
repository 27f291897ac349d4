/* rv_decode: an instruction word to struct rv_insn, by the tables that mkdecode made.
 *
 * word -> group (opcode, or quadrant and funct3) -> bucket -> first encoding that fits -> fields */
#include "decode.h"

#include <string.h>

#include "sim-core/compiler.h"

#define RV_GEN_TABLES
#define RV_NEED(ext) (1ull << RV_EXT_##ext)
#include "rv_decode.inc"

const struct rv_decode_table rv_decode_table32 = {rv_enc32, SIM_ARRAY_LEN(rv_enc32), rv_group32,
                                                  rv_start32, rv_list32};
const struct rv_decode_table rv_decode_table16 = {rv_enc16, SIM_ARRAY_LEN(rv_enc16), rv_group16,
                                                  rv_start16, rv_list16};

static const struct rv_encoding *find(const struct rv_decode_table *t, unsigned group, uint32_t raw,
                                      uint64_t ext)
{
    const struct rv_decode_group *g = &t->group[group];
    unsigned bucket = g->first + (raw >> g->shift & g->mask);

    for (unsigned n = t->start[bucket]; n < t->start[bucket + 1]; n++) {
        const struct rv_encoding *e = &t->enc[t->list[n]];

        if (rv_encoding_fits(e, raw) && !(e->need & ~ext))
            return e;
    }
    return NULL;
}

const struct rv_encoding *rv_decode_find(uint32_t raw, const struct rv_isa *isa)
{
    if ((raw & 3) == 3)
        return find(&rv_decode_table32, raw >> 2 & 31, raw, isa->ext);
    raw &= 0xffff;
    return find(&rv_decode_table16, (raw & 3) << 3 | raw >> 13, raw, isa->ext);
}

void rv_decode(uint32_t raw, const struct rv_isa *isa, struct rv_insn *out)
{
    const struct rv_encoding *e = rv_decode_find(raw, isa);

    memset(out, 0, sizeof(*out));
    out->len = (uint8_t)rv_insn_len(raw);
    out->raw = out->len == 4 ? raw : raw & 0xffff;
    if (!e)
        return;
    out->op = e->op;
    if (out->len == 4)
        rv_extract_32(e->format, raw, out);
    else
        rv_extract_16(e->format, raw, out);
}
