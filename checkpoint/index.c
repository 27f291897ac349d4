/* Checks an index file. Whatever the bytes are, this ends with a checked index or one message. */
#include "index.h"

#include <inttypes.h>
#include <string.h>

#include "file_io.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

/* What a chunk of 64 blocks can take at most, generously (ZSTD_compressBound is 1/128 more than the input). */
enum { MAX_STORED = FORMAT_CHUNK_BYTES + FORMAT_CHUNK_BYTES / 8 };

struct parser {
    struct index *x;
    const char *path;
    size_t at;
};

static enum sim_status refuse(const struct parser *p, size_t offset, const char *why)
{
    sim_error("image file '%s': offset %zu: %s", p->path, offset, why);
    return SIM_ERR_FORMAT;
}

/* The next nr records of `size` bytes; NULL when the file ends before. */
static const void *take(struct parser *p, uint64_t nr, size_t size)
{
    size_t left = p->x->len - FORMAT_HASH_BYTES - p->at;

    if (nr > left / size)
        return NULL;
    const void *here = p->x->bytes + p->at;
    p->at += (size_t)nr * size;
    return here;
}

static enum sim_status check_header(struct parser *p)
{
    const struct index *x = p->x;
    uint64_t hash;

    if (x->len < sizeof *x->header + FORMAT_HASH_BYTES)
        return refuse(p, x->len, "truncated");
    if (memcmp(x->header->magic, FORMAT_INDEX_MAGIC, sizeof x->header->magic) != 0)
        return refuse(p, 0, "this is not an index of an image");
    if (x->header->version > FORMAT_VERSION)
        return refuse(p, 8, "written by a newer program");
    memcpy(&hash, x->bytes + x->len - sizeof hash, sizeof hash);
    if (hash != file_hash(x->bytes, x->len - sizeof hash))
        return refuse(p, x->len - sizeof hash, "its checksum is wrong: the index is damaged");
    return SIM_OK;
}

static enum sim_status take_tables(struct parser *p)
{
    struct index *x = p->x;
    const struct format_index_header *h = x->header;

    p->at = sizeof *h;
    x->space = take(p, h->nr_spaces, sizeof *x->space);
    x->extent = x->space ? take(p, h->nr_extents, sizeof *x->extent) : NULL;
    x->chunk = x->extent ? take(p, h->nr_chunks, sizeof *x->chunk) : NULL;
    x->hot = x->chunk ? take(p, h->nr_hot, sizeof *x->hot) : NULL;
    return x->hot ? SIM_OK : refuse(p, p->at, "more entries than the file has bytes");
}

static enum sim_status check_chunks(struct parser *p)
{
    const struct index *x = p->x;

    for (uint32_t i = 0; i < x->header->nr_chunks; i++) {
        const struct format_chunk *c = &x->chunk[i];
        bool inside = c->offset >= sizeof(struct format_data_header) &&
                      c->offset <= x->header->data_bytes &&
                      c->stored <= x->header->data_bytes - c->offset;
        if (!inside || !c->stored || c->stored > MAX_STORED || !c->nr_blocks ||
            c->nr_blocks > FORMAT_CHUNK_BLOCKS)
            return refuse(p, (size_t)((const uint8_t *)c - x->bytes), "an impossible chunk");
    }
    return SIM_OK;
}

static bool extent_is_good(const struct index *x, const struct format_extent *e, uint64_t from,
                           uint64_t end)
{
    if (e->block < from || !e->nr || e->block > end || e->nr > end - e->block)
        return false;
    if (e->chunk == FORMAT_NO_CHUNK)
        return true;
    return e->chunk < x->header->nr_chunks && e->slot < x->chunk[e->chunk].nr_blocks &&
           e->nr <= x->chunk[e->chunk].nr_blocks - e->slot;
}

static bool name_is_good(const char name[FORMAT_NAME_BYTES])
{
    size_t len = strnlen(name, FORMAT_NAME_BYTES);

    if (!len || len == FORMAT_NAME_BYTES)
        return false;
    for (size_t i = 0; i < len; i++)
        if (name[i] < 0x21 || name[i] > 0x7e)
            return false;
    return true;
}

