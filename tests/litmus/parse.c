/* Reads shapes.litmus. The grammar is at the head of that file. */
#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "litmus.h"

const char *const litmus_model_name[] = {"sc", "tso", "rvwmo", "forbidden"};
static const char *const amo_name[] = {"swap", "add", "or"};

struct parser {
    struct litmus_file *file;
    unsigned line;
    char group[LITMUS_NAME];
    struct litmus_test *test; /* being read, or NULL */
};

static void __attribute__((noreturn, format(printf, 2, 3)))
fail(const struct parser *p, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s:%u: error: ", p->file->path, p->line);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* ---- names ---- */

static int var_of(char c)
{
    const char *at = c ? strchr("xyzw", c) : NULL;

    return at ? (int)(at - "xyzw") : -1;
}

static int find_reg(const struct parser *p, char c)
{
    for (unsigned i = 0; i < p->test->nr_regs; i++)
        if (p->test->reg_name[i] == c)
            return (int)i;
    return NO_REG;
}

static bool takes_value(const struct litmus_op *op)
{
    return op->kind != OP_SC;
}

/* A register that an earlier operation of this thread has loaded. SC's result carries no
 * dependency. */
static int source_reg(const struct parser *p, const struct litmus_thread *t, char c)
{
    int reg = find_reg(p, c);

    if (!c)
        fail(p, "a register is missing");
    for (unsigned i = 0; i < t->nr_ops; i++)
        if (reg != NO_REG && t->op[i].dest == reg && takes_value(&t->op[i]))
            return reg;
    fail(p, "no earlier operation of this thread loads '%c'", c);
}

/* `really` repeats the registers of the thread it replaces. */
static int dest_reg(struct parser *p, char c, int thread)
{
    int reg = find_reg(p, c);

    if (!islower((unsigned char)c) || var_of(c) >= 0)
        fail(p, "'%c' is no register name: a letter, not x y z w", c);
    if (reg != NO_REG) {
        if (p->test->reg_thread[reg] != thread)
            fail(p, "'%c' belongs to another thread", c);
        return reg;
    }
    if (p->test->nr_regs == LITMUS_REGS)
        fail(p, "more than %d registers", LITMUS_REGS);
    reg = (int)p->test->nr_regs++;
    p->test->reg_name[reg] = c;
    p->test->reg_thread[reg] = thread;
    return reg;
}

static int variable(struct parser *p, char c)
{
    int var = var_of(c);

    if (!c)
        fail(p, "a variable is missing");
    if (var < 0)
        fail(p, "'%c' is no variable: x y z w", c);
    p->test->vars |= 1u << var;
    return var;
}

/* ---- operations ---- */

static unsigned access_set(const char *s, const char *end)
{
    size_t n = (size_t)(end - s);

    if (n == 1 && *s == 'r')
        return ACCESS_R;
    if (n == 1 && *s == 'w')
        return ACCESS_W;
    return n == 2 && !strncmp(s, "rw", 2) ? ACCESS_R | ACCESS_W : 0;
}

static bool parse_fence(struct litmus_op *op, const char *word)
{
    const char *comma = strchr(word, ',');

    op->kind = OP_FENCE;
    op->tso = !strcmp(word, "tso");
    if (op->tso)
        return true;
    if (!comma)
        return false;
    op->pred = access_set(word, comma);
    op->succ = access_set(comma + 1, word + strlen(word));
    return op->pred && op->succ;
}

/* N | r | N+r : what is stored. Returns where it ends. */
static const char *parse_value(struct parser *p, const struct litmus_thread *t,
                               struct litmus_op *op, const char *s)
{
    char *end = (char *)s;

    if (isdigit((unsigned char)*s)) {
        op->value = (unsigned)strtoul(s, &end, 10);
        if (op->value > LITMUS_VALUE_MAX)
            fail(p, "value %u is above %d", op->value, LITMUS_VALUE_MAX);
        if (*end != '+')
            return end;
        s = end + 1;
    } else {
        op->copies = true;
    }
    op->data = source_reg(p, t, *s);
    return s + 1;
}

/* @r at the end of a memory operation */
static void parse_address(struct parser *p, const struct litmus_thread *t, struct litmus_op *op,
                          const char *s)
{
    if (*s == '@') {
        op->addr = source_reg(p, t, s[1]);
        s += s[1] ? 2 : 1;
    }
    if (*s)
        fail(p, "what is '%s'?", s);
}

/* .aq .rl .aqrl or nothing */
static const char *parse_order(struct litmus_op *op, const char *s)
{
    const char *end = s + 1;

    if (*s != '.')
        return s;
    op->aq = !strncmp(end, "aq", 2);
    end += op->aq ? 2 : 0;
    op->rl = !strncmp(end, "rl", 2);
    end += op->rl ? 2 : 0;
    return end == s + 1 ? s : end;
}

static const char *parse_mnemonic(struct parser *p, struct litmus_op *op, const char *s)
{
    if (!strncmp(s, "lr", 2)) {
        op->kind = OP_LR;
        return s + 2;
    }
    if (!strncmp(s, "sc", 2)) {
        op->kind = OP_SC;
        return s + 2;
    }
    op->kind = OP_AMO;
    for (unsigned i = 0; i < sizeof amo_name / sizeof *amo_name; i++)
        if (!strncmp(s, amo_name[i], strlen(amo_name[i]))) {
            op->amo = (enum litmus_amo)i;
            return s + strlen(amo_name[i]);
        }
    fail(p, "unknown operation '%s'", s);
}

/* mnemonic[.order](x[,value]) */
static void parse_call(struct parser *p, const struct litmus_thread *t, struct litmus_op *op,
                       const char *s)
{
    s = parse_order(op, parse_mnemonic(p, op, s));
    if (*s++ != '(')
        fail(p, "'(' is missing");
    op->var = variable(p, *s++);
    if (op->kind != OP_LR) {
        if (*s++ != ',')
            fail(p, "a value is missing");
        s = parse_value(p, t, op, s);
    }
    if (*s++ != ')')
        fail(p, "')' is missing");
    parse_address(p, t, op, s);
}

/* SC pairs with the LR before it: the last LR or SC of its thread. */
static void check_pair(const struct parser *p, const struct litmus_thread *t,
                       const struct litmus_op *sc)
{
    unsigned i = t->nr_ops;

    while (i-- > 0 && t->op[i].kind != OP_LR && t->op[i].kind != OP_SC)
        ;
    if (i >= t->nr_ops || t->op[i].kind != OP_LR || t->op[i].var != sc->var)
        fail(p, "sc without an lr of the same variable before it");
}

static void parse_assignment(struct parser *p, struct litmus_thread *t, int thread,
                             struct litmus_op *op, const char *word)
{
    if (word[1] != '=' || !word[2])
        fail(p, "what is '%s'?", word);
    if (var_of(word[0]) >= 0) {
        op->kind = OP_STORE;
        op->var = variable(p, word[0]);
        parse_address(p, t, op, parse_value(p, t, op, word + 2));
        return;
    }
    if (var_of(word[2]) >= 0) {
        op->kind = OP_LOAD;
        op->var = variable(p, word[2]);
        parse_address(p, t, op, word + 3);
    } else {
        parse_call(p, t, op, word + 2);
        if (op->kind == OP_SC)
            check_pair(p, t, op);
    }
    op->dest = dest_reg(p, word[0], thread);
    for (unsigned i = 0; i < t->nr_ops; i++)
        if (t->op[i].dest == op->dest)
            fail(p, "'%c' is written twice", word[0]);
}

static void parse_op(struct parser *p, struct litmus_thread *t, int thread, const char *word)
{
    struct litmus_op op = {.dest = NO_REG, .addr = NO_REG, .data = NO_REG};

    if (t->nr_ops == LITMUS_OPS)
        fail(p, "more than %d operations", LITMUS_OPS);
    if (!strcmp(word, "delay")) {
        op.kind = OP_DELAY;
    } else if (word[0] == '?') {
        op.kind = OP_CTRL;
        op.data = source_reg(p, t, word[1]);
    } else if (!parse_fence(&op, word)) {
        op.kind = OP_LOAD;
        op.tso = false;
        parse_assignment(p, t, thread, &op, word);
    }
    t->op[t->nr_ops++] = op;
}

static void parse_thread(struct parser *p, struct litmus_thread *t, int thread, char *words)
{
    unsigned regs = 0;

    t->nr_ops = 0;
    for (char *w = strtok(words, " \t"); w; w = strtok(NULL, " \t"))
        parse_op(p, t, thread, w);
    for (unsigned i = 0; i < t->nr_ops; i++)
        regs += t->op[i].dest != NO_REG;
    if (regs > LITMUS_THREAD_REGS)
        fail(p, "more than %d registers in a thread", LITMUS_THREAD_REGS);
}

/* ---- lines ---- */

static void copy_name(const struct parser *p, char *to, const char *from)
{
    if (!from || !*from || strlen(from) >= LITMUS_NAME)
        fail(p, "a name is missing or too long");
    strcpy(to, from);
}

static void end_test(struct parser *p)
{
    if (p->test && p->test->weak_mask == 0)
        fail(p, "test %s has no line 'weak'", p->test->name);
    p->test = NULL;
}

static void begin_test(struct parser *p, const char *name)
{
    end_test(p);
    if (!*p->group)
        fail(p, "a group must come first");
    if (p->file->nr_tests == LITMUS_TESTS)
        fail(p, "more than %d tests", LITMUS_TESTS);
    p->test = &p->file->test[p->file->nr_tests];
    *p->test = (struct litmus_test){.line = p->line};
    copy_name(p, p->test->name, name);
    strcpy(p->test->group, p->group);
    for (unsigned i = 0; i < p->file->nr_tests; i++)
        if (!strcmp(p->file->test[i].name, name))
            fail(p, "test %s exists already, line %u", name, p->file->test[i].line);
    p->file->nr_tests++;
}

/* a=1 [x]=2 */
static void parse_weak_word(struct parser *p, const char *word)
{
    bool memory = word[0] == '[';
    const char *equals = strchr(word, '=');
    char name = word[memory ? 1 : 0];
    unsigned shift;
    char *end;

    if (!equals || equals != word + (memory ? 3 : 1))
        fail(p, "what is '%s'?", word);
    if (memory)
        shift = litmus_var_shift(variable(p, name));
    else if (find_reg(p, name) == NO_REG)
        fail(p, "there is no register '%c'", name);
    else
        shift = litmus_reg_shift(find_reg(p, name));
    p->test->weak |= (uint64_t)(strtoul(equals + 1, &end, 10) & 15) << shift;
    p->test->weak_mask |= 15ull << shift;
    if (*end)
        fail(p, "what is '%s'?", word);
}

/* weak a=1 b=0 : verdict */
static void parse_weak(struct parser *p, char *words)
{
    char *colon = strchr(words, ':');
    const char *verdict;

    if (!colon)
        fail(p, "weak: ': VERDICT' is missing");
    *colon = 0;
    for (char *w = strtok(words, " \t"); w; w = strtok(NULL, " \t"))
        parse_weak_word(p, w);
    verdict = strtok(colon + 1, " \t");
    for (unsigned m = 0; verdict && m <= MODEL_NONE; m++)
        if (!strcmp(verdict, litmus_model_name[m])) {
            p->test->verdict = (enum litmus_model)m;
            return;
        }
    fail(p, "weak: the verdict is one of sc, tso, rvwmo, forbidden");
}

static void add_thread(struct parser *p, char *words)
{
    struct litmus_test *t = p->test;

    if (t->nr_threads == LITMUS_THREADS)
        fail(p, "more than %d threads", LITMUS_THREADS);
    parse_thread(p, &t->thread[t->nr_threads], (int)t->nr_threads, words);
    t->code[t->nr_threads] = t->thread[t->nr_threads];
    t->nr_threads++;
}

static void replace_code(struct parser *p, char *words)
{
    struct litmus_test *t = p->test;
    unsigned regs = t->nr_regs;

    if (!t->nr_threads)
        fail(p, "really: there is no thread before it");
    parse_thread(p, &t->code[t->nr_threads - 1], (int)t->nr_threads - 1, words);
    if (t->nr_regs != regs)
        fail(p, "really: a register that the thread does not have");
}

static char *after(char *line, const char *keyword)
{
    size_t n = strlen(keyword);

    return !strncmp(line, keyword, n) && isspace((unsigned char)line[n])
               ? line + n + strspn(line + n, " \t")
               : NULL;
}

static void parse_line(struct parser *p, char *line)
{
    char *rest;

    if ((rest = after(line, "group"))) {
        end_test(p);
        copy_name(p, p->group, rest);
    } else if ((rest = after(line, "test"))) {
        begin_test(p, rest);
    } else if (!p->test) {
        fail(p, "a test must come first");
    } else if ((rest = after(line, "weak"))) {
        parse_weak(p, rest);
    } else if ((rest = after(line, "really"))) {
        replace_code(p, rest);
    } else {
        add_thread(p, line);
    }
}

void litmus_parse(struct litmus_file *file, const char *path)
{
    struct parser p = {.file = file};
    char line[256];
    FILE *in;

    file->path = path;
    file->nr_tests = 0;
    in = fopen(path, "r");
    if (!in)
        fail(&p, "%m");
    while (fgets(line, sizeof line, in)) {
        p.line++;
        line[strcspn(line, "#\r\n")] = 0;
        char *text = line + strspn(line, " \t");
        for (size_t n = strlen(text); n && isspace((unsigned char)text[n - 1]);)
            text[--n] = 0;
        if (*text)
            parse_line(&p, text);
    }
    fclose(in);
    end_test(&p);
    if (!file->nr_tests)
        fail(&p, "no tests");
}

void litmus_print_key(FILE *to, const struct litmus_test *test, uint64_t key, uint64_t mask)
{
    const char *between = "";

    for (unsigned r = 0; r < test->nr_regs; r++)
        if (mask >> litmus_reg_shift((int)r) & 15) {
            fprintf(to, "%s%u:%c=%u", between, (unsigned)test->reg_thread[r], test->reg_name[r],
                    (unsigned)(key >> litmus_reg_shift((int)r) & 15));
            between = " ";
        }
    for (int v = 0; v < LITMUS_VARS; v++)
        if (test->vars >> v & 1 && mask >> litmus_var_shift(v) & 15) {
            fprintf(to, "%s[%c]=%u", between, "xyzw"[v],
                    (unsigned)(key >> litmus_var_shift(v) & 15));
            between = " ";
        }
}
