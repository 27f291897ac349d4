/* Reports of an image's parts: what a rank says of each step counts, in whatever order it comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include "interconnect/interconnect.h"
#include "ranks_image.h"
#include "ranks_priv.h"

struct pair {
    struct ic_inproc *net;
    struct sim *sim[2];
    struct ranks ranks[2];
    uint32_t serial; /* of the image that was ordered last */
};

static void step(struct pair *p)
{
    while (ic_inproc_step(p->net))
        ;
}

/* Two ranks; the first has ordered an image. */
static int set_up(void **state)
{
    static struct pair p;
    static struct ranks_image_order order = {.path = "image"};

    memset(&p, 0, sizeof p);
    assert_int_equal(ic_inproc_create(2, &(struct ic_chaos){.seed = 1, .manual = true}, &p.net), SIM_OK);
    for (rank_t i = 0; i < 2; i++) {
        assert_int_equal(sim_create(&p.sim[i]), SIM_OK);
        p.sim[i]->rank = i;
        p.sim[i]->nr_ranks = 2;
        p.ranks[i].sim = p.sim[i];
        assert_int_equal(ic_inproc_join(p.net, i, &(struct ic_config){0}, &p.ranks[i].ic), SIM_OK);
        ranks_image_register(&p.ranks[i]);
    }
    ranks_image_prepare(&p.ranks[0], &order);
    p.serial = order.serial;
    step(&p);
    *state = &p;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *p = *state;

    for (unsigned i = 0; i < 2; i++)
        ic_destroy(p->ranks[i].ic);
    for (unsigned i = 0; i < 2; i++) {
        ranks_image_destroy(&p->ranks[i]);
        sim_destroy(p->sim[i]);
    }
    ic_inproc_destroy(p->net);
    return 0;
}

static void report(struct pair *p, enum ranks_image_step step, enum sim_status status, uint64_t bytes)
{
    const struct ranks_image_report r = {.status = status, .part.index_bytes = bytes};

    ranks_image_report(&p->ranks[1], p->serial, step, &r);
}

static enum sim_status await(struct pair *p, enum ranks_image_step step)
{
    return ranks_image_await(&p->ranks[0], step, false, NULL, NULL);
}

/* The thread that writes a short part may be done before the I/O thread tells of the cut. */
static void test_what_was_written_is_not_forgotten(void **state)
{
    struct pair *p = *state;

    report(p, RANKS_IMAGE_READY, SIM_OK, 0);
    report(p, RANKS_IMAGE_WRITTEN, SIM_OK, 4711);
    report(p, RANKS_IMAGE_TAKEN, SIM_OK, 0);
    step(p);
    assert_int_equal(await(p, RANKS_IMAGE_READY), SIM_OK);
    assert_int_equal(await(p, RANKS_IMAGE_TAKEN), SIM_OK);
    assert_int_equal(await(p, RANKS_IMAGE_WRITTEN), SIM_OK);
    assert_int_equal(ranks_image_report_of(&p->ranks[0], 1)->part.index_bytes, 4711);
}

static void test_what_could_not_be_written_is_not_forgotten(void **state)
{
    struct pair *p = *state;

    report(p, RANKS_IMAGE_READY, SIM_OK, 0);
    report(p, RANKS_IMAGE_WRITTEN, SIM_ERR_IO, 0);
    report(p, RANKS_IMAGE_TAKEN, SIM_OK, 0);
    step(p);
    assert_int_equal(await(p, RANKS_IMAGE_TAKEN), SIM_OK);
    assert_int_equal(await(p, RANKS_IMAGE_WRITTEN), SIM_ERR_IO);
}

/* Who gives up late on an image that is over says nothing of the next one. */
static void test_what_is_said_of_the_last_image_is_not_of_the_next(void **state)
{
    struct pair *p = *state;
    struct ranks_image_order order = {.path = "image 2"};

    ranks_image_prepare(&p->ranks[0], &order);
    step(p);
    report(p, RANKS_IMAGE_WRITTEN, SIM_ERR_IO, 0);
    p->serial = order.serial;
    report(p, RANKS_IMAGE_WRITTEN, SIM_OK, 4711);
    step(p);
    assert_int_equal(await(p, RANKS_IMAGE_WRITTEN), SIM_OK);
}

static enum sim_status count_take(void *opaque)
{
    ++*(unsigned *)opaque;
    return SIM_OK;
}

static void ignore_order(void *opaque, const struct ranks_image_order *order)
{
    (void)opaque, (void)order;
}

static void note(void *opaque)
{
    *(atomic_bool *)opaque = true;
}

/* The leader gives an image up while this rank's I/O thread comes to its instant, and begins the next one. */
static void test_an_instant_is_of_its_image(void **state)
{
    static const struct ranks_image_ops ops = {.prepare = ignore_order, .take = count_take};
    struct pair *p = *state;
    struct ranks_image_order order = {.path = "image 2"};
    struct sim_io *io = p->sim[1]->io;
    atomic_bool over = false;
    unsigned takes = 0;

    ranks_image_attach(&p->ranks[1], &ops, &takes);
    ranks_image_take(&p->ranks[0]);
    step(p);
    ranks_image_prepare(&p->ranks[0], &order);
    step(p);
    sim_io_post(io, note, &over);
    assert_int_equal(sim_io_start(io), SIM_OK);
    while (!over)
        sim_thread_yield();
    sim_io_stop(io);
    assert_int_equal(takes, 0);
    step(p);
    ranks_image_take(&p->ranks[0]);
    step(p);
    over = false;
    sim_io_post(io, note, &over);
    assert_int_equal(sim_io_start(io), SIM_OK);
    while (!over)
        sim_thread_yield();
    sim_io_stop(io);
    assert_int_equal(takes, 1);
    step(p);
    assert_int_equal(await(p, RANKS_IMAGE_TAKEN), SIM_OK);
    ranks_image_attach(&p->ranks[1], NULL, NULL);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_what_was_written_is_not_forgotten),
        TEST(test_what_could_not_be_written_is_not_forgotten),
        TEST(test_what_is_said_of_the_last_image_is_not_of_the_next),
        TEST(test_an_instant_is_of_its_image),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
