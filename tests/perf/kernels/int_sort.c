/* Quicksort of 64-bit keys and heapsort of 32-bit keys: unpredictable branches and swaps. */
#include "perf.h"

enum { KEYS = 20000, ROUNDS = 87 };

static void insertion(uint64_t *a, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        uint64_t key = a[i];
        size_t j = i;
        for (; j > 0 && a[j - 1] > key; j--)
            a[j] = a[j - 1];
        a[j] = key;
    }
}

static void quick(uint64_t *a, size_t n)
{
    while (n > 12) {
        uint64_t pivot = a[n / 2];
        size_t i = 0, j = n - 1;
        for (;; i++, j--) {
            while (a[i] < pivot)
                i++;
            while (a[j] > pivot)
                j--;
            if (i >= j)
                break;
            uint64_t swap = a[i];
            a[i] = a[j];
            a[j] = swap;
        }
        quick(a + j + 1, n - j - 1);
        n = j + 1;
    }
    insertion(a, n);
}

static void sift(uint32_t *a, size_t root, size_t n)
{
    uint32_t value = a[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && a[child + 1] > a[child])
            child++;
        if (a[child] <= value)
            break;
        a[root] = a[child];
    }
    a[root] = value;
}

static void heap(uint32_t *a, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(a, i, n);
    for (size_t end = n - 1; end > 0; end--) {
        uint32_t top = a[0];
        a[0] = a[end];
        a[end] = top;
        sift(a, 0, end);
    }
}

PERF_KERNEL(env)
{
    uint64_t *wide = perf_alloc(env, KEYS * sizeof *wide), seed = 5, sum = 0;
    uint32_t *narrow = perf_alloc(env, KEYS * sizeof *narrow);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < KEYS; i++) {
            wide[i] = perf_random(&seed);
            narrow[i] = (uint32_t)wide[i];
        }
        quick(wide, KEYS);
        heap(narrow, KEYS);
        for (unsigned i = 1; i < KEYS; i++)
            sum += wide[i - 1] > wide[i] || narrow[i - 1] > narrow[i]; /* stays 0 */
        sum = perf_mix(sum, wide[round * 17] ^ narrow[round * 31]);
    }
    return sum;
}
