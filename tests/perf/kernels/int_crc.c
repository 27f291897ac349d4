/* CRC-16 bit by bit and CRC-32 by table. */
#include "perf.h"

enum { BYTES = 16384, ROUNDS = 850 };

static uint16_t crc16(const uint8_t *data, size_t n, uint16_t crc)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (uint16_t)(crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
    }
    return crc;
}

static void make_table(uint32_t *table)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (unsigned bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[i] = c;
    }
}

static uint32_t crc32(const uint32_t *table, const uint8_t *data, size_t n, uint32_t crc)
{
    crc = ~crc;
    for (size_t i = 0; i < n; i++)
        crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    return ~crc;
}

PERF_KERNEL(env)
{
    uint8_t *data = perf_alloc(env, BYTES);
    uint32_t *table = perf_alloc(env, 256 * sizeof *table);
    uint64_t seed = 4;
    uint32_t wide = 0;
    uint16_t narrow = 0;
    make_table(table);
    for (unsigned i = 0; i < BYTES; i++)
        data[i] = (uint8_t)perf_random(&seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        narrow = crc16(data, BYTES / 4, narrow);
        for (unsigned i = 0; i < 4; i++)
            wide = crc32(table, data, BYTES, wide);
        data[round] ^= (uint8_t)wide;
    }
    return (uint64_t)wide << 16 | narrow;
}
