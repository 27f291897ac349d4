/* The I/O loop: timers, watches, posted work. */
#include "sim_test.h"

#include "sim-core/io.h"
#include "sim-core/lock.h"

static int setup(void **state)
{
    struct sim_io *io;

    if (sim_io_create(&io) != SIM_OK || sim_io_start(io) != SIM_OK)
        return -1;
    *state = io;
    return 0;
}

static int teardown(void **state)
{
    sim_io_destroy(*state);
    return 0;
}

/* --- timers --- */

struct shot {
    struct sim_io_timer *timer;
    _Atomic uint64_t at; /* when it last fired */
    _Atomic unsigned count;
};

static void shoot(void *opaque)
{
    struct shot *s = opaque;

    s->at = sim_host_ns();
    s->count++;
}

static void test_timer_fires_once_and_not_early(void **state)
{
    struct shot s = {0};
    uint64_t deadline = sim_host_ns() + 5000000;

    s.timer = sim_io_timer_create(*state, shoot, &s);
    sim_io_timer_arm(s.timer, deadline);
    EVENTUALLY(s.count == 1);
    assert_true(s.at >= deadline);
    poll(NULL, 0, 10);
    assert_int_equal(s.count, 1);
    sim_io_timer_destroy(s.timer);
}

/* epoll's time-out counts in milliseconds; a timer of 150 us must not take one. Of 50 tries the
 * best counts, because the host may be busy. */
static void test_timer_below_a_millisecond(void **state)
{
    struct shot s = {0};
    uint64_t best = UINT64_MAX;

    s.timer = sim_io_timer_create(*state, shoot, &s);
    for (unsigned i = 1; i <= 50; i++) {
        uint64_t start = sim_host_ns();
        sim_io_timer_arm(s.timer, start + 150000);
        while (s.count < i)
            sim_thread_yield();
        if (s.at - start < best)
            best = s.at - start;
        assert_true(s.at - start >= 150000);
    }
    assert_true(best < 900000);
    sim_io_timer_destroy(s.timer);
}

/* The loop stands while timers are armed and moved: this thread may be away from its core for longer than they are. */
static void test_timer_rearm_and_cancel(void **state)
{
    struct shot s = {0}, end = {0};
    uint64_t now = sim_host_ns();

    s.timer = sim_io_timer_create(*state, shoot, &s);
    end.timer = sim_io_timer_create(*state, shoot, &end);
    sim_io_stop(*state);
    sim_io_timer_arm(s.timer, now + 3000000);
    sim_io_timer_arm(s.timer, now + 3600000000000);
    sim_io_timer_arm(end.timer, now + 10000000);
    assert_int_equal(sim_io_start(*state), SIM_OK);
    EVENTUALLY(end.count == 1);
    assert_int_equal(s.count, 0);
    sim_io_stop(*state);
    sim_io_timer_arm(s.timer, sim_host_ns() + 3000000);
    sim_io_timer_cancel(s.timer);
    sim_io_timer_cancel(s.timer);
    sim_io_timer_arm(end.timer, sim_host_ns() + 10000000);
    assert_int_equal(sim_io_start(*state), SIM_OK);
    EVENTUALLY(end.count == 2);
    assert_int_equal(s.count, 0);
    sim_io_timer_arm(s.timer, 0); /* long ago: at once */
    EVENTUALLY(s.count == 1);
    sim_io_timer_arm(s.timer, UINT64_MAX);
    sim_io_timer_destroy(s.timer);
    sim_io_timer_destroy(end.timer);
}

enum { MANY = 1000 };

struct order {
    struct sim_io_timer *timer;
    uint64_t deadline;
    _Atomic unsigned *next;
    unsigned place; /* in the sequence of callbacks */
};

static void note_order(void *opaque)
{
    struct order *o = opaque;

    o->place = *o->next;
    (*o->next)++;
}

