/* ELF symbol tables and nm-like text -> struct symbols. Each value is checked before it is used. */
#include "symbol_files.h"

#include <ctype.h>
#include <elf.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "elf_image.h"
#include "sim-core/alloc.h"

enum { MAX_TEXT = 256 << 20 };

/* --- ELF --- */

static bool section_at(const struct input_file *f, const Elf64_Ehdr *h, unsigned n, Elf64_Shdr *out)
{
    uint64_t at = h->e_shoff + (uint64_t)n * sizeof *out;

    return n < h->e_shnum && at >= h->e_shoff && f->size >= sizeof *out && at <= f->size - sizeof *out &&
           input_file_read(f, at, out, sizeof *out) == SIM_OK && out->sh_offset <= f->size &&
           out->sh_size <= f->size - out->sh_offset;
}

/* The section's bytes and one NUL more; NULL: not to be had. */
static char *section_bytes(const struct input_file *f, const Elf64_Shdr *s)
{
    char *bytes = s->sh_size <= MAX_TEXT ? sim_try_alloc(s->sh_size + 1) : NULL;

    if (bytes && input_file_read(f, s->sh_offset, bytes, s->sh_size) != SIM_OK) {
        sim_free(bytes);
        bytes = NULL;
    }
    return bytes;
}

/* Code and what assembly leaves without a type; "$x" and the like mark code for disassemblers. */
static bool is_wanted(const Elf64_Sym *y, const char *name)
{
    unsigned type = ELF64_ST_TYPE(y->st_info);

    return (type == STT_FUNC || type == STT_NOTYPE || type == STT_GNU_IFUNC) && y->st_shndx != SHN_UNDEF &&
           y->st_shndx < SHN_LORESERVE && name[0] && name[0] != '$' && strncmp(name, ".L", 2) != 0;
}

static void add_table(const struct input_file *f, const Elf64_Shdr *table, const Elf64_Shdr *strings,
                      uint64_t bias, struct symbols *out)
{
    Elf64_Sym *sym = (Elf64_Sym *)(void *)section_bytes(f, table);
    char *text = section_bytes(f, strings);

    for (uint64_t n = 0; sym && text && n < table->sh_size / sizeof *sym; n++) {
        if (sym[n].st_name >= strings->sh_size)
            continue;
        const char *name = text + sym[n].st_name;
        if (is_wanted(&sym[n], name))
            symbols_add(out, sym[n].st_value + bias, sym[n].st_size, name, strlen(name));
    }
    sim_free(sym);
    sim_free(text);
}

static void read_elf(const struct input_file *f, uint64_t bias, struct symbols *out)
{
    static const uint32_t kinds[] = {SHT_SYMTAB, SHT_DYNSYM};
    Elf64_Ehdr h;
    Elf64_Shdr table, strings;
    size_t before = symbols_count(out);

    if (f->size < sizeof h || input_file_read(f, 0, &h, sizeof h) != SIM_OK ||
        h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB)
        return;
    for (unsigned k = 0; k < 2 && symbols_count(out) == before; k++)
        for (unsigned n = 0; n < h.e_shnum; n++)
            if (section_at(f, &h, n, &table) && table.sh_type == kinds[k] &&
                section_at(f, &h, table.sh_link, &strings))
                add_table(f, &table, &strings, bias, out);
}

/* --- text --- */

/* "ADDRESS TYPE NAME [...]"; other lines are passed over. */
static void add_line(const char *line, const char *end, uint64_t bias, struct symbols *out)
{
    char *after;
    uint64_t addr = strtoull(line, &after, 16);

    if (after == line || after + 3 >= end || after[0] != ' ' || !isalpha((unsigned char)after[1]) ||
        after[2] != ' ' || !strchr("tTwWvViu", after[1]))
        return;
    const char *name = after + 3;
    size_t len = strcspn(name, " \t\r\n");
    if (len && name[0] != '$')
        symbols_add(out, addr + bias, 0, name, len);
}

static enum sim_status read_text(const struct input_file *f, uint64_t bias, struct symbols *out)
{
    char *text = f->size <= MAX_TEXT ? sim_try_alloc(f->size + 1) : NULL;

    if (!text) {
        input_file_error(f, "is too large for a list of symbols (%" PRIu64 " bytes)", f->size);
        return SIM_ERR_NOMEM;
    }
    enum sim_status status = input_file_read(f, 0, text, f->size);
    for (char *line = text, *end; status == SIM_OK && (end = strchr(line, '\n')); line = end + 1)
        add_line(line, end, bias, out);
    sim_free(text);
    return status;
}

/* --- files --- */

enum sim_status symbol_file_read(const struct input_file *f, uint64_t bias, struct symbols *out)
{
    size_t before = symbols_count(out);

    if (elf_is_elf(f))
        read_elf(f, bias, out);
    else
        SIM_TRY(read_text(f, bias, out));
    if (symbols_count(out) > before)
        return SIM_OK;
    input_file_error(f, "has no symbols (an ELF file that is not stripped, or lines as nm prints them)");
    return SIM_ERR_FORMAT;
}

/* What is loaded anyway may name itself; that it does not is no error. */
static void read_if_elf(const char *option, const char *path, struct symbols *out)
{
    struct input_file f;

    if (!path || strcmp(path, "none") == 0 || strcmp(path, "default") == 0 ||
        input_file_open(option, path, &f) != SIM_OK)
        return;
    if (elf_is_elf(&f))
        read_elf(&f, 0, out);
    input_file_close(&f);
}

static enum sim_status read_named(const struct config_symbols *from, struct symbols *out)
{
    struct input_file f;

    SIM_TRY(input_file_open("-symbols", from->file, &f));
    enum sim_status status = symbol_file_read(&f, from->bias, out);
    input_file_close(&f);
    return status;
}

enum sim_status symbol_files_load(const struct config *c, struct symbols **out)
{
    struct symbols *s = symbols_create();
    enum sim_status status = SIM_OK;

    for (unsigned n = 0; n < c->tools.nr_symbols && status == SIM_OK; n++)
        status = read_named(&c->tools.symbols[n], s);
    if (status != SIM_OK) {
        symbols_destroy(s);
        return status;
    }
    read_if_elf("-kernel", c->kernel, s);
    read_if_elf("-bios", c->bios, s);
    symbols_seal(s);
    *out = s;
    return SIM_OK;
}
