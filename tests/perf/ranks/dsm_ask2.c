/* Question and answer on a page each. */
#include "ask.h"

static page_t question, answer;

PERF_KERNEL(env)
{
    return ask(env, &question.word[0], &answer.word[0]);
}
