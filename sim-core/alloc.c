/* The simulator's own memory. A host that cannot give small structures ends the run. */
#include "sim-core/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim-core/log.h"

static void *checked(void *p, size_t size)
{
    SIM_BUG_ON(!p, "the host has no memory for %zu bytes", size);
    return p;
}

void *sim_try_alloc(size_t size)
{
    return calloc(1, size ? size : 1);
}

void *sim_zalloc(size_t size)
{
    return checked(sim_try_alloc(size), size);
}

void *sim_zalloc_aligned(size_t align, size_t size)
{
    void *p = NULL;

    if (posix_memalign(&p, align, size ? size : 1))
        p = NULL;
    return memset(checked(p, size), 0, size);
}

static void *map(size_t size, int sharing)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

    return checked(p == MAP_FAILED ? NULL : p, size);
}

void *sim_zalloc_pages(size_t size)
{
    return map(size, MAP_PRIVATE);
}

void *sim_zalloc_read_first(size_t size)
{
    return map(size, MAP_SHARED);
}

void sim_free_pages(void *p, size_t size)
{
    if (p)
        munmap(p, size);
}

void *sim_realloc(void *p, size_t size)
{
    return checked(realloc(p, size ? size : 1), size);
}

char *sim_strdup(const char *s)
{
    size_t len = strlen(s) + 1;

    return memcpy(sim_zalloc(len), s, len);
}

char *sim_asprintf(const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;

    va_start(ap, fmt);
    if (vasprintf(&s, fmt, ap) < 0)
        s = NULL;
    va_end(ap);
    return checked(s, strlen(fmt));
}

void sim_free(void *p)
{
    free(p);
}
