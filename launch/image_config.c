/* struct config to JSON and back, by tables. */
#include "image_config.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keyval.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum kind { U32, U64, FLAG, TEXT, FILE_NAME, BIOS, BUS, EVENTFD, MAC };

struct field {
    const char *name;
    enum kind kind;
    size_t offset;
};

#define FIELD(stype, name, kind, member) {name, kind, offsetof(struct stype, member)}
#define END {NULL, U32, 0}

static const struct field machine_fields[] = {
    FIELD(config, "smp", U32, smp),           FIELD(config, "memory", U64, memory),
    FIELD(config, "cpu", TEXT, cpu),          FIELD(config, "kernel", FILE_NAME, kernel),
    FIELD(config, "initrd", FILE_NAME, initrd), FIELD(config, "append", TEXT, append),
    FIELD(config, "bios", BIOS, bios),        FIELD(config, "dtb", FILE_NAME, dtb),
    FIELD(config, "demo", FLAG, demo),        FIELD(config, "virtconsole", TEXT, virtconsole),
    FIELD(config, "rng", FLAG, rng),          FIELD(config, "rng_bus", BUS, rng_bus),
    FIELD(config, "x86", FLAG, x86),          FIELD(config, "own_apics", FLAG, own_apics),
    FIELD(config, "jit", FLAG, jit),          FIELD(config, "virtual_clock", FLAG, virtual_clock),
    FIELD(config, "threads", U32, threads),   FIELD(config, "no_reboot", FLAG, no_reboot),
    FIELD(config, "builtin_sbi", FLAG, tree.builtin_sbi), FIELD(config, "rng_ioeventfd", EVENTFD, rng_eventfd),
    END};
static const struct field drive_fields[] = {FIELD(config_drive, "file", FILE_NAME, file),
                                            FIELD(config_drive, "serial", TEXT, serial),
                                            FIELD(config_drive, "readonly", FLAG, readonly),
                                            FIELD(config_drive, "bus", BUS, bus),
                                            FIELD(config_drive, "ioeventfd", EVENTFD, eventfd),
                                            END};
static const struct field net_fields[] = {FIELD(config_net, "backend", TEXT, backend),
                                          FIELD(config_net, "mac", MAC, mac),
                                          FIELD(config_net, "bus", BUS, bus),
                                          FIELD(config_net, "ioeventfd", EVENTFD, eventfd),
                                          END};

/* --- to JSON --- */

static json_t *file_json(const char *file)
{
    char here[4096];

    if (file[0] == '/' || !getcwd(here, sizeof here))
        return json_string(file);
    return json_sprintf("%s/%s", here, file);
}

static bool is_bios_word(const char *bios)
{
    return strcmp(bios, "none") == 0 || strcmp(bios, "default") == 0;
}

static json_t *string_json(enum kind kind, const char *value)
{
    if (!value)
        return NULL;
    if (kind == FILE_NAME || (kind == BIOS && !is_bios_word(value)))
        return file_json(value);
    return json_string(value);
}

static json_t *field_json(const struct field *f, const void *object)
{
    const char *p = (const char *)object + f->offset;
    const uint8_t *mac = (const uint8_t *)p;

    switch (f->kind) {
    case U32: return json_integer(*(const uint32_t *)p);
    case U64: return json_integer((json_int_t) * (const uint64_t *)p);
    case FLAG: return json_boolean(*(const bool *)p);
    case BUS: return json_string(*(const enum config_bus *)p == CONFIG_BUS_PCI ? "pci" : "mmio");
    case EVENTFD: return json_string(config_eventfd_words[*(const enum config_eventfd *)p]);
    case MAC: return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                                  mac[4], mac[5]);
    default: return string_json(f->kind, *(char *const *)p);
    }
}

static json_t *object_json(const struct field *fields, const void *object)
{
    json_t *json = json_object();

    for (const struct field *f = fields; f->name; f++) {
        json_t *value = field_json(f, object);
        if (value)
            json_object_set_new(json, f->name, value);
    }
    return json;
}

char *image_config_format(const struct config *c)
{
    json_t *root = object_json(machine_fields, c);
    json_t *drives = json_array(), *nets = json_array(), *serials = json_array();

    for (unsigned i = 0; i < c->nr_drives; i++)
        json_array_append_new(drives, object_json(drive_fields, &c->drive[i]));
    for (unsigned i = 0; i < c->nr_nets; i++)
        json_array_append_new(nets, object_json(net_fields, &c->net[i]));
    for (unsigned i = 0; i < c->nr_serials; i++)
        json_array_append_new(serials, json_string(c->serial[i]));
    json_object_set_new(root, "drives", drives);
    json_object_set_new(root, "nets", nets);
    json_object_set_new(root, "serial", serials);
    size_t len = json_dumpb(root, NULL, 0, 0);
    char *text = sim_zalloc(len + 1);
    json_dumpb(root, text, len, 0);
    json_decref(root);
    return text;
}

