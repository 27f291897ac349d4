/* The file that makes one image of those of several machines. */
#include "cluster_image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint/image.h"
#include "checkpoint/store.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

enum { FORMAT = 1, ID_TEXT = 2 * CKPT_ID_BYTES + 1, FRAME_MAX = 65535 + 18 };
#define NAME_PATTERN "cluster-%9u.json"
#define NAME_FORMAT "cluster-%06u.json"

void cluster_image_begin(struct cluster_image *im)
{
    im->root = json_pack("{s:i, s:{}, s:[]}", "format", FORMAT, "machines", "nets");
}

void cluster_image_fini(struct cluster_image *im)
{
    json_decref(im->root);
    im->root = NULL;
}

/* --- machines --- */

static enum sim_status read_id(const char *path, char id[ID_TEXT])
{
    struct ckpt_image *image;

    SIM_TRY(ckpt_image_open(path, &image));
    ckpt_id_format(ckpt_image_manifest(image, 0)->self.id, id);
    ckpt_image_close(image);
    return SIM_OK;
}

enum sim_status cluster_image_add_machine(struct cluster_image *im, const char *name, const char *path)
{
    json_t *machines = json_object_get(im->root, "machines");
    char id[ID_TEXT];

    if (!path) {
        json_object_set_new(machines, name, json_pack("{s:b}", "ended", 1));
        return SIM_OK;
    }
    SIM_TRY(read_id(path, id));
    json_object_set_new(machines, name, json_pack("{s:s, s:s}", "image", strrchr(path, '/') + 1, "id", id));
    return SIM_OK;
}

enum sim_status cluster_image_find(const struct cluster_image *im, const char *dir, const char *name, char **path, const char **id)
{
    const json_t *m = json_object_get(json_object_get(im->root, "machines"), name);
    const char *image = json_string_value(json_object_get(m, "image"));

    *id = json_string_value(json_object_get(m, "id"));
    *path = NULL;
    if (json_is_true(json_object_get(m, "ended")))
        return SIM_OK;
    if (!image || strchr(image, '/') || !*id) {
        sim_error("image of a cluster in '%s': there is no machine '%s' in it", dir, name);
        return SIM_ERR_FORMAT;
    }
    *path = sim_asprintf("%s/%s/%s", dir, name, image);
    return SIM_OK;
}

/* --- frames --- */

static void add_frame(void *opaque, const struct netdev_under_way *w)
{
    char *hex = sim_zalloc(2 * w->len + 1);

    for (size_t i = 0; i < w->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", w->frame[i]);
    json_array_append_new(opaque, json_pack("{s:I, s:s}", "left_ns", (json_int_t)w->left_ns, "data", hex));
    sim_free(hex);
}

void cluster_image_add_net(struct cluster_image *im, const char *machine, unsigned number, struct netdev *n)
{
    json_t *frames = json_array();

    netdev_segment_each(n, add_frame, frames);
    json_array_append_new(json_object_get(im->root, "nets"),
                          json_pack("{s:s, s:i, s:I, s:o}", "machine", machine, "net", (int)number, "count",
                                    (json_int_t)netdev_segment_count(n), "frames", frames));
}

static int digit(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

static bool put_frame(struct netdev *n, const json_t *frame)
{
    const char *hex = json_string_value(json_object_get(frame, "data"));
    json_int_t left = json_integer_value(json_object_get(frame, "left_ns"));
    size_t len = hex ? strlen(hex) / 2 : 0;
    bool good = hex && len && len <= FRAME_MAX && left >= 0;
    uint8_t *data = sim_zalloc(len + 1);

    for (size_t i = 0; good && i < len; i++) {
        good = digit(hex[2 * i]) >= 0 && digit(hex[2 * i + 1]) >= 0;
        data[i] = good ? (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1])) : 0;
    }
    if (good)
        netdev_segment_put(n, &(struct netdev_under_way){(uint64_t)left, data, len});
    sim_free(data);
    return good;
}

