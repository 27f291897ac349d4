/* A part of an image: blocks become chunks on compressor threads, everything else the index file.
 *
 *   feeder: block -> zero | equal to an earlier one | next slot of the open chunk -> full: queue
 *   compressor: queue -> zstd -> place in the file (atomic end) -> pwrite -> chunk table
 *   finish: last chunk, compressors end, extents sorted, index written, both files synced */
#include "checkpoint/writer.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "append_file.h"
#include "dedupe.h"
#include "file_io.h"
#include "format.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "sim-core/pages.h"
#include "sim-core/state.h"

enum { MAX_THREADS = 4, BATCH = 16 };
/* Beside a guest that uses all cores feeder and compressors get their turns one after the other, some ms each: what one makes in a
 * turn is kept for the others, who would sleep otherwise. What is not used takes no memory (make_jobs). */
enum { SPARE_CHUNKS = 16 };
/* Level 1 takes a fifth more time, to write and to read, and makes 2 % less of a booted guest. */
enum { DEFAULT_LEVEL = -1 };

/* A chunk on its way. Owner: the feeder, then one compressor, then the free list. */
struct job {
    struct job *next;
    uint32_t chunk, nr_blocks;
    uint8_t raw[FORMAT_CHUNK_BYTES];
};

struct space {
    char name[FORMAT_NAME_BYTES];
    uint64_t nr_blocks;
    struct format_extent *extent;
    size_t nr, cap;
};

/* Owner: the feeding thread; `lock` guards what compressors share with it. */
struct ckpt_writer {
    struct ckpt_writer_config config;
    char *data_path, *index_path;
    int data, index;
    struct append_file *file; /* the data file */

    struct space *space; /* the last one is current */
    uint32_t nr_spaces;
    struct dedupe *dedupe;
    struct job *open_chunk;
    struct state_buf sections, hot;
    uint32_t nr_sections, nr_hot;
    struct ckpt_part part;

    struct sim_mutex lock;
    struct sim_cond work, room;
    struct job *queue, **queue_end, *free_jobs;
    struct job *jobs; /* all of them */
    unsigned nr_jobs;
    struct format_chunk *chunk;
    uint32_t nr_chunks, cap_chunks;
    bool ending;
    struct sim_thread thread[MAX_THREADS];
    unsigned nr_threads;

    _Atomic uint64_t given; /* bytes */
};

enum sim_status ckpt_writer_status(const struct ckpt_writer *w)
{
    return append_file_status(w->file);
}

void ckpt_writer_progress(const struct ckpt_writer *w, uint64_t *given, uint64_t *stored)
{
    *given = atomic_load_explicit(&w->given, memory_order_relaxed);
    *stored = append_file_bytes(w->file);
}

/* --- compressors --- */

static struct job *next_job(struct ckpt_writer *w)
{
    sim_mutex_lock(&w->lock);
    while (!w->queue && !w->ending)
        sim_cond_wait(&w->work, &w->lock);
    struct job *job = w->queue;
    if (job) {
        w->queue = job->next;
        if (!w->queue)
            w->queue_end = &w->queue;
    }
    sim_mutex_unlock(&w->lock);
    return job;
}

static void job_done(struct ckpt_writer *w, struct job *job, const struct format_chunk *chunk)
{
    sim_mutex_lock(&w->lock);
    w->chunk[job->chunk] = *chunk;
    job->next = w->free_jobs;
    w->free_jobs = job;
    sim_cond_signal(&w->room);
    sim_mutex_unlock(&w->lock);
}

/* Compresses and writes; after an error of anybody only the bookkeeping goes on. */
static void store_chunk(struct ckpt_writer *w, ZSTD_CCtx *zstd, void *buf, size_t cap,
                        struct job *job)
{
    struct format_chunk chunk = {.nr_blocks = job->nr_blocks};

    if (ckpt_writer_status(w) == SIM_OK) {
        size_t n = ZSTD_compressCCtx(zstd, buf, cap, job->raw, job->nr_blocks * FORMAT_BLOCK,
                                     w->config.level);
        SIM_BUG_ON(ZSTD_isError(n), "zstd: %s", ZSTD_getErrorName(n));
        chunk.stored = (uint32_t)n;
        chunk.xxh3 = file_hash(buf, n);
        chunk.offset = append_file_put(w->file, buf, n);
    }
    job_done(w, job, &chunk);
}

static void *compressor_main(void *arg)
{
    struct ckpt_writer *w = arg;
    size_t cap = ZSTD_compressBound(FORMAT_CHUNK_BYTES);
    void *buf = sim_zalloc(cap);
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    struct job *job;

    SIM_BUG_ON(!zstd, "no memory for a compressor");
    while ((job = next_job(w)))
        store_chunk(w, zstd, buf, cap, job);
    ZSTD_freeCCtx(zstd);
    sim_free(buf);
    return NULL;
}

