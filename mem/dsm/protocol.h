/* protocol.def as enums and tables. */
#ifndef MEM_DSM_PROTOCOL_H
#define MEM_DSM_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

enum dsm_message {
#define DSM_MESSAGE(name, receiver, text) MSG_##name,
#include "protocol.def"
    MSG_NR
};

#define RANK_STATES(X) X(I) X(S) X(E) X(IS) X(IE) X(IEA) X(IR) X(SE) X(SEA)
#define RANK_EVENTS(X)                                                                             \
    X(READ)                                                                                        \
    X(WRITE)                                                                                       \
    X(ALONG) X(GIFT) X(NO_GIFT) X(GIVE)                                                            \
    X(DATA_S)                                                                                      \
    X(DATA_E) X(DATA_E_LAST) X(GRANT) X(GRANT_LAST) X(ACK) X(ACK_LAST) X(FWD_S) X(FWD_E) X(INV)
#define RANK_ACTIONS(X)                                                                            \
    X(NOP)                                                                                         \
    X(HIT) X(WAIT) X(GET_S) X(GET_E) X(COPY) X(WAKE) X(DONE) X(REVOKE) X(SEND_S) X(SEND_E) X(ACK)
#define HOME_STATES(X) X(X) X(S) X(BX) X(BS)
#define HOME_EVENTS(X) X(GET_S) X(GET_E) X(GET_M) X(UPGRADE) X(GIVE) X(DONE)
#define HOME_ACTIONS(X) X(NOP) X(FWD_S) X(FWD_E) X(INV) X(GRANT) X(SHARE) X(OWN) X(QUEUE) X(NEXT)

#define X(name) RANK_##name,
enum rank_state { RANK_STATES(X) RANK_NR_STATES };
#undef X
#define X(name) ON_##name,
enum rank_event { RANK_EVENTS(X) ON_NR };
#undef X
#define X(name) DO_##name,
enum rank_action { RANK_ACTIONS(X) DO_NR };
#undef X
/* HOME_X is 0: a directory entry of zeros says what is so at the start. */
#define X(name) HOME_##name,
enum home_state { HOME_STATES(X) HOME_NR_STATES };
#undef X
#define X(name) HOME_ON_##name,
enum home_event { HOME_EVENTS(X) HOME_ON_NR };
#undef X
#define X(name) HOME_DO_##name,
enum home_action { HOME_ACTIONS(X) HOME_DO_NR };
#undef X

enum { PROTOCOL_ACTIONS = 3 };

struct protocol_row {
    bool known; /* the pair has a row */
    uint8_t next;
    uint8_t action[PROTOCOL_ACTIONS];
};

extern const struct protocol_row protocol_rank[RANK_NR_STATES][ON_NR];
extern const struct protocol_row protocol_home[HOME_NR_STATES][HOME_ON_NR];
extern const char *const protocol_message_name[MSG_NR];
extern const char *const rank_state_name[RANK_NR_STATES];
extern const char *const rank_event_name[ON_NR];
extern const char *const home_state_name[HOME_NR_STATES];
extern const char *const home_event_name[HOME_ON_NR];

static inline bool protocol_row_does(const struct protocol_row *row, unsigned action)
{
    return row->action[0] == action || row->action[1] == action || row->action[2] == action;
}

#endif
