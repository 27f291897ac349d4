/* Ranks as MPI processes: two-sided messages, one thread at a time in MPI (the turn).
 *
 *   try_send: slot (copy) -> MPI_Isend -> done at once when eager, else on a list until it is
 *   try_recv: receives stand ready in a circle, MPI_ANY_SOURCE, one tag; only the oldest is tested -> its
 *             message -> handler -> release: it stands last again
 *
 * MPI matches messages with receives in the order both were made, so the circle keeps the order of every pair.
 * Windows (core.c) bound what a slow rank must buffer. A page with its head travels as one eager message, also
 * over shared memory, where Open MPI's own limit is 4 KiB.
 *
 * MPI_Init and MPI_Finalize wait for all ranks without a bound: they run on a thread that is given up when they
 * take too long. No other collective of MPI's is used, not even for a communicator of our own. */
#include <fcntl.h>
#include <inttypes.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "core_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/env.h"
#include "sim-core/log.h"

enum {
    RECEIVES = 64,
    SLOT_CLASSES = 3,
    TAG = 4711, /* ours alone */
    WIRE_MAX = sizeof(struct ic_wire) + IC_MESSAGE_MAX,
    NAP_ALL_RING_NS = 10000000, /* a bell may be heard before TCP has brought the message */
    NAP_SOME_RING_NS = 1000000
};

#define FINALIZE_NS 10000000000u

/* Through which the ranks of one host share memory, and what Open MPI takes of it for each. */
static const char shared_folder[] = "/dev/shm";
#define SHARED_BYTES (UINT64_C(4) << 20)

static const uint32_t slot_bytes[SLOT_CLASSES] = {320, 4096 + 512, WIRE_MAX};
static const unsigned slot_count[SLOT_CLASSES] = {256, 256, 32};

struct slot {
    struct slot *next;
    MPI_Request request;
    unsigned class;
    rank_t to;
    char *data;
};

/* What ranks tell each other first. */
struct identity {
    char host[IC_HOST_NAME];
    uint64_t token; /* what the page behind bell_fd contains */
    int32_t pid, bell_fd, pipe_fd;
};

/* The page that a rank shares with those of its host. */
struct bell_page {
    struct ic_bell bell;
    uint64_t token;
};

/* Owner: the holder of the turn; create and destroy: launch thread. */
struct mpi {
    struct ic_transport transport;
    MPI_Request receive[RECEIVES];
    char *receive_data[RECEIVES];
    unsigned oldest;
    struct slot *slots, *free[SLOT_CLASSES];
    struct slot *flying; /* sends not yet done */
    char *slot_memory;
    struct identity self;
    struct bell_page *bell_page; /* ours; peer[rank].bell */
    int pipe[2];                 /* ours: who rings writes to it; bell_in and peer[rank].bell_out */
    uint64_t shared_room;        /* bytes free in shared_folder before MPI started */
};

static struct mpi *mpi_of(struct ic_transport *t)
{
    return SIM_CONTAINER_OF(t, struct mpi, transport);
}

static void fail(struct mpi *m, rank_t rank, int error)
{
    char text[MPI_MAX_ERROR_STRING] = "", reason[IC_REASON];
    int len;

    MPI_Error_string(error, text, &len);
    snprintf(reason, sizeof reason, "MPI: %.100s", text);
    ic_suspect(m->transport.ic, rank, reason);
}

/* --- sending --- */

static unsigned class_of(uint32_t bytes)
{
    unsigned class = 0;

    while (slot_bytes[class] < bytes)
        class++;
    return class;
}

static void slot_put(struct mpi *m, struct slot *s)
{
    s->next = m->free[s->class];
    m->free[s->class] = s;
}

static bool slot_done(struct mpi *m, struct slot *s)
{
    int done = 0, error = MPI_Test(&s->request, &done, MPI_STATUS_IGNORE);

    if (error != MPI_SUCCESS) {
        fail(m, s->to, error);
        return true;
    }
    return done;
}

