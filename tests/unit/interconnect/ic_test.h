/* Several ranks of one process for tests. */
#ifndef IC_TEST_H
#define IC_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "interconnect/interconnect.h"
#include "sim-core/alloc.h"
#include "sim-core/lock.h"

enum { MAX_RANKS = 16 };

struct net {
    struct ic_inproc *inproc;
    struct ic *ic[MAX_RANKS];
    unsigned nr;
};

static inline void net_open(struct net *n, unsigned nr, const struct ic_chaos *chaos,
                            const struct ic_config *config)
{
    n->nr = nr;
    assert_int_equal(ic_inproc_create(nr, chaos, &n->inproc), SIM_OK);
    for (unsigned i = 0; i < nr; i++)
        assert_int_equal(ic_inproc_join(n->inproc, (rank_t)i, config, &n->ic[i]), SIM_OK);
}

static inline void net_close(struct net *n)
{
    for (unsigned i = 0; i < n->nr; i++)
        ic_destroy(n->ic[i]);
    ic_inproc_destroy(n->inproc);
}

/* Runs fn(arg of rank) on one thread for each rank and waits for all. */
static inline void net_run(struct net *n, void *(*fn)(void *), void *args, size_t arg_size)
{
    struct sim_thread t[MAX_RANKS] = {0};

    for (unsigned i = 0; i < n->nr; i++)
        assert_int_equal(sim_thread_start(&t[i], "rank", fn, (char *)args + i * arg_size), SIM_OK);
    for (unsigned i = 0; i < n->nr; i++)
        sim_thread_join(&t[i]);
}

static inline void *net_stop_main(void *arg)
{
    ic_stop(*(struct ic **)arg);
    return NULL;
}

/* ic_stop is collective. */
static inline void net_stop(struct net *n)
{
    net_run(n, net_stop_main, n->ic, sizeof n->ic[0]);
}

/* --- what is logged --- */

struct capture {
    int saved;
    FILE *file;
};

static inline void capture_begin(struct capture *c)
{
    c->file = tmpfile();
    assert_non_null(c->file);
    c->saved = dup(STDERR_FILENO);
    dup2(fileno(c->file), STDERR_FILENO);
}

static inline void capture_end(struct capture *c)
{
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
}

/* The number of lines that contain `text`. */
static inline unsigned captured(struct capture *c, const char *text)
{
    char line[2048];
    unsigned n = 0;

    rewind(c->file);
    while (fgets(line, sizeof line, c->file))
        n += strstr(line, text) != NULL;
    return n;
}

/* Has a line with `text` come yet? While it is still being written: the descriptor's place stays where writers have it. */
static inline bool captured_yet(const struct capture *c, const char *text)
{
    char all[8192];
    ssize_t n = pread(fileno(c->file), all, sizeof all - 1, 0);

    all[n > 0 ? n : 0] = 0;
    return strstr(all, text) != NULL;
}

/* Polls all ranks until none has anything. */
static inline void net_drain(struct net *n)
{
    for (unsigned quiet = 0; quiet < 3;) {
        unsigned handled = 0;
        for (unsigned i = 0; i < n->nr; i++)
            handled += ic_poll(n->ic[i]);
        quiet = handled ? 0 : quiet + 1;
    }
}

#endif