static const json_t *find_net(const struct cluster_image *im, const char *machine, unsigned number)
{
    const json_t *nets = json_object_get(im->root, "nets");

    for (size_t i = 0; i < json_array_size(nets); i++) {
        const json_t *net = json_array_get(nets, i);
        const char *name = json_string_value(json_object_get(net, "machine"));
        if (name && strcmp(name, machine) == 0 && json_integer_value(json_object_get(net, "net")) == (json_int_t)number)
            return net;
    }
    return NULL;
}

enum sim_status cluster_image_load_net(const struct cluster_image *im, const char *machine, unsigned number, struct netdev *n)
{
    const json_t *net = find_net(im, machine, number), *frames = json_object_get(net, "frames");

    netdev_segment_set_count(n, (uint64_t)json_integer_value(json_object_get(net, "count")));
    for (size_t i = 0; i < json_array_size(frames); i++) {
        if (!put_frame(n, json_array_get(frames, i))) {
            sim_error("image of a cluster: a frame on its way to machine '%s' is malformed", machine);
            return SIM_ERR_FORMAT;
        }
    }
    return SIM_OK;
}

/* --- files --- */

static int by_number(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return (x > y) - (x < y);
}

/* The name is what we would give to a file of that number: cluster-1.json is somebody else's. */
static bool is_our_name(const char *name, unsigned *number)
{
    char ours[32];

    if (sscanf(name, NAME_PATTERN, number) != 1)
        return false;
    snprintf(ours, sizeof ours, NAME_FORMAT, *number);
    return strcmp(name, ours) == 0;
}

/* Those of the directory, ascending; for sim_free. */
static unsigned *numbers(const char *dir, unsigned *nr)
{
    DIR *d = opendir(dir);
    unsigned *all = NULL, n;
    const struct dirent *e;

    *nr = 0;
    while (d && (e = readdir(d))) {
        if (!is_our_name(e->d_name, &n))
            continue;
        all = sim_realloc(all, (*nr + 1) * sizeof *all);
        all[(*nr)++] = n;
    }
    if (d)
        closedir(d);
    if (all)
        qsort(all, *nr, sizeof *all, by_number);
    return all;
}

/* 0: there is none. */
static unsigned newest(const char *dir)
{
    unsigned nr, *all = numbers(dir, &nr), number = nr ? all[nr - 1] : 0;

    sim_free(all);
    return number;
}

static enum sim_status failed(const char *path)
{
    sim_error("image of a cluster '%s': %m", path);
    return SIM_ERR_IO;
}

static bool write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");
    bool ok = f && fputs(text, f) >= 0 && fputc('\n', f) >= 0 && fflush(f) == 0 && fsync(fileno(f)) == 0;

    return f && fclose(f) == 0 && ok;
}

static void sync_folder(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
}

/* Under its name it is whole. */
enum sim_status cluster_image_write(const struct cluster_image *im, const char *dir, char **path)
{
    char *text = json_dumps(im->root, JSON_INDENT(1) | JSON_SORT_KEYS);
    char *to = sim_asprintf("%s/" NAME_FORMAT, dir, newest(dir) + 1), *draft = sim_asprintf("%s.new", to);
    enum sim_status status = SIM_OK;

    if (!text || !write_text(draft, text) || rename(draft, to) < 0)
        status = failed(to);
    free(text); /* jansson's */
    sim_free(draft);
    if (status != SIM_OK) {
        sim_free(to);
        return status;
    }
    sync_folder(dir);
    *path = to;
    return SIM_OK;
}

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? sim_asprintf("%.*s", (int)(slash - path), path) : sim_strdup(".");
}

static enum sim_status parse(const char *path, struct cluster_image *im)
{
    json_error_t error;

    im->root = json_load_file(path, 0, &error);
    if (!im->root) {
        sim_error("image of a cluster '%s': %s", path, error.text);
        return SIM_ERR_FORMAT;
    }
    if (json_integer_value(json_object_get(im->root, "format")) == FORMAT)
        return SIM_OK;
    sim_error("image of a cluster '%s': it has not format %d, which is all that is known here", path, FORMAT);
    cluster_image_fini(im);
    return SIM_ERR_FORMAT;
}

