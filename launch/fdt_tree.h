/* Writing device trees: the helpers of those who build a machine's. */
#ifndef LAUNCH_FDT_TREE_H
#define LAUNCH_FDT_TREE_H

#include <libfdt.h>
#include <stdint.h>
#include <stdio.h>

/* Writes into one growing blob; the first error sticks, as libfdt's sequential writer demands. */
struct tree {
    void *fdt;
    int error;
};

static inline void tree_check(struct tree *t, int error)
{
    if (!t->error)
        t->error = error;
}

static inline void tree_begin(struct tree *t, const char *name)
{
    tree_check(t, fdt_begin_node(t->fdt, name));
}

static inline void tree_begin_at(struct tree *t, const char *name, uint64_t addr)
{
    char buf[64];

    snprintf(buf, sizeof buf, "%s@%llx", name, (unsigned long long)addr);
    tree_begin(t, buf);
}

static inline void tree_end(struct tree *t)
{
    tree_check(t, fdt_end_node(t->fdt));
}

static inline void tree_str(struct tree *t, const char *name, const char *value)
{
    tree_check(t, fdt_property_string(t->fdt, name, value));
}

static inline void tree_u32(struct tree *t, const char *name, uint32_t value)
{
    tree_check(t, fdt_property_u32(t->fdt, name, value));
}

static inline void tree_flag(struct tree *t, const char *name)
{
    tree_check(t, fdt_property(t->fdt, name, NULL, 0));
}

static inline void tree_cells(struct tree *t, const char *name, const uint32_t *cell, unsigned n)
{
    fdt32_t *be;
    void *p;

    tree_check(t, fdt_property_placeholder(t->fdt, name, (int)(n * sizeof(*be)), &p));
    if (t->error)
        return;
    be = p;
    for (unsigned i = 0; i < n; i++)
        be[i] = cpu_to_fdt32(cell[i]);
}

static inline void tree_reg(struct tree *t, uint64_t base, uint64_t size)
{
    const uint32_t cell[] = {(uint32_t)(base >> 32), (uint32_t)base, (uint32_t)(size >> 32),
                             (uint32_t)size};

    tree_cells(t, "reg", cell, 4);
}

#endif
