/* Which homes of memory shall move to which rank: a pure function of what was measured in one interval, and of what came
 * of its last advice.
 *
 *   each home: of each segment with traffic, how many messages it saved by being there, and which rank would have saved most
 *   -> wish: that rank would have saved more than twice as many, and enough to matter
 *   -> the same wish in the interval before, the segment has not moved lately -> advice, when all together are worth a pause
 *
 * A page that goes from one rank to another costs 4 messages, 2 less when its home is who wants it, 1 less when it is who
 * has it. Who reads a page once and keeps it saves twice what its home did, never more: such segments stay. Two ranks that
 * share evenly save the same: one of them becomes the home, and then it stays there; so do homes of what all share. A
 * segment that has moved stays for a second, and twice as long after each move. After a pause that was long, or for nothing,
 * because pages were long under way, all stay for two seconds, and twice as long after each further one. */
#ifndef PARTITION_REHOME_H
#define PARTITION_REHOME_H

#include <stdbool.h>
#include <stdint.h>

enum {
    PART_REHOME_WISHES = 256,
    PART_REHOME_RECENT = 256, /* segments whose moves are remembered */
};

/* Of a segment at its home, in one interval. */
struct part_traffic {
    uint64_t segment;
    uint32_t best;                   /* the rank that is no home and would have saved most */
    uint32_t home_saves, best_saves; /* messages */
};

struct part_home_move {
    uint64_t segment;
    uint32_t to;
};

struct part_recent_move {
    uint64_t segment, not_before_ns;
    unsigned moves; /* 0: this place is free */
};

/* All zero at first. */
struct part_rehome {
    struct part_home_move wish[PART_REHOME_WISHES]; /* of the last interval */
    unsigned nr_wishes;
    struct part_recent_move recent[PART_REHOME_RECENT];
    uint64_t not_before_ns;
    unsigned hindered; /* pauses one after the other */
};

/* Each interval of about half a second. Returns how many moves are advised, at most `max`, those that save most first. */
unsigned part_rehome(struct part_rehome *r, const struct part_traffic *traffic, unsigned nr, uint64_t now_ns,
                     struct part_home_move *move, unsigned max);

/* What came of the advice that was followed, or of a move that somebody else wanted. */
void part_rehome_result(struct part_rehome *r, bool hindered, uint64_t now_ns);

#endif
