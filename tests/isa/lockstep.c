/* JIT against interpreter in lock-step on random programs.
 *
 *   two twin machines, same RAM, Sv39 in U, S or (MPRV) M mode with a handler that skips what traps; of some seeds
 *   harts without extensions, of a third of them two harts of different kinds in turn
 *   chunk: the JIT runs some instructions, its exact retired count is read, the interpreter steps to
 *   the same count; registers, CSRs and RAM must agree
 *
 * A program is a ring of code pages with one random item per slot: any instruction of the tables,
 * loops, calls, loads and stores through pointers near page ends, device accesses, code that writes
 * code (then fence.i), page-table changes (then sfence.vma), changes of address space, SUM, MXR, MPRV and PMP, of
 * rounding mode and FP state.
 * Interrupts come between chunks. Usage: lockstep [SEED [CHUNKS [OPTIONS]]]; OPTIONS: b = host
 * without its newer instructions, x = without AVX-512, q = the quick tier, a = both tiers, d = dump translations to stderr, v = progress, f = the
 * last chunk in small steps, s = nothing but vector instructions, each of them in turn, n5 = five seeds from SEED on. */
#include "lockstep_priv.h"

/* ---- comparing ---- */

#define FIELDS(X)                                                                                  \
    X(pc) X(priv) X(mstatus) X(scause) X(stval) X(sepc) X(sscratch) X(sie_view) X(frm) X(fflags)   \
    X(vl) X(vtype) X(vstart) X(vxrm) X(vxsat) X(vs_dirty) X(vs_on) X(vkey) X(vkey_any) X(fs_dirty) X(fp_on)     \
    X(mcause) X(mepc) X(mtval) X(satp) X(device)

struct view {
    uint64_t pc, priv, mstatus, scause, stval, sepc, sscratch, sie_view, frm, fflags,
        vl, vtype, vstart, vxrm, vxsat, vs_dirty, vs_on, vkey, vkey_any, fs_dirty,
        fp_on, mcause, mepc, mtval, satp, device;
};

static struct view view_of(const struct side *s)
{
    const struct rv_hart *h = s->h;

    return (struct view){h->pc, h->priv, h->mstatus, h->scause, h->stval, h->sepc, h->sscratch,
                         h->mie, h->frm, h->fflags, h->vl, h->vtype, h->vstart, h->vxrm,
                         h->vxsat, h->vs_dirty, h->vs_on, h->vkey, h->vkey_any, h->fs_dirty, h->fp_on, h->mcause,
                         h->mepc, h->mtval, h->satp, s->device_state};
}

static unsigned differ(const char *name, uint64_t a, uint64_t b)
{
    if (a == b)
        return 0;
    fprintf(stderr, "  %-10s jit %016" PRIx64 "  interpreter %016" PRIx64 "\n", name, a, b);
    return 1;
}

static unsigned compare_state(const struct side *a, const struct side *b)
{
    struct view va = view_of(a), vb = view_of(b);
    unsigned bad = 0;
    char name[8];

#define COMPARE(field) bad += differ(#field, va.field, vb.field);
    FIELDS(COMPARE)
#undef COMPARE
    for (unsigned n = 0; n < 32; n++) {
        snprintf(name, sizeof name, "x%u", n);
        bad += differ(name, a->h->x[n], b->h->x[n]);
    }
    for (unsigned n = 0; n < 32; n++) {
        snprintf(name, sizeof name, "f%u", n);
        bad += differ(name, a->h->f[n], b->h->f[n]);
    }
    for (unsigned n = 0; n < 32 * a->h->vlenb; n++) {
        if (a->h->v[n] == b->h->v[n])
            continue;
        fprintf(stderr, "  v%u, byte %u\n", n / (unsigned)a->h->vlenb, n % (unsigned)a->h->vlenb);
        return bad + differ("v", a->h->v[n], b->h->v[n]);
    }
    return bad;
}

static unsigned compare_ram(const struct side *a, const struct side *b)
{
    if (!memcmp(a->space->ram, b->space->ram, PAGES * GUEST_PAGE_SIZE))
        return 0;
    for (uint64_t at = 0; at < PAGES * GUEST_PAGE_SIZE; at += 8) {
        uint64_t va, vb;
        memcpy(&va, a->space->ram + at, 8);
        memcpy(&vb, b->space->ram + at, 8);
        char name[24];
        snprintf(name, sizeof name, "ram+%05" PRIx64, at);
        if (differ(name, va, vb))
            break;
    }
    return 1;
}

