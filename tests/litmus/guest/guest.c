/* Start, options, barrier, output and end of the guests (guest.h). */
#include "guest.h"

#include <stdarg.h>

#define UART ((volatile uint8_t *)0x10000000ul)
#define FINISHER ((volatile uint32_t *)0x100000ul)
enum { UART_LSR = 5, UART_LSR_THRE = 0x20 };

enum { FDT_BEGIN_NODE = 1, FDT_END_NODE, FDT_PROP, FDT_NOP, FDT_END = 9 };

unsigned guest_harts;
static char options[512];

static struct {
    uint32_t arrived, generation;
} barrier GUEST_PAGE_ALIGNED;
static uint32_t ready GUEST_PAGE_ALIGNED;

/* ---- the device tree: how many harts, and bootargs ---- */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static void property(const char *name, const uint8_t *value, uint32_t size)
{
    if (equal(name, "device_type") && equal((const char *)value, "cpu"))
        guest_harts++;
    if (equal(name, "bootargs"))
        for (uint32_t i = 0; i < size && i < sizeof options - 1; i++)
            options[i] = (char)value[i];
}

static void read_tree(const uint8_t *fdt)
{
    const uint8_t *p = fdt + be32(fdt + 8);
    const char *names = (const char *)fdt + be32(fdt + 12);

    for (uint32_t token; (token = be32(p)) != FDT_END;) {
        p += 4;
        if (token == FDT_BEGIN_NODE) {
            while (*p)
                p++;
            p = (const uint8_t *)(((uintptr_t)p + 4) & ~3ul);
        } else if (token == FDT_PROP) {
            uint32_t size = be32(p);
            property(names + be32(p + 4), p + 8, size);
            p += 8 + ((size + 3) & ~3u);
        }
    }
}

/* ---- options ---- */

const char *guest_option_text(const char *name)
{
    for (const char *p = options; *p;) {
        const char *n = name;
        while (*n && *p == *n)
            p++, n++;
        if (!*n && *p == '=')
            return p + 1;
        while (*p && *p != ' ')
            p++;
        while (*p == ' ')
            p++;
    }
    return NULL;
}

uint64_t guest_option(const char *name, uint64_t otherwise)
{
    const char *p = guest_option_text(name);
    uint64_t value = 0;

    if (!p)
        return otherwise;
    for (; *p >= '0' && *p <= '9'; p++)
        value = value * 10 + (uint64_t)(*p - '0');
    return value;
}

/* ---- together ---- */

void guest_barrier(void)
{
    uint32_t generation = __atomic_load_n(&barrier.generation, __ATOMIC_ACQUIRE);

    if (__atomic_add_fetch(&barrier.arrived, 1, __ATOMIC_ACQ_REL) == guest_harts) {
        __atomic_store_n(&barrier.arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&barrier.generation, generation + 1, __ATOMIC_SEQ_CST);
        return;
    }
    while (__atomic_load_n(&barrier.generation, __ATOMIC_ACQUIRE) == generation)
        guest_pause();
}

/* From start.S or start_s.S. One hart boots: it reads the tree. */
void guest_start(unsigned hart, const uint8_t *fdt, int boots)
{
    if (boots) {
        read_tree(fdt);
        if (guest_harts > GUEST_MAX_HARTS)
            guest_harts = GUEST_MAX_HARTS;
        __atomic_store_n(&ready, 1, __ATOMIC_SEQ_CST);
    }
    while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE))
        guest_pause();
    guest_main(hart);
}

/* ---- output and end ---- */

static void put(char c)
{
    while (!(UART[UART_LSR] & UART_LSR_THRE))
        ;
    UART[0] = (uint8_t)c;
}

static void put_text(const char *s)
{
    while (*s)
        put(*s++);
}

static void put_number(uint64_t value, unsigned base)
{
    char digits[24];
    unsigned n = 0;

    do
        digits[n++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (n)
        put(digits[--n]);
}

void guest_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            put_text(va_arg(args, const char *));
            break;
        case 'u':
            put_number(va_arg(args, unsigned), 10);
            break;
        case 'U':
            put_number(va_arg(args, uint64_t), 10);
            break;
        case 'x':
            put_number(va_arg(args, uint64_t), 16);
            break;
        default:
            put((char)va_arg(args, int));
            break;
        }
    }
    va_end(args);
}

void guest_end(unsigned code)
{
    *FINISHER = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

/* gcc makes calls of these. */
void *memset(void *to, int c, size_t n)
{
    for (char *p = to; n--;)
        *p++ = (char)c;
    return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
    char *p = to;

    for (const char *q = from; n--;)
        *p++ = *q++;
    return to;
}
