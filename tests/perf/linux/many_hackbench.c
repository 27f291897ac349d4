/* Groups of processes in which every sender sends to every receiver: wake-ups, pipes, context switches on all harts. */
#include <sys/wait.h>
#include <unistd.h>

#include "perf.h"

enum { GROUPS = 8, SENDERS = 4, RECEIVERS = 4, ROUNDS = 60, BYTES = 100 };

struct group {
    int pipe[RECEIVERS][2];
};

static int transfer(ssize_t (*io)(int, void *, size_t), int fd, uint8_t *data)
{
    for (size_t done = 0; done < BYTES;) {
        ssize_t n = io(fd, data + done, BYTES - done);
        if (n <= 0)
            return 0;
        done += (size_t)n;
    }
    return 1;
}

static ssize_t put(int fd, void *data, size_t len)
{
    return write(fd, data, len);
}

/* The child's exit code says whether all went well. */
static void send_all(const struct group *g)
{
    uint8_t data[BYTES] = {0};

    for (unsigned round = 0; round < ROUNDS; round++)
        for (unsigned r = 0; r < RECEIVERS; r++)
            if (!transfer(put, g->pipe[r][1], data))
                _exit(1);
    _exit(0);
}

static void receive_all(const struct group *g, unsigned me)
{
    uint8_t data[BYTES];

    for (unsigned n = 0; n < ROUNDS * SENDERS; n++)
        if (!transfer(read, g->pipe[me][0], data))
            _exit(1);
    _exit(0);
}

static unsigned start_group(struct group *g)
{
    unsigned started = 0;

    for (unsigned r = 0; r < RECEIVERS; r++)
        if (pipe(g->pipe[r]))
            return 0;
    for (unsigned i = 0; i < SENDERS + RECEIVERS; i++) {
        pid_t child = fork();
        if (child == 0 && i < RECEIVERS)
            receive_all(g, i);
        if (child == 0)
            send_all(g);
        started += child > 0;
    }
    for (unsigned r = 0; r < RECEIVERS; r++) {
        close(g->pipe[r][0]);
        close(g->pipe[r][1]);
    }
    return started;
}

PERF_KERNEL(env)
{
    struct group *group = perf_alloc(env, GROUPS * sizeof(*group));
    unsigned started = 0;
    uint64_t sum = 0;

    for (unsigned i = 0; i < GROUPS; i++)
        started += start_group(&group[i]);
    for (unsigned i = 0; i < started; i++) {
        int status = -1;
        if (wait(&status) < 0)
            return 0;
        sum = perf_mix(sum, (uint64_t)status);
    }
    return started == GROUPS * (SENDERS + RECEIVERS) ? sum : 0;
}