static void land_flying(struct mpi *m)
{
    struct slot **link = &m->flying;

    while (*link) {
        struct slot *s = *link;
        if (slot_done(m, s)) {
            *link = s->next;
            slot_put(m, s);
        } else {
            link = &s->next;
        }
    }
}

static struct slot *slot_get(struct mpi *m, uint32_t bytes)
{
    unsigned class = class_of(bytes);

    if (!m->free[class])
        land_flying(m);
    struct slot *s = m->free[class];
    if (s)
        m->free[class] = s->next;
    return s;
}

static bool mpi_try_send(struct ic_transport *t, rank_t to, const struct ic_parts *parts)
{
    struct mpi *m = mpi_of(t);
    uint32_t bytes = ic_parts_size(parts);
    struct slot *s = slot_get(m, bytes);

    if (!s)
        return false;
    s->to = to;
    ic_parts_copy(parts, s->data);
    int error = MPI_Isend(s->data, (int)bytes, MPI_BYTE, to, TAG, MPI_COMM_WORLD, &s->request);
    if (error != MPI_SUCCESS) {
        slot_put(m, s);
        fail(m, to, error);
        return false;
    }
    if (slot_done(m, s)) {
        slot_put(m, s);
    } else {
        s->next = m->flying;
        m->flying = s;
    }
    return true;
}

/* --- receiving --- */

static void post(struct mpi *m, unsigned i)
{
    int error = MPI_Irecv(m->receive_data[i], WIRE_MAX, MPI_BYTE, MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD,
                          &m->receive[i]);

    SIM_BUG_ON(error != MPI_SUCCESS, "MPI_Irecv: error %d", error);
}

static void mpi_release(struct ic_transport *t)
{
    struct mpi *m = mpi_of(t);

    post(m, m->oldest);
    m->oldest = (m->oldest + 1) % RECEIVES;
}

static bool mpi_try_recv(struct ic_transport *t, struct ic_arrived *out)
{
    struct mpi *m = mpi_of(t);
    MPI_Status status = {.MPI_SOURCE = -1};
    int done = 0, bytes = 0, error = MPI_Test(&m->receive[m->oldest], &done, &status);

    if (SIM_UNLIKELY(error != MPI_SUCCESS)) {
        fail(m, status.MPI_SOURCE, error);
        mpi_release(t);
        return false;
    }
    if (!done) {
        if (SIM_UNLIKELY(m->flying))
            land_flying(m);
        return false;
    }
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    *out = (struct ic_arrived){.from = status.MPI_SOURCE,
                               .size = (uint32_t)bytes,
                               .wire = (const struct ic_wire *)m->receive_data[m->oldest]};
    return true;
}

static bool mpi_busy(struct ic_transport *t)
{
    return mpi_of(t)->flying;
}

/* --- calls that may never return --- */

/* Shared by caller and thread; the last one out frees it. */
struct call {
    void (*fn)(struct call *c);
    int provided, error;
    _Atomic uint32_t done;
    _Atomic unsigned users;
};

static void call_put(struct call *c)
{
    if (atomic_fetch_sub_explicit(&c->users, 1, memory_order_acq_rel) == 1)
        sim_free(c);
}

static void *call_main(void *arg)
{
    struct call *c = arg;

    c->fn(c);
    atomic_store_explicit(&c->done, 1, memory_order_release);
    sim_word_wake(&c->done);
    call_put(c);
    return NULL;
}

/* Runs fn on a thread of its own; NULL when it has not returned in time: the thread is left behind.
 * call_put the result. */
static struct call *call_bounded(void (*fn)(struct call *), uint64_t limit_ns)
{
    uint64_t deadline = sim_host_ns() + limit_ns;
    struct call *c = sim_new(struct call);
    struct sim_thread thread = {0};