/* --- chunks, on the feeder's side --- */

static uint32_t add_chunk_locked(struct ckpt_writer *w)
{
    if (w->nr_chunks == w->cap_chunks) {
        w->cap_chunks = w->cap_chunks ? w->cap_chunks * 2 : 64;
        w->chunk = sim_realloc(w->chunk, w->cap_chunks * sizeof w->chunk[0]);
    }
    return w->nr_chunks++;
}

static void open_chunk(struct ckpt_writer *w)
{
    sim_mutex_lock(&w->lock);
    while (!w->free_jobs)
        sim_cond_wait(&w->room, &w->lock);
    w->open_chunk = w->free_jobs;
    w->free_jobs = w->open_chunk->next;
    w->open_chunk->chunk = add_chunk_locked(w);
    w->open_chunk->nr_blocks = 0;
    sim_mutex_unlock(&w->lock);
}

static void close_chunk(struct ckpt_writer *w)
{
    struct job *job = w->open_chunk;

    if (!job)
        return;
    w->open_chunk = NULL;
    sim_mutex_lock(&w->lock);
    if (job->nr_blocks) {
        job->next = NULL;
        *w->queue_end = job;
        w->queue_end = &job->next;
        sim_cond_signal(&w->work);
    } else { /* opened for a block that turned out to be an equal one */
        w->nr_chunks--;
        job->next = w->free_jobs;
        w->free_jobs = job;
    }
    sim_mutex_unlock(&w->lock);
}

static struct dedupe_place next_place(struct ckpt_writer *w)
{
    if (!w->open_chunk)
        open_chunk(w);
    return (struct dedupe_place){w->open_chunk->chunk, w->open_chunk->nr_blocks};
}

static void append_block(struct ckpt_writer *w, const void *data)
{
    struct job *job = w->open_chunk;

    memcpy(job->raw + (size_t)job->nr_blocks++ * FORMAT_BLOCK, data, FORMAT_BLOCK);
    if (job->nr_blocks == FORMAT_CHUNK_BLOCKS)
        close_chunk(w);
}

/* --- extents --- */

static bool continues(const struct format_extent *e, uint64_t block, struct dedupe_place place)
{
    if (block != e->block + e->nr || place.chunk != e->chunk || e->nr == UINT32_MAX)
        return false;
    return e->chunk == FORMAT_NO_CHUNK || place.slot == e->slot + e->nr;
}

static void add_extent(struct space *s, uint64_t block, struct dedupe_place place)
{
    if (s->nr && continues(&s->extent[s->nr - 1], block, place)) {
        s->extent[s->nr - 1].nr++;
        return;
    }
    if (s->nr == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 256;
        s->extent = sim_realloc(s->extent, s->cap * sizeof s->extent[0]);
    }
    s->extent[s->nr++] = (struct format_extent){block, 1, place.chunk, place.slot, 0};
}

static int by_block(const void *a, const void *b)
{
    const struct format_extent *x = a, *y = b;

    return x->block < y->block ? -1 : x->block > y->block;
}

/* --- what the feeder calls --- */

void ckpt_writer_space(struct ckpt_writer *w, const char *name, uint64_t nr_blocks)
{
    SIM_BUG_ON(strlen(name) >= FORMAT_NAME_BYTES, "space name '%s' is too long", name);
    w->space = sim_realloc(w->space, (w->nr_spaces + 1) * sizeof w->space[0]);
    struct space *s = &w->space[w->nr_spaces++];

    *s = (struct space){.nr_blocks = nr_blocks};
    strncpy(s->name, name, sizeof s->name - 1);
}

/* A block that is not zero. */
static struct dedupe_place store(struct ckpt_writer *w, struct dedupe_hash hash, const uint8_t *data)
{
    struct dedupe_place place = next_place(w);

    if (dedupe_find(w->dedupe, hash, &place))
        w->part.nr_equal++;
    else
        append_block(w, data);
    return place;
}

/* At most BATCH. */
static void add_batch(struct ckpt_writer *w, uint64_t block, unsigned nr, const uint8_t *data)
{
    struct space *s = &w->space[w->nr_spaces - 1];
    struct dedupe_hash hash[BATCH];
    bool zero[BATCH];

    for (unsigned i = 0; i < nr; i++) {
        const uint8_t *d = data + (size_t)i * FORMAT_BLOCK;
        zero[i] = sim_page_is_zero(d);
        if (!zero[i])
            hash[i] = dedupe_hash(w->dedupe, d, FORMAT_BLOCK);
    }
    for (unsigned i = 0; i < nr; i++) {
        struct dedupe_place place = {FORMAT_NO_CHUNK, 0};
        if (!zero[i])
            place = store(w, hash[i], data + (size_t)i * FORMAT_BLOCK);
        w->part.nr_zero += zero[i];
        add_extent(s, block + i, place);
    }
}

