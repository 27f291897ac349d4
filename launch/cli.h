/* The command line: QEMU's habits (single-dash long options) to a struct config.
 *
 *   argv -> option table (cli.c) -> apply functions -> pieces with ids (cli_device.c)
 *        -> cli_devices_resolve: -drive + -device, -netdev + -device, -chardev + -serial -> config */
#ifndef LAUNCH_CLI_H
#define LAUNCH_CLI_H

#include <stdio.h>

#include "config.h"
#include "keyval.h"

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

/* --- between cli.c and cli_device.c --- */

enum { CLI_MAX_CHARDEVS = 16 };

/* Pieces that refer to each other by id until cli_devices_resolve. */
struct cli_devices {
    struct {
        char *id;
        struct config_drive drive;
        bool plugged;   /* if=virtio, or a -device has it */
    } drive[CONFIG_MAX_DRIVES];
    unsigned nr_drives;
    struct {
        char *id;
        struct config_net net;
        bool has_mac;
    } net[CONFIG_MAX_NETS];
    unsigned nr_nets;
    struct {
        char *id, *spec;
    } chardev[CLI_MAX_CHARDEVS];
    unsigned nr_chardevs;
    struct keyvals device[CONFIG_MAX_DRIVES + CONFIG_MAX_NETS + 4]; /* -device, in order */
    unsigned nr_devices;
};

enum sim_status cli_add_drive(struct cli_devices *d, const char *text) SIM_MUST_CHECK;
enum sim_status cli_add_netdev(struct cli_devices *d, const char *text) SIM_MUST_CHECK;
enum sim_status cli_add_nic(struct cli_devices *d, const char *text) SIM_MUST_CHECK;
enum sim_status cli_add_chardev(struct cli_devices *d, const char *text) SIM_MUST_CHECK;
enum sim_status cli_add_device(struct cli_devices *d, const char *text) SIM_MUST_CHECK;
/* Joins the pieces into c. */
enum sim_status cli_devices_resolve(struct cli_devices *d, struct config *c) SIM_MUST_CHECK;
void cli_devices_fini(struct cli_devices *d);

#endif
