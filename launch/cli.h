/* The command line: QEMU's habits (single-dash long options) to a struct config.
 *
 *   argv -> option table (cli.c) -> apply functions (cli_apply.c) -> pieces with ids (cli_device.c)
 *        -> cli_devices_resolve: -drive + -device, -netdev + -device, -chardev + -serial -> config -> checks (cli_check.c) */
#ifndef LAUNCH_CLI_H
#define LAUNCH_CLI_H

#include <stdio.h>

#include "config.h"

enum cli_action {
    CLI_RUN,  /* config is complete */
    CLI_DONE, /* help was asked for and printed */
    CLI_BAD   /* one message was logged: exit 2 */
};

/* argv[0..argc) are the words after "run". On CLI_RUN the caller owns *c (config_fini); otherwise
 * it is empty. */
enum cli_action cli_parse_run(int argc, char *const *argv, struct config *c);
void cli_print_run_help(FILE *out);
/* The words after `partita restore IMAGE`; c comes from the image, its owner as above. */
enum cli_action cli_parse_restore(int argc, char *const *argv, struct config *c);
void cli_print_restore_help(FILE *out);

#endif
