/* Directories of images: lock, folders, the manifest that comes last, pruning. */
#include "checkpoint/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_io.h"
#include "format.h"
#include "manifest.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

#define LOCK_NAME "lock"
#define NEW_MANIFEST FORMAT_MANIFEST ".new"

struct ckpt_store {
    char *path;
    int folder, lock;
};

bool manifest_is_image_name(const char *name)
{
    size_t len = strlen(name);

    return len >= 6 && len < CKPT_NAME_BYTES && strspn(name, "0123456789") == len;
}

/* --- the lock --- */

/* An open-file-description lock: it ends with the process, however that ends, and works over NFS. */
static bool try_lock(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

static enum sim_status busy(const struct ckpt_store *s)
{
    char who[128] = "";
    ssize_t n = pread(s->lock, who, sizeof who - 1, 0);

    who[n > 0 ? strcspn(who, "\n") : 0] = 0;
    sim_error("image store '%s' is being written by another process%s%s", s->path,
              who[0] ? ": " : "", who);
    return SIM_ERR_BUSY;
}

static enum sim_status take_lock(struct ckpt_store *s)
{
    char who[128], host[64] = "?";

    s->lock = openat(s->folder, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (s->lock < 0) {
        sim_error("image store '%s': cannot write there: %m", s->path);
        return SIM_ERR_IO;
    }
    if (!try_lock(s->lock))
        return busy(s);
    (void)gethostname(host, sizeof host - 1);
    int n = snprintf(who, sizeof who, "process %d on %s\n", (int)getpid(), host);
    if (ftruncate(s->lock, 0) < 0 || pwrite(s->lock, who, (size_t)n, 0) < 0)
        sim_warn("image store '%s': cannot write into its lock file: %m", s->path);
    return SIM_OK;
}

static enum sim_status open_folder(const char *path, int *fd)
{
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0)
        return SIM_OK;
    enum sim_status status = errno == ENOENT ? SIM_ERR_NOTFOUND : SIM_ERR_IO;
    sim_error("image store '%s': %m", path);
    return status;
}

enum sim_status ckpt_store_open(const char *path, struct ckpt_store **out)
{
    struct ckpt_store *s = sim_new(struct ckpt_store);

    s->path = sim_strdup(path);
    s->folder = s->lock = -1;
    enum sim_status status = SIM_OK;
    if (mkdir(path, 0777) < 0 && errno != EEXIST) {
        sim_error("image store '%s': cannot make it: %m", path);
        status = SIM_ERR_IO;
    }
    if (status == SIM_OK)
        status = open_folder(path, &s->folder);
    if (status == SIM_OK)
        status = take_lock(s);
    if (status != SIM_OK) {
        ckpt_store_close(s);
        return status;
    }
    *out = s;
    return SIM_OK;
}

void ckpt_store_close(struct ckpt_store *s)
{
    if (!s)
        return;
    if (s->lock >= 0)
        close(s->lock);
    if (s->folder >= 0)
        close(s->folder);
    sim_free(s->path);
    sim_free(s);
}

/* --- listing --- */

static int by_name(const void *a, const void *b)
{
    const struct ckpt_ref *x = a, *y = b;
    size_t xl = strlen(x->name), yl = strlen(y->name);

    return xl != yl ? (xl < yl ? -1 : 1) : strcmp(x->name, y->name);
}

enum sim_status ckpt_store_list(const char *path, struct ckpt_ref **ref, uint32_t *nr)
{
    DIR *dir = opendir(path);
    struct ckpt_ref *list = NULL;
    const struct dirent *entry;

    if (!dir) {
        enum sim_status status = errno == ENOENT ? SIM_ERR_NOTFOUND : SIM_ERR_IO;
        sim_error("image store '%s': %m", path);
        return status;
    }
    *nr = 0;
    while ((entry = readdir(dir))) {
        if (!manifest_is_image_name(entry->d_name))
            continue;
        list = sim_realloc(list, (*nr + 1) * sizeof list[0]);
        list[*nr] = (struct ckpt_ref){0};
        strcpy(list[(*nr)++].name, entry->d_name);
    }
    closedir(dir);
    if (*nr)
        qsort(list, *nr, sizeof list[0], by_name);
    *ref = list;
    return SIM_OK;
}

/* --- removing --- */

static void remove_file(int folder, const char *name, void *opaque)
{
    (void)opaque;
    (void)unlinkat(folder, name, 0);
}

static void each_file(int folder, void (*fn)(int folder, const char *name, void *opaque),
                      void *opaque)
{
    int copy = dup(folder);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *entry;

    if (!dir)
        return;
    rewinddir(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            fn(folder, entry->d_name, opaque);
    closedir(dir);
}

/* The manifest goes first: what is half removed does not exist. */
static enum sim_status remove_image(int store, const char *store_path, const char *name)
{
    int folder = openat(store, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder >= 0) {
        if (unlinkat(folder, FORMAT_MANIFEST, 0) == 0)
            (void)fsync(folder);
        each_file(folder, remove_file, NULL);
        close(folder);
    }
    if (unlinkat(store, name, AT_REMOVEDIR) == 0)
        return SIM_OK;
    sim_error("image '%s/%s': cannot remove it: %m", store_path, name);
    return SIM_ERR_IO;
}

static bool is_complete(int store, const char *name)
{
    char file[CKPT_NAME_BYTES + sizeof FORMAT_MANIFEST + 1];

    snprintf(file, sizeof file, "%s/%s", name, FORMAT_MANIFEST);
    return faccessat(store, file, F_OK, 0) == 0;
}

/* --- making an image --- */

static enum sim_status remove_incomplete(struct ckpt_store *s, uint64_t *newest)
{
    struct ckpt_ref *ref;
    uint32_t nr;
    enum sim_status status = SIM_OK;

    SIM_TRY(ckpt_store_list(s->path, &ref, &nr));
    *newest = 0;
    for (uint32_t i = 0; i < nr && status == SIM_OK; i++) {
        *newest = strtoull(ref[i].name, NULL, 10);
        if (!is_complete(s->folder, ref[i].name))
            status = remove_image(s->folder, s->path, ref[i].name);
    }
    sim_free(ref);
    return status;
}

enum sim_status ckpt_store_begin(struct ckpt_store *s, struct ckpt_new *out)
{
    struct ckpt_new image = {.folder = -1};
    uint64_t newest;

    SIM_TRY(remove_incomplete(s, &newest));
    snprintf(image.ref.name, sizeof image.ref.name, "%06llu", (unsigned long long)newest + 1);
    if (getrandom(image.ref.id, sizeof image.ref.id, 0) != (ssize_t)sizeof image.ref.id ||
        mkdirat(s->folder, image.ref.name, 0777) < 0 ||
        (image.folder = openat(s->folder, image.ref.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
        sim_error("image '%s/%s': cannot make it: %m", s->path, image.ref.name);
        return SIM_ERR_IO;
    }
    image.path = sim_asprintf("%s/%s", s->path, image.ref.name);
    *out = image;
    return SIM_OK;
}

void ckpt_store_end(struct ckpt_store *s, struct ckpt_new *image)
{
    close(image->folder);
    if (!is_complete(s->folder, image->ref.name))
        (void)remove_image(s->folder, s->path, image->ref.name);
    sim_free(image->path);
    *image = (struct ckpt_new){.folder = -1};
}

static enum sim_status write_manifest(const struct ckpt_new *image, const char *path,
                                      const struct ckpt_manifest *m)
{
    int fd = openat(image->folder, NEW_MANIFEST, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    size_t len;

    if (fd < 0) {
        sim_error("image file '%s': cannot create it: %m", path);
        return SIM_ERR_IO;
    }
    char *text = manifest_format(m, &len);
    enum sim_status status = file_write_at(fd, path, 0, text, len);
    sim_free(text);
    if (status == SIM_OK)
        status = file_sync(fd, path);
    close(fd);
    return status;
}

enum sim_status ckpt_store_commit(struct ckpt_store *s, const struct ckpt_new *image,
                                  const struct ckpt_manifest *m)
{
    char *path = sim_asprintf("%s/%s", image->path, NEW_MANIFEST);
    enum sim_status status = write_manifest(image, path, m);

    /* The names of the parts are on the disk before the name that makes them count. */
    if (status == SIM_OK)
        status = file_sync(image->folder, image->path);
    if (status == SIM_OK &&
        renameat(image->folder, NEW_MANIFEST, image->folder, FORMAT_MANIFEST) < 0) {
        sim_error("image file '%s': cannot rename it: %m", path);
        status = SIM_ERR_IO;
    }
    sim_free(path);
    SIM_TRY(status);
    SIM_TRY(file_sync(image->folder, image->path));
    return file_sync(s->folder, s->path);
}

enum sim_status ckpt_manifest_read(int folder, const char *path, struct ckpt_manifest *out)
{
    uint8_t *text;
    size_t len;

    if (faccessat(folder, FORMAT_MANIFEST, F_OK, 0) < 0 && errno == ENOENT)
        return SIM_ERR_NOTFOUND;
    char *file = sim_asprintf("%s/%s", path, FORMAT_MANIFEST);
    enum sim_status status =
        file_read_whole(folder, FORMAT_MANIFEST, file, MANIFEST_MAX_BYTES, &text, &len);
    if (status == SIM_OK) {
        status = ckpt_manifest_parse((const char *)text, len, file, out);
        sim_free(text);
    }
    if (status == SIM_OK) {
        const char *slash = strrchr(path, '/');
        snprintf(out->self.name, sizeof out->self.name, "%s", slash ? slash + 1 : path);
    }
    sim_free(file);
    return status;
}

/* --- pruning --- */

struct prune {
    struct ckpt_ref *ref;
    struct ckpt_manifest *manifest; /* parallel; empty where there is none */
    bool *keep;
    uint32_t nr;
};

static enum sim_status read_manifest(struct ckpt_store *s, const char *name, struct ckpt_manifest *m)
{
    int folder = openat(s->folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (folder < 0)
        return SIM_ERR_NOTFOUND;
    char *path = sim_asprintf("%s/%s", s->path, name);
    enum sim_status status = ckpt_manifest_read(folder, path, m);
    sim_free(path);
    close(folder);
    return status;
}

/* Keeps image i and everything it was built on. */
static void keep_chain(struct prune *p, uint32_t i)
{
    while (!p->keep[i]) {
        p->keep[i] = true;
        if (!p->manifest[i].incremental)
            return;
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(p->ref[k].name, p->manifest[i].parent.name) == 0) {
                i = k;
                break;
            }
    }
}

static enum sim_status remove_unkept(struct ckpt_store *s, const struct prune *p, uint32_t *removed)
{
    /* Newest first: whoever is interrupted leaves no image without its parent. */
    for (uint32_t i = p->nr; i-- > 0;) {
        if (p->keep[i])
            continue;
        SIM_TRY(remove_image(s->folder, s->path, p->ref[i].name));
        *removed += p->manifest[i].part != NULL;
    }
    return SIM_OK;
}

/* All of the store. A damaged image (said so) is not ours to throw away. */
static enum sim_status list_for_pruning(struct ckpt_store *s, struct prune *p)
{
    SIM_TRY(ckpt_store_list(s->path, &p->ref, &p->nr));
    p->manifest = sim_new_array(struct ckpt_manifest, p->nr + 1);
    p->keep = sim_new_array(bool, p->nr + 1);
    for (uint32_t i = 0; i < p->nr; i++) {
        enum sim_status status = read_manifest(s, p->ref[i].name, &p->manifest[i]);
        p->keep[i] = status == SIM_ERR_FORMAT;
        if (status != SIM_OK && status != SIM_ERR_NOTFOUND && status != SIM_ERR_FORMAT)
            return status;
    }
    return SIM_OK;
}

static void prune_fini(struct prune *p)
{
    for (uint32_t i = 0; p->manifest && i < p->nr; i++)
        ckpt_manifest_fini(&p->manifest[i]);
    sim_free(p->manifest);
    sim_free(p->keep);
    sim_free(p->ref);
}

static void keep_newest(struct prune *p, uint32_t keep)
{
    for (uint32_t i = p->nr, kept = 0; i-- > 0 && kept < keep;) {
        if (!p->manifest[i].part)
            continue;
        kept++;
        keep_chain(p, i);
    }
}

static bool is_one_of(const char *const *names, uint32_t nr, const char *name)
{
    for (uint32_t i = 0; i < nr; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Newest first: those that nobody can have named yet, and those that are named. */
static void keep_named(struct prune *p, const char *const *names, uint32_t nr)
{
    bool newer = nr > 0;

    for (uint32_t i = p->nr; i-- > 0;) {
        bool named = is_one_of(names, nr, p->ref[i].name);
        newer = newer && !named;
        if (p->manifest[i].part && (named || newer))
            keep_chain(p, i);
    }
}

enum sim_status ckpt_store_prune(struct ckpt_store *s, uint32_t keep, uint32_t *removed)
{
    struct prune p = {0};
    enum sim_status status = list_for_pruning(s, &p);

    *removed = 0;
    if (status == SIM_OK) {
        keep_newest(&p, keep);
        status = remove_unkept(s, &p, removed);
    }
    prune_fini(&p);
    return status;
}

enum sim_status ckpt_store_prune_but(struct ckpt_store *s, const char *const *names, uint32_t nr, uint32_t *removed)
{
    struct prune p = {0};
    enum sim_status status = list_for_pruning(s, &p);

    *removed = 0;
    if (status == SIM_OK) {
        keep_named(&p, names, nr);
        status = remove_unkept(s, &p, removed);
    }
    prune_fini(&p);
    return status;
}
