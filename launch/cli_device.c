/* Options that name each other: -drive, -netdev, -nic, -chardev, and the -device that joins them.
 *
 * QEMU's rules: a -drive with if=virtio (also the default here) is a device of its own; with if=none
 * it waits for -device ...,drive=ID. A -netdev that no -device takes becomes a virtio-net-pci. */
#include "cli_priv.h"

#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

static enum sim_status too_many(const char *option, unsigned limit)
{
    sim_error("%s: at most %u of them", option, limit);
    return SIM_ERR_INVALID;
}

static char *dup_or_null(const char *s)
{
    return s ? sim_strdup(s) : NULL;
}

/* One of a NULL-terminated list of words, as its index; *out stays when value is NULL. */
static enum sim_status choose(const char *setting, const char *value, const char *const *words,
                              unsigned *out)
{
    if (!value)
        return SIM_OK;
    for (unsigned i = 0; words[i]; i++) {
        if (strcmp(value, words[i]) == 0) {
            *out = i;
            return SIM_OK;
        }
    }
    sim_error("%s: '%s' is not possible (%s%s%s%s%s)", setting, value, words[0],
              words[1] ? ", " : "", words[1] ? words[1] : "", words[1] && words[2] ? ", " : "",
              words[1] && words[2] ? words[2] : "");
    return SIM_ERR_INVALID;
}

/* --- drives --- */

static const char *const ignored_drive_keys[] = {
    "index", "cache", "aio", "discard", "detect-zeroes", "werror", "rerror", "media",
    "file.locking", "auto-read-only", "throttling", NULL};

static enum sim_status check_format(const char *format)
{
    if (!format || strcmp(format, "raw") == 0)
        return SIM_OK;
    sim_error("-drive format=: '%s' is not supported, only raw images are (qemu-img convert -O raw "
              "makes one)", format);
    return SIM_ERR_UNSUPPORTED;
}

static enum sim_status read_drive(struct keyvals *kv, struct config_drive *drive, bool *plugged,
                                  const char **id)
{
    static const char *const buses[] = {"pci", "mmio", NULL};
    static const char *const interfaces[] = {"virtio", "none", NULL};
    unsigned bus = 0, interface = 0;
    bool snapshot = false;
    const char *media = keyvals_take(kv, "media");

    drive->file = dup_or_null(keyvals_take(kv, "file"));
    drive->serial = dup_or_null(keyvals_take(kv, "serial"));
    *id = keyvals_take(kv, "id");
    if (!drive->file || !*drive->file)
        return option_reject("-drive", drive->file ? drive->file : "", "names no file (file=FILE)");
    SIM_TRY(check_format(keyvals_take(kv, "format")));
    drive->readonly = media && strcmp(media, "cdrom") == 0;
    SIM_TRY(keyvals_take_bool(kv, "readonly", &drive->readonly));
    SIM_TRY(keyvals_take_bool(kv, "read-only", &drive->readonly));
    SIM_TRY(keyvals_take_bool(kv, "snapshot", &snapshot));
    if (snapshot)
        return option_reject("-drive", "snapshot=on", "is not supported (make a copy of the image)");
    SIM_TRY(choose("-drive bus=", keyvals_take(kv, "bus"), buses, &bus));
    SIM_TRY(choose("-drive if=", keyvals_take(kv, "if"), interfaces, &interface));
    keyvals_ignore(kv, ignored_drive_keys);
    drive->bus = bus == 0 ? CONFIG_BUS_PCI : CONFIG_BUS_MMIO;
    *plugged = interface == 0;
    return keyvals_check(kv);
}

enum sim_status cli_add_drive(struct cli_devices *d, const char *text)
{
    struct keyvals kv;
    enum sim_status status;
    const char *id = NULL;

