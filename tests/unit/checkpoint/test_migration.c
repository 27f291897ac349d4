/* Two sides of a migration in one process: what the target has is what the source had when it stood still, whatever was
 * written meanwhile and in whatever order blocks come; and frames that make no sense are refused. */
#include <sys/socket.h>

#include "checkpoint/receiver.h"
#include "checkpoint/sender.h"
#include "memory_fixture.h"
#include "sim-core/lock.h"

enum { WRITERS = 2, READERS = 2 };

struct pair {
    struct ckpt_stream *source, *target;
};

static struct pair connect_pair(void)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    return (struct pair){ckpt_stream_create(fd[0], "source"), ckpt_stream_create(fd[1], "target")};
}

static void end_pair(struct pair *p)
{
    ckpt_stream_destroy(p->source);
    ckpt_stream_destroy(p->target);
}

/* `stream` lives as long as the receiver. */
static struct ckpt_receiver *receiver_of(struct ckpt_stream *const *stream, struct memory *to)
{
    const struct ckpt_receiver_config config = {
        .stream = stream, .nr_streams = 1, .target = &to->source, .nr = 1};
    struct ckpt_receiver *r;

    assert_int_equal(ckpt_receiver_create(&config, &r), SIM_OK);
    return r;
}

/* --- a pause of threads that write all the time: the lock is held for one write --- */

/* Who writes takes the lock again at once: on a busy host whoever wants a pause would hardly ever find it free. */
struct world {
    struct sim_mutex lock;
    atomic_bool pausing; /* who writes waits until it is over */
};

static void world_init(struct world *w)
{
    sim_mutex_init(&w->lock, SIM_RANK_LEAF);
    atomic_init(&w->pausing, false);
}

static void world_fini(struct world *w)
{
    sim_mutex_fini(&w->lock);
}

static void write_begin(struct world *w)
{
    while (atomic_load(&w->pausing))
        sim_thread_sleep(20000);
    sim_mutex_lock(&w->lock);
}

static void write_end(struct world *w)
{
    sim_mutex_unlock(&w->lock);
}

static void pause_for_a_moment(struct world *w)
{
    atomic_store(&w->pausing, true);
    sim_mutex_lock(&w->lock);
    sim_mutex_unlock(&w->lock);
    atomic_store(&w->pausing, false);
}

/* --- a guest --- */

struct guest {
    struct memory *m;
    struct world world;
    atomic_bool stop;
    struct guest_thread {
        struct sim_thread thread;
        struct guest *g;
        unsigned seed;
    } writer[WRITERS];
};

static void *write_randomly(void *arg)
{
    struct guest_thread *w = arg;
    uint64_t generation = 1000;

    while (!atomic_load(&w->g->stop)) {
        w->seed = w->seed * 1103515245 + 12345;
        uint64_t block = (w->seed >> 8) % BLOCKS;
        write_begin(&w->g->world);
        if (w->seed % 5)
            guest_write(w->g->m, block, generation++);
        else {
            atomic_store(&w->g->m->dirty[block], 1);
            memset(w->g->m->bytes + block * CKPT_BLOCK, 0, CKPT_BLOCK);
        }
        write_end(&w->g->world);
    }
    return NULL;
}

static void guest_start(struct guest *g, struct memory *m)
{
    g->m = m;
    world_init(&g->world);
    for (unsigned i = 0; i < WRITERS; i++) {
        g->writer[i] = (struct guest_thread){.g = g, .seed = i + 1};
        assert_int_equal(sim_thread_start(&g->writer[i].thread, "guest", write_randomly, &g->writer[i]), SIM_OK);
    }
}

