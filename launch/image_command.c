/* `partita image`: what can be done with images that nobody runs. */
#include "image_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "checkpoint/image.h"
#include "keyval.h"
#include "run.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { EXIT_CODE_DIFFERENT = 1, EXIT_CODE_DAMAGED = 1 };

static bool is_image(const char *path)
{
    char *file = sim_asprintf("%s/manifest.json", path);
    bool yes = access(file, F_OK) == 0;

    sim_free(file);
    return yes;
}

/* Calls fn with the path of every image folder of a store, or with the image. */
static int each_image(const char *path, int (*fn)(const char *path))
{
    struct ckpt_ref *ref;
    uint32_t nr;
    int code = 0;

    if (is_image(path))
        return fn(path);
    if (ckpt_store_list(path, &ref, &nr) != SIM_OK)
        return EXIT_CODE_USAGE;
    if (!nr) {
        sim_error("'%s' has no images", path);
        code = EXIT_CODE_USAGE;
    }
    for (uint32_t i = 0; i < nr; i++) {
        char *one = sim_asprintf("%s/%s", path, ref[i].name);
        int this = fn(one);
        code = code ? code : this;
        sim_free(one);
    }
    sim_free(ref);
    return code;
}

/* --- ls --- */

static uint64_t stored_bytes(const struct ckpt_manifest *m)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < m->nr_parts; i++)
        sum += m->part[i].data_bytes + m->part[i].index_bytes;
    return sum;
}

static uint64_t guest_bytes(const struct ckpt_manifest *m)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < m->nr_parts; i++)
        sum += m->part[i].guest_bytes;
    return sum;
}

static int ls_one(const char *path)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct ckpt_image *image;
    char when[32];

    if (!is_image(path)) {
        printf("%-8s incomplete\n", name);
        return 0;
    }
    if (ckpt_image_open(path, &image) != SIM_OK) {
        printf("%-8s damaged\n", name);
        return EXIT_CODE_DAMAGED;
    }
    const struct ckpt_manifest *m = ckpt_image_manifest(image, 0);
    time_t created = (time_t)m->created;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", localtime(&created));
    printf("%-8s %s  guest time %9.3f s  %4" PRIu32 " hart%s  %9.1f MB of %9.1f MB  %s%s\n", name,
           when, (double)m->guest_ns / 1e9, m->nr_harts, m->nr_harts == 1 ? " " : "s", (double)stored_bytes(m) / 1e6,
           (double)guest_bytes(m) / 1e6, m->incremental ? "on " : "full",
           m->incremental ? m->parent.name : "");
    ckpt_image_close(image);
    return 0;
}

static int command_ls(int argc, char **argv)
{
    (void)argc;
    return each_image(argv[0], ls_one);
}

/* --- show --- */

static void show_spaces(const struct ckpt_image *image)
{
    const struct ckpt_space *s;

    for (unsigned i = 0; (s = ckpt_image_space(image, i)); i++) {
        uint64_t zero = 0, data = 0;
        for (size_t k = 0; k < s->nr_extents; k++)
            *(s->extent[k].file == CKPT_ZERO ? &zero : &data) += s->extent[k].nr;
        printf("space %-24s %10.1f MB with data, %10.1f MB zero, %zu extents\n", s->name,
               (double)data * CKPT_BLOCK / 1e6, (double)zero * CKPT_BLOCK / 1e6, s->nr_extents);
    }
}

static void show_sections(const struct ckpt_image *image)
{
    const char *name;
    const uint8_t *data;
    size_t len;

    for (unsigned i = 0; (name = ckpt_image_section_name(image, i)); i++)
        if (ckpt_image_section(image, name, &data, &len))
            printf("section %-40s %8zu bytes\n", name, len);
}

static int command_show(int argc, char **argv)
{
    struct ckpt_image *image;
    char id[2 * CKPT_ID_BYTES + 1];
    const struct ckpt_manifest *m;

    (void)argc;
    if (ckpt_image_open(argv[0], &image) != SIM_OK)
        return EXIT_CODE_DAMAGED;
    for (unsigned i = 0; (m = ckpt_image_manifest(image, i)); i++) {
        ckpt_id_format(m->self.id, id);
        printf("%s %s id %s, %" PRIu64 " instructions, guest time %" PRIu64 " ns\n",
               i ? "stands on" : "image", m->self.name, id, m->guest_insns, m->guest_ns);
    }
    printf("machine %s\n", ckpt_image_manifest(image, 0)->machine);
    show_spaces(image);
    show_sections(image);
    ckpt_image_close(image);
    return 0;
}

/* --- verify --- */

static int verify_one(const char *path)
{
    struct ckpt_image *image;

    if (!is_image(path)) {
        printf("%s: incomplete (never finished; prune removes it)\n", path);
        return 0;
    }
    if (ckpt_image_open(path, &image) != SIM_OK) {
        printf("%s: damaged\n", path);
        return EXIT_CODE_DAMAGED;
    }
    bool good = ckpt_image_verify(image, NULL, NULL) == SIM_OK;
    printf("%s: %s\n", path, good ? "good" : "damaged");
    ckpt_image_close(image);
    return good ? 0 : EXIT_CODE_DAMAGED;
}

