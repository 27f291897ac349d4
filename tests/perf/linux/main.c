/* perf-linux [-r N] [NAME...]: runs the kernels (all, or those named), each N times, and prints one PERF line for each run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "perf.h"

enum { ARENA = 64 << 20 };

extern const struct perf_kernel perf_kernels[];

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int run(const struct perf_kernel *k)
{
    void *arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED) {
        perror("arena");
        return 1;
    }
    struct perf_env env = {.arena = arena, .size = ARENA, .harts = 1};
    uint64_t start = now_ns(), sum = k->run(&env), end = now_ns();
    printf("PERF %s hart=0 ns=%llu instructions=0 sum=%llx\n", k->name, (unsigned long long)(end - start),
           (unsigned long long)sum);
    fflush(stdout);
    return munmap(arena, ARENA);
}

static int wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return 1;
    return argc == 1;
}

int main(int argc, char **argv)
{
    int failed = 0, times = 1;
    if (argc > 2 && strcmp(argv[1], "-r") == 0) {
        times = atoi(argv[2]);
        argc -= 2;
        argv += 2;
    }
    for (const struct perf_kernel *k = perf_kernels; k->name; k++)
        for (int i = 0; i < times && wanted(k->name, argc, argv); i++)
            failed |= run(k);
    return failed != 0;
}
