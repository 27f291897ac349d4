/* fork, a page written by the child, exit, wait. */
#include <sys/wait.h>
#include <unistd.h>

#include "perf.h"

enum { CHILDREN = 400, BYTES = 1 << 18 };

PERF_KERNEL(env)
{
    volatile uint8_t *data = perf_alloc(env, BYTES);
    uint64_t sum = 0;
    for (unsigned i = 0; i < BYTES; i += 4096)
        data[i] = (uint8_t)(i >> 12);
    for (unsigned n = 0; n < CHILDREN; n++) {
        pid_t child = fork();
        if (child == 0) {
            for (unsigned i = 0; i < BYTES; i += 16384)
                data[i]++;
            _exit(data[(n & 15) * 16384] & 0x7f);
        }
        int status = 0;
        waitpid(child, &status, 0);
        sum = perf_mix(sum, (uint64_t)WEXITSTATUS(status));
    }
    return sum;
}