static void guest_stop(struct guest *g)
{
    atomic_store(&g->stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        sim_thread_join(&g->writer[i].thread);
    world_fini(&g->world);
}

/* --- the source's thread --- */

struct source {
    struct sim_thread thread;
    struct ckpt_stream *stream;
    struct memory *m;
    bool postcopy;
};

static void push(struct ckpt_sender *s, struct ckpt_stream *stream)
{
    while (ckpt_sender_pending(s)) {
        while (ckpt_stream_readable(stream, 0)) {
            struct ckpt_frame f;
            assert_int_equal(ckpt_stream_expect(stream, CKPT_FRAME_DEMAND, &f), SIM_OK);
            assert_int_equal(ckpt_sender_demand(s, &f), SIM_OK);
        }
        assert_int_equal(ckpt_sender_push(s, 64), SIM_OK);
    }
}

static void *source_main(void *arg)
{
    struct source *from = arg;
    struct guest g = {0};
    struct ckpt_sender *s;
    struct ckpt_frame f;

    guest_start(&g, from->m);
    assert_int_equal(ckpt_stream_greet(from->stream), SIM_OK);
    const struct ckpt_sender_config config = {
        .stream = &from->stream, .nr_streams = 1, .source = &from->m->source, .nr = 1};
    assert_int_equal(ckpt_sender_create(&config, &s), SIM_OK);
    assert_int_equal(ckpt_sender_announce(from->stream, &from->m->source, 1), SIM_OK);
    for (unsigned round = 0; round < 4; round++) {
        uint64_t pending = ckpt_sender_mark(s, round == 0);
        assert_true(pending <= BLOCKS);
        pause_for_a_moment(&g.world);
        push(s, from->stream);
    }
    guest_stop(&g);
    ckpt_sender_mark(s, false);
    if (!from->postcopy)
        push(s, from->stream);
    assert_int_equal(ckpt_sender_missing(s), SIM_OK);
    assert_int_equal(ckpt_stream_send(from->stream, &(struct ckpt_frame){.type = CKPT_FRAME_STOPPED}), SIM_OK);
    assert_int_equal(ckpt_stream_send(from->stream, &(struct ckpt_frame){.type = CKPT_FRAME_GO}), SIM_OK);
    push(s, from->stream);
    assert_int_equal(ckpt_stream_send(from->stream, &(struct ckpt_frame){.type = CKPT_FRAME_END}), SIM_OK);
    do {
        assert_int_equal(ckpt_stream_receive(from->stream, &f), SIM_OK);
    } while (f.type == CKPT_FRAME_DEMAND);
    assert_int_equal(f.type, CKPT_FRAME_DONE);
    ckpt_sender_destroy(s);
    return NULL;
}

/* --- the target's harts --- */

struct reader {
    struct sim_thread thread;
    struct memory *m, *want;
    unsigned seed, wrong;
};

static void *read_randomly(void *arg)
{
    struct reader *r = arg;

    for (unsigned i = 0; i < 2000; i++) {
        r->seed = r->seed * 1103515245 + 12345;
        uint64_t at = (r->seed >> 8) % BLOCKS * CKPT_BLOCK;
        sim_guard_before(&r->m->guard, at, CKPT_BLOCK, i & 1);
        r->wrong += memcmp(r->m->bytes + at, r->want->bytes + at, CKPT_BLOCK) != 0;
    }
    return NULL;
}

static void run_target(struct ckpt_stream *stream, struct memory *to, struct memory *want)
{
    struct reader reader[READERS];
    struct ckpt_receiver *r;
    struct ckpt_frame f;

    assert_int_equal(ckpt_stream_greet(stream), SIM_OK);
    assert_int_equal(ckpt_stream_expect(stream, CKPT_FRAME_SPACE, &f), SIM_OK);
    assert_string_equal((const char *)f.payload + sizeof(uint64_t), "ram");
    r = receiver_of(&stream, to);
    for (;;) {
        assert_int_equal(ckpt_stream_receive(stream, &f), SIM_OK);
        if (f.type == CKPT_FRAME_STOPPED)
            break;
        assert_int_equal(ckpt_receiver_take(r, 0, &f), SIM_OK);
    }
    assert_int_equal(ckpt_receiver_serve(r), SIM_OK);
    assert_int_equal(ckpt_receiver_await_go(r, 10000), SIM_OK);
    for (unsigned i = 0; i < READERS; i++) {
        reader[i] = (struct reader){.m = to, .want = want, .seed = i + 7};
        assert_int_equal(sim_thread_start(&reader[i].thread, "hart", read_randomly, &reader[i]), SIM_OK);
    }
    for (unsigned i = 0; i < READERS; i++) {
        sim_thread_join(&reader[i].thread);
        assert_int_equal(reader[i].wrong, 0);
    }
    assert_int_equal(ckpt_receiver_finish(r), SIM_OK);
    assert_null(atomic_load(&to->guard));
    assert_memory_equal(to->bytes, want->bytes, BLOCKS * CKPT_BLOCK);
    ckpt_receiver_destroy(r);
}

static void move_memory(bool postcopy)
{
    struct pair p = connect_pair();
    struct memory *from = memory_create(), *to = memory_create();
    struct source s = {.stream = p.source, .m = from, .postcopy = postcopy};

    for (unsigned i = 0; i < 1500; i++) /* the rest are holes at first */
        guest_write(from, i, i);
    assert_int_equal(sim_thread_start(&s.thread, "source", source_main, &s), SIM_OK);
    run_target(p.target, to, from);
    sim_thread_join(&s.thread);
    end_pair(&p);
    memory_destroy(from);
    memory_destroy(to);
}

static void test_target_has_what_the_source_had(void **state)
{
    (void)state;
    move_memory(true);
}

static void test_without_postcopy_nothing_is_missing(void **state)
{
    (void)state;
    move_memory(false);
}

/* Whoever waits for a block when the source dies is told, and nobody hangs. */
static void test_a_source_that_dies(void **state)
{
    const uint64_t missing[2] = {FIRST + 5, 10};
    struct pair p = connect_pair();
    struct memory *to = memory_create();
    struct ckpt_receiver *r = receiver_of(&p.target, to);

    (void)state;
    assert_int_equal(ckpt_receiver_take(r, 0, &(struct ckpt_frame){.type = CKPT_FRAME_MISSING, .len = sizeof missing,
                                                                .payload = (const uint8_t *)missing}),
                     SIM_OK);
    assert_int_equal(ckpt_receiver_serve(r), SIM_OK);
    assert_int_equal(ckpt_stream_send(p.source, &(struct ckpt_frame){.type = CKPT_FRAME_GO}), SIM_OK);
    assert_int_equal(ckpt_receiver_await_go(r, 10000), SIM_OK);
    int saved = hush();
    ckpt_stream_cancel(p.source);
    sim_guard_before(&to->guard, 7 * CKPT_BLOCK, CKPT_BLOCK, false);
    assert_int_equal(ckpt_receiver_finish(r), SIM_ERR_IO);
    unhush(saved);
    ckpt_receiver_destroy(r);
    end_pair(&p);
    memory_destroy(to);
}

/* --- several ranks on both sides: blocks change their owner all the time, and go to different places --- */

enum { RANKS = 3, PLACES = 2, ROUNDS = 5 };

/* A memory on several ranks: each has a copy, one owns it. */
struct spread {
    struct world world;
    struct memory *copy[RANKS];
    _Atomic int owner[BLOCKS];
    struct keeper {
        struct spread *s;
        int rank;
    } keeper[RANKS];
    _Atomic uint64_t writes;
    atomic_bool stop;
    struct sim_thread thread;
};

static bool keeper_owns(void *opaque, uint64_t local)
{
    const struct keeper *k = opaque;

    return atomic_load(&k->s->owner[local]) == k->rank;
}

static bool keeper_take_dirty(void *opaque, uint64_t local)
{
    const struct keeper *k = opaque;

    return take_dirty(k->s->copy[k->rank], local);
}

static bool keeper_is_dirty(void *opaque, uint64_t local)
{
    const struct keeper *k = opaque;

    return is_dirty(k->s->copy[k->rank], local);
}

/* The mark comes before the block is the new owner's; what the old one has of it is scribbled over. */
static void move_block(struct spread *s, uint64_t block, int to)
{
    int from = atomic_load(&s->owner[block]);
    uint8_t *old = s->copy[from]->bytes + block * CKPT_BLOCK;

    if (from == to)
        return;
    memcpy(s->copy[to]->bytes + block * CKPT_BLOCK, old, CKPT_BLOCK);
    atomic_store(&s->copy[to]->dirty[block], 1);
    atomic_store(&s->copy[from]->dirty[block], 0);
    atomic_store(&s->owner[block], to);
    memset(old, 0xee, CKPT_BLOCK);
}

static void *move_and_write(void *arg)
{
    struct spread *s = arg;
    unsigned seed = 99;

    for (uint64_t n = 5000; !atomic_load(&s->stop); n++) {
        seed = seed * 1103515245 + 12345;
        uint64_t block = (seed >> 8) % BLOCKS;
        int to = (int)(seed >> 4) % RANKS;
        write_begin(&s->world);
        move_block(s, block, to);
        if (n % 3 == 0)
            guest_write(s->copy[to], block, n);
        write_end(&s->world);
        atomic_fetch_add(&s->writes, 1);
    }
    return NULL;
}

/* Whatever the host is busy with. */
static void let_guest_write(const struct spread *s)
{
    for (uint64_t until = atomic_load(&s->writes) + 200; atomic_load(&s->writes) < until;)
        sim_thread_sleep(20000);
}

static struct spread *spread_create(void)
{
    struct spread *s = sim_new(struct spread);

    world_init(&s->world);
    for (int i = 0; i < RANKS; i++) {
        s->copy[i] = memory_create();
        s->keeper[i] = (struct keeper){s, i};
        s->copy[i]->source.opaque = &s->keeper[i];
        s->copy[i]->source.owns = keeper_owns;
        s->copy[i]->source.take_dirty = keeper_take_dirty;
        s->copy[i]->source.is_dirty = keeper_is_dirty;
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        int rank = (int)(i / 7) % RANKS;
        atomic_store(&s->owner[i], rank);
        if (i % 3)
            fill_block(s->copy[rank]->bytes + (size_t)i * CKPT_BLOCK, i, i);
    }
    return s;
}

static void spread_destroy(struct spread *s)
{
    for (int i = 0; i < RANKS; i++)
        memory_destroy(s->copy[i]);
    world_fini(&s->world);
    sim_free(s);
}

static unsigned place_of(uint64_t block)
{
    return (unsigned)(block / 10 % PLACES);
}

static unsigned route_block(void *opaque, unsigned space, uint64_t block)
{
    (void)opaque;
    assert_int_equal(space, 0);
    return place_of(block);
}

/* One place: receives from all ranks. */
struct place {
    struct sim_thread thread;
    struct ckpt_stream *stream[RANKS];
    struct memory *m;
    struct ckpt_receiver *r;
    atomic_bool served;
};

/* cmocka's asserts are for the main thread: what goes wrong here ends in a result that differs, or a hang that is seen. */
static void *place_main(void *arg)
{
    struct place *p = arg;
    struct ckpt_frame f;
    unsigned stopped = 0;

    while (stopped < RANKS) {
        int i = ckpt_stream_poll(p->stream, RANKS, stopped, 1000);
        if (i < 0 || ckpt_stream_receive(p->stream[i], &f) != SIM_OK)
            return NULL;
        if (f.type == CKPT_FRAME_STOPPED)
            stopped++;
        else if (ckpt_receiver_take(p->r, (unsigned)i, &f) != SIM_OK)
            return NULL;
    }
    if (ckpt_receiver_serve(p->r) != SIM_OK)
        return NULL;
    for (uint64_t i = 0; i < BLOCKS; i += 37) /* some are asked for, of whoever has promised them */
        sim_guard_before(&p->m->guard, i * CKPT_BLOCK, CKPT_BLOCK, false);
    atomic_store(&p->served, true);
    return NULL;
}

static void push_round(struct ckpt_sender *const *sender, struct ckpt_stream *to[RANKS][PLACES])
{
    struct ckpt_frame f;

    for (int i = 0; i < RANKS; i++) {
        while (ckpt_sender_pending(sender[i]))
            assert_int_equal(ckpt_sender_push(sender[i], 64), SIM_OK);
        for (int k = 0; k < PLACES; k++) {
            assert_int_equal(ckpt_stream_send(to[i][k], &(struct ckpt_frame){.type = CKPT_FRAME_ROUND}), SIM_OK);
            assert_int_equal(ckpt_stream_expect(to[i][k], CKPT_FRAME_SEEN, &f), SIM_OK);
        }
    }
}

/* Answers demands, and sends nothing else, until the places have what they ask for. */
static void answer_demands(struct ckpt_sender *const *sender, struct ckpt_stream *to[RANKS][PLACES], struct place *place)
{
    uint64_t until = sim_host_ns() + 60000000000u;
    struct ckpt_frame f;
    int k;

    while (!atomic_load(&place[0].served) || !atomic_load(&place[1].served)) {
        assert_true(sim_host_ns() < until);
        for (int i = 0; i < RANKS; i++) {
            if ((k = ckpt_stream_poll(to[i], PLACES, 0, 0)) < 0)
                continue;
            assert_int_equal(ckpt_stream_expect(to[i][k], CKPT_FRAME_DEMAND, &f), SIM_OK);
            assert_int_equal(ckpt_sender_demand(sender[i], &f), SIM_OK);
        }
    }
}

static void send_rest(struct ckpt_sender *sender, struct ckpt_stream *to[PLACES])
{
    while (ckpt_sender_pending(sender))
        assert_int_equal(ckpt_sender_push(sender, 32), SIM_OK);
    for (int k = 0; k < PLACES; k++)
        assert_int_equal(ckpt_stream_send(to[k], &(struct ckpt_frame){.type = CKPT_FRAME_END}), SIM_OK);
}

static void test_ranks_to_ranks(void **state)
{
    struct spread *s = spread_create();
    struct ckpt_stream *to[RANKS][PLACES];
    struct ckpt_sender *sender[RANKS];
    struct place place[PLACES] = {0};

    (void)state;
    for (int k = 0; k < PLACES; k++) {
        place[k].m = memory_create();
        for (int i = 0; i < RANKS; i++) {
            struct pair p = connect_pair();
            to[i][k] = p.source;
            place[k].stream[i] = p.target;
        }
        const struct ckpt_receiver_config config = {.stream = place[k].stream,
                                                    .nr_streams = RANKS,
                                                    .rank = (unsigned)k,
                                                    .target = &place[k].m->source,
                                                    .nr = 1};
        assert_int_equal(ckpt_receiver_create(&config, &place[k].r), SIM_OK);
        assert_int_equal(sim_thread_start(&place[k].thread, "place", place_main, &place[k]), SIM_OK);
    }
    for (int i = 0; i < RANKS; i++) {
        const struct ckpt_sender_config config = {.stream = to[i],
                                                  .nr_streams = PLACES,
                                                  .route = route_block,
                                                  .source = &s->copy[i]->source,
                                                  .nr = 1};
        assert_int_equal(ckpt_sender_create(&config, &sender[i]), SIM_OK);
    }
    assert_int_equal(sim_thread_start(&s->thread, "guest", move_and_write, s), SIM_OK);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (int i = RANKS - 1; i >= 0; i--) { /* a block that moves meanwhile may be two ranks' to send, the wrong one's last */
            ckpt_sender_mark(sender[i], round == 0);
            let_guest_write(s);
        }
        pause_for_a_moment(&s->world); /* permissions go */
        push_round(sender, to);
    }
    for (int i = 0; i < RANKS; i++) /* would another round pay? The guest runs on */
        ckpt_sender_mark(sender[i], false);
    let_guest_write(s);
    atomic_store(&s->stop, true);
    sim_thread_join(&s->thread);
    uint64_t missing = 0;
    for (int i = 0; i < RANKS; i++) {
        missing += ckpt_sender_mark(sender[i], false);
        assert_int_equal(ckpt_sender_missing(sender[i]), SIM_OK);
        for (int k = 0; k < PLACES; k++)
            assert_int_equal(ckpt_stream_send(to[i][k], &(struct ckpt_frame){.type = CKPT_FRAME_STOPPED}), SIM_OK);
    }
    assert_true(missing && missing <= BLOCKS);
    answer_demands(sender, to, place);
    for (int i = 0; i < RANKS; i++)
        send_rest(sender[i], to[i]);
    for (int k = 0; k < PLACES; k++) {
        sim_thread_join(&place[k].thread);
        assert_int_equal(ckpt_receiver_finish(place[k].r), SIM_OK);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        uint64_t block = ckpt_range_of_local(&place[0].m->source, i)->block + i -
                         ckpt_range_of_local(&place[0].m->source, i)->local;
        assert_memory_equal(place[place_of(block)].m->bytes + (size_t)i * CKPT_BLOCK,
                            s->copy[atomic_load(&s->owner[i])]->bytes + (size_t)i * CKPT_BLOCK, CKPT_BLOCK);
    }
    for (int k = 0; k < PLACES; k++) {
        ckpt_receiver_destroy(place[k].r);
        for (int i = 0; i < RANKS; i++)
            ckpt_stream_destroy(place[k].stream[i]);
        memory_destroy(place[k].m);
    }
    for (int i = 0; i < RANKS; i++) {
        ckpt_sender_destroy(sender[i]);
        for (int k = 0; k < PLACES; k++)
            ckpt_stream_destroy(to[i][k]);
    }
    spread_destroy(s);
}

