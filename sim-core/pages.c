/* Which pages of a file have data. */
#include "sim-core/pages.h"

#include <errno.h>
#include <unistd.h>

bool sim_file_next_data(int fd, uint64_t *first, uint64_t *end)
{
    off_t data = lseek(fd, (off_t)(*first << GUEST_PAGE_BITS), SEEK_DATA);

    if (data < 0)
        return errno != ENXIO;
    off_t hole = lseek(fd, data, SEEK_HOLE);
    uint64_t behind = ((uint64_t)hole + GUEST_PAGE_SIZE - 1) >> GUEST_PAGE_BITS;
    *first = (uint64_t)data >> GUEST_PAGE_BITS;
    if (hole >= 0 && behind < *end)
        *end = behind;
    return *first < *end;
}
