/* Names of guest addresses, for perf maps, traces and plugins.
 *
 *   symbols_create -> symbols_add (any order) -> symbols_seal -> symbols_find (many threads)
 *
 * Owner: whoever made it; constant once sealed. Addresses are virtual, and one table serves all address
 * spaces: a process mapped over a named address gets its name. */
#ifndef CPU_SYMBOLS_H
#define CPU_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbols;

struct symbols *symbols_create(void);
void symbols_destroy(struct symbols *s); /* NULL allowed */

/* size 0: up to the next symbol, SYMBOLS_REACH at most. `name` need not be terminated (name_len bytes). */
#define SYMBOLS_REACH (1u << 20)
void symbols_add(struct symbols *s, uint64_t addr, uint64_t size, const char *name, size_t name_len);
/* Sorts; of several names of one address the first added stays. More may be added, then seal again. */
void symbols_seal(struct symbols *s);
size_t symbols_count(const struct symbols *s); /* NULL: 0 */

/* The symbol that addr lies in: its name (owned by s) and addr's distance from its start; NULL: none.
 * s may be NULL. Context: any thread, once sealed. */
const char *symbols_find(const struct symbols *s, uint64_t addr, uint64_t *offset);
/* "name" or "name+0x1c", or "" when there is none; at most size - 1 characters. Returns buf. */
char *symbols_format(const struct symbols *s, uint64_t addr, char *buf, size_t size);

#endif
