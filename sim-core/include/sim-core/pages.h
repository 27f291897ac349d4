/* Pages of memory and of files that hold nothing: which they are. */
#ifndef SIM_CORE_PAGES_H
#define SIM_CORE_PAGES_H

#include <stdbool.h>
#include <string.h>

#include "sim-core/types.h"

/* Is the page (GUEST_PAGE_SIZE bytes) all zero? Context: any. */
static inline bool sim_page_is_zero(const void *page)
{
    const uint8_t *p = page;

    return p[0] == 0 && memcmp(p, p + 1, GUEST_PAGE_SIZE - 1) == 0;
}

/* The pages of a file [*first, *end) at or behind *first, and before what *end was, that have data; the others are holes. All of them
 * where the file cannot tell. False: there are no more. Moves the descriptor's position. Context: any. */
bool sim_file_next_data(int fd, uint64_t *first, uint64_t *end);

#endif
