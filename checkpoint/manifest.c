/* Manifests: JSON with a checksum line at its end.
 *
 *   { ...members..., <newline>"xxh3": "0123456789abcdef"}<newline>
 *
 * The checksum covers every byte before its line, so the line has a fixed form and length. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint/store.h"
#include "file_io.h"
#include "format.h"
#include "manifest.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { TAIL_BYTES = sizeof "\"xxh3\": \"0123456789abcdef\"}\n" - 1, MAX_PARTS = 1 << 20 };

void ckpt_id_format(const uint8_t id[CKPT_ID_BYTES], char *text)
{
    for (unsigned i = 0; i < CKPT_ID_BYTES; i++)
        sprintf(text + 2 * i, "%02x", id[i]);
}

static bool id_parse(const char *text, uint8_t id[CKPT_ID_BYTES])
{
    if (!text || strlen(text) != 2 * CKPT_ID_BYTES ||
        strspn(text, "0123456789abcdef") != 2 * CKPT_ID_BYTES)
        return false;
    for (unsigned i = 0; i < CKPT_ID_BYTES; i++)
        sscanf(text + 2 * i, "%2hhx", &id[i]);
    return true;
}

/* The JSON text of a value in memory of ours. */
static char *to_text(const json_t *value, size_t flags, size_t *len)
{
    *len = json_dumpb(value, NULL, 0, flags);
    char *text = sim_zalloc(*len + 1);

    json_dumpb(value, text, *len, flags);
    return text;
}

/* --- writing --- */

static json_t *id_json(const uint8_t id[CKPT_ID_BYTES])
{
    char text[2 * CKPT_ID_BYTES + 1];

    ckpt_id_format(id, text);
    return json_string(text);
}

static json_t *hash_json(uint64_t hash)
{
    return json_sprintf("%016" PRIx64, hash);
}

static json_t *part_json(const struct ckpt_part *p)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I}", "part", (json_int_t)p->part,
                     "data_bytes", (json_int_t)p->data_bytes, "index_bytes",
                     (json_int_t)p->index_bytes, "index_xxh3", hash_json(p->index_xxh3), "sections",
                     (json_int_t)p->nr_sections, "blocks", (json_int_t)p->nr_blocks, "zero_blocks",
                     (json_int_t)p->nr_zero, "equal_blocks", (json_int_t)p->nr_equal);
}

static json_t *body_json(const struct ckpt_manifest *m)
{
    json_t *root = json_pack("{s:s, s:i, s:o, s:I}", "format", "partita-image", "version",
                             FORMAT_VERSION, "id", id_json(m->self.id), "created",
                             (json_int_t)m->created);
    json_t *parts = json_array();

    if (m->incremental)
        json_object_set_new(root, "parent",
                            json_pack("{s:s, s:o}", "name", m->parent.name, "id",
                                      id_json(m->parent.id)));
    json_object_set_new(root, "guest",
                        json_pack("{s:I, s:I, s:I}", "instructions", (json_int_t)m->guest_insns,
                                  "time_ns", (json_int_t)m->guest_ns, "harts",
                                  (json_int_t)m->nr_harts));
    json_object_set_new(root, "machine", json_loads(m->machine, 0, NULL));
    for (uint32_t i = 0; i < m->nr_parts; i++)
        json_array_append_new(parts, part_json(&m->part[i]));
    json_object_set_new(root, "parts", parts);
    return root;
}

char *manifest_format(const struct ckpt_manifest *m, size_t *len)
{
    json_t *root = body_json(m);
    size_t body;
    char *text = to_text(root, JSON_INDENT(1) | JSON_ENSURE_ASCII, &body);

    json_decref(root);
    SIM_BUG_ON(body < 2, "a manifest cannot be written as JSON");
    body -= strlen("\n}"); /* the end of the object comes later */
    char *out = sim_zalloc(body + 2 + TAIL_BYTES + 1);
    memcpy(out, text, body);
    sim_free(text);
    memcpy(out + body, ",\n", 2);
    sprintf(out + body + 2, "\"xxh3\": \"%016" PRIx64 "\"}\n", file_hash(out, body + 2));
    *len = body + 2 + TAIL_BYTES;
    return out;
}

/* --- reading --- */

struct reader {
    const char *path;
    const json_t *root;
};

static enum sim_status refuse(const char *path, const char *why)
{
    sim_error("image file '%s': %s", path, why);
    return SIM_ERR_FORMAT;
}

static enum sim_status check_hash(const char *text, size_t len, const char *path)
{
    char want[TAIL_BYTES + 1];

    if (len < TAIL_BYTES)
        return refuse(path, "truncated");
    size_t body = len - TAIL_BYTES;
    sprintf(want, "\"xxh3\": \"%016" PRIx64 "\"}\n", file_hash(text, body));
    if (memcmp(text + body, want, TAIL_BYTES) != 0)
        return refuse(path, "its checksum is wrong: the manifest is damaged or truncated");
    return SIM_OK;
}