/* Two ranks that promise one block: one of them is wrong. */
static void test_a_block_promised_twice(void **state)
{
    const uint64_t missing[2] = {FIRST + 5, 1};
    struct pair p = connect_pair(), q = connect_pair();
    struct ckpt_stream *const stream[2] = {p.target, q.target};
    const struct ckpt_frame f = {
        .type = CKPT_FRAME_MISSING, .len = sizeof missing, .payload = (const uint8_t *)missing};
    struct memory *to = memory_create();
    const struct ckpt_receiver_config config = {.stream = stream, .nr_streams = 2, .target = &to->source, .nr = 1};
    struct ckpt_receiver *r;

    (void)state;
    assert_int_equal(ckpt_receiver_create(&config, &r), SIM_OK);
    assert_int_equal(ckpt_receiver_take(r, 0, &f), SIM_OK);
    int saved = hush();
    assert_int_equal(ckpt_receiver_take(r, 1, &f), SIM_ERR_FORMAT);
    unhush(saved);
    ckpt_receiver_destroy(r);
    end_pair(&p);
    end_pair(&q);
    memory_destroy(to);
}

/* --- hostile frames --- */

static void test_frames_that_make_no_sense(void **state)
{
    static const uint8_t bytes[2 * CKPT_BLOCK];
    static const uint64_t beyond[2] = {FIRST + 999, 2}, nothing[2] = {FIRST, 0}, huge[2] = {FIRST, UINT64_MAX};
    const struct ckpt_frame bad[] = {
        {CKPT_FRAME_BLOCKS, 1, FIRST, 1, CKPT_BLOCK, bytes},         /* no such space */
        {CKPT_FRAME_BLOCKS, 0, FIRST - 1, 1, CKPT_BLOCK, bytes},     /* before the first range */
        {CKPT_FRAME_BLOCKS, 0, FIRST + 999, 2, sizeof bytes, bytes}, /* over its end */
        {CKPT_FRAME_BLOCKS, 0, UINT64_MAX, 2, sizeof bytes, bytes},
        {CKPT_FRAME_BLOCKS, 0, FIRST, 2, CKPT_BLOCK, bytes}, /* fewer bytes than blocks */
        {CKPT_FRAME_BLOCKS, 0, FIRST, 0, 0, bytes},
        {CKPT_FRAME_ZEROS, 0, FIRST, 1, CKPT_BLOCK, bytes},
        {CKPT_FRAME_ZEROS, 0, FIRST, UINT32_MAX, 0, bytes},
        {CKPT_FRAME_MISSING, 0, 0, 0, sizeof beyond, (const uint8_t *)beyond},
        {CKPT_FRAME_MISSING, 0, 0, 0, sizeof nothing, (const uint8_t *)nothing},
        {CKPT_FRAME_MISSING, 0, 0, 0, sizeof huge, (const uint8_t *)huge},
        {CKPT_FRAME_MISSING, 0, 0, 0, 15, (const uint8_t *)huge},
        {CKPT_FRAME_CONFIG, 0, 0, 0, 0, bytes},
        {CKPT_FRAME_DEMAND, 0, FIRST, 1, 0, bytes},
    };
    struct pair p = connect_pair();
    struct memory *to = memory_create();
    struct ckpt_receiver *r = receiver_of(&p.target, to);

    (void)state;
    int saved = hush();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(ckpt_receiver_take(r, 0, &bad[i]), SIM_ERR_FORMAT);
    unhush(saved);
    ckpt_receiver_destroy(r);
    end_pair(&p);
    memory_destroy(to);
}