/* --- from JSON --- */

struct reader {
    const char *path;
};

static enum sim_status refuse(const struct reader *r, const char *name)
{
    sim_error("image '%s': its machine's '%s' is malformed", r->path, name);
    return SIM_ERR_FORMAT;
}

static bool get_number(const json_t *value, uint64_t max, uint64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        (uint64_t)json_integer_value(value) > max)
        return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool get_bus(const char *text, enum config_bus *out)
{
    if (!text || (strcmp(text, "pci") != 0 && strcmp(text, "mmio") != 0))
        return false;
    *out = strcmp(text, "pci") == 0 ? CONFIG_BUS_PCI : CONFIG_BUS_MMIO;
    return true;
}

static bool get_eventfd(const char *text, enum config_eventfd *out)
{
    for (unsigned i = 0; text && config_eventfd_words[i]; i++)
        if (strcmp(text, config_eventfd_words[i]) == 0) {
            *out = i;
            return true;
        }
    return false;
}

static bool get_field(const struct field *f, const json_t *value, void *object)
{
    char *p = (char *)object + f->offset;
    const char *text = json_string_value(value);
    uint64_t number = 0;

    switch (f->kind) {
    case U32:
        if (!get_number(value, UINT32_MAX, &number))
            return false;
        *(uint32_t *)p = (uint32_t)number;
        return true;
    case U64:
        return get_number(value, INT64_MAX, (uint64_t *)p);
    case FLAG:
        *(bool *)p = json_is_true(value);
        return json_is_boolean(value);
    case BUS:
        return get_bus(text, (enum config_bus *)p);
    case EVENTFD:
        return get_eventfd(text, (enum config_eventfd *)p);
    case MAC:
        return text && parse_mac("mac", text, (uint8_t *)p) == SIM_OK;
    default:
        if (!text)
            return false;
        config_set_string((char **)p, text);
        return true;
    }
}

/* Members that the program does not know are ignored: they cannot matter to what it knows. */
static enum sim_status get_object(const struct reader *r, const struct field *fields,
                                  const json_t *json, void *object)
{
    for (const struct field *f = fields; f->name; f++) {
        const json_t *value = json_object_get(json, f->name);
        if (value && !get_field(f, value, object))
            return refuse(r, f->name);
    }
    return SIM_OK;
}

static enum sim_status get_drives(const struct reader *r, const json_t *list, struct config *c)
{
    if (json_array_size(list) > CONFIG_MAX_DRIVES)
        return refuse(r, "drives");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct config_drive *d = &c->drive[c->nr_drives++];
        SIM_TRY(get_object(r, drive_fields, json_array_get(list, i), d));
        if (!d->file)
            return refuse(r, "drives");
    }
    return SIM_OK;
}

static enum sim_status get_nets(const struct reader *r, const json_t *list, struct config *c)
{
    if (json_array_size(list) > CONFIG_MAX_NETS)
        return refuse(r, "nets");
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct config_net *n = &c->net[c->nr_nets++];
        SIM_TRY(get_object(r, net_fields, json_array_get(list, i), n));
        if (!n->backend)
            return refuse(r, "nets");
    }
    return SIM_OK;
}

static enum sim_status get_serials(const struct reader *r, const json_t *list, struct config *c)
{
    if (json_array_size(list) > CONFIG_MAX_SERIALS)
        return refuse(r, "serial");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text)
            return refuse(r, "serial");
        c->serial[c->nr_serials++] = sim_strdup(text);
    }
    return SIM_OK;
}

static enum sim_status get_all(const struct reader *r, const json_t *root, struct config *c)
{
    SIM_TRY(get_object(r, machine_fields, root, c));
    SIM_TRY(get_drives(r, json_object_get(root, "drives"), c));
    SIM_TRY(get_nets(r, json_object_get(root, "nets"), c));
    SIM_TRY(get_serials(r, json_object_get(root, "serial"), c));
    if (c->smp < 1 || c->smp > CONFIG_MAX_HARTS)
        return refuse(r, "smp");
    return c->threads <= CONFIG_MAX_THREADS ? SIM_OK : refuse(r, "threads");
}

enum sim_status image_config_parse(const char *text, const char *path, struct config *c)
{
    const struct reader r = {path};
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    config_init(c);
    enum sim_status status = json_is_object(root) ? get_all(&r, root, c) : refuse(&r, "object");
    json_decref(root);
    if (status != SIM_OK)
        config_fini(c);
    return status;
}
