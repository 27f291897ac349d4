/* Loading plugins into a machine (cpu/plugin.h is their side). */
#ifndef CPU_PLUGIN_HOST_H
#define CPU_PLUGIN_HOST_H

#include "cpu/riscv.h"
#include "cpu/symbols.h"

struct partita_plugin;

/* Loads the shared object and installs it; logs what is wrong, naming file and reason. Strings are copied; symbols
 * (NULL allowed) outlive the plugin. Context: launch thread, harts exist, none runs. */
enum sim_status rv_plugin_load(struct rv_machine *m, const char *path, unsigned argc, const char *const *argv,
                               const struct symbols *symbols, struct partita_plugin **out) SIM_MUST_CHECK;
/* Its last callbacks, then it is gone. Context: executors stopped, before the machine is destroyed. NULL allowed. */
void rv_plugin_unload(struct partita_plugin *p);

#endif
