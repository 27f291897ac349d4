/* The configuration as an image's manifest has it: JSON with the names of --dump-config. */
#ifndef LAUNCH_IMAGE_CONFIG_H
#define LAUNCH_IMAGE_CONFIG_H

#include "config.h"

/* What makes the machine, not what belongs to one run of it (time-outs, --expect). File names become absolute. The text
 * is allocated. */
char *image_config_format(const struct config *c);
/* The reverse; on SIM_OK the caller owns *c. `path` is for messages. */
enum sim_status image_config_parse(const char *text, const char *path, struct config *c) SIM_MUST_CHECK;

#endif
