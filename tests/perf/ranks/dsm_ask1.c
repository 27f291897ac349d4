/* Question and answer on one page. */
#include "ask.h"

static page_t page;

PERF_KERNEL(env)
{
    return ask(env, &page.word[0], &page.word[64]);
}
