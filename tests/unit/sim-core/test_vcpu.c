/* The safepoint protocol: kick, wait, exclusive. vCPUs here are threads that run a fake guest. */
#include "sim_test.h"

#include "sim-core/alloc.h"
#include "sim-core/vcpu.h"

enum { NR = 3 };

/* A vCPU, the request that others make of it, and its thread. */
struct fake {
    struct vcpu vcpu;
    struct sim_thread thread;
    _Atomic uint64_t requested, served;
    _Atomic uint64_t rounds;
    _Atomic bool stop;
    _Atomic bool stuck; /* stays in guest code and looks at nothing */
    struct world *world;
};

struct world {
    struct sim *sim;
    struct fake f[NR];
    _Atomic uint64_t inside; /* how many run guest code */
    uint64_t plain;          /* written only while exclusive: TSan would see an overlap */
};

static void serve(struct fake *f)
{
    f->served = f->requested;
}

/* Enters, serves, runs "guest code" until kicked, leaves: as rv_vcpu_run does. */
static void *fake_main(void *arg)
{
    struct fake *f = arg;

    while (!f->stop) {
        vcpu_enter(&f->vcpu);
        vcpu_clear_kick(&f->vcpu); /* may leave and come back */
        f->world->inside++;
        serve(f);
        while (f->stuck || (!f->vcpu.kick && !f->stop))
            f->rounds++;
        serve(f);
        f->world->inside--;
        vcpu_leave(&f->vcpu);
    }
    return NULL;
}

static void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    assert_int_equal(sim_create(&w->sim), SIM_OK);
    for (int i = 0; i < NR; i++) {
        w->f[i].world = w;
        sim_add_vcpu(w->sim, &w->f[i].vcpu);
        assert_int_equal(w->f[i].vcpu.index, i);
    }
}

static void world_run(struct world *w, int first)
{
    for (int i = first; i < NR; i++)
        assert_int_equal(sim_thread_start(&w->f[i].thread, "fake", fake_main, &w->f[i]), SIM_OK);
}

static void world_fini(struct world *w)
{
    for (int i = 0; i < NR; i++) {
        w->f[i].stuck = false;
        w->f[i].stop = true;
    }
    for (int i = 0; i < NR; i++)
        sim_thread_join(&w->f[i].thread);
    sim_destroy(w->sim);
}

struct counting_waker {
    struct vcpu_waker waker;
    unsigned count;
};

static void count_wake(struct vcpu_waker *w, struct vcpu *v)
{
    assert_int_equal(v->index, 1);
    ((struct counting_waker *)w)->count++;
}

static void test_kick_sets_the_flag_and_wakes(void **state)
{
    struct world w;
    struct counting_waker waker = {{count_wake}, 0};

    (void)state;
    world_init(&w);
    vcpu_kick(&w.f[0].vcpu);
    assert_int_equal(w.f[0].vcpu.kick, 1);
    w.f[1].vcpu.waker = &waker.waker;
    vcpu_kick(&w.f[1].vcpu);
    vcpu_kick(&w.f[1].vcpu);
    assert_int_equal(waker.count, 2);
    world_fini(&w);
}

/* Guest code that looks at nothing by itself (KVM) is told of every kick, after it was set. */
static unsigned interrupts;

static void count_interrupt(struct vcpu *v)
{
    assert_int_equal(v->kick, 1);
    interrupts++;
    v->running = 0; /* it leaves guest code at once */
}

static bool is_not_served(struct vcpu *v, void *opaque)
{
    (void)v, (void)opaque;
    return false;
}

static void test_kicks_interrupt_guest_code(void **state)
{
    static const struct vcpu_ops ops = {.name = "deaf", .interrupt = count_interrupt};
    struct world w;

    (void)state;
    world_init(&w);
    interrupts = 0;
    w.f[0].vcpu.ops = &ops;
    vcpu_kick(&w.f[0].vcpu);
    assert_int_equal(interrupts, 1);
    w.f[0].vcpu.running = 1;
    w.f[0].vcpu.kick = 0;
    vcpu_wait(NULL, &w.f[0].vcpu, is_not_served, NULL);
    assert_int_equal(interrupts, 2);
    w.f[0].vcpu.running = 1;
    sim_exclusive_begin(w.sim, NULL);
    sim_exclusive_end(w.sim);
    assert_int_equal(interrupts, 3);
    world_fini(&w);
}

