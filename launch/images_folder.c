/* Can images be written to their directory, and do all ranks see it? The first leaves a file there, the others look for it: before the
 * guest runs, not when the first image fails. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "images.h"
#include "ranks_priv.h"
#include "sim-core/alloc.h"

enum { NAME_BYTES = 32 };

/* Rank 0; an empty name: that cannot be, and was said. */
static void leave_file(const char *dir, char name[NAME_BYTES])
{
    uint64_t random = 0;

    name[0] = 0;
    (void)getrandom(&random, sizeof random, 0);
    (void)mkdir(dir, 0777);
    char file[NAME_BYTES];
    snprintf(file, sizeof file, ".seen-%016llx", (unsigned long long)random);
    char *path = sim_asprintf("%s/%s", dir, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        sim_error("--checkpoint-dir '%s': cannot write there: %m", dir);
    } else {
        close(fd);
        snprintf(name, NAME_BYTES, "%s", file);
    }
    sim_free(path);
}

static bool sees(const char *dir, const char *name)
{
    char *path = sim_asprintf("%s/%s", dir, name);
    bool there = access(path, F_OK) == 0;

    sim_free(path);
    return there;
}

static void remove_file(const char *dir, const char *name)
{
    char *path = sim_asprintf("%s/%s", dir, name);

    (void)unlink(path);
    sim_free(path);
}

/* Each rank's answer to all; the first rank names the first that does not see it. */
static enum sim_status compare(struct ranks *r, const char *dir, bool mine, void **all, uint32_t *lens)
{
    const uint8_t answer = mine;
    enum sim_status status = SIM_OK;

    SIM_TRY(ic_gather(r->ic, &answer, sizeof answer, all, lens));
    for (rank_t i = 0; i < ic_nr_ranks(r->ic) && status == SIM_OK; i++) {
        if (lens[i] == sizeof answer && *(const uint8_t *)all[i])
            continue;
        status = SIM_ERR_INVALID;
        if (ic_rank(r->ic) == 0)
            sim_error("--checkpoint-dir '%s': %s does not see there what rank 0 writes: all ranks need one directory", dir,
                      ic_rank_name(r->ic, i));
    }
    ic_gather_free(r->ic, all);
    return status;
}

static enum sim_status look_for_file(struct ranks *r, const char *dir, void **all, uint32_t *lens)
{
    char name[NAME_BYTES] = "";
    bool first = ic_rank(r->ic) == 0;

    if (first)
        leave_file(dir, name);
    SIM_TRY(ic_gather(r->ic, name, sizeof name, all, lens));
    if (!first && lens[0] == sizeof name)
        memcpy(name, all[0], sizeof name);
    name[sizeof name - 1] = 0;
    ic_gather_free(r->ic, all);
    if (!name[0])
        return SIM_ERR_IO; /* the first rank has said why */
    enum sim_status status = compare(r, dir, sees(dir, name), all, lens);
    if (first)
        remove_file(dir, name);
    return status;
}

enum sim_status images_try_folder(const char *dir)
{
    char name[NAME_BYTES];

    leave_file(dir, name);
    if (!name[0])
        return SIM_ERR_IO;
    remove_file(dir, name);
    return SIM_OK;
}

enum sim_status ranks_check_folder(struct ranks *r)
{
    const char *dir = r->config->checkpoint.dir;
    size_t nr = (size_t)ic_nr_ranks(r->ic);

    if (!dir)
        return SIM_OK;
    void **all = sim_new_array(void *, nr);
    uint32_t *lens = sim_new_array(uint32_t, nr);
    enum sim_status status = look_for_file(r, dir, all, lens);
    sim_free(lens);
    sim_free(all);
    return status;
}
