/* Images from anywhere: manifests, and indexes whose checksum is right. What is accepted can be read to its end. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/image.h"
#include "file_io.h"
#include "image_config.h"
#include "index.h"
#include "sim-core/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quiet(void)
{
    static bool done;

    if (!done)
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    done = true;
}

/* The members that FORMAT.md promises are so, or the index was refused. */
static void check_index(const uint8_t *data, size_t size)
{
    uint8_t *bytes = sim_zalloc(size + sizeof(uint64_t) + 1);
    struct index x;

    memcpy(bytes, data, size);
    uint64_t hash = file_hash(bytes, size);
    memcpy(bytes + size, &hash, sizeof hash);
    if (index_parse(bytes, size + sizeof hash, "fuzz", &x) != SIM_OK)
        return;
    for (uint32_t s = 0; s < x.header->nr_spaces; s++) {
        uint64_t from = 0;
        for (uint32_t i = 0; i < x.space[s].nr_extents; i++) {
            const struct format_extent *e = &x.extent[x.space[s].first_extent + i];
            if (e->block < from)
                abort();
            if (e->chunk != FORMAT_NO_CHUNK && e->slot + (uint64_t)e->nr > x.chunk[e->chunk].nr_blocks)
                abort();
            from = e->block + e->nr;
        }
    }
    for (uint32_t i = 0; i < x.header->nr_sections; i++)
        if (strlen(x.section[i].name) > 255 || file_hash(x.section[i].data, x.section[i].len) == 1)
            abort(); /* the hash reads all of it */
    index_fini(&x);
}

/* The text with the right last line. */
static void check_manifest(const uint8_t *data, size_t size)
{
    char *text = sim_asprintf("%.*s", (int)size, (const char *)data);
    size_t len = strlen(text);
    char *whole = sim_asprintf("%s\"xxh3\": \"%016llx\"}\n", text,
                               (unsigned long long)file_hash(text, len));
    struct ckpt_manifest m;
    struct config c;

    if (ckpt_manifest_parse(whole, strlen(whole), "fuzz", &m) == SIM_OK) {
        if (!m.nr_parts || !m.machine)
            abort();
        if (image_config_parse(m.machine, "fuzz", &c) == SIM_OK)
            config_fini(&c);
        ckpt_manifest_fini(&m);
    }
    sim_free(whole);
    sim_free(text);
}

/* Inputs of the replay: an index that is nearly right, or a manifest that is. */
size_t fuzz_seed(uint64_t n, uint8_t *data, size_t max)
{
    static const char manifest[] =
        "{\"format\": \"partita-image\", \"version\": 1, \"id\": \"00112233445566778899aabbccddeeff\","
        "\"machine\": {\"smp\": 1, \"serial\": [\"null\"], \"drives\": [{\"file\": \"x\"}]},"
        "\"parts\": [{\"part\": 0, \"data_bytes\": 1, \"index_bytes\": 2, \"index_xxh3\": \"0123456789abcdef\"}],\n";
    struct format_index_header h = {.magic = FORMAT_INDEX_MAGIC, .version = 1, .data_bytes = 5000,
                                    .nr_spaces = 1, .nr_extents = 2, .nr_chunks = 1, .nr_sections = 1};
    struct format_space s = {.name = "ram", .nr_blocks = 9, .nr_extents = 2};
    struct format_extent e[2] = {{0, 2, 0, 0, 0}, {5, 1, FORMAT_NO_CHUNK, 0, 0}};
    struct format_chunk c = {.offset = 32, .stored = 100, .nr_blocks = 2};
    size_t len = 1;

    data[0] = (uint8_t)n;
    if (n & 1) {
        memcpy(data + 1, manifest, sizeof manifest - 1);
        len += sizeof manifest - 1;
    } else {
        memcpy(data + len, &h, sizeof h), len += sizeof h;
        memcpy(data + len, &s, sizeof s), len += sizeof s;
        memcpy(data + len, e, sizeof e), len += sizeof e;
        memcpy(data + len, &c, sizeof c), len += sizeof c;
        memcpy(data + len, "\4\0hart\3\0\0\0abc", 13), len += 13;
    }
    for (uint64_t x = n * 0x9e3779b97f4a7c15ull; n > 1 && x; x >>= 21) /* up to four changed bytes */
        data[1 + x % (len - 1)] = (uint8_t)(x >> 12);
    (void)max;
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    quiet();
    if (!size)
        return 0;
    if (data[0] & 1)
        check_manifest(data + 1, size - 1);
    else
        check_index(data + 1, size - 1);
    return 0;
}
