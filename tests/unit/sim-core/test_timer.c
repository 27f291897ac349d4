/* Guest-time timers on both clocks. */
#include "sim_test.h"

#include "sim-core/timer.h"

struct shot {
    struct sim_timer *timer;
    struct sim *sim;
    _Atomic unsigned count;
    _Atomic vtime_t at;
    vtime_t again; /* arm for this from the callback, if not 0 */
};

static void shoot(void *opaque)
{
    struct shot *s = opaque;

    s->at = sim_clock_now(&s->sim->clock);
    s->count++;
    if (s->again)
        sim_timer_arm(s->timer, s->again);
}

static struct sim *sim_with_clock(enum sim_clock_mode mode)
{
    struct sim *sim;

    assert_int_equal(sim_create(&sim), SIM_OK);
    sim_clock_init(&sim->clock, mode);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    return sim;
}

static void shot_init(struct shot *s, struct sim *sim)
{
    *s = (struct shot){.sim = sim};
    s->timer = sim_timer_create(sim, shoot, s);
}

static void test_host_timer(void **state)
{
    struct sim *sim = sim_with_clock(SIM_CLOCK_HOST);
    struct shot s, other;

    (void)state;
    shot_init(&s, sim);
    shot_init(&other, sim);
    vtime_t deadline = sim_clock_now(&sim->clock) + 3000000;
    sim_io_stop(sim->io); /* or it might come before it is cancelled */
    sim_timer_arm(s.timer, deadline);
    sim_timer_arm(other.timer, deadline);
    sim_timer_cancel(other.timer);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    assert_int_equal(sim_timers_next(sim), VTIME_NEVER);
    sim_timers_run(sim); /* nothing for the executor */
    EVENTUALLY(s.count == 1);
    assert_true(s.at >= deadline);
    sim_timer_arm(other.timer, VTIME_NEVER - 1); /* beyond the host's clock: never */
    poll(NULL, 0, 5);
    assert_int_equal(other.count, 0);
    sim_timer_destroy(s.timer);
    sim_timer_destroy(other.timer);
    sim_destroy(sim);
}

static void test_virtual_timers_run_by_deadline(void **state)
{
    struct sim *sim = sim_with_clock(SIM_CLOCK_VIRTUAL);
    struct shot a, b, c;

    (void)state;
    shot_init(&a, sim);
    shot_init(&b, sim);
    shot_init(&c, sim);
    sim_timer_arm(a.timer, 300);
    sim_timer_arm(b.timer, 200);
    sim_timer_arm(c.timer, 100);
    sim_timer_cancel(c.timer);
    assert_int_equal(sim_timers_next(sim), 200);
    sim_clock_charge(&sim->clock, 199);
    sim_timers_run(sim);
    assert_int_equal(b.count, 0);
    sim_clock_charge(&sim->clock, 1);
    sim_timers_run(sim);
    sim_timers_run(sim);
    assert_int_equal(b.count, 1);
    assert_int_equal(a.count, 0);
    assert_int_equal(sim_timers_next(sim), 300);
    sim_clock_skip_to(&sim->clock, sim_timers_next(sim));
    sim_timers_run(sim);
    assert_int_equal(a.count, 1);
    assert_int_equal(c.count, 0);
    assert_int_equal(sim_timers_next(sim), VTIME_NEVER);
    sim_timer_destroy(a.timer);
    sim_timer_destroy(b.timer);
    sim_timer_destroy(c.timer);
    sim_destroy(sim);
}

/* A timer that arms itself for the past runs once per turn, and does not keep the executor. */
static void test_virtual_timer_rearms_itself(void **state)
{
    struct sim *sim = sim_with_clock(SIM_CLOCK_VIRTUAL);
    struct shot s;

    (void)state;
    shot_init(&s, sim);
    s.again = 1;
    sim_clock_charge(&sim->clock, 10);
    sim_timer_arm(s.timer, 5);
    for (unsigned i = 1; i <= 3; i++) {
        sim_timers_run(sim);
        assert_int_equal(s.count, i);
    }
    s.again = 1000;
    sim_timers_run(sim);
    sim_timers_run(sim);
    assert_int_equal(s.count, 4);
    sim_timer_destroy(s.timer); /* while armed */
    assert_int_equal(sim_timers_next(sim), VTIME_NEVER);
    sim_destroy(sim);
}

/* A stopped clock fires nothing; when it goes on, what was armed comes as much later, and what has fired does not come again. */
static void test_timers_follow_a_stopped_clock(void **state)
{
    struct sim *sim = sim_with_clock(SIM_CLOCK_HOST);
    struct shot early, late;

    (void)state;
    shot_init(&early, sim);
    shot_init(&late, sim);
    sim_timer_arm(early.timer, sim_clock_now(&sim->clock) + 1000000);
    EVENTUALLY(early.count == 1);
    vtime_t deadline = sim_clock_now(&sim->clock) + 30000000;
    sim_io_stop(sim->io); /* or it might come before the clock stands */
    sim_timer_arm(late.timer, deadline);
    sim_clock_stop(&sim->clock);
    vtime_t then = sim_clock_now(&sim->clock);
    sim_timers_shifted(sim);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    poll(NULL, 0, 100);
    assert_int_equal(sim_clock_now(&sim->clock), then);
    assert_int_equal(late.count, 0);
    sim_clock_go(&sim->clock);
    sim_timers_shifted(sim);
    assert_in_range(sim_clock_now(&sim->clock), then, then + 5000000000);
    EVENTUALLY(late.count == 1);
    assert_true(late.at >= deadline);
    assert_int_equal(early.count, 1);
    sim_io_stop(sim->io);
    sim_timer_destroy(early.timer);
    sim_timer_destroy(late.timer);
    sim_destroy(sim);
}

static void set_flag(void *opaque)
{
    atomic_store((atomic_bool *)opaque, true);
}

/* The I/O loop has served what was due: work posted in one round is done in the next. */
static void let_it_turn(struct sim *sim)
{
    for (int i = 0; i < 2; i++) {
        atomic_bool done = false;
        sim_io_post(sim->io, set_flag, &done);
        EVENTUALLY(atomic_load(&done));
    }
}

/* A timer that was due when the clock was stopped had its chance before; its next one is when the clock goes on. */
static void test_what_is_due_does_not_fire_after_the_stop(void **state)
{
    struct sim *sim = sim_with_clock(SIM_CLOCK_HOST);
    struct shot s;

    (void)state;
    shot_init(&s, sim);
    sim_io_stop(sim->io);
    sim_timer_arm(s.timer, 0);
    sim_time_stop(sim);
    assert_int_equal(sim_io_start(sim->io), SIM_OK);
    let_it_turn(sim);
    assert_int_equal(s.count, 0);
    sim_clock_go(&sim->clock);
    sim_timers_shifted(sim);
    EVENTUALLY(s.count == 1);
    sim_io_stop(sim->io);
    sim_timer_destroy(s.timer);
    sim_destroy(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_timer),
        cmocka_unit_test(test_virtual_timers_run_by_deadline),
        cmocka_unit_test(test_virtual_timer_rearms_itself),
        cmocka_unit_test(test_timers_follow_a_stopped_clock),
        cmocka_unit_test(test_what_is_due_does_not_fire_after_the_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