    if (d->nr_drives == CONFIG_MAX_DRIVES)
        return too_many("-drive", CONFIG_MAX_DRIVES);
    SIM_TRY(keyvals_parse("-drive", text, NULL, &kv));
    unsigned n = d->nr_drives++; /* counted at once: fini then frees a half-read one */
    status = read_drive(&kv, &d->drive[n].drive, &d->drive[n].plugged, &id);
    for (unsigned i = 0; status == SIM_OK && id && i < n; i++)
        if (d->drive[i].id && strcmp(d->drive[i].id, id) == 0)
            status = option_reject("-drive id=", id, "is used twice");
    d->drive[n].id = dup_or_null(id);
    keyvals_fini(&kv);
    return status;
}

/* --- nets --- */

/* QEMU's first default address and those after it. */
static void default_mac(unsigned n, uint8_t mac[6])
{
    const uint8_t base[6] = {0x52, 0x54, 0x00, 0x12, 0x34, (uint8_t)(0x56 + n)};

    memcpy(mac, base, sizeof base);
}

/* NULL: none is given, the default one stays. */
static enum sim_status take_mac(const char *option, const char *mac, struct config_net *n)
{
    n->mac_given = mac;
    return mac ? parse_mac(option, mac, n->mac) : SIM_OK;
}

/* What is left in kv after `type` is the back end's own. */
static enum sim_status add_net(struct cli_devices *d, struct keyvals *kv, const char *type,
                               const char *id)
{
    static const char *const types[] = {"user", "socket", "segment", "null", NULL};
    unsigned which;

    if (d->nr_nets == CONFIG_MAX_NETS)
        return too_many(kv->option, CONFIG_MAX_NETS);
    if (!type)
        return option_reject(kv->option, "", "names no back end (user, socket or segment)");
    SIM_TRY(choose(kv->option, type, types, &which));
    for (unsigned i = 0; id && i < d->nr_nets; i++)
        if (d->net[i].id && strcmp(d->net[i].id, id) == 0)
            return option_reject(kv->option, id, "is an id used twice");
    unsigned n = d->nr_nets++;
    char *rest = keyvals_rest(kv);
    d->net[n].id = dup_or_null(id);
    d->net[n].net.backend = *rest ? sim_asprintf("%s,%s", type, rest) : sim_strdup(type);
    default_mac(n, d->net[n].net.mac);
    sim_free(rest);
    return SIM_OK;
}

enum sim_status cli_add_netdev(struct cli_devices *d, const char *text)
{
    struct keyvals kv;
    enum sim_status status;

    SIM_TRY(keyvals_parse("-netdev", text, "type", &kv));
    const char *type = keyvals_take(&kv, "type");
    const char *id = keyvals_take(&kv, "id");
    status = id ? add_net(d, &kv, type, id) : option_reject("-netdev", text, "has no id=");
    keyvals_fini(&kv);
    return status;
}

static enum sim_status set_nic(struct cli_devices *d, const char *mac, const char *model)
{
    static const char *const models[] = {"virtio", "virtio-net-pci", "virtio-net-device", NULL};
    unsigned n = d->nr_nets - 1, which = 0;

    SIM_TRY(choose("-nic model=", model, models, &which));
    d->net[n].net.bus = which == 2 ? CONFIG_BUS_MMIO : CONFIG_BUS_PCI;
    return take_mac("-nic mac=", mac, &d->net[n].net);
}

enum sim_status cli_add_nic(struct cli_devices *d, const char *text)
{
    struct keyvals kv;
    enum sim_status status;

    SIM_TRY(keyvals_parse("-nic", text, "type", &kv));
    const char *type = keyvals_take(&kv, "type");
    const char *mac = keyvals_take(&kv, "mac"), *model = keyvals_take(&kv, "model");
    const char *id = keyvals_take(&kv, "id");
    if (type && strcmp(type, "none") == 0) {
        status = keyvals_check(&kv);
    } else {
        status = add_net(d, &kv, type, id);
        if (status == SIM_OK)
            status = set_nic(d, mac, model);
    }
    keyvals_fini(&kv);
    return status;
}

/* --- chardevs --- */