enum sim_status cluster_image_read(const char *from, struct cluster_image *im, char **dir)
{
    struct stat st;
    bool is_folder = stat(from, &st) == 0 && S_ISDIR(st.st_mode);
    unsigned number = is_folder ? newest(from) : 0;

    if (is_folder && !number) {
        sim_error("'%s' has no image of a cluster (cluster-000001.json)", from);
        return SIM_ERR_INVALID;
    }
    char *path = is_folder ? sim_asprintf("%s/" NAME_FORMAT, from, number) : sim_strdup(from);
    enum sim_status status = parse(path, im);
    if (status == SIM_OK)
        *dir = folder_of(path);
    sim_free(path);
    return status;
}

/* --- pruning --- */

/* What the files that stay say: machine -> the names of its images. */
struct kept {
    json_t *images; /* NAME -> list of folders */
};

static bool note_file(struct kept *k, const char *dir, unsigned number)
{
    char *path = sim_asprintf("%s/" NAME_FORMAT, dir, number);
    struct cluster_image im = {0};
    bool good = parse(path, &im) == SIM_OK; /* who cannot be read might name any image */
    const char *name;
    json_t *m;

    json_object_foreach(json_object_get(im.root, "machines"), name, m) {
        good = good && !strchr(name, '/') && name[0] != '.'; /* no folder of anybody else's */
        if (!json_object_get(k->images, name))
            json_object_set_new(k->images, name, json_array());
        if (json_is_string(json_object_get(m, "image")))
            json_array_append(json_object_get(k->images, name), json_object_get(m, "image"));
    }
    cluster_image_fini(&im);
    sim_free(path);
    return good;
}

static enum sim_status prune_store(const char *dir, const char *machine, const json_t *images)
{
    char *path = sim_asprintf("%s/%s", dir, machine);
    uint32_t nr = (uint32_t)json_array_size(images), removed;
    const char **name = sim_new_array(const char *, nr + 1);
    struct ckpt_store *store = NULL;
    enum sim_status status = SIM_OK;

    for (uint32_t i = 0; i < nr; i++)
        name[i] = json_string_value(json_array_get(images, i));
    if (access(path, F_OK) == 0) /* it may have ended before the first image */
        status = ckpt_store_open(path, &store);
    if (store)
        status = ckpt_store_prune_but(store, name, nr, &removed);
    ckpt_store_close(store);
    sim_free(name);
    sim_free(path);
    return status;
}

/* The files first: whoever is interrupted leaves none whose images have gone. One that has gone already is none to mention. */
static enum sim_status remove_files(const char *dir, const unsigned *number, unsigned nr)
{
    for (unsigned i = 0; i < nr; i++) {
        char *path = sim_asprintf("%s/" NAME_FORMAT, dir, number[i]);
        enum sim_status status = unlink(path) < 0 && errno != ENOENT ? failed(path) : SIM_OK;
        sim_free(path);
        SIM_TRY(status);
    }
    sync_folder(dir);
    return SIM_OK;
}

static enum sim_status prune_machines(const char *dir, struct kept *k)
{
    enum sim_status status = SIM_OK;
    const char *name;
    json_t *images;

    json_object_foreach(k->images, name, images)
        if (status == SIM_OK)
            status = prune_store(dir, name, images);
    return status;
}

enum sim_status cluster_image_prune(const char *dir, unsigned keep)
{
    struct kept k = {json_object()};
    unsigned nr, *number = numbers(dir, &nr), old = nr > keep ? nr - keep : 0;
    enum sim_status status = SIM_OK;

    for (unsigned i = old; i < nr && status == SIM_OK; i++)
        status = note_file(&k, dir, number[i]) ? SIM_OK : SIM_ERR_FORMAT;
    if (status == SIM_OK)
        status = remove_files(dir, number, old);
    if (status == SIM_OK)
        status = prune_machines(dir, &k);
    json_decref(k.images);
    sim_free(number);
    return status;
}
