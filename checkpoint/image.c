/* Opening an image and reading its blocks.
 *
 *   chain: image -> parent -> ... each with its parts' indexes (struct file)
 *   spaces: for each name the extents of all files, where newer ones hide older ones (fill_gaps); parts of
 *   one image have no block in common */
#include "checkpoint/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "file_io.h"
#include "index.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { MAX_DEPTH = 1000, MAX_INDEX_BYTES = 1 << 30 };

_Static_assert((int)CKPT_CHUNK_BYTES == (int)FORMAT_CHUNK_BYTES, "one chunk size");

/* A part of an image of the chain. */
struct file {
    char *data_path;
    int data;
    unsigned depth;
    struct index index;
};

struct ckpt_image {
    char *store, *path;
    struct ckpt_manifest *manifest; /* by depth */
    unsigned depth;
    struct file *file;
    uint32_t nr_files;
    struct ckpt_space *space;
    unsigned nr_spaces;
};

/* --- finding --- */

static bool has_manifest(const char *path)
{
    char *file = sim_asprintf("%s/%s", path, FORMAT_MANIFEST);
    bool there = access(file, F_OK) == 0;

    sim_free(file);
    return there;
}

/* The newest complete image of a store. */
static enum sim_status find_newest(const char *store, char **path)
{
    struct ckpt_ref *ref;
    uint32_t nr;

    SIM_TRY(ckpt_store_list(store, &ref, &nr));
    *path = NULL;
    while (nr-- > 0 && !*path) {
        *path = sim_asprintf("%s/%s", store, ref[nr].name);
        if (!has_manifest(*path)) {
            sim_free(*path);
            *path = NULL;
        }
    }
    sim_free(ref);
    if (*path)
        return SIM_OK;
    sim_error("'%s' has no complete image", store);
    return SIM_ERR_NOTFOUND;
}

static char *without_slashes(const char *path)
{
    char *copy = sim_strdup(path);
    size_t len = strlen(copy);

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = 0;
    return copy;
}

static enum sim_status find(struct ckpt_image *image, const char *path)
{
    char *given = without_slashes(path);

    if (!has_manifest(given)) {
        image->store = given;
        return find_newest(given, &image->path);
    }
    const char *slash = strrchr(given, '/');
    image->store = slash ? sim_strdup(given) : sim_strdup(".");
    if (slash)
        image->store[slash == given ? 1 : slash - given] = 0;
    image->path = given;
    return SIM_OK;
}

/* --- a part --- */

static enum sim_status check_data(struct file *f, const struct ckpt_part *p, const uint8_t *id)
{
    struct format_data_header h;
    struct stat st;

    if (fstat(f->data, &st) < 0) {
        sim_error("image file '%s': %m", f->data_path);
        return SIM_ERR_IO;
    }
    if ((uint64_t)st.st_size != p->data_bytes || p->data_bytes != f->index.header->data_bytes) {
        sim_error("image file '%s': offset %lld: it should end at %llu: truncated or damaged",
                  f->data_path, (long long)st.st_size, (unsigned long long)p->data_bytes);
        return SIM_ERR_FORMAT;
    }
    SIM_TRY(file_read_at(f->data, f->data_path, 0, &h, sizeof h));
    const struct format_data_header want = {
        .magic = FORMAT_DATA_MAGIC, .version = h.version, .part = p->part};
    if (memcmp(&h, &want, offsetof(struct format_data_header, id)) != 0 ||
        h.version != f->index.header->version || memcmp(h.id, id, sizeof h.id) != 0) {
        sim_error("image file '%s': offset 0: its header is damaged or of another image",
                  f->data_path);
        return SIM_ERR_FORMAT;
    }
    return SIM_OK;
}

