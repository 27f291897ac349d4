/* Plugins as observers: the table of functions that they call, and their loading. */
#include "cpu/plugin.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cpu/plugin_host.h"
#include "observe.h"
#include "peek.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* A call that a plugin asked for: what hangs on an action. */
struct plugin_call {
    struct plugin_call *next;
    partita_exec_fn fn;
    void *data;
};

/* Owner: the launch thread; `calls` under the observers' lock. */
struct partita_plugin {
    struct observer observer;
    struct observer_ops ops;
    struct rv_machine *machine;
    const struct symbols *symbols;
    void *object;
    char *path;
    const char *name; /* in path */
    char **argv;      /* NULL-terminated */
    bool started;     /* observes */
    bool in_block;    /* on_block is being called, under the lock */
    struct plugin_call *calls;
    struct {
        partita_vcpu_fn vcpu_init, vcpu_exit;
        partita_block_fn block;
        partita_memory_fn memory;
        partita_trap_fn trap;
        partita_exit_fn exit;
    } on;
    struct {
        void *vcpu_init, *vcpu_exit, *block, *memory, *trap, *exit;
    } data;
};

struct partita_insn {
    struct partita_plugin *plugin;
    struct observed_insn *insn;
};

struct partita_block {
    struct partita_plugin *plugin;
    struct observed_block *block;
    struct partita_insn insn[OBSERVE_BLOCK_INSNS];
};

static struct partita_plugin *plugin_of(struct observer *o)
{
    return SIM_CONTAINER_OF(o, struct partita_plugin, observer);
}

/* --- events -> callbacks --- */

static void tell_block(struct observer *o, struct rv_hart *h, struct observed_block *b)
{
    struct partita_plugin *p = plugin_of(o);
    struct partita_block view = {.plugin = p, .block = b};

    for (unsigned n = 0; n < b->nr; n++)
        view.insn[n] = (struct partita_insn){p, &b->insn[n]};
    p->in_block = true;
    p->on.block(p->data.block, h->vcpu.index, &view);
    p->in_block = false;
}

static void tell_access(struct observer *o, struct rv_hart *h, const struct observed_access *a)
{
    static const uint8_t kinds[] = {
        [RV_ACCESS_LOAD] = PARTITA_LOAD, [RV_ACCESS_STORE] = PARTITA_STORE, [RV_ACCESS_AMO] = PARTITA_AMO};
    const struct partita_plugin *p = plugin_of(o);
    const struct partita_access out = {.pc = h->pc, .va = a->va, .pa = a->gpa, .value = a->value, .size = a->size,
                                       .kind = kinds[a->kind], .device = a->mmio};

    p->on.memory(p->data.memory, h->vcpu.index, &out);
}

static void tell_trap(struct observer *o, struct rv_hart *h, uint64_t cause, uint64_t tval)
{
    const struct partita_plugin *p = plugin_of(o);
    const struct partita_trap out = {.pc = h->pc, .cause = cause & (UINT64_MAX >> 1), .tval = tval,
                                     .interrupt = cause >> 63, .priv = h->priv};

    p->on.trap(p->data.trap, h->vcpu.index, &out);
}

static void tell_exec(struct observer *o, struct rv_hart *h, const struct observed_insn *i, void *udata)
{
    const struct plugin_call *call = udata;

    (void)o;
    (void)i;
    call->fn(call->data, h->vcpu.index, h->pc);
}

/* --- registration --- */

#define ON(event, type)                                                                                                \
    static void on_##event(struct partita_plugin *p, type fn, void *data)                                              \
    {                                                                                                                  \
        p->on.event = fn;                                                                                              \
        p->data.event = data;                                                                                          \
    }
ON(vcpu_init, partita_vcpu_fn)
ON(vcpu_exit, partita_vcpu_fn)
ON(block, partita_block_fn)
ON(memory, partita_memory_fn)
ON(trap, partita_trap_fn)
ON(exit, partita_exit_fn)
#undef ON

static void observe_only(struct partita_plugin *p, unsigned privs, uint64_t lo, uint64_t hi)
{
    p->observer.filter.privs = privs & RV_OBSERVE_ALL_PRIVS;
    p->observer.filter.lo = lo;
    p->observer.filter.hi = hi;
}

/* --- blocks and instructions --- */

static unsigned block_size(const struct partita_block *b)
{
    return b->block->nr;
}

static uint64_t block_pc(const struct partita_block *b)
{
    return b->block->va;
}

static uint64_t block_pa(const struct partita_block *b)
{
    return b->block->gpa;
}

