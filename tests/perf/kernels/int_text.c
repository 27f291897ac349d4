/* Bytes of text: words counted, strings compared, and a small LZ compressor with its expander. */
#include "perf.h"

enum { TEXT = 1 << 16, TABLE = 4096, ROUNDS = 320 };

static void fill(uint8_t *text, uint64_t *seed)
{
    static const char *const words[] = {"page ",   "hart ", "the ", "of ", "machine ", "memory ",
                                        "return ", "a ",    "to ",  "is ", "guest\n",  "block "};
    for (unsigned at = 0; at < TEXT;) {
        const char *w = words[perf_random(seed) % (sizeof words / sizeof *words)];
        while (*w && at < TEXT)
            text[at++] = (uint8_t)*w++;
    }
}

static uint64_t count_words(const uint8_t *text, size_t n)
{
    uint64_t words = 0, lines = 0, in_word = 0;
    for (size_t i = 0; i < n; i++) {
        lines += text[i] == '\n';
        uint64_t letter = text[i] > ' ';
        words += letter & ~in_word;
        in_word = letter;
    }
    return words << 32 | lines;
}

static size_t match(const uint8_t *a, const uint8_t *b, const uint8_t *end)
{
    size_t n = 0;
    while (b + n < end && n < 255 && a[n] == b[n])
        n++;
    return n;
}

/* Records: literal {0, byte} or match {length >= 4, distance low, distance high}. */
static size_t compress(uint8_t *out, const uint8_t *in, uint32_t *table)
{
    const uint8_t *end = in + TEXT;
    size_t n = 0;
    for (const uint8_t *p = in; p < end;) {
        size_t length = 0, distance = 0;
        if (end - p >= 4) {
            uint32_t h = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
            h = h * 2654435761u >> 20;
            distance = (size_t)(p - in) - table[h];
            if (distance && distance < 65536)
                length = match(p - distance, p, end);
            table[h] = (uint32_t)(p - in);
        }
        if (length < 4) {
            out[n++] = 0;
            out[n++] = *p++;
            continue;
        }
        out[n++] = (uint8_t)length;
        out[n++] = (uint8_t)distance;
        out[n++] = (uint8_t)(distance >> 8);
        p += length;
    }
    return n;
}

static size_t expand(uint8_t *out, const uint8_t *in, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n;) {
        size_t length = in[i];
        if (length == 0) {
            out[at++] = in[i + 1];
            i += 2;
            continue;
        }
        size_t distance = in[i + 1] | (size_t)in[i + 2] << 8;
        for (; length--; at++)
            out[at] = out[at - distance];
        i += 3;
    }
    return at;
}

PERF_KERNEL(env)
{
    uint8_t *text = perf_alloc(env, TEXT), *packed = perf_alloc(env, 2 * TEXT);
    uint8_t *back = perf_alloc(env, TEXT);
    uint32_t *table = perf_alloc(env, TABLE * sizeof *table);
    uint64_t seed = 10, sum = 0;
    fill(text, &seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < TABLE; i++)
            table[i] = 0;
        size_t n = compress(packed, text, table), m = expand(back, packed, n);
        sum = perf_mix(sum, n << 32 | m);
        sum = perf_mix(sum, count_words(back, m));
        text[perf_random(&seed) % TEXT] ^= 1;
    }
    return sum;
}