/* The last instructions the interpreter executed. */
enum { TRAIL = 256 };
static uint64_t trail[TRAIL];
static uint64_t trail_n;

static void print_trail(const struct side *b)
{
    for (uint64_t n = trail_n > TRAIL ? trail_n - TRAIL : 0; n < trail_n; n++) {
        uint64_t pc = trail[n % TRAIL];
        uint64_t at = pc - (pc >= RAM_BASE ? RAM_BASE : VA_BASE);
        char text[80] = "?";
        uint32_t raw = 0;
        if (at < PAGES * GUEST_PAGE_SIZE - 4) {
            memcpy(&raw, b->space->ram + at, 4);
            rv_disasm(raw, pc, text, sizeof text);
        }
        fprintf(stderr, "  %010" PRIx64 "  %08x  %s\n", pc, raw, text);
    }
}

/* ---- running ---- */

static void grant(struct rv_hart *h, uint64_t budget)
{
    h->insns = rv_insns(h);
    h->slice = h->budget = (int64_t)budget;
}

/* What hart_run_exclusive does, on both sides: from an LR to its SC. */
static void run_alone(struct rv_hart *h)
{
    unsigned n = 64;

    h->exclusive = 1;
    do
        rv_interp_step(h);
    while (--n && h->res_addr != RV_NO_RES);
    h->exclusive = 0;
    h->res_addr = RV_NO_RES;
}

/* Mostly what the background has made is there for the next chunk. */
static unsigned chunks_run;

static bool run_chunk(struct side *a, struct side *b, uint64_t budget)
{
    struct rv_hart *h = a->h, *i = b->h;

    rv_take_interrupt(h);
    rv_take_interrupt(i);
    grant(h, budget);
    grant(i, budget);
    atomic_store(&h->vcpu.kick, 0);
    atomic_store(&i->vcpu.kick, 0);
    enum rv_stop_reason why = jit_run(h);
    if (chunks_run++ % 4)
        jit_settle(h->machine->jit);
    int64_t used = h->slice - h->budget;
    while (i->slice - i->budget < used) {
        trail[trail_n++ % TRAIL] = i->pc;
        enum rv_exec result = rv_interp_step(i);
        if (result == RV_SYNC || result == RV_JSYNC)
            rv_take_interrupt(i);
    }
    bool same = i->slice - i->budget == used;
    if (same && why == RV_STOP_EXCLUSIVE) {
        run_alone(h);
        run_alone(i);
        used = h->slice - h->budget;
    }
    sim_clock_charge(&a->sim->clock, (uint64_t)used);
    sim_clock_charge(&b->sim->clock, (uint64_t)used);
    if (same)
        return true;
    fprintf(stderr, "  retired: jit %" PRId64 ", interpreter %" PRId64 "\n", used,
            i->slice - i->budget);
    return false;
}

static void interrupts(struct side *a, struct side *b)
{
    static const uint8_t bits[] = {1, 5, 9};
    unsigned bit = bits[below(3)];
    bool level = chance(50);
    struct irq_line la = rv_hart_irq(a->vcpu, bit), lb = rv_hart_irq(b->vcpu, bit);

    irq_set(&la, level);
    irq_set(&lb, level);
    a->h->mie = b->h->mie = chance(40) ? 0x222 : 0;
}

static int fail(const struct side *a, const struct side *b, uint64_t seed, uint64_t chunk)
{
    (void)a;
    fprintf(stderr, "lockstep: seed %" PRIu64 ", chunk %" PRIu64 " differs. Last instructions:\n",
            seed, chunk);
    print_trail(b);
    fprintf(stderr, "lockstep: run again with: lockstep %" PRIu64 " %" PRIu64 "\n", seed, chunk + 1);
    return 1;
}

enum { CHUNKS_PER_PROGRAM = 400, CHUNKS_PER_SWEEP = 400 };

/* Some thousand instructions until the ring is translated, then no more than there is room for what they made. */
static uint64_t sweep_budget(uint64_t chunk)
{
    return chunk % CHUNKS_PER_SWEEP < 16 ? 4000 : below(100);
}

