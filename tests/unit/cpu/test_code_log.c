/* Perf map and jitdump: what is in them is what the code cache has. */
#include "hart_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cpu/code_log.h"
#include "jit_priv.h"
#include "skip.h"

enum { A0 = 10, T0 = 5 };
/* addi a0,a0,1; bne a0,t0,-4; j . */
static const uint32_t loop[] = {0x00150513, 0xfe551ee3, 0x0000006f};

struct files {
    char folder[64], map[64], dump[96], list[96];
    char here[1024];
};

/* The machine's dumps go to a folder of their own. */
static void set_up_files(struct files *f)
{
    strcpy(f->folder, "/tmp/partita-code-log.XXXXXX");
    assert_non_null(getcwd(f->here, sizeof f->here));
    assert_non_null(mkdtemp(f->folder));
    assert_int_equal(chdir(f->folder), 0);
    snprintf(f->map, sizeof f->map, "/tmp/perf-%d.map", (int)getpid());
    snprintf(f->dump, sizeof f->dump, "%s/jit-%d.dump", f->folder, (int)getpid());
    snprintf(f->list, sizeof f->list, "%s/jit-%d.lst", f->folder, (int)getpid());
}

static void remove_files(struct files *f)
{
    unlink(f->map);
    unlink(f->dump);
    unlink(f->list);
    assert_int_equal(chdir(f->here), 0);
    rmdir(f->folder);
}

static void *contents(const char *path, size_t *size)
{
    FILE *in = fopen(path, "rb");
    char *data = test_calloc(1, 1 << 20);

    assert_non_null(in);
    *size = fread(data, 1, (1 << 20) - 1, in);
    fclose(in);
    return data;
}

static void start(struct rig *r, const struct symbols *symbols)
{
    struct rv_isa isa = rig_isa();
    const struct rv_code_log_config log = {.perf_map = true, .jitdump = true, .symbols = symbols};

    memset(r, 0, sizeof *r);
    assert_int_equal(sim_create(&r->sim), SIM_OK);
    assert_int_equal(mem_space_create(r->sim, &r->space), SIM_OK);
    assert_int_equal(mem_add_ram(r->space, "ram", RAM_BASE, RAM_SIZE), SIM_OK);
    assert_int_equal(mem_seal_ram(r->space), SIM_OK);
    struct rv_machine_config config = {.sim = r->sim, .space = r->space, .jit = true};
    assert_int_equal(rv_machine_create(&config, &r->m), SIM_OK);
    if (!r->m->jit)
        skip_because(SKIP_NO_JIT);
    assert_int_equal(rv_code_log_prepare(&log), SIM_OK);
    assert_int_equal(rv_machine_log_code(r->m, &log), SIM_OK);
    r->h = rig_add_hart(r, &isa);
    r->h->pc = RAM_BASE;
    rig_put_code(r, RAM_BASE, loop, 3);
    r->h->x[T0] = 1000000;
    vcpu_enter(&r->h->vcpu);
    r->h->slice = r->h->budget = 5000;
    jit_run(r->h);
}

static struct symbols *one_symbol(void)
{
    struct symbols *s = symbols_create();

    symbols_add(s, RAM_BASE - 0x10, 0, "counting", 8);
    symbols_seal(s);
    return s;
}

static const struct jit_region *the_region(struct rig *r)
{
    const void *code;
    const struct jit_region *region = jit_find(r->m->jit, r->h, RAM_BASE, &code);

    assert_non_null(region);
    return region;
}

static void check_map(struct rig *r, const struct files *f)
{
    const struct jit_region *region = the_region(r);
    char want[128];
    size_t size;
    char *map = contents(f->map, &size);

    snprintf(want, sizeof want, "%lx %x guest:0000000080000000 counting+0x10\n",
             (unsigned long)(uintptr_t)(r->m->jit->cache.rx + region->code.entry), region->code.host_bytes);
    assert_non_null(strstr(map, want));
    assert_non_null(strstr(map, " partita:runtime\n"));
    test_free(map);
}

static uint32_t word(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}
static uint64_t dword(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

/* Walks the records, which must fill the file; returns that of the region's code. */
static const uint8_t *find_load(const uint8_t *dump, size_t size, uint64_t code, const uint8_t **debug)
{
    const uint8_t *load = NULL;
    size_t at = word(dump + 8);

    *debug = NULL;
    assert_int_equal(word(dump), 0x4a695444);
    assert_int_equal(word(dump + 4), 1);
    while (at < size) {
        assert_true(word(dump + at + 4) >= 16 && word(dump + at + 4) <= size - at);
        if (word(dump + at) == 2 && dword(dump + at + 16) == code)
            *debug = dump + at;
        if (word(dump + at) == 0 && dword(dump + at + 32) == code)
            load = dump + at;
        at += word(dump + at + 4);
    }
    assert_int_equal(at, size);
    return load;
}

static void check_dump(struct rig *r, const struct files *f)
{
    const struct jit_region *region = the_region(r);
    const struct jit *jit = r->m->jit;
    uint64_t code = (uintptr_t)(jit->cache.rx + region->code.entry);
    size_t size, list_size;
    uint8_t *dump = contents(f->dump, &size);
    char *list = contents(f->list, &list_size);
    const uint8_t *debug, *load = find_load(dump, size, code, &debug);

    assert_non_null(load);
    assert_non_null(debug);
    assert_int_equal(dword(load + 40), region->code.host_bytes);
    assert_string_equal((const char *)load + 56, "guest:0000000080000000 counting+0x10");
    assert_memory_equal(load + 56 + strlen((const char *)load + 56) + 1, jit->cache.rw + region->code.entry, 32);
    assert_int_equal(dword(debug + 24), region->code.nr_map);
    assert_true(region->code.nr_map >= 2);
    assert_int_equal(dword(debug + 32), code); /* the first line is that of the entry */
    assert_string_equal((const char *)debug + 48, f->list);
    /* Its line in the listing is the instruction at the entry. */
    const char *line = list;
    for (uint32_t n = 1; n < word(debug + 40); n++)
        line = strchr(line, '\n') + 1;
    assert_non_null(strstr(line, "  0000000080000000  addi    a0,a0,1"));
    test_free(dump);
    test_free(list);
}

static void test_regions_are_logged(void **state)
{
    struct files f;
    struct rig rig;
    struct symbols *symbols = one_symbol();

    (void)state;
    set_up_files(&f);
    start(&rig, symbols);
    check_map(&rig, &f);
    check_dump(&rig, &f);
    rig_fini(&rig);
    symbols_destroy(symbols);
    remove_files(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_regions_are_logged)};

    return cmocka_run_group_tests_name("cpu.code_log", tests, NULL, NULL);
}
