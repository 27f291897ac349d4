/* The coherence protocol, for spin: its rows are mem/dsm/protocol.def itself; around them this file says what
 * the engine's C says of events, slots and the directory. Preprocessed by model.sh.
 *
 * NR ranks with one vCPU each, PAGES pages; page p is at home at rank p. A message in flight is a slot, filled
 * once (asserted) and taken at any time: messages overtake each other as they like. An instruction reads
 * or writes a page, or copies from one to the other. Every page has one bit of contents.
 *
 * Checked: no pair (state, event) without a row; one writer or readers; a read sees the last write; a slot is
 * never filled twice; when nobody begins anything new, all that was begun ends. With PROGRESS: a vCPU
 * that waits gets its page and uses it (holds without time-out, weak fairness).
 * With AHEAD pages come for nobody, too.
 * With RUN (2 pages) both pages are at home at rank 0, and GET_E of page 0 may ask for page 1 along with it (run.c).
 * Without PROGRESS nothing is held: a page may be taken at any time, as after a time-out. */

/* States, as bytes. */
#define RANK_I 0
#define RANK_S 1
#define RANK_E 2
#define RANK_IS 3
#define RANK_IE 4
#define RANK_IEA 5
#define RANK_SE 6
#define RANK_SEA 7
#define RANK_IR 8
#define HOME_X 0
#define HOME_S 1
#define HOME_BX 2
#define HOME_BS 3

/* Events; an ACK that was the last is the next number, as in the engine. */
#define ON_READ 1
#define ON_WRITE 2
#define ON_DATA_S 3
#define ON_DATA_E 4
#define ON_DATA_E_LAST 5
#define ON_GRANT 6
#define ON_GRANT_LAST 7
#define ON_ACK 8
#define ON_ACK_LAST 9
#define ON_FWD_S 10
#define ON_FWD_E 11
#define ON_INV 12
#define ON_ALONG 18
#define ON_GIFT 19
#define ON_NO_GIFT 20
#define ON_GIVE 21
#define HOME_ON_GET_S 13
#define HOME_ON_GET_E 14
#define HOME_ON_UPGRADE 15
#define HOME_ON_DONE 16
#define HOME_ON_GET_M 17
#define HOME_ON_GIVE 22

#define NONE 0

typedef page_t {
    byte st[NR];   /* the rank side */
    bit copy[NR];  /* contents */
    bit known[NR]; /* how many ACKs are due is known */
    byte due[NR], got[NR];
#ifdef PROGRESS
    bit hold[NR];
#endif
    /* slots: messages in flight */
    byte get[NR];    /* to the home: HOME_ON_GET_x */
    bit done[NR];    /* to the home */
    byte answer[NR]; /* ON_DATA_x, ON_GRANT */
    byte answer_acks[NR];
    bit answer_copy[NR];
    byte ask[NR]; /* ON_FWD_x, ON_INV */
    byte ask_for[NR], ask_acks[NR];
    byte ack[NR]; /* a number of ACKs */
    /* the home side */
    byte home, holder, sharers;
    byte queue[NR], queue_event[NR], queued;
    bit last; /* what was written last, by anybody */
};

page_t page[PAGES];
bit waiting[NR]; /* a vCPU */
#ifdef RUN
/* Of page 0's messages: is page 1 wanted, or come, along? Of a rank that asks: it was wanted. */
bit get_run[NR], ask_run[NR], answer_run[NR], done_run[NR], asked[NR], came[NR];
bit untouched = 1; /* page 1: nobody has used it */
bit awaited[NR];   /* the page that the vCPU waits for: others do not wake it */
#define HOME(p) 0
#define SAY_RUN done_run[me] = came[me] && p == 0; came[me] = came[me] && p != 0
#else
#define HOME(p) p
#define SAY_RUN skip
#endif

#define P page[p]
#define BIT(r) (1 << (r))
#define READABLE(r) (P.st[r] == RANK_S || P.st[r] == RANK_SE || P.st[r] == RANK_SEA || P.st[r] == RANK_E)
#define FILL(slot, value) assert(slot == NONE); slot = value

