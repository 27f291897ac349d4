/* What the parts of the command line share:
 *
 *   cli.c        the table of options, the walk over argv, help
 *   cli_apply.c  what an option does that is neither a string nor a flag
 *   cli_device.c options that refer to each other by id
 *   cli_check.c  what must hold of the whole */
#ifndef LAUNCH_CLI_PRIV_H
#define LAUNCH_CLI_PRIV_H

#include "cli.h"
#include "keyval.h"
#include "numa.h"

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

struct cli {
    struct config *config;
    bool restoring; /* only options that a restored machine leaves open */
    struct cli_devices devices;
    struct numa_options numa;
    bool help;
};

/* `option` as it is shown to the user; `value` NULL: it takes none. A value that is not possible is logged with both. */
#define CLI_APPLY(name) enum sim_status cli_apply_##name(struct cli *cli, const char *option, const char *value)
CLI_APPLY(smp);
CLI_APPLY(memory);
CLI_APPLY(numa);
CLI_APPLY(accel);
CLI_APPLY(machine);
CLI_APPLY(threads);
CLI_APPLY(ranks);
CLI_APPLY(harts_per_rank);
CLI_APPLY(bind);
CLI_APPLY(rebalance);
CLI_APPLY(timeout);
CLI_APPLY(clock);
CLI_APPLY(checkpoint_every);
CLI_APPLY(keep);
CLI_APPLY(symbols);
CLI_APPLY(trace);
CLI_APPLY(plugin);
CLI_APPLY(serial);
CLI_APPLY(drive);
CLI_APPLY(netdev);
CLI_APPLY(nic);
CLI_APPLY(chardev);
CLI_APPLY(device);
CLI_APPLY(only_none);
CLI_APPLY(rtc);
CLI_APPLY(object);
CLI_APPLY(help);
CLI_APPLY(nothing);
#undef CLI_APPLY

/* What cannot be seen from one option alone; the first that is wrong is logged. */
enum sim_status cli_check_whole(const struct config *c) SIM_MUST_CHECK;
/* The same of a new machine, whose pieces are put together on the way. */
enum sim_status cli_complete(struct cli *cli) SIM_MUST_CHECK;

#endif