static enum sim_status read_index(struct file *f, int folder, const char *image_path,
                                  const struct ckpt_part *p, const uint8_t *id)
{
    char name[40];
    uint8_t *bytes;
    size_t len;

    snprintf(name, sizeof name, "part-%04u.index", p->part);
    char *path = sim_asprintf("%s/%s", image_path, name);
    enum sim_status status = file_read_whole(folder, name, path, MAX_INDEX_BYTES, &bytes, &len);
    if (status == SIM_OK && (len != p->index_bytes || file_hash(bytes, len) != p->index_xxh3)) {
        sim_error("image file '%s': offset %zu: not what the manifest says: truncated or damaged",
                  path, len < p->index_bytes ? len : (size_t)0);
        sim_free(bytes);
        status = SIM_ERR_FORMAT;
    }
    if (status == SIM_OK)
        status = index_parse(bytes, len, path, &f->index);
    if (status == SIM_OK && (memcmp(f->index.header->id, id, CKPT_ID_BYTES) != 0 ||
                             f->index.header->part != p->part)) {
        sim_error("image file '%s': offset 16: it belongs to another image", path);
        status = SIM_ERR_FORMAT;
    }
    sim_free(path);
    return status;
}

static enum sim_status open_part(struct ckpt_image *image, int folder, const char *image_path,
                                 unsigned depth, const struct ckpt_part *p)
{
    struct file *f = &image->file[image->nr_files++];
    const uint8_t *id = image->manifest[depth].self.id;
    char name[40];

    *f = (struct file){.data = -1, .depth = depth};
    SIM_TRY(read_index(f, folder, image_path, p, id));
    snprintf(name, sizeof name, "part-%04u.data", p->part);
    f->data_path = sim_asprintf("%s/%s", image_path, name);
    f->data = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->data < 0) {
        sim_error("image file '%s': %m", f->data_path);
        return SIM_ERR_IO;
    }
    return check_data(f, p, id);
}

/* --- the chain --- */

static enum sim_status check_ref(const char *path, const struct ckpt_manifest *m,
                                 const struct ckpt_ref *want)
{
    if (!want || memcmp(m->self.id, want->id, CKPT_ID_BYTES) == 0)
        return SIM_OK;
    sim_error("image '%s' is not the one that the incremental image after it was made from", path);
    return SIM_ERR_FORMAT;
}

static enum sim_status open_parts(struct ckpt_image *image, int folder, const char *path,
                                  unsigned depth)
{
    const struct ckpt_manifest *m = &image->manifest[depth];

    image->file = sim_realloc(image->file, (image->nr_files + m->nr_parts) * sizeof image->file[0]);
    for (uint32_t i = 0; i < m->nr_parts; i++)
        SIM_TRY(open_part(image, folder, path, depth, &m->part[i]));
    return SIM_OK;
}

/* Opens the image at `path` as the next of the chain. */
static enum sim_status open_level(struct ckpt_image *image, const char *path,
                                  const struct ckpt_ref *want)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder < 0) {
        sim_error("image '%s': %m", path);
        return SIM_ERR_IO;
    }
    image->manifest =
        sim_realloc(image->manifest, (image->depth + 1) * sizeof image->manifest[0]);
    enum sim_status status = ckpt_manifest_read(folder, path, &image->manifest[image->depth]);
    if (status == SIM_ERR_NOTFOUND)
        sim_error("image '%s' is not complete", path);
    if (status == SIM_OK) {
        unsigned depth = image->depth++;
        status = check_ref(path, &image->manifest[depth], want);
        if (status == SIM_OK)
            status = open_parts(image, folder, path, depth);
    }
    close(folder);
    return status;
}

static enum sim_status open_chain(struct ckpt_image *image)
{
    SIM_TRY(open_level(image, image->path, NULL));
    while (image->manifest[image->depth - 1].incremental) {
        struct ckpt_ref parent = image->manifest[image->depth - 1].parent;
        if (image->depth == MAX_DEPTH) {
            sim_error("image '%s': a chain of more than %d images", image->path, MAX_DEPTH);
            return SIM_ERR_FORMAT;
        }
        char *path = sim_asprintf("%s/%s", image->store, parent.name);
        enum sim_status status = open_level(image, path, &parent);
        sim_free(path);
        SIM_TRY(status);
    }
    return SIM_OK;
}

/* --- spaces --- */

struct list {
    struct ckpt_extent *e;
    size_t nr, cap;
};

static void emit(struct list *l, const struct ckpt_extent *e)
{
    if (l->nr == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 256;
        l->e = sim_realloc(l->e, l->cap * sizeof l->e[0]);
    }
    l->e[l->nr++] = *e;
}