/* --- actions of a rank: `me`, page `p`; for requests `who`, `acks`; for DATA `bytes` --- */
#define DO_NOP skip
#define DO_HIT hit = 1
#ifdef RUN
#define DO_WAIT waiting[me] = 1; awaited[me] = p
#else
#define DO_WAIT waiting[me] = 1
#endif
#define ASK_HOME(event) FILL(P.get[me], event); P.known[me] = 0; P.due[me] = 0; P.got[me] = 0
#define DO_GET_S ASK_HOME(HOME_ON_GET_S)
#define DO_GET_E ASK_HOME(HOME_ON_GET_E)
#define DO_COPY P.copy[me] = bytes
#define DO_DONE FILL(P.done[me], 1); P.known[me] = 0; P.due[me] = 0; P.got[me] = 0; SAY_RUN
#ifdef PROGRESS
#define DO_WAKE P.hold[me] = waiting[me]; waiting[me] = 0
#elif defined(RUN)
#define DO_WAKE waiting[me] = waiting[me] && awaited[me] != p
#else
#define DO_WAKE waiting[me] = 0
#endif
#define DO_REVOKE skip
#define DO_SEND_S FILL(P.answer[who], ON_DATA_S); P.answer_copy[who] = P.copy[me]
#define DO_SEND_E FILL(P.answer[who], ON_DATA_E); P.answer_copy[who] = P.copy[me]; \
    P.answer_acks[who] = acks; P.copy[me] = 0
#define DO_ACK P.ack[who]++; P.copy[me] = 0

#define DSM_RANK(state, event, next, a, b, c) \
    :: P.st[me] == RANK_##state && event_ == ON_##event -> P.st[me] = RANK_##next; \
       DO_##a; DO_##b; DO_##c

inline rank_event()
{
    if
#include "protocol.def"
    :: else -> assert(false)
    fi
}
#undef DSM_RANK

/* --- actions of the home: page `p`, requester `who`, holder before `old` --- */
#define OTHER(i) (i != who && i != old && (P.sharers & BIT(i)))
inline count_others()
{
    i = 0;
    acks = 0;
    do
    :: i < NR -> acks = acks + OTHER(i); i++
    :: else -> break
    od
}
#define HOME_DO_NOP skip
#define TO(rank, event, n) FILL(P.ask[rank], event); P.ask_for[rank] = who; P.ask_acks[rank] = n
#define HOME_DO_FWD_S \
    if \
    :: P.sharers & BIT(HOME(p)) -> TO(HOME(p), ON_FWD_S, 0) \
    :: else -> TO(old, ON_FWD_S, 0) \
    fi
#define HOME_DO_FWD_E count_others(); TO(old, ON_FWD_E, acks); PASS_RUN
#ifdef RUN
#define PASS_RUN \
    if \
    :: p == 0 -> ask_run[old] = more; more = 0 \
    :: else \
    fi
#else
#define PASS_RUN skip
#endif
#define HOME_DO_GRANT count_others(); FILL(P.answer[who], ON_GRANT); P.answer_acks[who] = acks
#define HOME_DO_INV \
    i = 0; \
    do \
    :: i < NR -> \
        if \
        :: OTHER(i) -> TO(i, ON_INV, 0) \
        :: else \
        fi; \
        i++ \
    :: else -> break \
    od
#define HOME_DO_SHARE P.sharers = P.sharers | BIT(who) | BIT(old); P.holder = who
#define HOME_DO_OWN P.sharers = 0; P.holder = who
#define HOME_DO_QUEUE P.queue[P.queued] = who; P.queue_event[P.queued] = event_; P.queued++
#define HOME_DO_NEXT \
    if \
    :: P.queued == 0 \
    :: else -> \
        who = P.queue[0]; \
        event_ = P.queue_event[0]; \
        again = 1; \
        i = 0; \
        do \
        :: i < NR - 1 -> P.queue[i] = P.queue[i + 1]; P.queue_event[i] = P.queue_event[i + 1]; i++ \
        :: else -> break \
        od; \
        P.queue[NR - 1] = 0; \
        P.queue_event[NR - 1] = 0; \
        P.queued-- \
    fi

#define DSM_HOME(state, event, next, a, b, c) \
    :: P.home == HOME_##state && event_ == HOME_ON_##event -> P.home = HOME_##next; \
       HOME_DO_##a; HOME_DO_##b; HOME_DO_##c

/* As home.c: refine, is_possible, the row. Whether a page migrates is left open. */
#define UPGRADES (event_ == HOME_ON_GET_E && P.home == HOME_S && (P.sharers & BIT(who)))
inline home_event()
{
    again = 1;
    do
    :: again ->
        again = 0;
        old = P.holder;
        if
        :: UPGRADES ->
            event_ = HOME_ON_UPGRADE;
            old = who
        :: event_ == HOME_ON_GET_S && P.home == HOME_X && P.holder != who -> event_ = HOME_ON_GET_M
        :: !UPGRADES -> assert((event_ == HOME_ON_DONE) == (P.holder == who) || P.home >= HOME_BX)
        fi;
        if
#include "protocol.def"
        :: else -> assert(false)
        fi
    :: else -> break
    od;
    i = 0;
    acks = 0;
    old = 0;
    who = 0;
    event_ = NONE
}

/* --- a vCPU --- */