/* Mostly one that has everything. Two of different kinds share code, translations and memory. */
static unsigned choose_harts(uint64_t seed, bool sweeps, struct rv_isa isa[2])
{
    unsigned vlen = (unsigned)RV_VLEN_MIN << (seed & 3);
    bool all = sweeps || seed % 3 == 0;

    isa[0] = some_extensions(all ? 0 : below(NR_KINDS_OF_HART), vlen);
    isa[1] = some_extensions(below(NR_KINDS_OF_HART), (unsigned)RV_VLEN_MIN << below(4));
    return sweeps || seed % 3 != 2 ? 1 : 2;
}

static int run(uint64_t seed, uint64_t chunks, const struct jit_options *options, bool verbose,
               bool fine, bool sweeps)
{
    static struct side a, b;
    static struct program p;
    int code = 0;

    p.sweeps = sweeps;
    lockstep_seed(seed);
    struct rv_isa isa[2];
    unsigned nr_harts = choose_harts(seed, sweeps, isa);
    side_create(&a, true, options, nr_harts, isa);
    side_create(&b, false, NULL, nr_harts, isa);
    for (uint64_t chunk = 0; chunk < chunks && !code; chunk++) {
        if (chunk % (sweeps ? CHUNKS_PER_SWEEP : CHUNKS_PER_PROGRAM) == 0) {
            generate(&p, chance(30) ? RV_U : chance(40) ? RV_M : RV_S, rv_isa_has(&isa[0], RV_EXT_V));
            set_up(&a, &p);
            set_up(&b, &p);
            fill_data(&a, &b);
            fill_sources(&a, &b);
            for (unsigned n = 0; n < nr_harts; n++)
                set_registers(rv_hart_of(a.hart[n]), rv_hart_of(b.hart[n]), &p);
        }
        if (nr_harts > 1 && chance(30)) {
            unsigned n = below(nr_harts);
            side_switch(&a, n);
            side_switch(&b, n);
        }
        if (chance(20))
            interrupts(&a, &b);
        uint64_t budget = sweeps ? sweep_budget(chunk) : chance(50) ? below(64) : below(4000);
        bool same = true;
        if (fine && chunk + 1 == chunks) {
            for (unsigned n = 0; n < 4000 && same; n++)
                same = run_chunk(&a, &b, 0) && !compare_state(&a, &b);
        } else {
            same = run_chunk(&a, &b, budget);
        }
        if (!same || compare_state(&a, &b) ||
            ((sweeps || chunk % 8 == 0 || chunk + 1 == chunks) && compare_ram(&a, &b)))
            code = fail(&a, &b, seed, chunk);
    }
    struct rv_machine_stats st;
    rv_machine_get_stats(a.machine, &st);
    if (verbose || code)
        fprintf(stderr, "seed %" PRIu64 ": %" PRIu64 " translated, %" PRIu64 " interpreted, %" PRIu64
                " regions, %" PRIu64 " again, %" PRIu64 " traps, %" PRIu64 " invalidations\n", seed, st.jit_insns,
                st.interp_insns, st.translations, st.promotions, st.traps, st.invalidations);
    if (!code && chunks >= 1000 && options->tier == RV_JIT_AUTO && !st.promotions) {
        fprintf(stderr, "lockstep: seed %" PRIu64 ": nothing was translated again\n", seed);
        code = 1;
    }
    if (!code && chunks >= 1000 && st.jit_insns < st.interp_insns) {
        fprintf(stderr, "lockstep: seed %" PRIu64 ": most instructions were interpreted\n", seed);
        code = 1;
    }
    side_destroy(&a);
    side_destroy(&b);
    return code;
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
    uint64_t chunks = argc > 2 ? strtoull(argv[2], NULL, 0) : 4000;
    const char *opts = argc > 3 ? argv[3] : "";
    struct jit_options options = {.threshold = 2,
                                  .host_mask = strchr(opts, 'b') ? UINT64_MAX : strchr(opts, 'x') ? X86_ALL_AVX512 : 0,
                                  .tier = strchr(opts, 'q') ? RV_JIT_QUICK : strchr(opts, 'a') ? RV_JIT_AUTO : RV_JIT_DEFAULT,
                                  .hot_insns = 1,
                                  .dump = strchr(opts, 'd') ? stderr : NULL};
    uint64_t rounds = strchr(opts, 'n') ? strtoull(strchr(opts, 'n') + 1, NULL, 0) : 1;

    for (uint64_t n = 0; n < rounds; n++) {
        int code = run(seed + n, chunks, &options, strchr(opts, 'v') != NULL, strchr(opts, 'f') != NULL,
                       strchr(opts, 's') != NULL);
        if (code)
            return code;
    }
    return 0;
}