static bool is_served(struct vcpu *v, void *opaque)
{
    (void)opaque;
    struct fake *f = SIM_CONTAINER_OF(v, struct fake, vcpu);

    return f->served >= f->requested;
}

/* A vCPU that does not run needs no waiting: its request is served when it enters. */
static void test_wait_for_a_stopped_vcpu_returns(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    w.f[1].requested = 1;
    vcpu_wait(NULL, &w.f[1].vcpu, is_served, NULL);
    vcpu_wait(&w.f[1].vcpu, &w.f[1].vcpu, is_served, NULL); /* itself */
    assert_int_equal(w.f[1].vcpu.kick, 0); /* and it is not woken for that */
    world_fini(&w);
}

static void test_wait_for_running_vcpus(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_run(&w, 0);
    EVENTUALLY(w.f[0].rounds && w.f[1].rounds && w.f[2].rounds);
    for (uint64_t n = 1; n <= 300; n++) {
        struct fake *f = &w.f[n % NR];
        f->requested = n;
        vcpu_wait(NULL, &f->vcpu, is_served, NULL);
        assert_true(f->served >= n || !f->vcpu.running);
    }
    world_fini(&w);
}

struct pair {
    struct world *w;
    struct fake *self, *other;
    struct sim_thread thread;
};

static void *wait_for_each_other(void *arg)
{
    struct pair *p = arg;

    for (uint64_t n = 1; n <= 2000; n++) {
        vcpu_enter(&p->self->vcpu);
        p->self->vcpu.kick = 0;
        serve(p->self);
        p->other->requested++;
        vcpu_wait(&p->self->vcpu, &p->other->vcpu, is_served, NULL);
        assert_int_equal(p->self->vcpu.running, 1); /* as before the wait */
        serve(p->self);
        vcpu_leave(&p->self->vcpu);
    }
    return NULL;
}

/* Two that wait for each other do not deadlock: one that waits counts as left. */
static void test_mutual_waits_end(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    struct pair a = {&w, &w.f[0], &w.f[1], {0}}, b = {&w, &w.f[1], &w.f[0], {0}};
    assert_int_equal(sim_thread_start(&a.thread, "a", wait_for_each_other, &a), SIM_OK);
    assert_int_equal(sim_thread_start(&b.thread, "b", wait_for_each_other, &b), SIM_OK);
    sim_thread_join(&a.thread);
    sim_thread_join(&b.thread);
    world_fini(&w);
}

static void test_exclusive_stops_the_others(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    world_run(&w, 1);
    EVENTUALLY(w.f[1].rounds && w.f[2].rounds);
    for (int i = 0; i < 200; i++) {
        struct vcpu *self = i % 2 ? &w.f[0].vcpu : NULL;
        sim_exclusive_begin(w.sim, self);
        assert_int_equal(w.inside, 0);
        uint64_t before = w.f[1].rounds;
        if (self)
            vcpu_enter(self); /* the exclusive one itself may run */
        w.plain++;
        if (self)
            vcpu_leave(self);
        sim_thread_yield();
        assert_int_equal(w.f[1].rounds, before);
        sim_exclusive_end(w.sim);
    }
    uint64_t before = w.f[1].rounds;
    EVENTUALLY(w.f[1].rounds > before);
    world_fini(&w);
}

struct excl {
    struct world *w;
    struct sim_thread thread;
    int index;
};

static void *exclusive_often(void *arg)
{
    struct excl *e = arg;

    for (int i = 0; i < 500; i++) {
        sim_exclusive_begin(e->w->sim, &e->w->f[e->index].vcpu);
        e->w->plain++;
        sim_exclusive_end(e->w->sim);
        vcpu_enter(&e->w->f[e->index].vcpu);
        vcpu_leave(&e->w->f[e->index].vcpu);
    }
    return NULL;
}

static void test_exclusives_exclude_each_other(void **state)
{
    struct world w;
    struct excl e[NR];

    (void)state;
    world_init(&w);
    for (int i = 0; i < NR; i++) {
        e[i] = (struct excl){.w = &w, .index = i};
        assert_int_equal(sim_thread_start(&e[i].thread, "excl", exclusive_often, &e[i]), SIM_OK);
    }
    for (int i = 0; i < NR; i++)
        sim_thread_join(&e[i].thread);
    assert_int_equal(w.plain, NR * 500);
    world_fini(&w);
}