static void emit_piece(struct list *l, const struct ckpt_extent *e, uint64_t start, uint64_t end)
{
    struct ckpt_extent piece = *e;

    piece.block = start;
    piece.nr = end - start;
    if (piece.file != CKPT_ZERO)
        piece.slot += (uint32_t)(start - e->block);
    emit(l, &piece);
}

/* Emits the parts of `e` that no extent of `upper` from *i on covers, and the extents of upper that end before. */
static void fill_gap(struct list *out, const struct list *upper, size_t *i,
                     const struct ckpt_extent *e)
{
    uint64_t start = e->block, end = e->block + e->nr;

    while (start < end) {
        while (*i < upper->nr && upper->e[*i].block + upper->e[*i].nr <= start)
            emit(out, &upper->e[(*i)++]);
        uint64_t next = *i < upper->nr ? upper->e[*i].block : end;
        if (next <= start) {
            start = next + upper->e[*i].nr;
            continue;
        }
        next = next < end ? next : end;
        emit_piece(out, e, start, next);
        start = next;
    }
}

static struct ckpt_extent from_file(const struct format_extent *e, uint32_t file)
{
    bool zero = e->chunk == FORMAT_NO_CHUNK;

    return (struct ckpt_extent){e->block, e->nr, zero ? CKPT_ZERO : file, e->chunk, e->slot};
}

static uint64_t blocks_of(const struct list *l)
{
    uint64_t n = 0;

    for (size_t i = 0; i < l->nr; i++)
        n += l->e[i].nr;
    return n;
}

/* Puts what `lower` has of gaps in *upper there, and frees it. */
static void fill_gaps(struct list *upper, struct list *lower)
{
    struct list out = {0};
    size_t i = 0;

    for (size_t k = 0; k < lower->nr; k++)
        fill_gap(&out, upper, &i, &lower->e[k]);
    while (i < upper->nr)
        emit(&out, &upper->e[i++]);
    sim_free(upper->e);
    sim_free(lower->e);
    *upper = out;
}

static struct list extents_of(const struct file *f, uint32_t file, const struct format_space *fs)
{
    struct list l = {0};

    for (uint32_t k = 0; k < fs->nr_extents; k++) {
        struct ckpt_extent e = from_file(&f->index.extent[fs->first_extent + k], file);
        emit(&l, &e);
    }
    return l;
}

/* Joins a part with others of its image; false: both have the same block. */
static bool join(struct list *parts, struct list *part)
{
    uint64_t want = blocks_of(parts) + blocks_of(part);

    fill_gaps(parts, part);
    return blocks_of(parts) == want;
}

static struct ckpt_space *get_space(struct ckpt_image *image, const char *name)
{
    for (unsigned i = 0; i < image->nr_spaces; i++)
        if (strcmp(image->space[i].name, name) == 0)
            return &image->space[i];
    image->space = sim_realloc(image->space, (image->nr_spaces + 1) * sizeof image->space[0]);
    struct ckpt_space *s = &image->space[image->nr_spaces++];
    *s = (struct ckpt_space){.name = name};
    return s;
}

static const struct format_space *space_of(const struct file *f, const char *name)
{
    for (uint32_t k = 0; k < f->index.header->nr_spaces; k++)
        if (strcmp(f->index.space[k].name, name) == 0)
            return &f->index.space[k];
    return NULL;
}

/* All parts of one image of the chain: files [from, to). */
static enum sim_status join_parts(const struct ckpt_image *image, const char *name, uint32_t from, uint32_t to,
                                  struct list *out)
{
    for (uint32_t i = from; i < to; i++) {
        const struct format_space *fs = space_of(&image->file[i], name);
        if (!fs)
            continue;
        struct list part = extents_of(&image->file[i], i, fs);
        if (!join(out, &part)) {
            sim_error("image file '%s': it has blocks of '%s' that another part has too", image->file[i].data_path,
                      name);
            return SIM_ERR_FORMAT;
        }
    }
    return SIM_OK;
}