/* Block numbers stay far below 2^52, so that sums and byte offsets cannot overflow. */
static const uint64_t max_block = 1ull << 50;

static enum sim_status check_spaces(struct parser *p)
{
    const struct index *x = p->x;
    uint64_t next = 0;

    for (uint32_t i = 0; i < x->header->nr_spaces; i++) {
        const struct format_space *s = &x->space[i];
        if (!name_is_good(s->name) || s->first_extent != next ||
            s->nr_extents > x->header->nr_extents - next)
            return refuse(p, (size_t)((const uint8_t *)s - x->bytes), "an impossible space");
        next += s->nr_extents;
        uint64_t from = 0;
        for (uint32_t k = 0; k < s->nr_extents; k++) {
            const struct format_extent *e = &x->extent[s->first_extent + k];
            if (!extent_is_good(x, e, from, max_block))
                return refuse(p, (size_t)((const uint8_t *)e - x->bytes), "an impossible extent");
            from = e->block + e->nr;
        }
    }
    return next == x->header->nr_extents ? SIM_OK
                                         : refuse(p, sizeof *x->header, "extents without a space");
}

static enum sim_status take_section(struct parser *p, struct index_section *s)
{
    uint16_t n = 0;
    const void *name_len = take(p, 1, sizeof n); /* unaligned */

    if (name_len)
        memcpy(&n, name_len, sizeof n);
    const char *name = name_len ? take(p, n, 1) : NULL;
    const void *data_len = name ? take(p, 1, sizeof s->len) : NULL;
    if (data_len)
        memcpy(&s->len, data_len, sizeof s->len);
    s->data = data_len ? take(p, s->len, 1) : NULL;
    if (!s->data || n > 255 || !n || memchr(name, 0, n))
        return refuse(p, p->at, "a section that is not whole");
    char *copy = sim_zalloc(n + 1u);
    memcpy(copy, name, n);
    s->name = copy;
    return SIM_OK;
}

static enum sim_status take_sections(struct parser *p)
{
    struct index *x = p->x;

    /* Each takes at least 7 bytes: a wrong count does not make us allocate much. */
    if (x->header->nr_sections > x->len / 7)
        return refuse(p, 48, "more sections than the file has bytes");
    x->section = sim_new_array(struct index_section, x->header->nr_sections + 1u);
    for (uint32_t i = 0; i < x->header->nr_sections; i++)
        SIM_TRY(take_section(p, &x->section[i]));
    return p->at == x->len - FORMAT_HASH_BYTES
               ? SIM_OK
               : refuse(p, p->at, "bytes behind the last section");
}

static enum sim_status check_hot(struct parser *p)
{
    const struct index *x = p->x;

    for (uint32_t i = 0; i < x->header->nr_hot; i++)
        if (x->hot[i].block > max_block)
            return refuse(p, (size_t)((const uint8_t *)&x->hot[i] - x->bytes),
                          "an impossible working set");
    return SIM_OK;
}

enum sim_status index_parse(uint8_t *bytes, size_t len, const char *path, struct index *out)
{
    struct index x = {.bytes = bytes, .len = len, .header = (void *)bytes};
    struct parser p = {&x, path, 0};
    enum sim_status status = check_header(&p);

    if (status == SIM_OK)
        status = take_tables(&p);
    if (status == SIM_OK)
        status = check_chunks(&p);
    if (status == SIM_OK)
        status = check_spaces(&p);
    if (status == SIM_OK)
        status = check_hot(&p);
    if (status == SIM_OK)
        status = take_sections(&p);
    if (status != SIM_OK) {
        index_fini(&x);
        return status;
    }
    *out = x;
    return SIM_OK;
}

void index_fini(struct index *x)
{
    for (uint32_t i = 0; x->section && i < x->header->nr_sections; i++)
        sim_free((void *)x->section[i].name);
    sim_free(x->section);
    sim_free(x->bytes);
    *x = (struct index){0};
}
