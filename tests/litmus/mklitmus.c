/* mklitmus: the memory-model tests of shapes.litmus, judged and made into a guest.
 *
 *   mklitmus check shapes.litmus             every verdict is what the model computes (model.c)
 *   mklitmus show shapes.litmus NAME         all outcomes that are allowed, with the strongest
 * model that does mklitmus emit shapes.litmus tests.S      code and table for the guest; checks
 * first */
#include <stdlib.h>
#include <string.h>

#include "litmus.h"

static bool verdict_right(const struct litmus_file *file, const struct litmus_test *t)
{
    struct litmus_outcomes o = litmus_judge(t);
    enum litmus_model computed = litmus_weak_verdict(t, &o);

    free(o.outcome);
    if (computed == t->verdict)
        return true;
    fprintf(stderr, "%s:%u: %s: the model says %s, not %s\n", file->path, t->line, t->name,
            litmus_model_name[computed], litmus_model_name[t->verdict]);
    return false;
}

static int check(const struct litmus_file *file)
{
    unsigned count[MODEL_NONE + 1] = {0}, wrong = 0;

    for (unsigned i = 0; i < file->nr_tests; i++) {
        wrong += !verdict_right(file, &file->test[i]);
        count[file->test[i].verdict]++;
    }
    printf("%u tests, outcome of interest: %u forbidden, %u allowed by rvwmo, %u by tso, %u by sc; "
           "%u verdicts wrong\n",
           file->nr_tests, count[MODEL_NONE], count[MODEL_RVWMO], count[MODEL_TSO], count[MODEL_SC],
           wrong);
    return wrong ? 1 : 0;
}

static int show(const struct litmus_file *file, const char *name)
{
    for (unsigned i = 0; i < file->nr_tests; i++) {
        const struct litmus_test *t = &file->test[i];
        if (strcmp(t->name, name))
            continue;
        struct litmus_outcomes o = litmus_judge(t);
        for (unsigned k = 0; k < o.n; k++) {
            litmus_print_key(stdout, t, o.outcome[k].key, ~0ull);
            printf(" : %s\n", litmus_model_name[o.outcome[k].model]);
        }
        free(o.outcome);
        return 0;
    }
    fprintf(stderr, "%s: no test %s\n", file->path, name);
    return 1;
}

static int emit(const struct litmus_file *file, const char *path)
{
    FILE *to;

    if (check(file))
        return 1;
    to = fopen(path, "w");
    if (!to) {
        fprintf(stderr, "%s: %m\n", path);
        return 1;
    }
    litmus_emit(to, file->test, file->nr_tests);
    if (fclose(to)) {
        fprintf(stderr, "%s: %m\n", path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct litmus_file file;
    const char *what = argc > 2 ? argv[1] : "";

    if (argc > 2)
        litmus_parse(&file, argv[2]);
    if (argc == 3 && !strcmp(what, "check"))
        return check(&file);
    if (argc == 4 && !strcmp(what, "show"))
        return show(&file, argv[3]);
    if (argc == 4 && !strcmp(what, "emit"))
        return emit(&file, argv[3]);
    fprintf(stderr, "usage: mklitmus check FILE | show FILE NAME | emit FILE OUT\n");
    return 2;
}