static int command_verify(int argc, char **argv)
{
    (void)argc;
    return each_image(argv[0], verify_one);
}

/* --- diff --- */

/* The blocks of a space that are not zero, with their hashes, in order. */
struct hashes {
    struct hashed {
        uint64_t block, hash;
    } *list;
    size_t nr, cap;
};

static void hash_block(void *opaque, uint64_t block, const uint8_t *data)
{
    struct hashes *h = opaque;

    if (data[0] == 0 && memcmp(data, data + 1, CKPT_BLOCK - 1) == 0)
        return;
    if (h->nr == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 1024;
        h->list = sim_realloc(h->list, h->cap * sizeof h->list[0]);
    }
    h->list[h->nr++] = (struct hashed){block, XXH3_64bits(data, CKPT_BLOCK)};
}

static enum sim_status hash_space(const struct ckpt_image *image, const char *name, struct hashes *h)
{
    const struct ckpt_space *s = ckpt_image_find_space(image, name);

    return s ? ckpt_image_each_block(image, s, hash_block, h) : SIM_OK;
}

/* How many blocks differ; *first is the lowest of them. */
static uint64_t count_differences(const struct hashes *a, const struct hashes *b, uint64_t *first)
{
    uint64_t n = 0;

    for (size_t i = 0, k = 0; i < a->nr || k < b->nr;) {
        uint64_t x = i < a->nr ? a->list[i].block : UINT64_MAX;
        uint64_t y = k < b->nr ? b->list[k].block : UINT64_MAX;
        bool same = x == y && a->list[i].hash == b->list[k].hash;
        if (!same && n++ == 0)
            *first = x < y ? x : y;
        i += x <= y;
        k += y <= x;
    }
    return n;
}

static enum sim_status diff_space(const struct ckpt_image *a, const struct ckpt_image *b,
                                  const char *name, bool *different)
{
    struct hashes x = {0}, y = {0};
    uint64_t first = 0, n = 0;
    enum sim_status status = hash_space(a, name, &x);

    if (status == SIM_OK)
        status = hash_space(b, name, &y);
    if (status == SIM_OK)
        n = count_differences(&x, &y, &first);
    if (n)
        printf("space %s: %" PRIu64 " blocks differ, the first at byte 0x%" PRIx64 "\n", name, n,
               first * CKPT_BLOCK);
    *different |= n != 0;
    sim_free(x.list);
    sim_free(y.list);
    return status;
}

static void diff_sections(const struct ckpt_image *a, const struct ckpt_image *b, bool *different)
{
    const uint8_t *x, *y;
    size_t xl, yl;
    const char *name;

    for (unsigned i = 0; (name = ckpt_image_section_name(a, i)); i++) {
        if (!ckpt_image_section(a, name, &x, &xl))
            continue;
        bool there = ckpt_image_section(b, name, &y, &yl);
        if (there && xl == yl && memcmp(x, y, xl) == 0)
            continue;
        printf("section %s: %s\n", name, there ? "differs" : "only in the first");
        *different = true;
    }
    for (unsigned i = 0; (name = ckpt_image_section_name(b, i)); i++) {
        if (ckpt_image_section(a, name, &x, &xl))
            continue;
        printf("section %s: only in the second\n", name);
        *different = true;
    }
}

static int diff_images(const struct ckpt_image *a, const struct ckpt_image *b)
{
    const struct ckpt_space *s;
    bool different = false;
    enum sim_status status = SIM_OK;

    diff_sections(a, b, &different);
    for (unsigned i = 0; (s = ckpt_image_space(a, i)) && status == SIM_OK; i++)
        status = diff_space(a, b, s->name, &different);
    for (unsigned i = 0; (s = ckpt_image_space(b, i)) && status == SIM_OK; i++)
        if (!ckpt_image_find_space(a, s->name))
            status = diff_space(a, b, s->name, &different);
    if (status != SIM_OK)
        return EXIT_CODE_USAGE;
    if (!different)
        puts("the same");
    return different ? EXIT_CODE_DIFFERENT : 0;
}

static int command_diff(int argc, char **argv)
{
    struct ckpt_image *a, *b;

    (void)argc;
    if (ckpt_image_open(argv[0], &a) != SIM_OK)
        return EXIT_CODE_USAGE;
    if (ckpt_image_open(argv[1], &b) != SIM_OK) {
        ckpt_image_close(a);
        return EXIT_CODE_USAGE;
    }
    int code = diff_images(a, b);
    ckpt_image_close(a);
    ckpt_image_close(b);
    return code;
}

/* --- prune, flatten --- */