static struct partita_insn *block_insn(struct partita_block *b, unsigned n)
{
    return n < b->block->nr ? &b->insn[n] : NULL;
}

static uint64_t insn_pc(const struct partita_insn *i)
{
    return (i->insn->block->va & GUEST_PAGE_MASK) + i->insn->offset;
}

static uint64_t insn_pa(const struct partita_insn *i)
{
    return (i->insn->block->gpa & GUEST_PAGE_MASK) + i->insn->offset;
}

static unsigned insn_size(const struct partita_insn *i)
{
    return i->insn->insn.len;
}

static uint32_t insn_word(const struct partita_insn *i)
{
    return i->insn->insn.len == 2 ? i->insn->insn.raw & 0xffff : i->insn->insn.raw;
}

static const char *insn_disassemble(const struct partita_insn *i, char *buf, size_t size)
{
    rv_disasm(i->insn->insn.raw, insn_pc(i), buf, size);
    return buf;
}

static void add_call(struct partita_plugin *p, struct observe_action **list, partita_exec_fn fn, void *data)
{
    struct plugin_call *call = sim_new(struct plugin_call);

    *call = (struct plugin_call){p->calls, fn, data};
    p->calls = call;
    rv_observe_add_call(list, &p->observer, tell_exec, call);
}

static void add_count(struct partita_plugin *p, struct observe_action **list, partita_counter c, int32_t n)
{
    if (c < p->machine->observe->nr_counters)
        rv_observe_add_count(list, &p->observer, c, n);
}

static void block_call(struct partita_block *b, partita_exec_fn fn, void *data)
{
    add_call(b->plugin, &b->block->entered, fn, data);
}

static void block_count(struct partita_block *b, partita_counter c, int32_t n)
{
    add_count(b->plugin, &b->block->entered, c, n);
}

static void insn_call(struct partita_insn *i, partita_exec_fn fn, void *data)
{
    add_call(i->plugin, &i->insn->actions, fn, data);
}

static void insn_count(struct partita_insn *i, partita_counter c, int32_t n)
{
    add_count(i->plugin, &i->insn->actions, c, n);
}

/* --- counters --- */

static partita_counter new_counter(struct partita_plugin *p)
{
    return rv_observe_new_counter(p->machine, p->in_block);
}

static uint64_t counter_of(const struct partita_plugin *p, partita_counter c, unsigned vcpu)
{
    const uint64_t *counters = vcpu < p->machine->nr_harts ? p->machine->harts[vcpu]->counters : NULL;

    return counters && c < OBSERVE_COUNTERS ? __atomic_load_n(&counters[c], __ATOMIC_RELAXED) : 0;
}

static uint64_t counter_sum(const struct partita_plugin *p, partita_counter c)
{
    uint64_t sum = 0;

    for (unsigned n = 0; n < p->machine->nr_harts; n++)
        sum += counter_of(p, c, n);
    return sum;
}

/* --- questions --- */

static unsigned nr_vcpus(const struct partita_plugin *p)
{
    return p->machine->nr_harts;
}

static const char *symbol(const struct partita_plugin *p, uint64_t pc, char *buf, size_t size)
{
    return symbols_format(p->symbols, pc, buf, size);
}

static void log_line(const struct partita_plugin *p, const char *format, ...)
{
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sim_info("%s: %s", p->name, text);
}

static unsigned priv(const struct partita_plugin *p, unsigned vcpu)
{
    return vcpu < p->machine->nr_harts ? p->machine->harts[vcpu]->priv : 0;
}

static uint64_t x(const struct partita_plugin *p, unsigned vcpu, unsigned n)
{
    return vcpu < p->machine->nr_harts && n < 32 ? p->machine->harts[vcpu]->x[n] : 0;
}

static bool read_memory(const struct partita_plugin *p, unsigned vcpu, uint64_t va, void *buf, size_t len)
{
    return vcpu < p->machine->nr_harts && rv_peek(p->machine->harts[vcpu], va, buf, len);
}

static const struct partita_plugin_api api = {
    .abi = PARTITA_PLUGIN_ABI,
    .size = sizeof api,
    .on_vcpu_init = on_vcpu_init,
    .on_vcpu_exit = on_vcpu_exit,
    .on_block = on_block,
    .on_memory = on_memory,
    .on_trap = on_trap,
    .on_exit = on_exit,
    .observe_only = observe_only,
    .block_size = block_size,
    .block_pc = block_pc,
    .block_pa = block_pa,
    .block_insn = block_insn,
    .insn_pc = insn_pc,
    .insn_pa = insn_pa,
    .insn_size = insn_size,
    .insn_word = insn_word,
    .insn_disassemble = insn_disassemble,
    .block_call = block_call,
    .block_count = block_count,
    .insn_call = insn_call,
    .insn_count = insn_count,
    .new_counter = new_counter,
    .counter_of = counter_of,
    .counter_sum = counter_sum,
    .nr_vcpus = nr_vcpus,
    .symbol = symbol,
    .log = log_line,
    .priv = priv,
    .x = x,
    .read = read_memory,
};

