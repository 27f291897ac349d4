/* Layout of the files of an image: FORMAT.md says what the fields mean. */
#ifndef CHECKPOINT_FORMAT_H
#define CHECKPOINT_FORMAT_H

#include <stdint.h>

#include "sim-core/types.h"

#define FORMAT_DATA_MAGIC "PARTIDAT"
#define FORMAT_INDEX_MAGIC "PARTIIDX"
#define FORMAT_MANIFEST "manifest.json"
#define FORMAT_NO_CHUNK UINT32_MAX

enum {
    FORMAT_VERSION = 1,
    FORMAT_BLOCK = 4096,
    FORMAT_CHUNK_BLOCKS = 64,
    FORMAT_CHUNK_BYTES = FORMAT_BLOCK * FORMAT_CHUNK_BLOCKS,
    FORMAT_NAME_BYTES = 32,
    FORMAT_HASH_BYTES = 8
};

struct format_data_header {
    char magic[8];
    uint32_t version, part;
    uint8_t id[16];
};

struct format_index_header {
    char magic[8];
    uint32_t version, part;
    uint8_t id[16];
    uint64_t data_bytes;
    uint32_t nr_spaces, nr_extents, nr_chunks, nr_sections, nr_hot, zero;
};

struct format_space {
    char name[FORMAT_NAME_BYTES];
    uint64_t nr_blocks;
    uint32_t first_extent, nr_extents;
};

struct format_extent {
    uint64_t block;
    uint32_t nr, chunk, slot, zero;
};

struct format_chunk {
    uint64_t offset;
    uint32_t stored, nr_blocks;
    uint64_t xxh3;
};

struct format_hot {
    uint64_t block;
    uint32_t nr, zero;
};

_Static_assert(sizeof(struct format_data_header) == 32, "FORMAT.md");
_Static_assert(sizeof(struct format_index_header) == 64, "FORMAT.md");
_Static_assert(sizeof(struct format_space) == 48, "FORMAT.md");
_Static_assert(sizeof(struct format_extent) == 24, "FORMAT.md");
_Static_assert(sizeof(struct format_chunk) == 24, "FORMAT.md");
_Static_assert(sizeof(struct format_hot) == 16, "FORMAT.md");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "images are little-endian");

#endif
