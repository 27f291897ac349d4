/* Command lines: words separated by NUL. Accepted ones keep the limits of struct config. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

enum { MAX_WORDS = 64, MAX_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct config *c)
{
    if (c->smp < 1 || c->smp > CONFIG_MAX_HARTS || c->memory == 0 || c->memory % 4096 ||
        c->nr_drives > CONFIG_MAX_DRIVES || c->nr_nets > CONFIG_MAX_NETS || c->nr_serials < 1 ||
        c->nr_serials > CONFIG_MAX_SERIALS || c->threads > CONFIG_MAX_THREADS)
        abort();
    for (unsigned i = 0; i < c->nr_drives; i++)
        if (!c->drive[i].file)
            abort();
    for (unsigned i = 0; i < c->nr_nets; i++)
        if (!c->net[i].backend)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    char words[MAX_BYTES + 1], *argv[MAX_WORDS];
    int argc = 0;
    struct config c;

    if (size > MAX_BYTES)
        return 0;
    memcpy(words, data, size);
    words[size] = 0;
    for (char *p = words; p <= words + size && argc < MAX_WORDS; p += strlen(p) + 1)
        argv[argc++] = p;
    for (int i = 0; i < argc; i++)
        if (strstr(argv[i], "help") || strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--h") == 0)
            return 0; /* only prints */
    if (cli_parse_run(argc, argv, &c) != CLI_RUN)
        return 0;
    check(&c);
    if (!nowhere)
        nowhere = fopen("/dev/null", "w");
    config_dump(&c, nowhere);
    config_fini(&c);
    return 0;
}