/* A whole number that is not negative. */
static bool get_u64(const json_t *object, const char *key, uint64_t *out)
{
    const json_t *v = json_object_get(object, key);

    if (!json_is_integer(v) || json_integer_value(v) < 0)
        return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static bool get_hash(const json_t *object, const char *key, uint64_t *out)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        return false;
    return sscanf(text, "%16" SCNx64, out) == 1;
}

static bool get_ref(const json_t *object, struct ckpt_ref *out)
{
    const char *name = json_string_value(json_object_get(object, "name"));

    if (!name || !manifest_is_image_name(name))
        return false;
    strcpy(out->name, name);
    return id_parse(json_string_value(json_object_get(object, "id")), out->id);
}

static bool get_part(const json_t *object, struct ckpt_part *out)
{
    uint64_t part = 0, sections = 0;
    bool good = get_u64(object, "part", &part) && part < MAX_PARTS &&
                get_u64(object, "data_bytes", &out->data_bytes) &&
                get_u64(object, "index_bytes", &out->index_bytes) &&
                get_hash(object, "index_xxh3", &out->index_xxh3);

    out->part = (uint32_t)part;
    if (get_u64(object, "sections", &sections))
        out->nr_sections = (uint32_t)sections;
    (void)get_u64(object, "blocks", &out->nr_blocks);
    (void)get_u64(object, "zero_blocks", &out->nr_zero);
    (void)get_u64(object, "equal_blocks", &out->nr_equal);
    out->guest_bytes = out->nr_blocks * FORMAT_BLOCK;
    return good;
}

static enum sim_status get_parts(const struct reader *r, struct ckpt_manifest *m)
{
    const json_t *parts = json_object_get(r->root, "parts");
    size_t nr = json_array_size(parts);

    if (!nr || nr > MAX_PARTS)
        return refuse(r->path, "'parts' is missing or empty");
    m->part = sim_new_array(struct ckpt_part, nr);
    m->nr_parts = (uint32_t)nr;
    for (size_t i = 0; i < nr; i++)
        if (!get_part(json_array_get(parts, i), &m->part[i]))
            return refuse(r->path, "an entry of 'parts' is malformed");
    return SIM_OK;
}

static void get_guest(const struct reader *r, struct ckpt_manifest *m)
{
    const json_t *guest = json_object_get(r->root, "guest");
    uint64_t harts = 0;

    (void)get_u64(guest, "instructions", &m->guest_insns);
    (void)get_u64(guest, "time_ns", &m->guest_ns);
    (void)get_u64(guest, "harts", &harts);
    m->nr_harts = (uint32_t)harts;
}

static enum sim_status get_machine(const struct reader *r, struct ckpt_manifest *m)
{
    const json_t *machine = json_object_get(r->root, "machine");

    if (!json_is_object(machine))
        return refuse(r->path, "'machine' is missing");
    size_t len;
    m->machine = to_text(machine, JSON_COMPACT, &len);
    return SIM_OK;
}

static enum sim_status get_all(const struct reader *r, struct ckpt_manifest *m)
{
    const char *format = json_string_value(json_object_get(r->root, "format"));
    const json_t *parent = json_object_get(r->root, "parent");
    uint64_t version = 0;

    if (!format || strcmp(format, "partita-image") != 0 || !get_u64(r->root, "version", &version))
        return refuse(r->path, "this is not the manifest of an image");
    if (version > FORMAT_VERSION)
        return refuse(r->path, "written by a newer program");
    if (!id_parse(json_string_value(json_object_get(r->root, "id")), m->self.id))
        return refuse(r->path, "'id' is malformed");
    m->incremental = parent != NULL;
    if (parent && !get_ref(parent, &m->parent))
        return refuse(r->path, "'parent' is malformed");
    m->created = json_integer_value(json_object_get(r->root, "created"));
    get_guest(r, m);
    SIM_TRY(get_machine(r, m));
    return get_parts(r, m);
}

enum sim_status ckpt_manifest_parse(const char *text, size_t len, const char *path,
                                    struct ckpt_manifest *out)
{
    struct ckpt_manifest m = {0};
    json_error_t error;

    SIM_TRY(check_hash(text, len, path));
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        sim_error("image file '%s': offset %d: %s", path, error.position, error.text);
        return SIM_ERR_FORMAT;
    }
    const struct reader r = {path, root};
    enum sim_status status = json_is_object(root) ? get_all(&r, &m) : refuse(path, "not an object");
    json_decref(root);
    if (status != SIM_OK) {
        ckpt_manifest_fini(&m);
        return status;
    }
    *out = m;
    return SIM_OK;
}

void ckpt_manifest_fini(struct ckpt_manifest *m)
{
    sim_free(m->machine);
    sim_free(m->part);
    *m = (struct ckpt_manifest){0};
}
