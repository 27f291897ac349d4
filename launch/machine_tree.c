/* Where a machine's device tree comes from: a file, an image, or the program's own. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine_priv.h"
#include "numa.h"
#include "ranks.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"
#include "virt_x86.h"

enum { FDT_MAX_BYTES = 64 << 20, FDT_SLACK = 16384 };

static enum sim_status read_whole(const char *path, int fd, void **data, size_t *len)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FDT_MAX_BYTES) {
        sim_error("device tree '%s': not a file of a plausible size", path);
        return SIM_ERR_FORMAT;
    }
    *data = sim_zalloc((size_t)st.st_size + FDT_SLACK);
    *len = 0;
    while (*len < (size_t)st.st_size) {
        ssize_t n = read(fd, (char *)*data + *len, (size_t)st.st_size - *len);
        if (n <= 0)
            break;
        *len += (size_t)n;
    }
    return SIM_OK;
}

/* --- what the harts have not --- */

/* Writes the names of the cpu node's property back without those that are unknown: these are in *unknown. */
static int leave_known(void *fdt, int node, const char *property, char unknown[RV_ISA_NAMES_SIZE])
{
    int len;
    const char *text = fdt_getprop(fdt, node, property, &len);

    unknown[0] = 0;
    if (!text || !len || text[len - 1])
        return 0; /* the hart's parser says what is wrong */
    char *copy = sim_zalloc((size_t)len);
    memcpy(copy, text, (size_t)len);
    size_t left = strcmp(property, "riscv,isa") ? rv_isa_leave_known_list(copy, (size_t)len, unknown)
                                                : rv_isa_leave_known_string(copy, unknown);
    int error = unknown[0] ? fdt_setprop(fdt, node, property, copy, (int)left) : 0;
    sim_free(copy);
    return error;
}

/* A guest uses what its tree promises, and then meets an illegal instruction: QEMU's own tree has extensions that we have not.
 * What is said twice, or of harts that are alike, is one warning. */
static enum sim_status leave_known_extensions(const char *path, void *fdt)
{
    static const char *const properties[] = {"riscv,isa", "riscv,isa-extensions"};
    char unknown[RV_ISA_NAMES_SIZE], said[SIM_ARRAY_LEN(properties)][RV_ISA_NAMES_SIZE] = {"", ""};
    int cpus = fdt_path_offset(fdt, "/cpus"), node, error = 0;

    if (cpus < 0)
        return SIM_OK;
    fdt_for_each_subnode(node, fdt, cpus) {
        for (size_t i = 0; i < SIM_ARRAY_LEN(properties) && !error; i++) {
            error = leave_known(fdt, node, properties[i], unknown);
            bool is_said = !strcmp(unknown, said[0]) || !strcmp(unknown, said[1]);
            if (!unknown[0] || is_said)
                continue;
            sim_warn("device tree '%s': extensions that are not implemented, and not shown to the guest:%s", path, unknown);
            memcpy(said[i], unknown, sizeof unknown);
        }
    }
    if (!error)
        return SIM_OK;
    sim_error("device tree '%s': %s", path, fdt_strerror(error));
    return SIM_ERR_FORMAT;
}

enum sim_status machine_read_fdt(const char *path, void **fdt)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *data = NULL;
    size_t len = 0;

    if (fd < 0) {
        sim_error("cannot open device tree '%s': %m", path);
        return SIM_ERR_IO;
    }
    enum sim_status status = read_whole(path, fd, &data, &len);
    close(fd);
    if (status != SIM_OK)
        return status;
    int error = len < sizeof(struct fdt_header) ? -FDT_ERR_TRUNCATED : fdt_check_full(data, len);
    if (!error)
        error = fdt_open_into(data, data, (int)(fdt_totalsize(data) + FDT_SLACK / 2));
    if (error) {
        sim_error("device tree '%s' is broken: %s", path, fdt_strerror(error));
        sim_free(data);
        return SIM_ERR_FORMAT;
    }
    status = leave_known_extensions(path, data);
    if (status == SIM_OK)
        *fdt = data;
    else
        sim_free(data);
    return status;
}

/* The tree of `virt`; on several ranks with a NUMA node for each, unless the user gave nodes of his own. */
static enum sim_status build_virt(struct machine *m)
{
    const struct part_range ram = {CONFIG_RAM_BASE, m->config->memory};
    struct config c = *m->config;

    if (c.x86) {
        c.own_apics |= m->ranks != NULL;
        if (c.own_apics && c.irqfd) /* by mpirun: the command line does not know */
            sim_warn("irqfd=on has no effect: over ranks interrupts are messages");
        c.irqfd &= !c.own_apics;
        return virt_x86_build_fdt(&c, &m->fdt);
    }
    if (!m->ranks)
        return virt_build_fdt(m->config, &m->fdt);
    SIM_TRY(ranks_plan(m->ranks, c.smp, &ram, 1));
    if (c.numa.nr_nodes)
        return virt_build_fdt(&c, &m->fdt);
    numa_from_plan(ranks_get_plan(m->ranks), &c.numa);
    enum sim_status status = virt_build_fdt(&c, &m->fdt);
    config_numa_fini(&c.numa);
    return status;
}

enum sim_status machine_get_tree(struct machine *m)
{
    const struct config *config = m->config;
    const struct config_tree *t = &config->tree;

    if (!t->fdt)
        return config->dtb ? machine_read_fdt(config->dtb, &m->fdt) : build_virt(m);
    int error = fdt_check_full(t->fdt, t->size);
    m->fdt = sim_zalloc((size_t)t->size + FDT_SLACK);
    if (!error)
        error = fdt_open_into(t->fdt, m->fdt, (int)t->size + FDT_SLACK);
    if (!error)
        return SIM_OK;
    sim_error("the image's device tree is broken: %s", fdt_strerror(error));
    return SIM_ERR_FORMAT;
}
