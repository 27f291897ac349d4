/* Two processes pass a byte back and forth: system calls, scheduling, address-space switches. */
#include <sys/wait.h>
#include <unistd.h>

#include "perf.h"

enum { TURNS = 6000 };

static void echo(int from, int to)
{
    uint8_t byte;
    while (read(from, &byte, 1) == 1) {
        byte++;
        if (write(to, &byte, 1) != 1)
            break;
    }
    _exit(0);
}

PERF_KERNEL(env)
{
    int there[2], back[2];
    if (pipe(there) || pipe(back))
        return 0;
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        echo(there[0], back[1]);
    }
    uint64_t sum = env->hart;
    uint8_t byte = 0;
    for (unsigned i = 0; i < TURNS; i++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            return 0;
        sum = perf_mix(sum, byte);
    }
    close(there[0]);
    close(there[1]);
    close(back[0]);
    close(back[1]);
    return waitpid(child, NULL, 0) == child ? sum : 0;
}