/* --- loading --- */

typedef int (*install_fn)(const struct partita_plugin_api *api, struct partita_plugin *self, int argc,
                          const char *const *argv);

static enum sim_status open_object(struct partita_plugin *p, install_fn *install)
{
    /* A name without a slash would be looked for in the library path. */
    char *path = strchr(p->path, '/') ? sim_strdup(p->path) : sim_asprintf("./%s", p->path);

    p->object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    sim_free(path);
    if (!p->object) {
        sim_error("-plugin '%s': cannot be loaded: %s", p->path, dlerror());
        return SIM_ERR_NOTFOUND;
    }
    const uint32_t *abi = dlsym(p->object, "partita_plugin_abi");
    *(void **)install = dlsym(p->object, "partita_plugin_install");
    if (!abi || !*install) {
        sim_error("-plugin '%s': is no plugin: it does not define %s", p->path,
                  abi ? "partita_plugin_install" : "partita_plugin_abi");
        return SIM_ERR_FORMAT;
    }
    if (*abi != PARTITA_PLUGIN_ABI) {
        sim_error("-plugin '%s': was compiled for version %" PRIu32 " of the plugin interface; this is version %d", p->path,
                  *abi, PARTITA_PLUGIN_ABI);
        return SIM_ERR_UNSUPPORTED;
    }
    return SIM_OK;
}

static void copy_strings(struct partita_plugin *p, const char *path, unsigned argc, const char *const *argv)
{
    const char *slash;

    p->path = sim_strdup(path);
    slash = strrchr(p->path, '/');
    p->name = slash ? slash + 1 : p->path;
    p->argv = sim_new_array(char *, argc + 1);
    for (unsigned n = 0; n < argc; n++)
        p->argv[n] = sim_strdup(argv[n]);
}

/* What it registered decides what is observed. */
static void start(struct partita_plugin *p)
{
    p->ops = (struct observer_ops){.block = p->on.block ? tell_block : NULL,
                                   .access = p->on.memory ? tell_access : NULL,
                                   .trap = p->on.trap ? tell_trap : NULL};
    p->observer.ops = &p->ops;
    p->observer.counts = p->on.block != NULL;
    for (unsigned n = 0; p->on.vcpu_init && n < p->machine->nr_harts; n++)
        p->on.vcpu_init(p->data.vcpu_init, n);
    rv_observe_start(p->machine, &p->observer);
    p->started = true;
}

enum sim_status rv_plugin_load(struct rv_machine *m, const char *path, unsigned argc, const char *const *argv,
                               const struct symbols *symbols, struct partita_plugin **out)
{
    struct partita_plugin *p = sim_new(struct partita_plugin);
    install_fn install = NULL;

    p->machine = m;
    p->symbols = symbols;
    p->observer.filter = rv_observe_filter_all();
    copy_strings(p, path, argc, argv);
    enum sim_status status = open_object(p, &install);
    if (status == SIM_OK && install(&api, p, (int)argc, (const char *const *)p->argv) != 0) {
        sim_error("-plugin '%s': refuses to run", path);
        status = SIM_ERR_INVALID;
    }
    if (status != SIM_OK) {
        rv_plugin_unload(p);
        return status;
    }
    start(p);
    *out = p;
    return SIM_OK;
}

static void last_callbacks(struct partita_plugin *p)
{
    for (unsigned n = 0; p->on.vcpu_exit && n < p->machine->nr_harts; n++)
        p->on.vcpu_exit(p->data.vcpu_exit, n);
    if (p->on.exit)
        p->on.exit(p->data.exit);
}

void rv_plugin_unload(struct partita_plugin *p)
{
    if (!p)
        return;
    if (p->started) {
        last_callbacks(p);
        rv_observe_stop(p->machine, &p->observer);
    }
    if (p->object)
        dlclose(p->object);
    while (p->calls) {
        struct plugin_call *next = p->calls->next;
        sim_free(p->calls);
        p->calls = next;
    }
    for (unsigned n = 0; p->argv[n]; n++)
        sim_free(p->argv[n]);
    sim_free(p->argv);
    sim_free(p->path);
    sim_free(p);
}