/* A thousand timers in random order, some cancelled, some moved: they fire by deadline. */
static void test_many_timers_fire_in_order(void **state)
{
    static struct order t[MANY];
    _Atomic unsigned next = 1;
    uint64_t base = sim_host_ns() + 50000000;
    uint32_t r = 12345;
    unsigned expected = 0;

    sim_io_stop(*state);
    for (unsigned i = 0; i < MANY; i++) {
        r = r * 1664525 + 1013904223;
        t[i] = (struct order){.deadline = base + (r >> 8) % 20000000, .next = &next};
        t[i].timer = sim_io_timer_create(*state, note_order, &t[i]);
        sim_io_timer_arm(t[i].timer, i % 3 ? t[i].deadline : base + r % 10000);
    }
    for (unsigned i = 0; i < MANY; i++) {
        if (i % 7 == 0)
            sim_io_timer_cancel(t[i].timer);
        else if (i % 3 == 0)
            sim_io_timer_arm(t[i].timer, t[i].deadline);
        expected += i % 7 != 0;
    }
    assert_int_equal(sim_io_start(*state), SIM_OK);
    EVENTUALLY(next == expected + 1);
    for (unsigned i = 0; i < MANY; i++) {
        sim_io_timer_destroy(t[i].timer);
        assert_int_equal(t[i].place == 0, i % 7 == 0);
        for (unsigned j = 0; t[i].place && j < MANY; j++)
            if (t[j].place > t[i].place)
                assert_true(t[j].deadline >= t[i].deadline);
    }
}

struct slow {
    struct sim_io_timer *timer;
    _Atomic bool begun, ended;
};

static void slow_callback(void *opaque)
{
    struct slow *s = opaque;

    s->begun = true;
    poll(NULL, 0, 30);
    s->ended = true;
}

static void test_timer_destroy_waits_for_its_callback(void **state)
{
    struct slow s = {0};

    s.timer = sim_io_timer_create(*state, slow_callback, &s);
    sim_io_timer_arm(s.timer, 0);
    EVENTUALLY(s.begun);
    sim_io_timer_destroy(s.timer);
    assert_true(s.ended);
}

static void destroy_self(void *opaque)
{
    struct shot *s = opaque;

    sim_io_timer_destroy(s->timer);
    s->count++;
}

static void test_timer_may_destroy_itself(void **state)
{
    struct shot s = {0};

    s.timer = sim_io_timer_create(*state, destroy_self, &s);
    sim_io_timer_arm(s.timer, 0);
    EVENTUALLY(s.count == 1);
}

/* --- watches --- */

struct ear {
    struct sim_io_watch *watch;
    int fd;
    _Atomic unsigned count, events;
};

static void hear(void *opaque, unsigned events)
{
    struct ear *e = opaque;
    char c;

    if (events & SIM_IO_READ && read(e->fd, &c, 1) <= 0)
        sim_io_watch_set(e->watch, 0);
    if (events & SIM_IO_WRITE)
        sim_io_watch_set(e->watch, SIM_IO_READ);
    e->events = events;
    e->count++;
}

static void test_watch_reports_what_is_asked(void **state)
{
    int p[2];
    struct ear e = {0};

    assert_int_equal(pipe(p), 0);
    e.fd = p[0];
    assert_int_equal(sim_io_watch_add(*state, p[0], 0, hear, &e, &e.watch), SIM_OK);
    assert_int_equal(write(p[1], "ab", 2), 2);
    poll(NULL, 0, 10);
    assert_int_equal(e.count, 0);
    sim_io_watch_set(e.watch, SIM_IO_READ);
    EVENTUALLY(e.count == 2);
    assert_int_equal(e.events, SIM_IO_READ);
    sim_io_watch_remove(e.watch);
    assert_int_equal(write(p[1], "c", 1), 1);
    poll(NULL, 0, 10);
    assert_int_equal(e.count, 2);
    close(p[0]);
    close(p[1]);
}

static void test_watch_for_writing(void **state)
{
    int p[2];
    struct ear e = {0};

    assert_int_equal(pipe(p), 0);
    assert_int_equal(sim_io_watch_add(*state, p[1], SIM_IO_WRITE, hear, &e, &e.watch), SIM_OK);
    EVENTUALLY(e.count == 1);
    assert_int_equal(e.events, SIM_IO_WRITE);
    sim_io_watch_remove(e.watch);
    close(p[0]);
    close(p[1]);
}

static void hear_and_remove(void *opaque, unsigned events)
{
    struct ear *e = opaque;

    (void)events;
    sim_io_watch_remove(e->watch);
    e->count++;
}

static void test_watch_reports_hangup_and_may_remove_itself(void **state)
{
    int p[2];
    struct ear e = {0};

    assert_int_equal(pipe(p), 0);
    assert_int_equal(sim_io_watch_add(*state, p[0], 0, hear_and_remove, &e, &e.watch), SIM_OK);
    close(p[1]);
    EVENTUALLY(e.count == 1);
    poll(NULL, 0, 5);
    assert_int_equal(e.count, 1);
    close(p[0]);
}

