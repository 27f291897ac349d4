/* Messages to the user and internal checks. Everything goes to stderr, one write per message. */
#ifndef SIM_CORE_LOG_H
#define SIM_CORE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "sim-core/compiler.h"

/* "partita: error: ..." / "partita: warning: ..." / "partita: ...". A trailing newline is added.
 * printf formats, %m allowed. Context: any thread. May block on stderr. */
void sim_error(const char *fmt, ...) SIM_PRINTF(1, 2);
void sim_warn(const char *fmt, ...) SIM_PRINTF(1, 2);
void sim_info(const char *fmt, ...) SIM_PRINTF(1, 2);

/* What this thread logs from here on is also appended to `kept` (a string; lines that do not fit are left out), and is
 * written only when `write_too`. sim_log_keep_end ends that. For ranks that find the same thing wrong: one of them says
 * it; and for clients of a socket, who do not see stderr. Context: any; not nested. */
struct sim_log_kept {
    size_t len;
    bool write_too;
    char text[2048];
};
void sim_log_keep(struct sim_log_kept *kept);
void sim_log_keep_end(void);
/* Writes what was kept. */
void sim_log_write_kept(const struct sim_log_kept *kept);
/* The first error that was kept, without "partita: error: ": whoever finds a thing wrong first says what it is. The caller
 * frees it (sim_free); NULL: none. */
char *sim_log_first_error(const struct sim_log_kept *kept);

/* Reports a bug of Partita with its place and aborts with exit code 70 (EX_SOFTWARE) after running
 * the handlers registered with sim_at_bug(). */
SIM_NORETURN SIM_COLD void sim_bug(const char *file, int line, const char *cond, const char *fmt, ...)
    SIM_PRINTF(4, 5);

/* Registers one function to be called before the process dies from sim_bug(): the terminal restores
 * its mode here. At most 4. Context: launch thread, before executors start. */
void sim_at_bug(void (*fn)(void));

#define SIM_BUG_ON(cond, ...)                                                                      \
    do {                                                                                           \
        if (SIM_UNLIKELY(cond))                                                                    \
            sim_bug(__FILE__, __LINE__, #cond, __VA_ARGS__);                                       \
    } while (0)

#ifdef NDEBUG
#define SIM_ASSERT(cond) ((void)sizeof(cond))
#else
#define SIM_ASSERT(cond) SIM_BUG_ON(!(cond), "assertion failed")
#endif

#endif