/* QEMU's -chardev words to the spec of chardev_create. */
static enum sim_status chardev_spec(struct keyvals *kv, const char *kind, char **spec)
{
    static const char *const kinds[] = {"stdio", "null", "file", "socket", NULL};
    unsigned which = 0;
    bool server = false, wait = true;
    const char *path = keyvals_take(kv, "path");

    if (!kind)
        return option_reject("-chardev", "", "names no kind (stdio, null, file, socket)");
    SIM_TRY(choose("-chardev", kind, kinds, &which));
    if (which == 0) {
        static const char *const ignored[] = {"mux", "signal", NULL};
        keyvals_ignore(kv, ignored);
    }
    if (which >= 2 && !path)
        return option_reject("-chardev", kind, "needs path=");
    if (which == 3) {
        SIM_TRY(keyvals_take_bool(kv, "server", &server));
        SIM_TRY(keyvals_take_bool(kv, "wait", &wait));
    }
    SIM_TRY(keyvals_check(kv));
    if (which == 2)
        *spec = sim_asprintf("file:%s", path);
    else if (which == 3)
        *spec = sim_asprintf("unix:%s%s%s", path, server ? ",server=on" : "",
                             server && !wait ? ",wait=off" : "");
    else
        *spec = sim_strdup(kind);
    return SIM_OK;
}

enum sim_status cli_add_chardev(struct cli_devices *d, const char *text)
{
    struct keyvals kv;
    enum sim_status status = SIM_OK;

    if (d->nr_chardevs == CLI_MAX_CHARDEVS)
        return too_many("-chardev", CLI_MAX_CHARDEVS);
    SIM_TRY(keyvals_parse("-chardev", text, "kind", &kv));
    const char *kind = keyvals_take(&kv, "kind"), *id = keyvals_take(&kv, "id");
    if (!id)
        status = option_reject("-chardev", text, "has no id=");
    for (unsigned i = 0; status == SIM_OK && i < d->nr_chardevs; i++)
        if (strcmp(d->chardev[i].id, id) == 0)
            status = option_reject("-chardev id=", id, "is used twice");
    char *spec = NULL;
    if (status == SIM_OK)
        status = chardev_spec(&kv, kind, &spec);
    if (status == SIM_OK) {
        d->chardev[d->nr_chardevs].id = sim_strdup(id);
        d->chardev[d->nr_chardevs++].spec = spec;
    }
    keyvals_fini(&kv);
    return status;
}

static const char *find_chardev(const struct cli_devices *d, const char *id)
{
    for (unsigned i = 0; i < d->nr_chardevs; i++)
        if (strcmp(d->chardev[i].id, id) == 0)
            return d->chardev[i].spec;
    return NULL;
}

/* --- devices --- */

/* Settings of QEMU's virtio devices that a guest here cannot tell from their defaults. */
static const char *const ignored_device_keys[] = {
    "id", "bus", "addr", "bootindex", "romfile", "disable-legacy", "disable-modern", "num-queues",
    "config-wce", "write-cache", "iommu_platform", "packed", "mq", "vectors", "rng", "max-bytes",
    "period", "max_ports", "name", "nr", "scsi", "physical_block_size", "logical_block_size",
    "host_mtu", "event_idx", "queue-size", NULL};

static enum sim_status take_eventfd(struct keyvals *kv, enum config_eventfd *out)
{
    unsigned which = *out;

    SIM_TRY(choose("-device ioeventfd=", keyvals_take(kv, "ioeventfd"), config_eventfd_words, &which));
    *out = which;
    return SIM_OK;
}

static enum sim_status plug_blk(struct cli_devices *d, struct config *c, struct keyvals *kv,
                                enum config_bus bus)
{
    const char *id = keyvals_take(kv, "drive"), *serial = keyvals_take(kv, "serial");