void ckpt_writer_blocks(struct ckpt_writer *w, uint64_t block, unsigned nr, const void *data)
{
    const uint8_t *from = data;

    w->part.nr_blocks += nr;
    atomic_fetch_add_explicit(&w->given, (uint64_t)nr * FORMAT_BLOCK, memory_order_relaxed);
    while (nr) {
        unsigned n = nr < BATCH ? nr : BATCH;
        add_batch(w, block, n, from);
        block += n;
        from += (size_t)n * FORMAT_BLOCK;
        nr -= n;
    }
}

void ckpt_writer_section(struct ckpt_writer *w, const char *name, const void *data, size_t len)
{
    uint16_t name_len = (uint16_t)strlen(name);
    uint32_t bytes = (uint32_t)len;

    SIM_BUG_ON(strlen(name) > 255 || len > UINT32_MAX, "section '%s' is too large", name);
    state_buf_put(&w->sections, &name_len, sizeof name_len);
    state_buf_put(&w->sections, name, name_len);
    state_buf_put(&w->sections, &bytes, sizeof bytes);
    state_buf_put(&w->sections, data, len);
    w->nr_sections++;
}

void ckpt_writer_hot(struct ckpt_writer *w, uint64_t block, uint32_t nr)
{
    const struct format_hot hot = {block, nr, 0};

    state_buf_put(&w->hot, &hot, sizeof hot);
    w->nr_hot++;
}

/* --- the index --- */

static void put_spaces(const struct ckpt_writer *w, struct state_buf *buf)
{
    uint32_t first = 0;

    for (uint32_t i = 0; i < w->nr_spaces; i++) {
        const struct space *s = &w->space[i];
        struct format_space f = {.nr_blocks = s->nr_blocks,
                                 .first_extent = first,
                                 .nr_extents = (uint32_t)s->nr};
        memcpy(f.name, s->name, sizeof f.name);
        state_buf_put(buf, &f, sizeof f);
        first += f.nr_extents;
    }
    for (uint32_t i = 0; i < w->nr_spaces; i++) {
        struct space *s = &w->space[i];
        if (s->nr)
            qsort(s->extent, s->nr, sizeof s->extent[0], by_block);
        state_buf_put(buf, s->extent, s->nr * sizeof s->extent[0]);
    }
}

static void build_index(const struct ckpt_writer *w, struct state_buf *buf)
{
    struct format_index_header h = {
        .magic = FORMAT_INDEX_MAGIC,
        .version = FORMAT_VERSION,
        .part = w->config.part,
        .data_bytes = w->part.data_bytes,
        .nr_spaces = w->nr_spaces,
        .nr_chunks = w->nr_chunks,
        .nr_sections = w->nr_sections,
        .nr_hot = w->nr_hot,
    };

    memcpy(h.id, w->config.id, sizeof h.id);
    for (uint32_t i = 0; i < w->nr_spaces; i++)
        h.nr_extents += (uint32_t)w->space[i].nr;
    state_buf_put(buf, &h, sizeof h);
    put_spaces(w, buf);
    state_buf_put(buf, w->chunk, w->nr_chunks * sizeof w->chunk[0]);
    state_buf_put(buf, w->hot.data, w->hot.len);
    state_buf_put(buf, w->sections.data, w->sections.len);
    uint64_t hash = file_hash(buf->data, buf->len);
    state_buf_put(buf, &hash, sizeof hash);
}

static enum sim_status write_index(struct ckpt_writer *w, const struct state_buf *index)
{
    w->part.index_bytes = index->len;
    w->part.index_xxh3 = file_hash(index->data, index->len);
    SIM_TRY(file_write_at(w->index, w->index_path, 0, index->data, index->len));
    return file_sync(w->index, w->index_path);
}

/* --- life --- */

static enum sim_status create_file(struct ckpt_writer *w, const char *kind, char **path, int *fd)
{
    char name[40];

    snprintf(name, sizeof name, "part-%04u.%s", w->config.part, kind);
    *path = sim_asprintf("%s/%s", w->config.path, name);
    *fd = openat(w->config.folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (*fd >= 0)
        return SIM_OK;
    sim_error("image file '%s': cannot create it: %m", *path);
    return SIM_ERR_IO;
}

static enum sim_status begin_data(struct ckpt_writer *w)
{
    struct format_data_header h = {
        .magic = FORMAT_DATA_MAGIC, .version = FORMAT_VERSION, .part = w->config.part};

