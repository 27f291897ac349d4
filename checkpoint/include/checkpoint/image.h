/* Reading an image: the chain of images it stands on, joined.
 *
 *   ckpt_image_open: manifest -> parents -> indexes checked -> for each space one list of extents, newest first
 *   ckpt_image_section: an object's saved state        ckpt_image_extent: where blocks lie
 *   ckpt_image_chunk: reads, checks and unpacks one chunk
 *
 * An open image holds its files: it stays readable when somebody removes it. Any thread may read chunks. */
#ifndef CHECKPOINT_IMAGE_H
#define CHECKPOINT_IMAGE_H

#include "checkpoint/store.h"

enum { CKPT_CHUNK_BLOCKS = 64, CKPT_CHUNK_BYTES = CKPT_CHUNK_BLOCKS * CKPT_BLOCK };

struct ckpt_image;

/* `path` is an image's folder, or a store: then its newest complete image. Everything but the chunks is read and
 * checked; what is wrong is one message with file, offset and reason. */
enum sim_status ckpt_image_open(const char *path, struct ckpt_image **out) SIM_MUST_CHECK;
void ckpt_image_close(struct ckpt_image *image); /* NULL is allowed */

/* `depth` 0 is the image itself, 1 its parent, ...; NULL past the last. */
const struct ckpt_manifest *ckpt_image_manifest(const struct ckpt_image *image, unsigned depth);
/* The store's path and the folder's. */
const char *ckpt_image_store(const struct ckpt_image *image);
const char *ckpt_image_path(const struct ckpt_image *image);

/* The saved state of `name`; *data stays the image's. False: there is none. */
bool ckpt_image_section(const struct ckpt_image *image, const char *name, const uint8_t **data,
                        size_t *len);
/* The i-th section's name, over all parts; NULL at the end. */
const char *ckpt_image_section_name(const struct ckpt_image *image, unsigned i);

/* Consecutive blocks of a space. */
struct ckpt_extent {
    uint64_t block, nr;
    uint32_t file;  /* CKPT_ZERO: zero blocks; else with chunk and slot where they lie */
    uint32_t chunk, slot;
};
#define CKPT_ZERO UINT32_MAX

struct ckpt_space {
    const char *name;
    uint64_t nr_blocks;
    const struct ckpt_extent *extent; /* sorted, no overlaps */
    size_t nr_extents;
    const uint32_t *by_chunk; /* extents with data, those of a chunk together and ascending */
    size_t nr_by_chunk;
};
/* The i-th space, or the one of that name; NULL when there is none. */
const struct ckpt_space *ckpt_image_space(const struct ckpt_image *image, unsigned i);
const struct ckpt_space *ckpt_image_find_space(const struct ckpt_image *image, const char *name);
/* The extent that has the block, or the first one behind it (nr_extents: none). */
size_t ckpt_space_search(const struct ckpt_space *s, uint64_t block);
/* Of the extents that lie in the same chunk as extent i, which has data, those around it, itself among them: at most
 * 2 * CKPT_CHUNK_BLOCKS (equal blocks may be many). They need not be neighbours: what several ranks kept interleaves. */
size_t ckpt_space_same_chunk(const struct ckpt_space *s, size_t i, const uint32_t **list);

/* The working set: blocks of ram to bring first. */
struct ckpt_hot {
    uint64_t block;
    uint32_t nr;
};
/* The i-th entry over all parts of the newest image; false at the end. */
bool ckpt_image_hot(const struct ckpt_image *image, unsigned i, struct ckpt_hot *out);

/* What a thread needs to read chunks. */
struct ckpt_reader;
struct ckpt_reader *ckpt_reader_create(void);
void ckpt_reader_destroy(struct ckpt_reader *r);
/* Reads a chunk; *data (CKPT_CHUNK_BYTES at most, *nr blocks) is valid until the reader's next call. */
enum sim_status ckpt_image_chunk(const struct ckpt_image *image, struct ckpt_reader *r, uint32_t file,
                                 uint32_t chunk, const uint8_t **data, uint32_t *nr) SIM_MUST_CHECK;
/* Calls fn for every block of the space that the image has, in order. Stops at the first error. */
enum sim_status ckpt_image_each_block(const struct ckpt_image *image, const struct ckpt_space *s,
                                      void (*fn)(void *opaque, uint64_t block, const uint8_t *data),
                                      void *opaque) SIM_MUST_CHECK;

/* Writes the image, joined with all it stands on, as a new full image of the store. */
enum sim_status ckpt_image_flatten(const struct ckpt_image *image, struct ckpt_store *store,
                                   struct ckpt_ref *out) SIM_MUST_CHECK;

/* Reads every chunk of the image and its parents; all damage is reported, not only the first. */
enum sim_status ckpt_image_verify(const struct ckpt_image *image,
                                  void (*progress)(void *opaque, uint64_t done, uint64_t total),
                                  void *opaque) SIM_MUST_CHECK;

#endif