    (void)c;
    if (!id)
        return option_reject("-device", kv->item[0].value, "needs drive=ID");
    for (unsigned i = 0; i < d->nr_drives; i++) {
        if (!d->drive[i].id || strcmp(d->drive[i].id, id) != 0)
            continue;
        if (d->drive[i].plugged)
            return option_reject("-device drive=", id,
                                 "is already a device (its -drive needs if=none)");
        d->drive[i].plugged = true;
        d->drive[i].drive.bus = bus;
        if (serial)
            config_set_string(&d->drive[i].drive.serial, serial);
        return take_eventfd(kv, &d->drive[i].drive.eventfd);
    }
    return option_reject("-device drive=", id, "is no -drive's id");
}

/* The net goes into the configuration here, so that NICs have the order of their -device. */
static enum sim_status plug_net(struct cli_devices *d, struct config *c, struct keyvals *kv,
                                enum config_bus bus)
{
    const char *id = keyvals_take(kv, "netdev"), *mac = keyvals_take(kv, "mac");

    if (!id)
        return option_reject("-device", kv->item[0].value, "needs netdev=ID");
    for (unsigned i = 0; i < d->nr_nets; i++) {
        if (!d->net[i].id || strcmp(d->net[i].id, id) != 0)
            continue;
        if (!d->net[i].net.backend)
            return option_reject("-device netdev=", id, "is used twice");
        SIM_TRY(take_mac("-device mac=", mac, &d->net[i].net));
        SIM_TRY(take_eventfd(kv, &d->net[i].net.eventfd));
        d->net[i].net.bus = bus;
        c->net[c->nr_nets++] = d->net[i].net;
        d->net[i].net.backend = NULL; /* moved */
        return SIM_OK;
    }
    return option_reject("-device netdev=", id, "is no -netdev's id");
}

static enum sim_status plug_rng(struct cli_devices *d, struct config *c, struct keyvals *kv,
                                enum config_bus bus)
{
    (void)d;
    if (c->rng)
        return option_reject("-device", kv->item[0].value, "is there already (one is enough)");
    c->rng = true;
    c->rng_bus = bus;
    return take_eventfd(kv, &c->rng_eventfd);
}

static enum sim_status plug_serial_bus(struct cli_devices *d, struct config *c, struct keyvals *kv,
                                       enum config_bus bus)
{
    (void)d;
    static const char *const ignored[] = {"ioeventfd", NULL};

    (void)c;
    keyvals_ignore(kv, ignored);
    (void)bus; /* virtconsole makes the device */
    return SIM_OK;
}

static enum sim_status plug_console(struct cli_devices *d, struct config *c, struct keyvals *kv,
                                    enum config_bus bus)
{
    const char *id = keyvals_take(kv, "chardev");
    const char *spec = id ? find_chardev(d, id) : NULL;

    (void)bus;
    if (!spec)
        return option_reject("-device virtconsole,chardev=", id ? id : "", "is no -chardev's id");
    if (c->virtconsole)
        return option_reject("-device", "virtconsole", "is there already (one is possible)");
    config_set_string(&c->virtconsole, spec);
    return SIM_OK;
}

static const struct {
    const char *name;
    enum sim_status (*plug)(struct cli_devices *, struct config *, struct keyvals *,
                            enum config_bus);
    enum config_bus bus;
} device_kinds[] = {
    {"virtio-blk-pci", plug_blk, CONFIG_BUS_PCI},
    {"virtio-blk-device", plug_blk, CONFIG_BUS_MMIO},
    {"virtio-blk", plug_blk, CONFIG_BUS_PCI},
    {"virtio-net-pci", plug_net, CONFIG_BUS_PCI},
    {"virtio-net-device", plug_net, CONFIG_BUS_MMIO},
    {"virtio-net", plug_net, CONFIG_BUS_PCI},
    {"virtio-rng-pci", plug_rng, CONFIG_BUS_PCI},
    {"virtio-rng-device", plug_rng, CONFIG_BUS_MMIO},
    {"virtio-rng", plug_rng, CONFIG_BUS_PCI},
    {"virtio-serial-pci", plug_serial_bus, CONFIG_BUS_PCI},
    {"virtio-serial-device", plug_serial_bus, CONFIG_BUS_MMIO},
    {"virtio-serial", plug_serial_bus, CONFIG_BUS_PCI},
    {"virtconsole", plug_console, CONFIG_BUS_PCI},
};

