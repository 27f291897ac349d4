/* A store in a temporary directory, and images in it whose blocks can be told from each other. */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint/image.h"
#include "sim-core/alloc.h"

struct store_fixture {
    char dir[64];  /* removed at the end */
    char store[80];
};

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int set_up_store(void **state)
{
    struct store_fixture *f = sim_new(struct store_fixture);
    const char *tmp = getenv("TMPDIR");

    snprintf(f->dir, sizeof f->dir, "%.30s/partita-ckpt.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->store, sizeof f->store, "%s/store", f->dir);
    *state = f;
    return 0;
}

static inline int tear_down_store(void **state)
{
    struct store_fixture *f = *state;

    nftw(f->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    sim_free(f);
    return 0;
}

#define STORE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up_store, tear_down_store)

/* stderr goes nowhere while something is expected to fail. */
static inline int hush(void)
{
    int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

    dup2(null, STDERR_FILENO);
    close(null);
    return saved;
}

static inline void unhush(int saved)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

/* Block `n` of generation `g`: hardly compressible, different for each pair. */
static inline void fill_block(uint8_t *data, uint64_t n, uint64_t g)
{
    uint64_t x = (n * 1000003 + g + 1) * 0x9e3779b97f4a7c15ull;

    for (unsigned i = 0; i < CKPT_BLOCK; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(data + i, &x, 8);
    }
}

/* Which blocks an image gets: [from, to) in steps, of a generation. */
struct plan {
    uint64_t from, to, step, generation;
};

static inline void give_blocks(struct ckpt_writer *w, const struct plan *p)
{
    uint8_t data[CKPT_BLOCK];

    for (uint64_t n = p->from; n < p->to; n += p->step) {
        fill_block(data, n, p->generation);
        ckpt_writer_blocks(w, n, 1, data);
    }
}

static inline enum sim_status write_part(const struct ckpt_new *image, uint32_t part,
                                         const struct plan *plan, struct ckpt_part *out)
{
    struct ckpt_writer_config config = {
        .folder = image->folder, .path = image->path, .part = part, .nr_threads = 2};
    struct ckpt_writer *w;
    char name[32];

    memcpy(config.id, image->ref.id, sizeof config.id);
    if (ckpt_writer_create(&config, &w) != SIM_OK)
        return SIM_ERR_IO;
    ckpt_writer_space(w, "ram", 1 << 20);
    give_blocks(w, plan);
    snprintf(name, sizeof name, "hart/%u", part);
    ckpt_writer_section(w, name, name, strlen(name));
    ckpt_writer_hot(w, plan->from, 3);
    return ckpt_writer_finish(w, out);
}

/* An image of as many parts as there are plans, on `parent` (NULL: a full one). */
static inline enum sim_status write_image(struct ckpt_store *s, const struct ckpt_ref *parent,
                                          const struct plan *plan, uint32_t nr, struct ckpt_ref *out)
{
    struct ckpt_new image;
    struct ckpt_part part[4];
    struct ckpt_manifest m = {.part = part, .nr_parts = nr, .machine = (char *)"{\"smp\": 1}"};
    enum sim_status status = ckpt_store_begin(s, &image);

    if (status != SIM_OK)
        return status;
    for (uint32_t i = 0; i < nr && status == SIM_OK; i++)
        status = write_part(&image, i, &plan[i], &part[i]);
    m.self = image.ref;
    m.incremental = parent != NULL;
    if (parent)
        m.parent = *parent;
    if (status == SIM_OK)
        status = ckpt_store_commit(s, &image, &m);
    if (out)
        *out = image.ref;
    ckpt_store_end(s, &image);
    return status;
}

#endif
