/* A chain of images as one full image. */
#include <string.h>
#include <time.h>

#include "checkpoint/image.h"

static void copy_block(void *opaque, uint64_t block, const uint8_t *data)
{
    ckpt_writer_blocks(opaque, block, 1, data);
}

static void copy_sections(const struct ckpt_image *image, struct ckpt_writer *w)
{
    const char *name;
    const uint8_t *data;
    struct ckpt_hot hot;
    size_t len;

    for (unsigned i = 0; (name = ckpt_image_section_name(image, i)); i++)
        if (ckpt_image_section(image, name, &data, &len))
            ckpt_writer_section(w, name, data, len);
    for (unsigned i = 0; ckpt_image_hot(image, i, &hot); i++)
        ckpt_writer_hot(w, hot.block, hot.nr);
}

static enum sim_status copy(const struct ckpt_image *image, const struct ckpt_new *to,
                            struct ckpt_part *part)
{
    struct ckpt_writer_config config = {.folder = to->folder, .path = to->path};
    const struct ckpt_space *s;
    struct ckpt_writer *w;
    enum sim_status status = SIM_OK;

    memcpy(config.id, to->ref.id, sizeof config.id);
    SIM_TRY(ckpt_writer_create(&config, &w));
    copy_sections(image, w);
    for (unsigned i = 0; (s = ckpt_image_space(image, i)) && status == SIM_OK; i++) {
        ckpt_writer_space(w, s->name, s->nr_blocks);
        status = ckpt_image_each_block(image, s, copy_block, w);
    }
    if (status != SIM_OK) {
        ckpt_writer_abort(w);
        return status;
    }
    return ckpt_writer_finish(w, part);
}

enum sim_status ckpt_image_flatten(const struct ckpt_image *image, struct ckpt_store *store,
                                   struct ckpt_ref *out)
{
    struct ckpt_manifest m = *ckpt_image_manifest(image, 0); /* borrowed strings */
    struct ckpt_part part;
    struct ckpt_new to;

    SIM_TRY(ckpt_store_begin(store, &to));
    enum sim_status status = copy(image, &to, &part);
    m.self = to.ref;
    m.incremental = false;
    m.created = time(NULL);
    m.part = &part;
    m.nr_parts = 1;
    if (status == SIM_OK)
        status = ckpt_store_commit(store, &to, &m);
    if (status == SIM_OK)
        *out = to.ref;
    ckpt_store_end(store, &to);
    return status;
}
