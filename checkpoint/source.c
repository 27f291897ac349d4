/* The bytes of a space: memory of this process, or a descriptor. */
#include "checkpoint/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "format.h"
#include "sim-core/log.h"
#include "sim-core/pages.h"

_Static_assert(FORMAT_BLOCK == GUEST_PAGE_SIZE, "a block is a page");

enum sim_status ckpt_source_read(const struct ckpt_source *s, uint64_t local, uint64_t nr, uint8_t *to, const char *what)
{
    size_t len = (size_t)nr * FORMAT_BLOCK;
    ssize_t n;

    if (s->bytes) {
        memcpy(to, s->bytes + local * FORMAT_BLOCK, len);
        return SIM_OK;
    }
    do {
        n = pread(s->fd, to, len, (off_t)(local * FORMAT_BLOCK));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        sim_error("%s: cannot read '%s' at block %llu: %m", what, s->name, (unsigned long long)local);
    size_t got = n < 0 ? 0 : (size_t)n;
    memset(to + got, 0, len - got); /* behind the end of an overlay's file */
    return n < 0 ? SIM_ERR_IO : SIM_OK;
}

enum sim_status ckpt_source_write(const struct ckpt_source *s, uint64_t local, uint64_t nr, const uint8_t *data, const char *what)
{
    size_t len = (size_t)nr * FORMAT_BLOCK;

    if (s->bytes) {
        memcpy(s->bytes + local * FORMAT_BLOCK, data, len);
        return SIM_OK;
    }
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(s->fd, data + done, len - done, (off_t)(local * FORMAT_BLOCK + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            sim_error("%s: cannot write block %llu of '%s': %m", what, (unsigned long long)local, s->name);
            return SIM_ERR_IO;
        }
        done += (size_t)n;
    }
    return SIM_OK;
}

/* What the host does not have is not touched, and what is zero not written: it would have to give memory for it. */
static void clear_memory(const struct ckpt_source *s, uint64_t local, uint64_t nr)
{
    for (uint64_t at = local, end = local + nr; ckpt_source_next_data(s, &at, &end); end = local + nr)
        for (; at < end; at++)
            if (!sim_page_is_zero(s->bytes + at * FORMAT_BLOCK))
                memset(s->bytes + at * FORMAT_BLOCK, 0, FORMAT_BLOCK);
}

enum sim_status ckpt_source_clear(const struct ckpt_source *s, uint64_t local, uint64_t nr, const char *what)
{
    static const uint8_t zero[FORMAT_BLOCK];

    if (s->bytes) {
        clear_memory(s, local, nr);
        return SIM_OK;
    }
    if (fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(local * FORMAT_BLOCK),
                  (off_t)(nr * FORMAT_BLOCK)) == 0)
        return SIM_OK;
    for (uint64_t i = 0; i < nr; i++) /* a file system without holes */
        SIM_TRY(ckpt_source_write(s, local + i, 1, zero, what));
    return SIM_OK;
}

bool ckpt_source_next_data(const struct ckpt_source *s, uint64_t *first, uint64_t *end)
{
    if (*end > s->nr_blocks)
        *end = s->nr_blocks;
    if (*first >= *end)
        return false;
    if (!s->bytes)
        return sim_file_next_data(s->fd, first, end);
    return !s->next_data || s->next_data(s->opaque, first, end);
}