    c->fn = fn;
    atomic_init(&c->users, 2);
    if (sim_thread_start(&thread, "mpi", call_main, c) != SIM_OK) {
        sim_free(c);
        return NULL;
    }
    while (!atomic_load_explicit(&c->done, memory_order_acquire) && sim_host_ns() < deadline)
        sim_word_wait(&c->done, 0, deadline);
    if (atomic_load_explicit(&c->done, memory_order_acquire)) {
        sim_thread_join(&thread);
        return c;
    }
    call_put(c);
    return NULL;
}

static void call_init(struct call *c)
{
    c->error = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &c->provided);
}

static void call_finalize(struct call *c)
{
    c->error = MPI_Finalize();
}

static void cancel_receives(struct mpi *m)
{
    for (unsigned i = 0; i < RECEIVES; i++) {
        if (m->receive[i] == MPI_REQUEST_NULL)
            continue;
        MPI_Cancel(&m->receive[i]);
        MPI_Wait(&m->receive[i], MPI_STATUS_IGNORE);
    }
}

static void close_bells(struct mpi *m)
{
    struct ic *ic = m->transport.ic;

    for (rank_t r = 0; r < ic->nr; r++) {
        if (ic->peer[r].bell)
            munmap(SIM_CONTAINER_OF(ic->peer[r].bell, struct bell_page, bell), sizeof(struct bell_page));
        if (ic->peer[r].bell_out >= 0)
            close(ic->peer[r].bell_out);
    }
    close(ic->bell_in);
    if (m->self.bell_fd >= 0)
        close(m->self.bell_fd);
}

static void mpi_destroy(struct ic_transport *t, bool orderly)
{
    struct mpi *m = mpi_of(t);

    if (!orderly)
        return; /* MPI would wait for those that are gone: what it uses dies with the process */
    cancel_receives(m);
    struct call *end = call_bounded(call_finalize, FINALIZE_NS);
    if (!end) {
        sim_warn("MPI does not end: not all ranks came to its end");
        return;
    }
    call_put(end);
    close_bells(m);
    for (unsigned i = 0; i < RECEIVES; i++)
        sim_free(m->receive_data[i]);
    sim_free(m->slot_memory);
    sim_free(m->slots);
    sim_free(m);
}

static const struct ic_transport_ops mpi_ops = {.name = "mpi",
                                                .try_send = mpi_try_send,
                                                .try_recv = mpi_try_recv,
                                                .release = mpi_release,
                                                .busy = mpi_busy,
                                                .destroy = mpi_destroy};

/* --- bells --- */

/* Ours: a page and a pipe without names, which other ranks of this host open through /proc. Where that
 * fails, or they may not, we are not rung and sleep shorter. */
