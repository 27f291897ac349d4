/* A state machine which classifies number-like words of a text, character by character. */
#include "perf.h"

enum { TEXT = 8192, ROUNDS = 4000 };
enum state { START, SIGN, DIGITS, POINT, FRACTION, EXP, EXP_SIGN, EXP_DIGITS, BAD, STATES };

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static enum state step(enum state s, char c)
{
    switch (s) {
    case START:
        return is_digit(c) ? DIGITS : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : BAD;
    case SIGN:
        return is_digit(c) ? DIGITS : c == '.' ? POINT : BAD;
    case DIGITS:
        return is_digit(c) ? DIGITS : c == '.' ? FRACTION : c == 'e' ? EXP : BAD;
    case POINT:
    case FRACTION:
        return is_digit(c) ? FRACTION : c == 'e' && s == FRACTION ? EXP : BAD;
    case EXP:
        return is_digit(c) ? EXP_DIGITS : c == '+' || c == '-' ? EXP_SIGN : BAD;
    case EXP_SIGN:
    case EXP_DIGITS:
        return is_digit(c) ? EXP_DIGITS : BAD;
    default:
        return BAD;
    }
}

static uint64_t scan(const char *text, uint32_t *count)
{
    enum state s = START;
    uint64_t steps = 0;
    for (const char *p = text; *p; p++) {
        if (*p == ',') {
            count[s]++;
            s = START;
            continue;
        }
        enum state next = step(s, *p);
        steps += next != s;
        s = next;
    }
    return steps;
}

static void fill(char *text, uint64_t *seed)
{
    static const char alphabet[] = "0123456789012345.e+-,,,x";
    for (unsigned i = 0; i < TEXT - 1; i++)
        text[i] = alphabet[perf_random(seed) % (sizeof alphabet - 1)];
    text[TEXT - 1] = 0;
}

PERF_KERNEL(env)
{
    char *text = perf_alloc(env, TEXT);
    uint32_t *count = perf_alloc(env, STATES * sizeof *count);
    uint64_t seed = 3, sum = 0;
    fill(text, &seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        sum = perf_mix(sum, scan(text, count));
        text[perf_random(&seed) % (TEXT - 1)] ^= 1;
    }
    for (unsigned s = 0; s < STATES; s++)
        sum = perf_mix(sum, count[s]);
    return sum;
}
