/* Code memory: shared pages mapped twice, so that no page is ever writable and executable at once. They are
 * anonymous, not a memfd's: perf looks into a perf map (observe/perf_map.c) only for code that belongs to no file. */
#include <sys/mman.h>
#include <unistd.h>

#include "jit_priv.h"
#include "sim-core/log.h"

#define SETTLE_BYTES (1ull << 20)

/* The pages of a shared mapping at another address, too; MAP_FAILED: no. */
static void *map_again(void *pages, uint64_t size)
{
    void *p = mremap(pages, 0, size, MREMAP_MAYMOVE);

    if (p != MAP_FAILED && mprotect(p, size, PROT_READ | PROT_EXEC) < 0) {
        munmap(p, size);
        p = MAP_FAILED;
    }
    return p;
}

enum sim_status jit_cache_create(struct ir_cache *c, uint64_t size)
{
    void *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (rw == MAP_FAILED) {
        sim_error("cannot create %llu MiB of code memory: %m", (unsigned long long)(size >> 20));
        return SIM_ERR_NOMEM;
    }
    void *rx = map_again(rw, size);
    *c = (struct ir_cache){rw, rx == MAP_FAILED ? NULL : rx, size, 0, 0};
    if (c->rx)
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
