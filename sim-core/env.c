/* The environment. */
#include "sim-core/env.h"

#include <stdlib.h>

#include "sim-core/log.h"

const char *sim_env_get(const char *name)
{
    return getenv(name);
}

long sim_env_number(const char *name, long otherwise)
{
    const char *text = getenv(name);
    char *end;

    if (!text || !*text)
        return otherwise;
    long n = strtol(text, &end, 10);
    return *end ? otherwise : n;
}

void sim_env_default(const char *name, const char *value)
{
    SIM_BUG_ON(setenv(name, value, 0), "setenv %s: %m", name);
}
