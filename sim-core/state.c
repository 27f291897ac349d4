/* Walks state tables to and from bytes.
 *
 * Section: name (u16 length + bytes), version u32, body length u32, then per field: name (u16
 * length + bytes), body length u32, elements. Nested structs are sections. All little-endian. */
#include "sim-core/state.h"

#include <string.h>

#include "sim-core/alloc.h"
#include "sim-core/log.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "state sections are little-endian");

struct reader {
    const uint8_t *p, *end;
    const char *section;
};

void state_buf_put(struct state_buf *b, const void *data, size_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2 + 256;
        b->data = sim_realloc(b->data, b->cap);
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void put_name(struct state_buf *b, const char *name)
{
    uint16_t len = (uint16_t)strlen(name);

    state_buf_put(b, &len, sizeof len);
    state_buf_put(b, name, len);
}

/* Leaves room for a length that is patched when the body is complete. */
static size_t put_length_hole(struct state_buf *b)
{
    uint32_t hole = 0;

    state_buf_put(b, &hole, sizeof hole);
    return b->len;
}

static void patch_length(struct state_buf *b, size_t body)
{
    uint32_t len = (uint32_t)(b->len - body);

    memcpy(b->data + body - sizeof len, &len, sizeof len);
}

void state_buf_fini(struct state_buf *buf)
{
    sim_free(buf->data);
    *buf = (struct state_buf){0};
}

static size_t stride(const struct state_field *f)
{
    return f->stride ? f->stride : f->type;
}

/* The elements of a field: in the object, or behind a pointer in it. */
static char *elements(const struct state_field *f, void *object, uint32_t *count)
{
    char *p = (char *)object + f->offset;

    *count = f->count;
    if (f->nr_at) {
        memcpy(count, (char *)object + f->nr_at, sizeof *count);
        memcpy(&p, (const void *)p, sizeof p);
    }
    return p;
}

/* The table and address of an element that is a section of its own; false for scalars and empty
 * slots. */
static bool as_section(const struct state_field *f, char *p, struct state_object *out)
{
    if (f->type == STATE_STRUCT)
        *out = (struct state_object){f->sub, p};
    else if (f->type == STATE_OBJECT)
        memcpy(out, p, sizeof *out);
    else
        return false;
    return out->desc;
}

void state_save(const struct state_desc *desc, void *object, struct state_buf *buf)
{
    if (desc->pre_save)
        desc->pre_save(object);
    put_name(buf, desc->name);
    state_buf_put(buf, &desc->version, sizeof desc->version);
    size_t body = put_length_hole(buf);

    for (const struct state_field *f = desc->fields; f->name; f++) {
        put_name(buf, f->name);
        size_t field = put_length_hole(buf);
        uint32_t count;
        char *first = elements(f, object, &count);
        for (uint32_t i = 0; i < count; i++) {
            char *p = first + i * stride(f);
            struct state_object section;
            if (as_section(f, p, &section))
                state_save(section.desc, section.object, buf);
            else if (f->type != STATE_OBJECT)
                state_buf_put(buf, p, f->type);
        }
        patch_length(buf, field);
    }
    patch_length(buf, body);
}

static bool get(struct reader *r, void *out, size_t len)
{
    if ((size_t)(r->end - r->p) < len)
        return false;
    memcpy(out, r->p, len);
    r->p += len;
    return true;
}

static bool get_name(struct reader *r, char name[128])
{
    uint16_t len;

    if (!get(r, &len, sizeof len) || len >= 128 || !get(r, name, len))
        return false;
    name[len] = 0;
    return true;
}

static enum sim_status malformed(const struct state_desc *desc, const char *what)
{
    sim_error("saved state: section '%s': %s", desc->name, what);
    return SIM_ERR_FORMAT;
}

static const struct state_field *find_field(const struct state_desc *desc, const char *name)
{
    for (const struct state_field *f = desc->fields; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

static enum sim_status load_field(const struct state_desc *desc, const struct state_field *f,
                                  void *object, struct reader *r)
{
    uint32_t count;
    char *first = elements(f, object, &count);

    for (uint32_t i = 0; i < count; i++) {
        char *p = first + i * stride(f);
        struct state_object section;
        if (as_section(f, p, &section)) {
            size_t used;
            SIM_TRY(state_load(section.desc, section.object, r->p, (size_t)(r->end - r->p), &used));
            r->p += used;
        } else if (f->type != STATE_OBJECT && !get(r, p, f->type)) {
            sim_error("saved state: section '%s': field '%s' is too short", desc->name, f->name);
            return SIM_ERR_FORMAT;
        }
    }
    if (r->p != r->end) {
        sim_error("saved state: section '%s': field '%s' is too long", desc->name, f->name);
        return SIM_ERR_FORMAT;
    }
    return SIM_OK;
}

enum sim_status state_load(const struct state_desc *desc, void *object, const uint8_t *data,
                           size_t len, size_t *used)
{
    struct reader r = {data, data + len, desc->name};
    char name[128];
    uint32_t version, body;

    if (!get_name(&r, name) || strcmp(name, desc->name) != 0)
        return malformed(desc, "another section stands in its place");
    if (!get(&r, &version, sizeof version) || !get(&r, &body, sizeof body) ||
        (size_t)(r.end - r.p) < body)
        return malformed(desc, "truncated");
    if (version > desc->version)
        return malformed(desc, "written by a newer program");
    r.end = r.p + body;
    while (r.p < r.end) {
        uint32_t flen;
        if (!get_name(&r, name) || !get(&r, &flen, sizeof flen) || (size_t)(r.end - r.p) < flen)
            return malformed(desc, "truncated field");
        const struct state_field *f = find_field(desc, name);
        if (!f) {
            sim_error("saved state: section '%s': unknown field '%s'", desc->name, name);
            return SIM_ERR_FORMAT;
        }
        struct reader fr = {r.p, r.p + flen, desc->name};
        SIM_TRY(load_field(desc, f, object, &fr));
        r.p += flen;
    }
    *used = (size_t)(r.p - data);
    return desc->post_load ? desc->post_load(object) : SIM_OK;
}

/* --- coverage --- */

/* Bytes that are nobody's stay 1. */
static void mark(uint8_t *map, uint32_t size, uint32_t offset, uint64_t len)
{
    for (uint64_t i = offset; i < offset + len && i < size; i++)
        map[i] = 0;
}

static void mark_field(const struct state_desc *desc, const struct state_field *f, uint8_t *map)
{
    if (f->nr_at) {
        mark(map, desc->size, f->offset, sizeof(void *));
        mark(map, desc->size, f->nr_at, sizeof(uint32_t));
        return;
    }
    mark(map, desc->size, f->offset, (uint64_t)f->count * stride(f));
}

/* Padding is what a compiler that knows the type clears. */
static void mark_padding(const struct state_desc *desc, uint8_t *map)
{
    uint8_t *object = sim_zalloc_aligned(64, sim_align_up(desc->size, 64));

    memset(object, 0xff, desc->size);
    desc->clear_padding(object);
    for (uint32_t i = 0; i < desc->size; i++)
        if (!object[i])
            map[i] = 0;
    sim_free(object);
}

bool state_uncovered(const struct state_desc *desc, uint32_t *offset, uint32_t *size)
{
    uint32_t from = *offset;

    if (!desc->clear_padding) {
        *offset = *size = 0;
        return true;
    }
    uint8_t *map = sim_zalloc(desc->size + 1u);
    memset(map, 1, desc->size); /* and a 0 behind the end */
    for (const struct state_field *f = desc->fields; f->name; f++)
        mark_field(desc, f, map);
    for (const struct state_derived *d = desc->derived; d->name; d++)
        mark(map, desc->size, d->offset, d->size);
    mark_padding(desc, map);
    while (from < desc->size && !map[from])
        from++;
    for (*offset = from, *size = 0; map[*offset + *size];)
        ++*size;
    sim_free(map);
    return *size != 0;
}
