/* Ring 3. */
#include "guest.h"

enum { PAGE = 4096, STEPS = 2000000, TOUCHES = 64 };

u64 worker_compute(u64 x, u64 n)
{
    while (n--) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

/* Words of pages all over the data. */
static u64 touch(u64 x, u8 *data)
{
    for (u32 i = 0; i < TOUCHES; i++) {
        u64 *word = (u64 *)(data + (x >> 20) % DATA_PAGES * PAGE + (x >> 8) % (PAGE / 8) * 8);
        *word += x;
        x = worker_compute(x + *word + 1, 5);
    }
    return x;
}

u64 worker(u32 cpu, u8 *data, u64 (*call)(u64 number, u64 argument))
{
    u64 x = 0x9e3779b97f4a7c15ul * (cpu + 1);

    do {
        x = touch(worker_compute(x, STEPS), data);
    } while (call(CALL_ROUND, x));
    for (u32 page = 0; page < DATA_PAGES; page++)
        for (u32 i = 0; i < PAGE / 8; i += 8)
            x = (x << 1 | x >> 63) ^ ((u64 *)(data + page * PAGE))[i];
    call(CALL_DONE, x);
    return x;
}