/* In the middle of an instruction: has page `q` what it needs? */
inline have(q, need)
{
    if
    :: need == NONE -> hit = 1
    :: else ->
        p = q;
        event_ = need;
        hit = 0;
#ifdef PROGRESS
        /* Readable is not enough: it is not held. */
        if
        :: need == ON_WRITE && P.st[me] == RANK_S -> P.hold[me] = 0
        :: else
        fi;
#endif
        rank_event();
        event_ = NONE;
#ifdef RUN
        if
        :: q == 1 && me == 0 && hit -> untouched = 0
        :: else
        fi;
#endif
        p = 0
    fi
}

#ifdef RUN
/* Page 0 was asked for: may page 1 come along? */
inline ask_along()
{
    if
    :: page[0].get[me] == HOME_ON_GET_E && page[0].st[me] == RANK_IE && page[1].st[me] == RANK_I && me != 0 &&
       !asked[me] ->
        if
        :: true ->
            p = 1;
            event_ = ON_ALONG;
            rank_event();
            event_ = NONE;
            p = 0;
            get_run[me] = 1;
            asked[me] = 1
        :: true
        fi
    :: else
    fi
}

/* At the home: it gives page 0; page 1 as well? */
inline give_along()
{
    if
    :: more && me == 0 && untouched && page[1].home == HOME_X && page[1].holder == 0 && page[1].st[0] == RANK_E ->
        untouched = 0;
        answer_run[who] = 1;
        saved = who;
        p = 1;
        event_ = HOME_ON_GIVE;
        home_event();
        event_ = ON_GIVE;
        rank_event();
        event_ = NONE;
        p = 0;
        who = saved;
        saved = 0
    :: else
    fi;
    more = 0
}

/* The answer for page 0 is here, and says whether page 1 has come along. */
inline take_along()
{
    saved = event_;
    assert(asked[me] || !answer_run[me]);
    if
    :: asked[me] ->
        asked[me] = 0;
        event_ = (answer_run[me] -> ON_GIFT : ON_NO_GIFT);
        p = 1;
        rank_event();
        p = 0;
        came[me] = answer_run[me];
        answer_run[me] = 0
    :: else
    fi;
    event_ = saved;
    saved = 0
}
#endif

inline use(q, need)
{
    if
    :: need == NONE
    :: else ->
        p = q;
        assert(READABLE(me));
        assert(P.copy[me] == P.last);
        i = 0;
        do
        :: i < NR ->
            assert(i == me || !(need == ON_WRITE && READABLE(i)));
            assert(i == me || P.st[i] != RANK_E);
            i++
        :: else -> break
        od;
        i = 0;
        if
        :: need == ON_WRITE -> P.last = 1 - P.last; P.copy[me] = P.last
        :: else
        fi;
#ifdef PROGRESS
        P.hold[me] = 0;
#endif
        p = 0
    fi
}

byte need0[NR], need1[NR];
bit stop;
#define IDLE(r) (need0[r] == NONE && need1[r] == NONE)

inline choose()
{
    if
    :: need0[me] = ON_READ
    :: need0[me] = ON_WRITE
#ifdef RUN
    :: need1[me] = ON_READ
    :: need1[me] = ON_WRITE
#elif PAGES > 1
#if NR < 3 /* the second page alone behaves like the first */
    :: need1[me] = ON_READ
    :: need1[me] = ON_WRITE
#endif
    :: need0[me] = ON_WRITE; need1[me] = ON_READ
    :: need0[me] = ON_READ; need1[me] = ON_WRITE
#endif
    fi
}

proctype cpu(byte me)
{
    byte p, i, event_;
    bit hit;
    byte who, acks;
    bit bytes;
#ifdef RUN
    byte saved;
#endif

end:
    do
    :: atomic {
        !waiting[me] && !(IDLE(me) && stop) ->
        if
        :: IDLE(me) -> choose()
        :: else
        fi;
        have(0, need0[me]);
#ifdef RUN
        ask_along();
#endif
        if
        :: hit -> have(PAGES - 1, need1[me])
        :: else
        fi;
        if
        :: hit ->
            use(0, need0[me]);
            use(PAGES - 1, need1[me]);
            need0[me] = NONE;
            need1[me] = NONE;
            hit = 0
        :: else
        fi
       }
    od
}

#ifdef AHEAD
/* Pages are fetched for nobody (stream.c), whatever the vCPU does. */
proctype ahead(byte me; byte p)
{
    byte event_, who, acks;
    bit hit, bytes, waited;
#ifdef RUN
    byte saved;
    bit saved_page;
#endif

end:
    do
    :: atomic {
        !stop && (P.st[me] == RANK_I || P.st[me] == RANK_S) ->
        waited = waiting[me];
#ifdef RUN
        saved_page = awaited[me];
#endif
        if
#ifndef RUN
        :: P.st[me] == RANK_I -> event_ = ON_READ
#endif
        :: event_ = ON_WRITE
        fi;
        rank_event();
        event_ = NONE;
#ifdef RUN
        ask_along();
#endif
        waiting[me] = waited;
#ifdef RUN
        awaited[me] = saved_page;
        saved_page = 0;
#endif
        waited = 0
       }
    od
}
#endif

