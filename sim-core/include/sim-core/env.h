/* The environment of the process; only sim-core calls getenv and setenv. */
#ifndef SIM_CORE_ENV_H
#define SIM_CORE_ENV_H

#include <stdbool.h>

/* The variable's value or NULL; valid until the environment changes. */
const char *sim_env_get(const char *name);
/* Its value as a number, or `otherwise` when it is not set or not a number. */
long sim_env_number(const char *name, long otherwise);
/* Sets it unless the user has. Context: before other threads run. */
void sim_env_default(const char *name, const char *value);

#endif
