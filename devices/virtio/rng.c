/* virtio-rng (virtio 1.2, 5.4): random bytes of the host; with the virtual clock, a generator that
 * repeats itself from run to run. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "sim-core/alloc.h"
#include "virtio/virtio.h"

enum { RNG_QUEUE_SIZE = 8, RNG_BYTES = 4096 }; /* per chain: the device may give less than asked for */

struct virtio_rng {
    struct virtio_device v;
    struct virtio_chain chain;
    uint64_t seed; /* virtual clock */
};

/* splitmix64 */
static uint64_t next_word(struct virtio_rng *rng)
{
    uint64_t z = rng->seed += 0x9e3779b97f4a7c15ull;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static size_t host_random(uint8_t *buf, size_t len)
{
    ssize_t n;

    do {
        n = getrandom(buf, len, 0);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? 0 : (size_t)n;
}

static size_t fill(struct virtio_rng *rng, uint8_t *buf, size_t len)
{
    if (rng->v.sim->clock.mode == SIM_CLOCK_HOST)
        return host_random(buf, len);
    for (size_t done = 0; done < len; done += 8) {
        uint64_t word = next_word(rng);
        memcpy(buf + done, &word, len - done < 8 ? len - done : 8);
    }
    return len;
}

static void serve(struct virtio_rng *rng, struct virtqueue *q)
{
    uint8_t buf[RNG_BYTES];
    uint64_t want = rng->chain.in_len;
    size_t got = fill(rng, buf, want < sizeof buf ? want : sizeof buf);

    got = virtio_chain_write(&rng->v, &rng->chain, 0, buf, got);
    virtio_chain_release(&rng->v, &rng->chain);
    virtq_push(&rng->v, q, rng->chain.head, (uint32_t)got);
}

static void rng_notify(struct virtio_device *v, unsigned n)
{
    struct virtio_rng *rng = (struct virtio_rng *)v;
    struct virtqueue *q = &v->queue[n];
    unsigned left = q->size;

    do {
        for (; left && virtq_pop(v, q, &rng->chain); left--)
            serve(rng, q);
    } while (virtq_want_notify(v, q, true) && left);
    virtq_flush(v, q);
    if (!left && !virtq_is_empty(q))
        virtio_continue(v, n);
}

static void rng_reset(struct virtio_device *v)
{
    ((struct virtio_rng *)v)->seed = 0;
}

static void rng_destroy(struct virtio_device *v)
{
    struct virtio_rng *rng = (struct virtio_rng *)v;

    virtio_chain_fini(&rng->chain);
    virtio_fini(v);
    sim_free(rng);
}

static const struct state_field rng_fields[] = {
    STATE_SUB(struct virtio_rng, v, &virtio_core_state),
    STATE_SCALAR(struct virtio_rng, STATE_U64, seed),
    STATE_END};
STATE_LAYOUT(rng, struct virtio_rng,
              STATE_DERIVED(struct virtio_rng, chain));
static const struct state_desc rng_state = {
    .name = "virtio-rng", .version = 1, .fields = rng_fields,
    STATE_LAYOUT_OF(rng, struct virtio_rng)};

static const struct virtio_ops rng_ops = {.name = "virtio-rng",
                                          .id = VIRTIO_ID_RNG,
                                          .pci_class = 0x00ff00,
                                          .notify = rng_notify,
                                          .reset = rng_reset,
                                          .destroy = rng_destroy,
                                          .state = &rng_state};

enum sim_status virtio_rng_create(struct sim *sim, struct virtio_device **out)
{
    struct virtio_rng *rng = sim_new(struct virtio_rng);

    virtio_init(&rng->v, sim, &rng_ops);
    virtio_add_queue(&rng->v, RNG_QUEUE_SIZE);
    *out = &rng->v;
    return SIM_OK;
}
