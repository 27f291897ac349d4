/* Writes 128 MiB over and over, a word in each page, and says how far it is; tells the longest time between two pages. */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

enum { BYTES = 128 << 20, PAGE = 4096, ROUNDS_BETWEEN = 20 };

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int main(void)
{
    volatile uint64_t *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t round = 0, longest = 0, last = now_ns();

    if (p == MAP_FAILED)
        return 1;
    for (;;) {
        round++;
        for (uint64_t i = 0; i < BYTES / sizeof *p; i += PAGE / sizeof *p) {
            if (round > 1 && p[i] != round - 1) {
                printf("DAMAGED page %lu\n", (unsigned long)(i / (PAGE / sizeof *p)));
                return 1;
            }
            p[i] = round;
            uint64_t now = now_ns();
            if (now - last > longest)
                longest = now - last;
            last = now;
        }
        if (round % ROUNDS_BETWEEN == 0)
            printf("ROUND %lu longest %lu us\n", (unsigned long)round, (unsigned long)(longest / 1000));
        fflush(stdout);
    }
}
