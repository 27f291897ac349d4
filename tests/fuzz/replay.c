/* A fuzz target as an ordinary test: inputs from a fixed random sequence, the same in every build.
 * Usage: fuzz.NAME [FIRST [COUNT]]; says which input it was when one ends the process. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* A target's own choice of inputs; otherwise bytes at random. */
size_t fuzz_seed(uint64_t n, uint8_t *data, size_t max) __attribute__((weak));

enum { MAX_BYTES = 2000, COUNT = 1000 };

static uint64_t next(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static size_t random_bytes(uint64_t n, uint8_t *data)
{
    uint64_t state = (n + 1) * 0x9e3779b97f4a7c15ull;
    size_t len = next(&state) % MAX_BYTES;

    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(next(&state) >> 32);
    return len;
}

int main(int argc, char **argv)
{
    static uint8_t data[MAX_BYTES];
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
    uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : COUNT;

    for (uint64_t n = first; n < first + count; n++) {
        fprintf(stderr, "input %llu\n", (unsigned long long)n);
        size_t len = fuzz_seed ? fuzz_seed(n, data, sizeof data) : random_bytes(n, data);
        LLVMFuzzerTestOneInput(data, len);
    }
    return 0;
}