static void make_bell(struct mpi *m)
{
    int fd = memfd_create("partita-bell", MFD_CLOEXEC);
    void *page = MAP_FAILED;

    SIM_BUG_ON(pipe2(m->pipe, O_CLOEXEC | O_NONBLOCK), "no pipe for the doorbell: %m");
    m->self.pipe_fd = m->pipe[1];
    if (fd >= 0 && !ftruncate(fd, sizeof *m->bell_page))
        page = mmap(NULL, sizeof *m->bell_page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    m->self.bell_fd = page == MAP_FAILED ? -1 : fd;
    if (page == MAP_FAILED)
        page = mmap(NULL, sizeof *m->bell_page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    SIM_BUG_ON(page == MAP_FAILED, "no page for the doorbell: %m");
    m->bell_page = page;
    if (getrandom(&m->self.token, sizeof m->self.token, 0) < 0)
        m->self.token = sim_host_ns();
    m->bell_page->token = m->self.token;
}

/* The other process's descriptor, opened anew. */
static int open_theirs(const struct identity *id, int fd, int flags)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/fd/%d", id->pid, fd);
    return fd < 0 ? -1 : open(path, flags | O_CLOEXEC | O_NONBLOCK);
}

static struct ic_bell *map_bell(const struct identity *id)
{
    int fd = open_theirs(id, id->bell_fd, O_RDWR);

    if (fd < 0)
        return NULL;
    struct bell_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return NULL;
    if (page->token == id->token)
        return &page->bell;
    munmap(page, sizeof *page); /* another process namespace: that pid is somebody else */
    return NULL;
}

static void meet(struct ic *ic, rank_t r, const struct identity *id)
{
    struct mpi *m = mpi_of(ic->transport);
    struct ic_peer *p = &ic->peer[r];

    ic_set_identity(ic, r, id->host, id->pid);
    if (r == ic->rank || strncmp(id->host, m->self.host, sizeof id->host))
        return;
    struct ic_bell *bell = map_bell(id);
    if (!bell)
        return;
    ic_watch_process(ic, r, id->pid);
    p->bell_out = open_theirs(id, id->pipe_fd, O_WRONLY);
    if (p->bell_out >= 0)
        p->bell = bell;
}

static enum sim_status meet_all(struct ic *ic)
{
    struct mpi *m = mpi_of(ic->transport);
    void **ids = sim_new_array(void *, ic->nr);
    uint32_t *lens = sim_new_array(uint32_t, ic->nr);
    enum sim_status status = ic_gather(ic, &m->self, sizeof m->self, ids, lens);

    if (status == SIM_OK) {
        for (rank_t r = 0; r < ic->nr; r++)
            if (lens[r] == sizeof m->self)
                meet(ic, r, ids[r]);
        ic_gather_free(ic, ids);
    }
    sim_free(ids);
    sim_free(lens);
    return status;
}

/* Open MPI says so as well, but its messages are gathered by its launcher and now and then lost. */
static void warn_of_shared_memory(const struct ic *ic)
{
    const struct mpi *m = mpi_of(ic->transport);
    uint32_t together = 0;

    for (rank_t r = 0; r < ic->nr; r++) {
        bool here = !strcmp(ic->peer[r].host, m->self.host);
        if (here && r < ic->rank)
            return; /* that one warns */
        together += here;
    }
    if (together > 1 && m->shared_room < together * SHARED_BYTES)
        sim_warn("%s of host %s has only %" PRIu64 " KiB free: %u ranks want %" PRIu64 " MiB there, their messages go another way or "
                 "are slow (a container's --shm-size sets it)",
                 shared_folder, m->self.host, m->shared_room >> 10, together, (together * SHARED_BYTES) >> 20);
}

/* How long may we sleep? */
static void set_nap_cap(struct ic *ic)
{
    ic->nap_cap_ns = NAP_ALL_RING_NS;
    for (rank_t r = 0; r < ic->nr; r++)
        if (!ic->peer[r].bell && !ic_sockets_hear(ic, r))
            ic->nap_cap_ns = NAP_SOME_RING_NS;
}

/* --- creating --- */

/* A poll that finds nothing, with a tag that nobody uses; the fastest of several stretches, because the host
 * may be busy with others. */
static uint64_t measure_poll(void)
{
    enum { STRETCHES = 16, POLLS = 64 };
    uint64_t best = UINT64_MAX;
    int found;

    for (unsigned s = 0; s < STRETCHES; s++) {
        uint64_t begin = sim_host_ns();
        for (unsigned i = 0; i < POLLS; i++)
            MPI_Iprobe(MPI_ANY_SOURCE, TAG + 1, MPI_COMM_WORLD, &found, MPI_STATUS_IGNORE);
        uint64_t one = (sim_host_ns() - begin) / POLLS;
        if (one < best)
            best = one;
    }
    return best;
}

/* Over shared memory a poll is some cache lines; over TCP a system call, worth a twentieth of the time. */
static uint64_t poll_interval(void)
{
    uint64_t one = measure_poll(), interval = one * 20;

    if (one < 200)
        return 0;
    return interval < 10000 ? 10000 : interval > 50000 ? 50000 : interval;
}

/* What the launcher said, while MPI cannot. */
static long launched(const char *by_mpirun, const char *by_srun)
{
    return sim_env_number(by_mpirun, sim_env_number(by_srun, -1));
}

/* How Open MPI is to be, unless the user has said otherwise. With more ranks than cores it would give its core
 * away at every poll: when to yield is decided by who waits. */
static const struct {
    const char *name, *value;
} mpi_defaults[] = {{"OMPI_MCA_btl_vader_eager_limit", "16384"}, {"OMPI_MCA_mpi_yield_when_idle", "0"}};

static uint64_t room_to_share(void)
{
    struct statvfs v;

    return statvfs(shared_folder, &v) < 0 ? 0 : (uint64_t)v.f_bavail * v.f_frsize;
}

static enum sim_status start_mpi(uint64_t limit_ns)
{
    int initialized;

    MPI_Initialized(&initialized);
    SIM_BUG_ON(initialized, "MPI is started twice");
    for (unsigned i = 0; i < SIM_ARRAY_LEN(mpi_defaults); i++)
        sim_env_default(mpi_defaults[i].name, mpi_defaults[i].value);
    struct call *c = call_bounded(call_init, limit_ns);
    if (!c) {
        sim_error("MPI did not start within %.1f s: not all %ld ranks came up (this is rank %ld)",
                  (double)limit_ns / 1e9, launched("OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS"),
                  launched("OMPI_COMM_WORLD_RANK", "PMIX_RANK"));
        return SIM_ERR_IO;
    }
    bool good = c->error == MPI_SUCCESS && c->provided >= MPI_THREAD_SERIALIZED;
    if (good)
        MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    else
        sim_error("MPI_Init_thread: error %d, thread level %d of at least %d", c->error, c->provided,
                  MPI_THREAD_SERIALIZED);
    call_put(c);
    return good ? SIM_OK : SIM_ERR_UNSUPPORTED;
}

static void make_slots(struct mpi *m)
{
    size_t bytes = 0;
    unsigned nr = 0;

    for (unsigned c = 0; c < SLOT_CLASSES; c++) {
        bytes += (size_t)slot_bytes[c] * slot_count[c];
        nr += slot_count[c];
    }
    m->slots = sim_new_array(struct slot, nr);
    m->slot_memory = sim_zalloc_aligned(64, bytes);
    char *data = m->slot_memory;
    struct slot *s = m->slots;
    for (unsigned c = 0; c < SLOT_CLASSES; c++) {
        for (unsigned i = 0; i < slot_count[c]; i++, s++, data += slot_bytes[c]) {
            *s = (struct slot){.class = c, .data = data};
            slot_put(m, s);
        }
    }
}

static struct mpi *make_transport(void)
{
    struct mpi *m = sim_new(struct mpi);

    m->transport.ops = &mpi_ops;
    make_slots(m);
    for (unsigned i = 0; i < RECEIVES; i++) {
        m->receive_data[i] = sim_zalloc_aligned(64, WIRE_MAX);
        post(m, i);
    }
    gethostname(m->self.host, sizeof m->self.host - 1);
    m->self.pid = (int32_t)getpid();
    make_bell(m);
    return m;
}

bool ic_mpi_built(void)
{
    return true;
}

enum sim_status ic_mpi_create(const struct ic_config *config, struct ic **out)
{
    uint64_t limit = config && config->start_timeout_ns ? config->start_timeout_ns : 30000000000u;
    int rank, nr;

    uint64_t room = room_to_share();

    SIM_TRY(start_mpi(limit));
    struct mpi *m = make_transport();
    m->shared_room = room;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &nr);
    struct ic *ic = ic_create(&m->transport, rank, nr, config);
    ic->nap_cap_ns = NAP_SOME_RING_NS;
    ic->bell_in = m->pipe[0];
    ic->peer[rank].bell = &m->bell_page->bell;
    ic->peer[rank].bell_out = m->pipe[1];
    enum sim_status status = meet_all(ic);
    if (status == SIM_OK)
        status = ic_sockets_find(ic);
    if (status != SIM_OK) {
        ic->disorderly = true;
        ic_destroy(ic);
        return status;
    }
    warn_of_shared_memory(ic);
    set_nap_cap(ic);
    ic->poll_interval_ns = poll_interval(); /* not before TCP is connected */
    *out = ic;
    return SIM_OK;
}
