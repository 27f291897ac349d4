/* Where there is no KVM for this program: another architecture, or headers of the kernel that lack linux/kvm.h. */
#include <string.h>

#include "kvm/hkvm.h"
#include "sim-core/log.h"

#define NOT_BUILT "this program was built without KVM: it needs an x86-64 host and linux/kvm.h"

void hkvm_probe(struct hkvm_report *out)
{
    *out = (struct hkvm_report){.state = HKVM_NOT_BUILT, .why = NOT_BUILT};
}

bool hkvm_has_fixed_tsc(void)
{
    return false;
}

static enum sim_status refuse(void)
{
    sim_error("-accel kvm: " NOT_BUILT);
    return SIM_ERR_UNSUPPORTED;
}

enum sim_status hkvm_machine_create(const struct hkvm_config *config, struct hkvm_machine **out)
{
    (void)config, (void)out;
    return refuse();
}

void hkvm_machine_destroy(struct hkvm_machine *m)
{
    (void)m;
}

enum sim_status hkvm_machine_add_vcpu(struct hkvm_machine *m, struct vcpu **out)
{
    (void)m, (void)out;
    return refuse();
}

enum sim_status hkvm_machine_reset(struct hkvm_machine *m)
{
    (void)m;
    return refuse();
}

struct irq_line hkvm_machine_irq(struct hkvm_machine *m, uint32_t gsi)
{
    (void)m, (void)gsi;
    return (struct irq_line){0};
}

struct irq_line hkvm_machine_edge_irq(struct hkvm_machine *m, uint32_t gsi)
{
    (void)m, (void)gsi;
    return (struct irq_line){0};
}

uint64_t hkvm_machine_edges_by_eventfd(const struct hkvm_machine *m)
{
    (void)m;
    return 0;
}

enum sim_status hkvm_vcpu_boot(struct vcpu *v, const struct hkvm_entry *entry)
{
    (void)v, (void)entry;
    return refuse();
}

void *hkvm_vcpu_state_object(struct vcpu *v)
{
    return v;
}

void hkvm_machine_clock_stop(struct hkvm_machine *m)
{
    (void)m;
}

void hkvm_machine_clock_go(struct hkvm_machine *m)
{
    (void)m;
}

void hkvm_machine_clock_follow(struct hkvm_machine *m)
{
    (void)m;
}

void hkvm_machine_collect_dirty(struct hkvm_machine *m)
{
    (void)m;
}

void hkvm_machine_write_protect(struct hkvm_machine *m)
{
    (void)m;
}

const struct dsm_enforce_ops hkvm_enforce_ops;

enum sim_status hkvm_coherence_create(struct mem_space *space, struct ic *ic, struct hkvm_coherence **out)
{
    (void)space, (void)ic, (void)out;
    return refuse();
}

enum sim_status hkvm_coherence_start(struct hkvm_coherence *c, struct dsm *dsm)
{
    (void)c, (void)dsm;
    return refuse();
}

void hkvm_machine_set_coherence(struct hkvm_machine *m, struct hkvm_coherence *c)
{
    (void)m, (void)c;
}

bool hkvm_coherence_is_settled(struct hkvm_coherence *c)
{
    (void)c;
    return true;
}

void hkvm_coherence_give_up(struct hkvm_coherence *c)
{
    (void)c;
}

void hkvm_coherence_stop(struct hkvm_coherence *c)
{
    (void)c;
}

void hkvm_coherence_destroy(struct hkvm_coherence *c)
{
    (void)c;
}

void hkvm_coherence_get_stats(const struct hkvm_coherence *c, struct hkvm_coherence_stats *out)
{
    (void)c;
    *out = (struct hkvm_coherence_stats){0};
}

const struct state_desc *hkvm_machine_state_desc(void)
{
    static const struct state_field none[] = {STATE_END};
    static const struct state_desc desc = {.name = "kvm", .version = 1, .fields = none};

    return &desc;
}