static void test_blocks_that_are_here_do_not_come_again(void **state)
{
    static const uint8_t bytes[CKPT_BLOCK];
    struct pair p = connect_pair();
    struct memory *to = memory_create();
    struct ckpt_receiver *r = receiver_of(&p.target, to);

    (void)state;
    assert_int_equal(ckpt_receiver_serve(r), SIM_OK);
    assert_int_equal(ckpt_stream_send(p.source, &(struct ckpt_frame){.type = CKPT_FRAME_GO}), SIM_OK);
    int saved = hush();
    assert_int_equal(ckpt_stream_send(p.source, &(struct ckpt_frame){CKPT_FRAME_BLOCKS, 0, FIRST, 1, CKPT_BLOCK, bytes}),
                     SIM_OK);
    assert_int_equal(ckpt_receiver_finish(r), SIM_ERR_FORMAT);
    unhush(saved);
    ckpt_receiver_destroy(r);
    end_pair(&p);
    memory_destroy(to);
}

/* Random bytes, and good frames with one bit changed. */
static void test_damaged_streams(void **state)
{
    unsigned seed = 4711;
    int saved = hush();

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        uint8_t frame[32 + 64];
        int fd[2];
        struct ckpt_frame f;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
        struct ckpt_stream *good = ckpt_stream_create(fd[0], "writer");
        struct ckpt_stream *s = ckpt_stream_create(fd[1], "reader");
        assert_int_equal(ckpt_stream_send(good, &(struct ckpt_frame){.type = CKPT_FRAME_CONFIG, .len = 64,
                                                                     .payload = (const uint8_t[64]){1, 2, 3}}),
                         SIM_OK);
        assert_int_equal(read(fd[1], frame, sizeof frame), sizeof frame);
        seed = seed * 1103515245 + 12345;
        unsigned bit = (seed >> 8) % (8 * sizeof frame);
        bool matters = bit / 8 != 6 && bit / 8 != 7 && (bit / 8 < 8 || bit / 8 >= 20); /* not space, block, nr */
        frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(write(fd[0], frame, sizeof frame), sizeof frame);
        shutdown(fd[0], SHUT_WR);
        bool came = ckpt_stream_receive(s, &f) == SIM_OK && f.type == CKPT_FRAME_CONFIG;
        if (matters)
            assert_false(came);
        ckpt_stream_destroy(good);
        ckpt_stream_destroy(s);
    }
    unhush(saved);
}

static void test_another_version_is_refused(void **state)
{
    const uint32_t hello[2] = {3, CKPT_BLOCK};
    struct pair p = connect_pair();

    (void)state;
    assert_int_equal(ckpt_stream_send(p.source, &(struct ckpt_frame){.type = CKPT_FRAME_HELLO, .len = sizeof hello,
                                                                     .payload = (const uint8_t *)hello}),
                     SIM_OK);
    int saved = hush();
    assert_int_equal(ckpt_stream_greet(p.target), SIM_ERR_IO);
    unhush(saved);
    end_pair(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_has_what_the_source_had),
        cmocka_unit_test(test_without_postcopy_nothing_is_missing),
        cmocka_unit_test(test_a_source_that_dies),
        cmocka_unit_test(test_ranks_to_ranks),
        cmocka_unit_test(test_a_block_promised_twice),
        cmocka_unit_test(test_frames_that_make_no_sense),
        cmocka_unit_test(test_blocks_that_are_here_do_not_come_again),
        cmocka_unit_test(test_damaged_streams),
        cmocka_unit_test(test_another_version_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