static void test_watch_of_a_regular_file_is_refused(void **state)
{
    struct sim_io_watch *w;
    int fd = open("/proc/self/exe", O_RDONLY);

    assert_int_equal(sim_io_watch_add(*state, fd, SIM_IO_READ, hear, NULL, &w), SIM_ERR_IO);
    close(fd);
}

struct slow_ear {
    struct sim_io_watch *watch;
    _Atomic bool begun, ended;
};

static void hear_slowly(void *opaque, unsigned events)
{
    struct slow_ear *e = opaque;

    (void)events;
    e->begun = true;
    poll(NULL, 0, 30);
    e->ended = true;
}

static void test_watch_remove_waits_for_its_callback(void **state)
{
    int p[2];
    struct slow_ear e = {0};

    assert_int_equal(pipe(p), 0);
    assert_int_equal(write(p[1], "x", 1), 1);
    assert_int_equal(sim_io_watch_add(*state, p[0], SIM_IO_READ, hear_slowly, &e, &e.watch),
                     SIM_OK);
    EVENTUALLY(e.begun);
    sim_io_watch_remove(e.watch);
    assert_true(e.ended);
    close(p[0]);
    close(p[1]);
}

/* --- posted work --- */

struct posts {
    struct sim_io *io;
    _Atomic unsigned count;
    _Atomic bool stop;
    unsigned order[100];
};

struct numbered {
    struct posts *p;
    unsigned n;
};

static void note_post(void *opaque)
{
    struct numbered *x = opaque;

    x->p->order[x->p->count] = x->n;
    x->p->count++;
}

static void test_posted_work_runs_in_order(void **state)
{
    struct posts p = {.io = *state};
    struct numbered x[100];

    for (unsigned i = 0; i < 100; i++) {
        x[i] = (struct numbered){&p, i};
        sim_io_post(*state, note_post, &x[i]);
    }
    EVENTUALLY(p.count == 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(p.order[i], i);
}

static void post_again(void *opaque)
{
    struct posts *p = opaque;

    p->count++;
    if (!p->stop)
        sim_io_post(p->io, post_again, p);
}

static void arm_again(void *opaque)
{
    struct shot *s = opaque;

    s->count++;
    sim_io_timer_arm(s->timer, 0);
}

/* Work that never ends keeps neither timers nor watches from their turn. */
static void test_nobody_starves(void **state)
{
    int fds[2];
    struct posts p = {.io = *state};
    struct shot always = {0}, s = {0};
    struct ear e = {0};

    assert_int_equal(pipe(fds), 0);
    e.fd = fds[0];
    always.timer = sim_io_timer_create(*state, arm_again, &always);
    sim_io_timer_arm(always.timer, 0);
    sim_io_post(*state, post_again, &p);
    s.timer = sim_io_timer_create(*state, shoot, &s);
    sim_io_timer_arm(s.timer, sim_host_ns() + 1000000);
    assert_int_equal(sim_io_watch_add(*state, fds[0], SIM_IO_READ, hear, &e, &e.watch), SIM_OK);
    assert_int_equal(write(fds[1], "x", 1), 1);
    EVENTUALLY(s.count == 1 && e.count == 1 && p.count > 10 && always.count > 10);
    p.stop = true;
    sim_io_watch_remove(e.watch);
    sim_io_timer_destroy(s.timer);
    sim_io_timer_destroy(always.timer);
    sim_io_stop(*state);
    close(fds[0]);
    close(fds[1]);
}

static void test_stop_and_start_again(void **state)
{
    struct shot s = {0};

    s.timer = sim_io_timer_create(*state, shoot, &s);
    sim_io_stop(*state);
    sim_io_stop(*state);
    sim_io_timer_arm(s.timer, 0);
    poll(NULL, 0, 5);
    assert_int_equal(s.count, 0);
    assert_int_equal(sim_io_start(*state), SIM_OK);
    EVENTUALLY(s.count == 1);
    sim_io_timer_destroy(s.timer);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_timer_fires_once_and_not_early),
        T(test_timer_below_a_millisecond),
        T(test_timer_rearm_and_cancel),
        T(test_many_timers_fire_in_order),
        T(test_timer_destroy_waits_for_its_callback),
        T(test_timer_may_destroy_itself),
        T(test_watch_reports_what_is_asked),
        T(test_watch_for_writing),
        T(test_watch_reports_hangup_and_may_remove_itself),
        T(test_watch_of_a_regular_file_is_refused),
        T(test_watch_remove_waits_for_its_callback),
        T(test_posted_work_runs_in_order),
        T(test_nobody_starves),
        T(test_stop_and_start_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