/* A waker that is in use when it is taken away. */
struct slow_waker {
    struct vcpu_waker waker;
    struct vcpu *vcpu;
    _Atomic bool entered, go_on, left;
};

static void slow_wake(struct vcpu_waker *waker, struct vcpu *v)
{
    struct slow_waker *w = (struct slow_waker *)waker;

    (void)v;
    w->entered = true;
    while (!w->go_on)
        sim_thread_yield();
    w->left = true;
}

static void *kick_once(void *arg)
{
    vcpu_kick(((struct slow_waker *)arg)->vcpu);
    return NULL;
}

static void *let_go_on(void *arg)
{
    struct slow_waker *w = arg;

    for (uint64_t end = sim_host_ns() + 20000000; sim_host_ns() < end;)
        sim_thread_yield();
    w->go_on = true;
    return NULL;
}

static void test_detaching_a_waker_waits_for_its_users(void **state)
{
    struct world w;
    struct sim_thread kicker, helper;

    (void)state;
    world_init(&w);
    struct slow_waker slow = {.waker = {slow_wake}, .vcpu = &w.f[0].vcpu};
    w.f[0].vcpu.waker = &slow.waker;
    assert_int_equal(sim_thread_start(&kicker, "kicker", kick_once, &slow), SIM_OK);
    while (!slow.entered)
        sim_thread_yield();
    assert_int_equal(sim_thread_start(&helper, "helper", let_go_on, &slow), SIM_OK);
    vcpu_detach_waker(&w.f[0].vcpu);
    assert_true(slow.left);
    assert_null(w.f[0].vcpu.waker);
    vcpu_kick(&w.f[0].vcpu);
    sim_thread_join(&helper);
    sim_thread_join(&kicker);
    world_fini(&w);
}

/* The kick of an exclusive one comes between entering and clearing it: it must not get lost. */
static void *be_exclusive(void *arg)
{
    struct world *w = arg;

    sim_exclusive_begin(w->sim, NULL);
    w->plain = 1;
    sim_exclusive_end(w->sim);
    return NULL;
}

static void test_clearing_a_kick_gives_way_to_an_exclusive_one(void **state)
{
    struct world w;
    struct sim_thread other;

    (void)state;
    world_init(&w);
    vcpu_enter(&w.f[0].vcpu);
    assert_int_equal(sim_thread_start(&other, "exclusive", be_exclusive, &w), SIM_OK);
    while (!w.f[0].vcpu.kick)
        sim_thread_yield();
    vcpu_clear_kick(&w.f[0].vcpu);
    assert_int_equal(w.plain, 1);
    assert_int_equal(w.f[0].vcpu.running, 1);
    assert_int_equal(w.f[0].vcpu.kick, 0);
    vcpu_leave(&w.f[0].vcpu);
    sim_thread_join(&other);
    world_fini(&w);
}

static void test_end_kicks_everyone_once(void **state)
{
    struct world w;
    int code = 0;

    (void)state;
    world_init(&w);
    assert_false(sim_ending(w.sim));
    sim_request_end(w.sim, SIM_END_POWEROFF, 5);
    for (int i = 0; i < NR; i++) {
        assert_int_equal(w.f[i].vcpu.kick, 1);
        w.f[i].vcpu.kick = 0;
    }
    sim_request_end(w.sim, SIM_END_ERROR, 6);
    assert_int_equal(w.f[0].vcpu.kick, 0);
    assert_int_equal(sim_wait_end(w.sim, &code), SIM_END_POWEROFF);
    assert_int_equal(code, 5);
    sim_clear_end(w.sim);
    assert_false(sim_ending(w.sim));
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kick_sets_the_flag_and_wakes),
        cmocka_unit_test(test_kicks_interrupt_guest_code),
        cmocka_unit_test(test_wait_for_a_stopped_vcpu_returns),
        cmocka_unit_test(test_wait_for_running_vcpus),
        cmocka_unit_test(test_mutual_waits_end),
        cmocka_unit_test(test_exclusive_stops_the_others),
        cmocka_unit_test(test_exclusives_exclude_each_other),
        cmocka_unit_test(test_detaching_a_waker_waits_for_its_users),
        cmocka_unit_test(test_clearing_a_kick_gives_way_to_an_exclusive_one),
        cmocka_unit_test(test_end_kicks_everyone_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