#ifndef PROGRESS
/* At some time nobody begins anything new: what was begun must end. */
active proctype drain()
{
    byte r;

    stop = 1;
    timeout;
    for (r : 0 .. NR - 1) {
        assert(IDLE(r))
    }
}
#endif

/* --- messages arrive: those for the rank side, and those it has sent to homes --- */

inline counted()
{
    if
    :: P.known[me] && P.got[me] == P.due[me] -> event_ = event_ + 1
    :: else
    fi
}

#ifdef PROGRESS
/* Two that hold what the other wants: holds of rank 0 last longest here, the others' end at any time. */
#define HOLDS (P.hold[me] && (PAGES == 1 || me == 0))
#define MAY_ASK (!HOLDS || P.ask[me] == ON_FWD_S && P.st[me] != RANK_E)
#else
#define MAY_ASK true
#endif

proctype arrive(byte me; byte p)
{
    byte event_, who, acks, i, old;
    bit hit, bytes, again;
#ifdef RUN
    byte saved;
    bit more;
#endif

end:
    do
    :: atomic {
        P.answer[me] != NONE ->
        event_ = P.answer[me];
        bytes = P.answer_copy[me];
        if
        :: event_ != ON_DATA_S ->
            P.known[me] = 1;
            P.due[me] = P.answer_acks[me];
            counted()
        :: else
        fi;
        P.answer[me] = NONE;
        P.answer_acks[me] = 0;
        P.answer_copy[me] = 0;
#ifdef RUN
        if
        :: p == 0 && (event_ == ON_DATA_E || event_ == ON_DATA_E_LAST) -> take_along()
        :: else
        fi;
#endif
        rank_event();
        bytes = 0;
        event_ = NONE
       }
    :: atomic {
        P.ack[me] > 0 ->
        P.ack[me]--;
        P.got[me]++;
        event_ = ON_ACK;
        counted();
        rank_event();
        event_ = NONE
       }
    :: atomic {
        P.ask[me] != NONE && MAY_ASK ->
        event_ = P.ask[me];
        who = P.ask_for[me];
        acks = P.ask_acks[me];
        P.ask[me] = NONE;
        P.ask_for[me] = 0;
        P.ask_acks[me] = 0;
        rank_event();
#ifdef RUN
        if
        :: p == 0 -> more = ask_run[me]; ask_run[me] = 0; give_along()
        :: else -> untouched = untouched && me != 0
        fi;
#endif
        event_ = NONE;
        who = 0;
        acks = 0
       }
    :: atomic {
        P.done[me] ->
        P.done[me] = 0;
        who = me;
        event_ = HOME_ON_DONE;
        home_event();
#ifdef RUN
        if
        :: p == 0 && done_run[me] ->
            done_run[me] = 0;
            p = 1;
            who = me;
            event_ = HOME_ON_DONE;
            home_event();
            p = 0
        :: else
        fi
#endif
       }
    od
}

/* A process of its own: weak fairness must not prefer other messages for ever. */
proctype arrive_get(byte me; byte p)
{
    byte event_, who, acks, i, old;
    bit again;
#ifdef RUN
    bit more;
#endif

end:
    do
    :: atomic {
        P.get[me] != NONE ->
        event_ = P.get[me];
        P.get[me] = NONE;
        who = me;
#ifdef RUN
        if
        :: p == 0 -> more = get_run[me]; get_run[me] = 0
        :: else
        fi;
#endif
        home_event();
#ifdef RUN
        more = 0
#endif
       }
    od
}

init {
    byte p, r;

    atomic {
        p = 0;
        do
        :: p < PAGES ->
            P.st[HOME(p)] = RANK_E;
            P.holder = HOME(p);
            r = 0;
            do
            :: r < NR ->
                run arrive(r, p);
                run arrive_get(r, p);
#ifdef AHEAD
#ifdef RUN
                if
                :: p == 0 -> run ahead(r, p)
                :: else
                fi;
#else
                run ahead(r, p);
#endif
#endif
                r++
            :: else -> break
            od;
            p++
        :: else -> break
        od;
        r = 0;
        do
        :: r < NR -> run cpu(r); r++
        :: else -> break
        od;
        p = 0;
        r = 0
    }
}

#ifdef PROGRESS
#if PAGES == 1
ltl progress { [] (waiting[0] -> <> IDLE(0)) && [] (waiting[1] -> <> IDLE(1)) }
#else
ltl progress { [] (waiting[0] -> <> IDLE(0)) }
#endif
#endif