/* Files are in order, newest image first: what an older one has lies below. */
static enum sim_status join_space(const struct ckpt_image *image, struct ckpt_space *s)
{
    struct list all = {0}, level = {0};
    enum sim_status status = SIM_OK;

    for (uint32_t from = 0, to; from < image->nr_files && status == SIM_OK; from = to) {
        for (to = from; to < image->nr_files && image->file[to].depth == image->file[from].depth;)
            to++;
        status = join_parts(image, s->name, from, to, &level);
        fill_gaps(&all, &level);
        level = (struct list){0};
    }
    s->extent = all.e;
    s->nr_extents = all.nr;
    return status;
}

/* Sorts by counting: there may be as many extents as blocks, and a machine waits. */
static void sort_by_chunk(const struct ckpt_image *image, struct ckpt_space *s)
{
    uint32_t *base = sim_new_array(uint32_t, image->nr_files + 1u); /* by file: chunks before its own */
    uint32_t *by_chunk = sim_new_array(uint32_t, s->nr_extents + 1);

    for (uint32_t i = 0; i < image->nr_files; i++)
        base[i + 1] = base[i] + image->file[i].index.header->nr_chunks;
    uint32_t *next = sim_new_array(uint32_t, base[image->nr_files] + 1u); /* by chunk: where its next extent goes */
    for (size_t i = 0; i < s->nr_extents; i++)
        if (s->extent[i].file != CKPT_ZERO)
            next[base[s->extent[i].file] + s->extent[i].chunk + 1]++;
    for (uint32_t i = 0; i < base[image->nr_files]; i++)
        next[i + 1] += next[i];
    s->nr_by_chunk = next[base[image->nr_files]];
    for (size_t i = 0; i < s->nr_extents; i++)
        if (s->extent[i].file != CKPT_ZERO)
            by_chunk[next[base[s->extent[i].file] + s->extent[i].chunk]++] = (uint32_t)i;
    s->by_chunk = by_chunk;
    sim_free(next);
    sim_free(base);
}

static enum sim_status join_spaces(struct ckpt_image *image)
{
    for (uint32_t i = 0; i < image->nr_files; i++) {
        const struct index *index = &image->file[i].index;
        for (uint32_t k = 0; k < index->header->nr_spaces; k++) {
            struct ckpt_space *s = get_space(image, index->space[k].name);
            if (index->space[k].nr_blocks > s->nr_blocks)
                s->nr_blocks = index->space[k].nr_blocks;
        }
    }
    for (unsigned i = 0; i < image->nr_spaces; i++) {
        SIM_TRY(join_space(image, &image->space[i]));
        sort_by_chunk(image, &image->space[i]);
    }
    return SIM_OK;
}

const struct ckpt_space *ckpt_image_space(const struct ckpt_image *image, unsigned i)
{
    return i < image->nr_spaces ? &image->space[i] : NULL;
}

const struct ckpt_space *ckpt_image_find_space(const struct ckpt_image *image, const char *name)
{
    for (unsigned i = 0; i < image->nr_spaces; i++)
        if (strcmp(image->space[i].name, name) == 0)
            return &image->space[i];
    return NULL;
}

