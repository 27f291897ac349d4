/* cmocka with what it needs, and helpers of the sim-core tests. */
#ifndef SIM_TEST_H
#define SIM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits up to a minute for `cond`. */
#define EVENTUALLY(cond)                                                                           \
    do {                                                                                           \
        for (int ms_ = 0; ms_ < 60000 && !(cond); ms_++)                                           \
            poll(NULL, 0, 1);                                                                      \
        assert_true(cond);                                                                         \
    } while (0)

/* The exit code of fn in a child process without stderr; -1 when a signal ended it. */
static inline int exit_code_of(void (*fn)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
        fn();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#endif
