/* Traces: an observer that writes lines, and a listener of the translator. */
#include "cpu/trace.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "jit_priv.h"
#include "observe.h"
#include "sim-core/alloc.h"

struct rv_trace {
    struct observer observer;
    struct observer_ops ops;
    struct jit_listener listener;
    struct rv_machine *machine;
    struct rv_trace_config config;
};

enum { LINE = 512 };

static char priv_letter(unsigned priv)
{
    return "US?M"[priv & 3];
}

/* "exec  h0 S ffffffff80001234": how every line begins. */
static int begin(char *line, const char *kind, uint32_t hart, unsigned priv, gva_t pc)
{
    return snprintf(line, LINE, "%-5s h%" PRIu32 " %c %016" PRIx64, kind, hart, priv_letter(priv), (uint64_t)pc);
}

/* "  # memcpy+0x12" where there is a name, and the end. One write for a line: those of several harts do not mix. */
static void finish(const struct rv_trace *t, char *line, int len, gva_t pc)
{
    char name[128];

    symbols_format(t->config.symbols, pc, name, sizeof name);
    if (len > LINE - (int)sizeof name - 8)
        len = LINE - (int)sizeof name - 8;
    len += snprintf(line + len, (size_t)(LINE - len), "%s%s\n", name[0] ? "  # " : "", name);
    fwrite(line, 1, (size_t)len, t->config.out);
}

static int put_insn(char *line, int len, const struct rv_insn *i, gva_t pc)
{
    char text[96];

    rv_disasm(i->raw, pc, text, sizeof text);
    return len + snprintf(line + len, (size_t)(LINE - len), i->len == 4 ? "  %08" PRIx32 "  %s" : "  %04" PRIx32 "      %s",
                          i->len == 4 ? i->raw : i->raw & 0xffff, text);
}

/* --- instructions --- */

static void put_exec(const struct rv_trace *t, const struct rv_hart *h, const struct observed_insn *i)
{
    char line[LINE];
    int len = begin(line, "exec", h->vcpu.index, h->priv, h->pc);

    finish(t, line, put_insn(line, len, &i->insn, h->pc), h->pc);
}

static void put_fetch(const struct rv_trace *t, const struct rv_hart *h, const struct observed_insn *i)
{
    char line[LINE];
    int len = begin(line, "fetch", h->vcpu.index, h->priv, h->pc);
    gpa_t gpa = (i->block->gpa & GUEST_PAGE_MASK) + i->offset;

    len += snprintf(line + len, (size_t)(LINE - len), "  va=%016" PRIx64 " pa=%010" PRIx64 " size=%u value=%#" PRIx32,
                    (uint64_t)h->pc, (uint64_t)gpa, i->insn.len, i->insn.raw);
    finish(t, line, len, h->pc);
}

static void on_insn(struct observer *o, struct rv_hart *h, const struct observed_insn *i, void *udata)
{
    const struct rv_trace *t = SIM_CONTAINER_OF(o, struct rv_trace, observer);

    (void)udata;
    if (t->config.what & RV_TRACE_EXEC)
        put_exec(t, h, i);
    if (t->config.what & RV_TRACE_FETCH)
        put_fetch(t, h, i);
}

static void on_block(struct observer *o, struct rv_hart *h, struct observed_block *b)
{
    (void)h;
    for (unsigned n = 0; n < b->nr; n++)
        rv_observe_add_call(&b->insn[n].actions, o, on_insn, NULL);
}

static void on_trap(struct observer *o, struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    const struct rv_trace *t = SIM_CONTAINER_OF(o, struct rv_trace, observer);
    bool interrupt = cause >> 63;
    char line[LINE];
    int len = begin(line, interrupt ? "irq" : "trap", h->vcpu.index, h->priv, h->pc);

    len += snprintf(line + len, (size_t)(LINE - len), "  cause=%" PRIu64 " tval=%#" PRIx64, cause & (UINT64_MAX >> 1), tval);
    finish(t, line, len, h->pc);
}

/* --- accesses --- */

static void on_access(struct observer *o, struct rv_hart *h, const struct observed_access *a)
{
    static const char *const kinds[] = {"load", "store", "amo"};
    const struct rv_trace *t = SIM_CONTAINER_OF(o, struct rv_trace, observer);
    char line[LINE];
    int len = begin(line, kinds[a->kind], h->vcpu.index, h->priv, h->pc);

    len += snprintf(line + len, (size_t)(LINE - len), "  va=%016" PRIx64 " pa=%010" PRIx64 " size=%u value=%#" PRIx64 "%s",
                    (uint64_t)a->va, (uint64_t)a->gpa, a->size, a->value, a->mmio ? " mmio" : "");
    finish(t, line, len, h->pc);
}

/* --- translations --- */

static bool region_passes(const struct rv_trace *t, const struct jit_region *r)
{
    const struct rv_observe_filter *f = &t->config.filter;

    if (!(f->privs >> r->priv & 1) || !rv_observe_filter_hart(f, r->hart))
        return false;
    for (unsigned n = 0; n < r->nr_origins; n++)
        if (f->lo <= r->va_page + r->origin[n].offset && r->va_page + r->origin[n].offset <= f->hi)
            return true;
    return false;
}

static void on_region(struct jit_listener *l, const struct jit *jit, const struct jit_region *r)
{
    const struct rv_trace *t = SIM_CONTAINER_OF(l, struct rv_trace, listener);
    gva_t pc = r->va_page + r->origin[0].offset;
    char line[LINE];

    (void)jit;
    if (!region_passes(t, r))
        return;
    int len = begin(line, "block", r->hart, r->priv, pc);
    len += snprintf(line + len, (size_t)(LINE - len), "  pa=%010" PRIx64 " insns=%u host=%" PRIu32, (uint64_t)r->gpa,
                    r->nr_origins, r->code.host_bytes);
    finish(t, line, len, pc);
    for (unsigned n = 0; n < r->nr_origins; n++) {
        pc = r->va_page + r->origin[n].offset;
        len = snprintf(line, LINE, "           %016" PRIx64, (uint64_t)pc);
        finish(t, line, put_insn(line, len, &r->origin[n].insn, pc), pc);
    }
}

/* --- start and stop --- */

struct rv_trace *rv_trace_start(struct rv_machine *m, const struct rv_trace_config *config)
{
    struct rv_trace *t = sim_new(struct rv_trace);
    unsigned what = config->what;

    *t = (struct rv_trace){.machine = m, .config = *config, .listener.region = on_region,
                           .observer = {.filter = config->filter}};
    t->ops = (struct observer_ops){.block = what & (RV_TRACE_EXEC | RV_TRACE_FETCH) ? on_block : NULL,
                                   .trap = what & RV_TRACE_EXEC ? on_trap : NULL,
                                   .access = what & RV_TRACE_MEM ? on_access : NULL};
    t->observer.ops = &t->ops;
    rv_observe_start(m, &t->observer);
    if (m->jit && (what & RV_TRACE_BLOCKS))
        jit_add_listener(m->jit, &t->listener);
    return t;
}

void rv_trace_stop(struct rv_trace *t)
{
    if (!t)
        return;
    if (t->machine->jit)
        jit_remove_listener(t->machine->jit, &t->listener);
    rv_observe_stop(t->machine, &t->observer);
    fflush(t->config.out);
    sim_free(t);
}