    memcpy(h.id, w->config.id, sizeof h.id);
    SIM_TRY(append_file_create(w->data, w->data_path, &w->file));
    append_file_put(w->file, &h, sizeof h);
    return SIM_OK;
}

/* One more than cores: a compressor may wait for its turn on a core that the guest or the feeder has, and none of ours be idle then. */
static unsigned default_threads(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    return (unsigned)CPU_COUNT(&set) + 1;
}

/* The one used last is used next. */
static void make_jobs(struct ckpt_writer *w, unsigned nr)
{
    w->jobs = sim_zalloc_pages(nr * sizeof w->jobs[0]);
    w->nr_jobs = nr;
    for (unsigned i = 0; i < nr; i++)
        w->jobs[i].next = i + 1 < nr ? &w->jobs[i + 1] : NULL;
    w->free_jobs = w->jobs;
}

static enum sim_status start_threads(struct ckpt_writer *w)
{
    unsigned want = w->config.nr_threads ? w->config.nr_threads : default_threads();

    want = want < MAX_THREADS ? want : MAX_THREADS;
    make_jobs(w, want + SPARE_CHUNKS);
    for (; w->nr_threads < want; w->nr_threads++)
        SIM_TRY(sim_thread_start(&w->thread[w->nr_threads], "compress", compressor_main, w));
    return SIM_OK;
}

static enum sim_status set_up(struct ckpt_writer *w)
{
    SIM_TRY(create_file(w, "data", &w->data_path, &w->data));
    SIM_TRY(create_file(w, "index", &w->index_path, &w->index));
    SIM_TRY(begin_data(w));
    return start_threads(w);
}

enum sim_status ckpt_writer_create(const struct ckpt_writer_config *config, struct ckpt_writer **out)
{
    struct ckpt_writer *w = sim_new(struct ckpt_writer);

    w->config = *config;
    if (!w->config.level)
        w->config.level = DEFAULT_LEVEL;
    w->data = w->index = -1;
    w->part.part = config->part;
    w->queue_end = &w->queue;
    w->dedupe = dedupe_create();
    sim_mutex_init(&w->lock, SIM_RANK_LEAF);
    sim_cond_init(&w->work);
    sim_cond_init(&w->room);
    enum sim_status status = set_up(w);
    if (status != SIM_OK) {
        ckpt_writer_abort(w);
        return status;
    }
    *out = w;
    return SIM_OK;
}

static void end_threads(struct ckpt_writer *w)
{
    sim_mutex_lock(&w->lock);
    w->ending = true;
    sim_cond_broadcast(&w->work);
    sim_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->nr_threads; i++)
        sim_thread_join(&w->thread[i]);
    w->nr_threads = 0;
}

static void destroy(struct ckpt_writer *w)
{
    close_chunk(w);
    end_threads(w);
    sim_free_pages(w->jobs, w->nr_jobs * sizeof w->jobs[0]);
    for (uint32_t i = 0; i < w->nr_spaces; i++)
        sim_free(w->space[i].extent);
    sim_free(w->space);
    sim_free(w->chunk);
    dedupe_destroy(w->dedupe);
    state_buf_fini(&w->sections);
    state_buf_fini(&w->hot);
    append_file_destroy(w->file);
    if (w->data >= 0)
        close(w->data);
    if (w->index >= 0)
        close(w->index);
    sim_cond_fini(&w->room);
    sim_cond_fini(&w->work);
    sim_mutex_fini(&w->lock);
    sim_free(w->data_path);
    sim_free(w->index_path);
    sim_free(w);
}

void ckpt_writer_abort(struct ckpt_writer *w)
{
    if (w->file)
        append_file_give_up(w->file); /* compressors need not work any more */
    destroy(w);
}

/* The index is made while the disk is still at work on the last chunks. */
static enum sim_status complete(struct ckpt_writer *w)
{
    struct state_buf index = {0};

    w->part.data_bytes = append_file_bytes(w->file);
    build_index(w, &index);
    enum sim_status status = append_file_finish(w->file);
    if (status == SIM_OK)
        status = write_index(w, &index);
    state_buf_fini(&index);
    return status;
}

enum sim_status ckpt_writer_finish(struct ckpt_writer *w, struct ckpt_part *out)
{
    close_chunk(w);
    end_threads(w);
    enum sim_status status = complete(w);
    w->part.nr_sections = w->nr_sections;
    w->part.guest_bytes = w->part.nr_blocks * FORMAT_BLOCK;
    if (status == SIM_OK)
        *out = w->part;
    destroy(w);
    return status;
}