static int command_prune(int argc, char **argv)
{
    struct ckpt_store *store;
    uint32_t keep = 1, removed;

    if (argc >= 2 && strcmp(argv[1] + strspn(argv[1], "-"), "keep") == 0) {
        if (argc == 2) {
            sim_error("image prune: --keep needs N, the number of images to keep");
            return EXIT_CODE_USAGE;
        }
        if (parse_u32("--keep", argv[2], &keep) != SIM_OK)
            return EXIT_CODE_USAGE;
    } else if (argc != 1) {
        sim_error("image prune: '%s' is not for it: partita image prune DIR [--keep N]", argv[1]);
        return EXIT_CODE_USAGE;
    }
    if (!keep) {
        sim_error("--keep: '0': keeps no image");
        return EXIT_CODE_USAGE;
    }
    if (access(argv[0], F_OK) < 0) {
        sim_error("image store '%s': %m", argv[0]);
        return EXIT_CODE_USAGE;
    }
    if (ckpt_store_open(argv[0], &store) != SIM_OK)
        return EXIT_CODE_USAGE;
    enum sim_status status = ckpt_store_prune(store, keep, &removed);
    ckpt_store_close(store);
    if (status != SIM_OK)
        return EXIT_CODE_USAGE;
    printf("%" PRIu32 " images removed\n", removed);
    return 0;
}

/* Whoever restores a store gets its newest image, also when that is a copy of an old one. */
static void tell_newest(const struct ckpt_image *image, const char *copy)
{
    const char *store = ckpt_image_store(image), *self = ckpt_image_manifest(image, 0)->self.name;
    struct ckpt_ref *ref;
    uint32_t nr;

    if (ckpt_store_list(store, &ref, &nr) != SIM_OK)
        return;
    if (nr >= 2 && strcmp(ref[nr - 2].name, self) != 0)
        sim_info("%s, the state of %s, is now the newest image of '%s', which restore takes", copy, self, store);
    sim_free(ref);
}

static int command_flatten(int argc, char **argv)
{
    struct ckpt_image *image;
    struct ckpt_store *store;
    struct ckpt_ref ref;

    (void)argc;
    if (ckpt_image_open(argv[0], &image) != SIM_OK)
        return EXIT_CODE_USAGE;
    enum sim_status status = ckpt_store_open(ckpt_image_store(image), &store);
    if (status == SIM_OK) {
        status = ckpt_image_flatten(image, store, &ref);
        ckpt_store_close(store);
    }
    if (status == SIM_OK) {
        printf("%s/%s\n", ckpt_image_store(image), ref.name);
        tell_newest(image, ref.name);
    }
    ckpt_image_close(image);
    return status == SIM_OK ? 0 : EXIT_CODE_USAGE;
}

/* --- the table --- */

static const struct {
    const char *name, *arguments, *help;
    int min, max;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"ls", "DIR", "the images of a store", 1, 1, command_ls},
    {"show", "IMAGE", "what an image holds", 1, 1, command_show},
    {"verify", "IMAGE|DIR", "read and check everything; 1 when something is damaged", 1, 1, command_verify},
    {"diff", "IMAGE IMAGE", "compare memory, disks and states; 1 when they differ", 2, 2, command_diff},
    {"prune", "DIR [--keep N]", "keep the N newest (1) and what they need", 1, 3, command_prune},
    {"flatten", "IMAGE", "write it as a new image, the newest, that needs no other", 1, 1, command_flatten},
};

static const char *command_name(unsigned i)
{
    return i < SIM_ARRAY_LEN(commands) ? commands[i].name : NULL;
}

static int print_help(FILE *out, int code)
{
    fputs("Usage: partita image COMMAND ...\nIMAGE is an image's folder, or a store: then its newest.\n\n",
          out);
    for (size_t i = 0; i < SIM_ARRAY_LEN(commands); i++)
        fprintf(out, "  %-8s %-16s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    return code;
}

int image_command(int argc, char **argv)
{
    if (argc < 1)
        return print_help(stderr, EXIT_CODE_USAGE);
    if (strcmp(argv[0] + strspn(argv[0], "-"), "help") == 0 || strcmp(argv[0], "-h") == 0)
        return print_help(stdout, 0);
    for (size_t i = 0; i < SIM_ARRAY_LEN(commands); i++) {
        if (strcmp(argv[0], commands[i].name) != 0)
            continue;
        if (argc - 1 < commands[i].min || argc - 1 > commands[i].max) {
            sim_error("image %s: %s: partita image %s %s", commands[i].name,
                      argc - 1 < commands[i].min ? "something is missing" : "there is too much",
                      commands[i].name, commands[i].arguments);
            return EXIT_CODE_USAGE;
        }
        return commands[i].run(argc - 1, argv + 1);
    }
    const char *near = nearest_word(argv[0], command_name);
    sim_error("unknown command 'image %s'%s%s%s", argv[0], near ? ": did you mean '" : "",
              near ? near : " (partita image --help lists them)", near ? "'?" : "");
    return EXIT_CODE_USAGE;
}
