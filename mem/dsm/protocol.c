/* protocol.def expanded: lookup tables, names, and the printed form. */
#include <stdio.h>

#include "mem/dsm.h"
#include "protocol.h"
#include "sim-core/compiler.h"

const struct protocol_row protocol_rank[RANK_NR_STATES][ON_NR] = {
#define DSM_RANK(state, event, next, a, b, c)                                                      \
    [RANK_##state][ON_##event] = {true, RANK_##next, {DO_##a, DO_##b, DO_##c}},
#include "protocol.def"
};

const struct protocol_row protocol_home[HOME_NR_STATES][HOME_ON_NR] = {
#define DSM_HOME(state, event, next, a, b, c)                                                      \
    [HOME_##state][HOME_ON_##event] = {true, HOME_##next, {HOME_DO_##a, HOME_DO_##b, HOME_DO_##c}},
#include "protocol.def"
};

const char *const protocol_message_name[MSG_NR] = {
#define DSM_MESSAGE(name, receiver, text) "dsm " #name,
#include "protocol.def"
};

#define X(name) #name,
const char *const rank_state_name[RANK_NR_STATES] = {RANK_STATES(X)};
const char *const rank_event_name[ON_NR] = {RANK_EVENTS(X)};
const char *const home_state_name[HOME_NR_STATES] = {HOME_STATES(X)};
const char *const home_event_name[HOME_ON_NR] = {HOME_EVENTS(X)};
#undef X

/* What is printed: the rows as they are written, in their order. */
struct printed_row {
    const char *side, *state, *event, *next, *action[PROTOCOL_ACTIONS];
};

static const struct printed_row printed[] = {
#define DSM_RANK(state, event, next, a, b, c) {"rank", #state, #event, #next, {#a, #b, #c}},
#define DSM_HOME(state, event, next, a, b, c) {"home", #state, #event, #next, {#a, #b, #c}},
#include "protocol.def"
};

static const struct {
    const char *name, *receiver, *text;
} messages[] = {
#define DSM_MESSAGE(name, receiver, text) {#name, #receiver, text},
#include "protocol.def"
};

static void format_row(const struct printed_row *r, char *text, size_t size)
{
    int n = snprintf(text, size, "%-6s %-5s %-12s %-5s", r->side, r->state, r->event, r->next);

    for (unsigned i = 0; i < PROTOCOL_ACTIONS; i++)
        if (r->action[i][0] != 'N' || r->action[i][1] != 'O')
            n += snprintf(text + n, size - (size_t)n, " %s", r->action[i]);
}

void dsm_dump_protocol(void (*line)(void *opaque, const char *text), void *opaque)
{
    char text[160];

    line(opaque, "message receiver meaning");
    for (size_t i = 0; i < SIM_ARRAY_LEN(messages); i++) {
        snprintf(text, sizeof text, "%-7s %-8s %s", messages[i].name, messages[i].receiver,
                 messages[i].text);
        line(opaque, text);
    }
    line(opaque, "side   state event        next  actions");
    for (size_t i = 0; i < SIM_ARRAY_LEN(printed); i++) {
        format_row(&printed[i], text, sizeof text);
        line(opaque, text);
    }
}
