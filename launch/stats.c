/* --stats: counters of harts, translation, TLBs and MMIO regions as text. */
#include "stats.h"

#include <inttypes.h>

#include "kvm/hkvm.h"
#include "progress.h"
#include "sim-core/vcpu.h"

enum { MAX_HART_LINES = 16 };

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

/* Millions per second; 0 when there was no time. */
static double mips(uint64_t insns, uint64_t ns)
{
    return ns ? (double)insns * 1e3 / (double)ns : 0;
}

static uint64_t sum_insns(const struct sim *sim)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < sim->nr_vcpus; i++)
        sum += sim->vcpus[i]->stats.insns;
    return sum;
}

static void print_run(const struct stats_input *in, FILE *out)
{
    uint64_t insns = sum_insns(in->machine->sim);

    fprintf(out, "  time           %.3f s wall, %.3f s host CPU, %u thread%s (%s)\n",
            seconds(in->wall_ns), seconds(in->cpu_ns), in->threads, in->threads == 1 ? "" : "s",
            in->machine->kvm ? "kvm" : in->jit ? "jit" : "interp");
    if (in->machine->kvm)
        return; /* nobody counts instructions there */
    fprintf(out, "  instructions   %" PRIu64 ", %.1f MIPS of wall time, %.1f of CPU time\n", insns,
            mips(insns, in->wall_ns), mips(insns, in->cpu_ns));
}

static void print_harts(const struct sim *sim, FILE *out)
{
    for (uint32_t i = 0; i < sim->nr_vcpus && i < MAX_HART_LINES; i++) {
        const struct vcpu_stats *s = &sim->vcpus[i]->stats;
        fprintf(out, "  hart %-4" PRIu32 "      %" PRIu64 " instructions", i, s->insns);
        if (s->run_ns && s->insns)
            fprintf(out, ", %.1f MIPS while it ran (%.3f s)", mips(s->insns, s->run_ns),
                    seconds(s->run_ns));
        fputc('\n', out);
    }
    if (sim->nr_vcpus > MAX_HART_LINES)
        fprintf(out, "  ...            and %" PRIu32 " more harts\n",
                sim->nr_vcpus - MAX_HART_LINES);
}

static void print_exits(const struct sim *sim, FILE *out)
{
    static const struct {
        enum vcpu_exit why;
        const char *name;
    } exits[] = {{VCPU_EXIT_BUDGET, "turn over"}, {VCPU_EXIT_IDLE, "idle"},
                 {VCPU_EXIT_YIELD, "yield"},      {VCPU_EXIT_EXCLUSIVE, "exclusive"},
                 {VCPU_EXIT_END, "end"}};

    fputs("  exits         ", out);
    for (size_t i = 0; i < SIM_ARRAY_LEN(exits); i++) {
        uint64_t sum = 0;
        for (uint32_t v = 0; v < sim->nr_vcpus; v++)
            sum += sim->vcpus[v]->stats.exits[exits[i].why];
        fprintf(out, "%s %s %" PRIu64, i ? "," : "", exits[i].name, sum);
    }
    fputc('\n', out);
}

static void print_cpu(const struct rv_machine *cpus, FILE *out)
{
    struct rv_machine_stats s;

    rv_machine_get_stats(cpus, &s);
    fprintf(out, "  engine         %" PRIu64 " instructions translated code, %" PRIu64
                 " interpreted\n", s.jit_insns, s.interp_insns);
    fprintf(out, "  translations   %" PRIu64 " of %" PRIu64 " instructions, %" PRIu64
                 " bytes of code, %" PRIu64 " flushes, %" PRIu64 " invalidations\n",
            s.translations, s.translated_insns, s.code_bytes, s.flushes, s.invalidations);
    if (s.promotions)
        fprintf(out, "  second tier    %" PRIu64 " regions translated again\n", s.promotions);
    fprintf(out, "  TLB            %" PRIu64 " fills, %" PRIu64 " flushes\n", s.tlb_fills,
            s.tlb_flushes);
    fprintf(out, "  traps          %" PRIu64 " exceptions, %" PRIu64 " interrupts\n", s.traps,
            s.interrupts);
    fprintf(out, "  MMIO           %" PRIu64 " accesses\n", s.mmio);
}

static void print_regions(struct mem_space *space, FILE *out)
{
    struct mem_region *r;

    for (unsigned i = 0; (r = mem_nth(space, i)); i++) {
        uint64_t hits = atomic_load_explicit(&r->hits, memory_order_relaxed);
        if (r->ops && hits)
            fprintf(out, "    %-28s %" PRIu64 "\n", r->name, hits);
    }
}

static void print_doorbells(const struct machine *m, FILE *out)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < m->nr_devices; i++)
        sum += virtio_mmio_doorbells_rung(m->devices[i]);
    fprintf(out, "  notifications  %" PRIu64 " by eventfd\n", sum);
    fprintf(out, "  virtio interrupts  %" PRIu64 " by eventfd\n", hkvm_machine_edges_by_eventfd(m->kvm));
}

void stats_print(const struct stats_input *in, FILE *out)
{
    fputs("statistics\n", out);
    print_run(in, out);
    if (in->machine->cpus)
        print_harts(in->machine->sim, out);
    print_exits(in->machine->sim, out);
    if (in->machine->cpus)
        print_cpu(in->machine->cpus, out);
    if (in->machine->kvm)
        print_doorbells(in->machine, out);
    print_regions(in->machine->space, out);
    fflush(out);
}

void stats_print_brief(const struct sim *sim, uint64_t wall_ns, FILE *out)
{
    uint64_t insns = progress_insns(sim);

    fprintf(out, "\n%.1f s, %" PRIu64 " M instructions on %" PRIu32 " hart%s, %.0f MIPS\n",
            seconds(wall_ns), insns / 1000000, sim->nr_vcpus, sim->nr_vcpus == 1 ? "" : "s",
            mips(insns, wall_ns));
    fflush(out);
}