static const char *device_name(unsigned i)
{
    return i < SIM_ARRAY_LEN(device_kinds) ? device_kinds[i].name : NULL;
}

enum sim_status cli_add_device(struct cli_devices *d, const char *text)
{
    if (d->nr_devices == SIM_ARRAY_LEN(d->device))
        return too_many("-device", SIM_ARRAY_LEN(d->device));
    SIM_TRY(keyvals_parse("-device", text, "driver", &d->device[d->nr_devices]));
    d->nr_devices++;
    return SIM_OK;
}

static enum sim_status plug(struct cli_devices *d, struct config *c, struct keyvals *kv)
{
    const char *driver = keyvals_take(kv, "driver");
    const char *near;

    if (!driver)
        return option_reject("-device", kv->item[0].key, "is a setting where a device name belongs");
    for (size_t i = 0; i < SIM_ARRAY_LEN(device_kinds); i++) {
        if (strcmp(driver, device_kinds[i].name) == 0) {
            SIM_TRY(device_kinds[i].plug(d, c, kv, device_kinds[i].bus));
            keyvals_ignore(kv, ignored_device_keys);
            return keyvals_check(kv);
        }
    }
    near = nearest_word(driver, device_name);
    sim_error("-device: there is no device '%s'%s%s%s", driver, near ? ": did you mean '" : "",
              near ? near : "", near ? "'?" : "");
    return SIM_ERR_INVALID;
}

/* --- joining --- */

static void move_drives(struct cli_devices *d, struct config *c)
{
    for (unsigned i = 0; i < d->nr_drives; i++) {
        if (!d->drive[i].plugged) {
            sim_warn("-drive file=%s: if=none and no -device has it: the guest will not see it",
                     d->drive[i].drive.file);
            continue;
        }
        c->drive[c->nr_drives++] = d->drive[i].drive;
        d->drive[i].drive = (struct config_drive){0};
    }
}

static void move_nets(struct cli_devices *d, struct config *c)
{
    for (unsigned i = 0; i < d->nr_nets; i++) {
        if (!d->net[i].net.backend)
            continue;
        c->net[c->nr_nets++] = d->net[i].net;
        d->net[i].net.backend = NULL;
    }
}

static enum sim_status resolve_serials(struct cli_devices *d, struct config *c)
{
    static const char prefix[] = "chardev:";

    for (unsigned i = 0; i < c->nr_serials; i++) {
        if (strncmp(c->serial[i], prefix, sizeof prefix - 1) != 0)
            continue;
        const char *spec = find_chardev(d, c->serial[i] + sizeof prefix - 1);
        if (!spec)
            return option_reject("-serial", c->serial[i], "is no -chardev's id");
        config_set_string(&c->serial[i], spec);
    }
    return SIM_OK;
}

enum sim_status cli_devices_resolve(struct cli_devices *d, struct config *c)
{
    for (unsigned i = 0; i < d->nr_devices; i++)
        SIM_TRY(plug(d, c, &d->device[i]));
    SIM_TRY(resolve_serials(d, c));
    move_drives(d, c);
    move_nets(d, c);
    return SIM_OK;
}

void cli_devices_fini(struct cli_devices *d)
{
    for (unsigned i = 0; i < d->nr_drives; i++) {
        sim_free(d->drive[i].id);
        sim_free(d->drive[i].drive.file);
        sim_free(d->drive[i].drive.serial);
    }
    for (unsigned i = 0; i < d->nr_nets; i++) {
        sim_free(d->net[i].id);
        sim_free(d->net[i].net.backend);
    }
    for (unsigned i = 0; i < d->nr_chardevs; i++) {
        sim_free(d->chardev[i].id);
        sim_free(d->chardev[i].spec);
    }
    for (unsigned i = 0; i < d->nr_devices; i++)
        keyvals_fini(&d->device[i]);
}
