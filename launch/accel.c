/* The choice of an engine: what is wanted, in order, and what this machine on this host can have. */
#include "accel.h"

#include <stdio.h>
#include <string.h>

#include "keyval.h"
#include "kvm/hkvm.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

static const struct {
    const char *name;
    enum config_accel accel;
} engines[] = {{"jit", CONFIG_ACCEL_JIT}, {"tcg", CONFIG_ACCEL_JIT}, {"interp", CONFIG_ACCEL_INTERP},
               {"kvm", CONFIG_ACCEL_KVM}};

static const char *engine_name(enum config_accel accel)
{
    for (size_t i = 0; i < SIM_ARRAY_LEN(engines); i++)
        if (engines[i].accel == accel)
            return engines[i].name;
    return "?";
}

static enum sim_status add(const char *option, const char *word, struct config *c)
{
    for (size_t i = 0; i < SIM_ARRAY_LEN(engines); i++) {
        if (strcmp(engines[i].name, word) == 0 && c->nr_accels < SIM_ARRAY_LEN(c->accel)) {
            c->accel[c->nr_accels++] = engines[i].accel;
            return SIM_OK;
        }
    }
    return option_reject(option, word, "is not an engine (jit, interp or kvm; kvm:jit for the second where the first "
                                       "is not to be had)");
}

enum sim_status accel_parse(const char *option, const char *list, struct config *c)
{
    char *text = sim_strdup(list), *rest = text, *word;
    enum sim_status status = SIM_OK;

    c->nr_accels = 0;
    while (status == SIM_OK && (word = strsep(&rest, ":")) != NULL)
        status = add(option, word, c);
    sim_free(text);
    return status;
}

static const char *const tier_names[RV_JIT_NR_TIERS] = {
    [RV_JIT_OPT] = "opt", [RV_JIT_QUICK] = "quick", [RV_JIT_AUTO] = "auto"};

const char *accel_tier_name(enum rv_jit_tier tier)
{
    return tier_names[tier];
}

static enum sim_status take_tier(struct keyvals *kv, struct config *c)
{
    const char *name = keyvals_take(kv, "tier");

    if (!name)
        return SIM_OK;
    for (unsigned i = RV_JIT_OPT; i < RV_JIT_NR_TIERS; i++) {
        if (strcmp(tier_names[i], name) == 0) {
            c->jit_tier = (enum rv_jit_tier)i;
            return SIM_OK;
        }
    }
    return option_reject(kv->option, name, "is not a tier of the translator (auto, quick or opt)");
}

enum sim_status accel_take_settings(struct keyvals *kv, struct config *c)
{
    enum { MAX_THRESHOLD = 255 };
    uint32_t threshold = c->jit_threshold;

    SIM_TRY(take_tier(kv, c));
    SIM_TRY(keyvals_take_u32(kv, "threshold", &threshold));
    SIM_TRY(keyvals_take_u32(kv, "hot", &c->jit_hot));
    if (threshold > MAX_THRESHOLD) {
        sim_error("%s: threshold=%u: 0 (the default) to %d executions before a block is translated", kv->option, threshold, MAX_THRESHOLD);
        return SIM_ERR_INVALID;
    }
    c->jit_threshold = threshold;
    return SIM_OK;
}

/* Why the engine cannot run the machine; false: it can. */
static bool is_refused(const struct config *c, enum config_accel accel, char *why, size_t size)
{
    struct hkvm_report report;

    why[0] = 0;
    if (accel == CONFIG_ACCEL_KVM && !c->x86) {
        snprintf(why, size, "KVM runs the host's instructions, and the machine is RISC-V (-M virt-x86 is one for KVM)");
    } else if (accel == CONFIG_ACCEL_KVM && !c->dump_config) {
        hkvm_probe(&report);
        if (report.state != HKVM_WORKS)
            snprintf(why, size, "%s", report.why);
    } else if (accel != CONFIG_ACCEL_KVM && c->x86) {
        snprintf(why, size, "x86-64 code is neither translated nor interpreted, virt-x86 runs on KVM only");
    }
    return why[0];
}

static void set_default(struct config *c)
{
    if (!c->nr_accels)
        c->accel[c->nr_accels++] = c->x86 ? CONFIG_ACCEL_KVM : c->jit ? CONFIG_ACCEL_JIT : CONFIG_ACCEL_INTERP;
}

static void take(struct config *c, enum config_accel accel)
{
    c->kvm = accel == CONFIG_ACCEL_KVM;
    c->jit = accel == CONFIG_ACCEL_JIT;
}

static bool is_listed(const struct config *c, enum config_accel accel)
{
    for (unsigned i = 0; i < c->nr_accels; i++)
        if (c->accel[i] == accel)
            return true;
    return false;
}

/* Is what was asked of the translator its to do? How well it translates may be said of one that is the second choice, and not used. */
static enum sim_status check_translator(const struct config *c)
{
    const struct config_rule rules[] = {
        {!is_listed(c, CONFIG_ACCEL_JIT) && (c->jit_threshold || c->jit_hot || c->jit_tier != RV_JIT_DEFAULT),
         "-accel tier=, threshold= and hot= are of the translator (-accel jit), which is no choice here"},
        {!c->jit && !c->kvm && (c->tools.perf_map || c->tools.jitdump),
         "-perfmap and -jitdump name translated code: -accel interp translates none"},
        {c->jit_hot && c->jit_tier != RV_JIT_AUTO, "-accel hot=: code is translated again by tier=auto only"},
    };

    const char *why = config_broken_rule(rules, SIM_ARRAY_LEN(rules));

    if (!why)
        return SIM_OK;
    sim_error("%s", why);
    return SIM_ERR_INVALID;
}

/* The guest's output comes next: what happens to a wish is said once, before it. */
enum sim_status accel_choose(struct config *c)
{
    char why[SIM_ARRAY_LEN(c->accel)][256];

    set_default(c);
    for (unsigned i = 0; i < c->nr_accels; i++) {
        if (is_refused(c, c->accel[i], why[i], sizeof why[i]))
            continue;
        take(c, c->accel[i]);
        if (i)
            sim_warn("-accel %s: %s; using %s", engine_name(c->accel[0]), why[0], engine_name(c->accel[i]));
        return check_translator(c);
    }
    unsigned last = c->nr_accels - 1;
    sim_error("-accel %s: %s%s%s", engine_name(c->accel[0]), why[0],
              last ? "; and as to the fallback: " : c->accel[0] == CONFIG_ACCEL_KVM && c->x86 ? " (partita doctor says more)" : "",
              last ? why[last] : "");
    return SIM_ERR_UNSUPPORTED;
}
