/* Code memory: one memfd mapped twice, so that no page is ever writable and executable at once. */
#include <sys/mman.h>
#include <unistd.h>

#include "jit_priv.h"
#include "sim-core/log.h"

#define SETTLE_BYTES (1ull << 20)

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
    *c = (struct ir_cache){rw == MAP_FAILED ? NULL : rw, rx == MAP_FAILED ? NULL : rx, size, 0, 0};
    if (c->rw && c->rx)
        return SIM_OK;
    sim_warn("this host gives no executable memory (%m): the guest is interpreted, which is slow");
    jit_cache_destroy(c);
    return SIM_ERR_UNSUPPORTED;
}

/* Finished code is seldom written again, yet each mapping of a page counts as resident. */
void jit_cache_settle(struct ir_cache *c)
{
    uint64_t done = sim_align_down(c->used, SETTLE_BYTES);

    if (c->settled > done)
        c->settled = 0; /* the cache was emptied */
    if (done == c->settled)
        return;
    madvise(c->rw + c->settled, done - c->settled, MADV_DONTNEED);
    c->settled = done;
}

void jit_cache_destroy(struct ir_cache *c)
{
    if (c->rw)
        munmap(c->rw, c->size);
    if (c->rx)
        munmap(c->rx, c->size);
    c->rw = c->rx = NULL;
}