size_t ckpt_space_search(const struct ckpt_space *s, uint64_t block)
{
    size_t lo = 0, hi = s->nr_extents;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (s->extent[mid].block + s->extent[mid].nr <= block)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int chunk_order(const struct ckpt_extent *a, const struct ckpt_extent *b)
{
    return a->file != b->file ? (a->file < b->file ? -1 : 1) : (a->chunk > b->chunk) - (a->chunk < b->chunk);
}

/* Where extent i is in by_chunk. */
static size_t place_by_chunk(const struct ckpt_space *s, size_t i)
{
    size_t lo = 0, hi = s->nr_by_chunk;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = chunk_order(&s->extent[s->by_chunk[mid]], &s->extent[i]);
        if (order < 0 || (order == 0 && s->by_chunk[mid] < i))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t ckpt_space_same_chunk(const struct ckpt_space *s, size_t i, const uint32_t **list)
{
    const size_t at = place_by_chunk(s, i);
    size_t from = at, to = at + 1;

    while (from > 0 && at - from < CKPT_CHUNK_BLOCKS && chunk_order(&s->extent[s->by_chunk[from - 1]], &s->extent[i]) == 0)
        from--;
    while (to < s->nr_by_chunk && to - at < CKPT_CHUNK_BLOCKS && chunk_order(&s->extent[s->by_chunk[to]], &s->extent[i]) == 0)
        to++;
    *list = &s->by_chunk[from];
    return to - from;
}

/* --- life --- */

enum sim_status ckpt_image_open(const char *path, struct ckpt_image **out)
{
    struct ckpt_image *image = sim_new(struct ckpt_image);
    enum sim_status status = find(image, path);

    if (status == SIM_OK)
        status = open_chain(image);
    if (status == SIM_OK)
        status = join_spaces(image);
    if (status != SIM_OK) {
        ckpt_image_close(image);
        return status;
    }
    *out = image;
    return SIM_OK;
}

void ckpt_image_close(struct ckpt_image *image)
{
    if (!image)
        return;
    for (unsigned i = 0; i < image->nr_spaces; i++) {
        sim_free((void *)image->space[i].by_chunk);
        sim_free((void *)image->space[i].extent);
    }
    for (uint32_t i = 0; i < image->nr_files; i++) {
        struct file *f = &image->file[i];
        if (f->data >= 0)
            close(f->data);
        if (f->index.bytes)
            index_fini(&f->index);
        sim_free(f->data_path);
    }
    for (unsigned i = 0; i < image->depth; i++)
        ckpt_manifest_fini(&image->manifest[i]);
    sim_free(image->space);
    sim_free(image->file);
    sim_free(image->manifest);
    sim_free(image->store);
    sim_free(image->path);
    sim_free(image);
}

const struct ckpt_manifest *ckpt_image_manifest(const struct ckpt_image *image, unsigned depth)
{
    return depth < image->depth ? &image->manifest[depth] : NULL;
}

const char *ckpt_image_store(const struct ckpt_image *image)
{
    return image->store;
}

const char *ckpt_image_path(const struct ckpt_image *image)
{
    return image->path;
}

/* --- sections and working set: of the image itself, not of its parents --- */

static const struct index_section *nth_section(const struct ckpt_image *image, unsigned i)
{
    for (uint32_t k = 0; k < image->nr_files && image->file[k].depth == 0; k++) {
        const struct index *x = &image->file[k].index;
        if (i < x->header->nr_sections)
            return &x->section[i];
        i -= x->header->nr_sections;
    }
    return NULL;
}

const char *ckpt_image_section_name(const struct ckpt_image *image, unsigned i)
{
    const struct index_section *s = nth_section(image, i);

    return s ? s->name : NULL;
}

bool ckpt_image_section(const struct ckpt_image *image, const char *name, const uint8_t **data,
                        size_t *len)
{
    const struct index_section *s;

    for (unsigned i = 0; (s = nth_section(image, i)); i++) {
        if (strcmp(s->name, name) == 0) {
            *data = s->data;
            *len = s->len;
            return true;
        }
    }
    return false;
}

bool ckpt_image_hot(const struct ckpt_image *image, unsigned i, struct ckpt_hot *out)
{
    for (uint32_t k = 0; k < image->nr_files && image->file[k].depth == 0; k++) {
        const struct index *x = &image->file[k].index;
        if (i < x->header->nr_hot) {
            *out = (struct ckpt_hot){x->hot[i].block, x->hot[i].nr};
            return true;
        }
        i -= x->header->nr_hot;
    }
    return false;
}

/* --- chunks --- */

/* Owner: one thread at a time. */
struct ckpt_reader {
    ZSTD_DCtx *zstd;
    uint8_t *stored;
    size_t cap;
    uint8_t raw[FORMAT_CHUNK_BYTES];
};

struct ckpt_reader *ckpt_reader_create(void)
{
    struct ckpt_reader *r = sim_new(struct ckpt_reader);

    r->zstd = ZSTD_createDCtx();
    SIM_BUG_ON(!r->zstd, "no memory for a decompressor");
    return r;
}

void ckpt_reader_destroy(struct ckpt_reader *r)
{
    if (!r)
        return;
    ZSTD_freeDCtx(r->zstd);
    sim_free(r->stored);
    sim_free(r);
}

static enum sim_status damaged(const struct file *f, uint32_t chunk, const char *why)
{
    const struct format_chunk *c = &f->index.chunk[chunk];

    sim_error("image file '%s': offset %llu: chunk %u (%u bytes): %s", f->data_path,
              (unsigned long long)c->offset, chunk, c->stored, why);
    return SIM_ERR_FORMAT;
}

enum sim_status ckpt_image_chunk(const struct ckpt_image *image, struct ckpt_reader *r, uint32_t file,
                                 uint32_t chunk, const uint8_t **data, uint32_t *nr)
{
    const struct file *f = &image->file[file];
    const struct format_chunk *c = &f->index.chunk[chunk];

    if (r->cap < c->stored) {
        r->cap = c->stored;
        r->stored = sim_realloc(r->stored, r->cap);
    }
    SIM_TRY(file_read_at(f->data, f->data_path, c->offset, r->stored, c->stored));
    if (file_hash(r->stored, c->stored) != c->xxh3)
        return damaged(f, chunk, "its checksum is wrong: it is damaged");
    size_t n = ZSTD_decompressDCtx(r->zstd, r->raw, sizeof r->raw, r->stored, c->stored);
    if (ZSTD_isError(n))
        return damaged(f, chunk, ZSTD_getErrorName(n));
    if (n != (size_t)c->nr_blocks * FORMAT_BLOCK)
        return damaged(f, chunk, "it unpacks to another length than the index says");
    *data = r->raw;
    *nr = c->nr_blocks;
    return SIM_OK;
}

enum sim_status ckpt_image_each_block(const struct ckpt_image *image, const struct ckpt_space *s,
                                      void (*fn)(void *opaque, uint64_t block, const uint8_t *data),
                                      void *opaque)
{
    static const uint8_t zero[FORMAT_BLOCK];
    struct ckpt_reader *r = ckpt_reader_create();
    uint32_t file = CKPT_ZERO, chunk = 0, nr;
    const uint8_t *data = NULL;
    enum sim_status status = SIM_OK;

    for (size_t i = 0; i < s->nr_extents && status == SIM_OK; i++) {
        const struct ckpt_extent *e = &s->extent[i];
        bool is_zero = e->file == CKPT_ZERO;
        if (!is_zero && (file != e->file || chunk != e->chunk)) {
            status = ckpt_image_chunk(image, r, e->file, e->chunk, &data, &nr);
            file = e->file;
            chunk = e->chunk;
        }
        for (uint64_t k = 0; k < e->nr && status == SIM_OK; k++)
            fn(opaque, e->block + k, is_zero ? zero : data + (e->slot + k) * FORMAT_BLOCK);
    }
    ckpt_reader_destroy(r);
    return status;
}

/* --- verifying --- */

enum sim_status ckpt_image_verify(const struct ckpt_image *image,
                                  void (*progress)(void *opaque, uint64_t done, uint64_t total),
                                  void *opaque)
{
    struct ckpt_reader *r = ckpt_reader_create();
    enum sim_status status = SIM_OK;
    uint64_t done = 0, total = 0;

    for (uint32_t i = 0; i < image->nr_files; i++)
        total += image->file[i].index.header->data_bytes;
    for (uint32_t i = 0; i < image->nr_files; i++) {
        const struct index *x = &image->file[i].index;
        uint64_t expected = sizeof(struct format_data_header);
        for (uint32_t k = 0; k < x->header->nr_chunks; k++) {
            const uint8_t *data;
            uint32_t nr;
            enum sim_status one = ckpt_image_chunk(image, r, i, k, &data, &nr);
            status = status == SIM_OK ? one : status;
            done += x->chunk[k].stored;
            expected += x->chunk[k].stored;
            if (progress)
                progress(opaque, done, total);
        }
        if (expected != x->header->data_bytes) {
            sim_error("image file '%s': %llu bytes belong to no chunk", image->file[i].data_path,
                      (unsigned long long)(x->header->data_bytes - expected));
            status = SIM_ERR_FORMAT;
        }
    }
    ckpt_reader_destroy(r);
    return status;
}
