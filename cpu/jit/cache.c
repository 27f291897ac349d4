/* Code memory: one memfd mapped twice, so that no page is ever writable and executable at once. */
#include <sys/mman.h>
#include <unistd.h>

#include "jit_priv.h"
#include "sim-core/log.h"

enum sim_status jit_cache_create(struct ir_cache *c, uint64_t size)
{
    int fd = memfd_create("partita-code", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        sim_error("cannot create %llu MiB of code memory: %m", (unsigned long long)(size >> 20));
        if (fd >= 0)
            close(fd);
        return SIM_ERR_NOMEM;
    }
    void *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    void *rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, fd, 0);
    close(fd);
    *c = (struct ir_cache){rw == MAP_FAILED ? NULL : rw, rx == MAP_FAILED ? NULL : rx, size, 0};
    if (c->rw && c->rx)
        return SIM_OK;
    sim_warn("this host gives no executable memory (%m): the guest is interpreted, which is slow");
    jit_cache_destroy(c);
    return SIM_ERR_UNSUPPORTED;
}

void jit_cache_destroy(struct ir_cache *c)
{
    if (c->rw)
        munmap(c->rw, c->size);
    if (c->rx)
        munmap(c->rx, c->size);
    c->rw = c->rx = NULL;
}
