/* Memory of the simulator itself (guest RAM is mem/ram). Only sim-core calls the C allocator.
 * Small fixed structures use the sim_new family, which never fails (a host without room for them
 * cannot go on: message and exit). What a user's configuration sizes uses sim_try_alloc. */
#ifndef SIM_CORE_ALLOC_H
#define SIM_CORE_ALLOC_H

#include <stdarg.h>
#include <stddef.h>

#include "sim-core/compiler.h"

/* Zeroed memory; never NULL. Free with sim_free. Context: any. */
void *sim_zalloc(size_t size);
void *sim_zalloc_aligned(size_t align, size_t size);
void *sim_realloc(void *p, size_t size);
char *sim_strdup(const char *s);
char *sim_asprintf(const char *fmt, ...) SIM_PRINTF(1, 2);
/* Zeroed memory or NULL; logs nothing. */
void *sim_try_alloc(size_t size) SIM_MUST_CHECK;
void sim_free(void *p); /* NULL is allowed */
/* Zeroed memory in whole pages, page-aligned; never NULL. The host gives each page when it is first written: large
 * structures of which little is used cost little. Free with sim_free_pages and the same size. Context: any. */
void *sim_zalloc_pages(size_t size);
/* The same for tables that are read before they are written, as caches are. The host gives a page when it is first touched:
 * what sim_zalloc_pages returns has a common page of zeros until it is written, and to replace that all of the
 * process's cores are interrupted. A child that is forked would share it. */
void *sim_zalloc_read_first(size_t size);
void sim_free_pages(void *p, size_t size); /* NULL is allowed */

#define sim_new(type) ((type *)sim_zalloc(sizeof(type)))
#define sim_new_array(type, n) ((type *)sim_zalloc(sizeof(type) * (size_t)(n)))

#endif
