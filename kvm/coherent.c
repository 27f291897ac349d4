/* Guest RAM of KVM vCPUs under the coherence protocol of mem/dsm: the machine's ranks each have a VM over their own copy of
 * RAM, and vram maps only what the rank has now.
 *
 *   vCPU touches a page that is not there -> userfaultfd (MINOR | MISSING, or WP for a write) -> a message, the vCPU's thread
 *      waits in the kernel -> pages thread: dsm_acquire -> DSM_OK: UFFDIO_CONTINUE, writable only for a write
 *                                                       -> DSM_WAIT: asked again after each poll, until it is there
 *   another rank wants it -> dsm -> revoke: MADV_DONTNEED (nothing left) or write-protect (readable) -> bytes leave
 *
 * The kernel makes a revoke complete before it returns: page tables of the process, KVM's, and TLBs of running vCPUs. `lock`
 * keeps a page that was just granted from being mapped after its revoke. Bodies are read and written through the service
 * mapping, which is never taken away. KVM's own accesses to guest memory fault in the kernel and wait like the guest's. */
#include <errno.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

#ifndef UFFDIO_CONTINUE_MODE_WP /* headers older than 6.4 */
#define UFFDIO_CONTINUE_MODE_WP ((__u64)1 << 1)
#endif

enum {
    BATCH = 16,
    NAP_NS = 1000000,
    /* A thread that has had so much of a CPU since its page came has used it, and the page may go: twice what a page takes to
     * come that nobody holds, between these. An instruction needs several (walks of page tables count as writes on many hosts), and whoever has
     * lost one walks again. */
    USED_MIN_NS = 20000,
    USED_MAX_NS = 40000000,
    LOOK_NS = 30000 /* between two looks while another rank waits for a page that is held */
};

/* A thread of the kernel's that waits for a page; its place in the list is its number for dsm. Threads come and go with
 * executors: who waits for nothing gives its place to who comes. */
struct fault {
    uint32_t thread; /* 0: none has had this place yet */
    bool waits, write;
    uint64_t page, since_ns;
};

/* What the page that came last is held for: by place in the list; the pages thread's own. */
struct holder {
    uint32_t thread; /* 0: nothing is held */
    uint64_t cpu_ns; /* that it had had when the page came */
};

/* Owner: the pages thread. `lock`: mapping against revoking. Lifetime: the caller's. */
struct hkvm_coherence {
    struct mem_space *space;
    struct dsm *dsm;
    struct ic *ic;
    int uffd, stop;
    struct sim_thread pages, faults;
    bool has_pages, has_faults;
    atomic_bool ending, failed, given_up;
    atomic_bool reading; /* the faults thread may have a message that is not in the list */
    struct sim_mutex lock;
    struct sim_mutex list_lock;
    struct fault fault[HKVM_MAX_VCPUS + 1];
    struct holder holder[HKVM_MAX_VCPUS + 1];
    uint64_t quick_wait_ns; /* of a page that nobody held, lately; the pages thread's */
    _Atomic uint64_t nr_faults, wait_ns, nr_revoked;
};

/* --- what vram maps --- */

static uint8_t *at_page(const struct hkvm_coherence *c, uint64_t page)
{
    return c->space->vram + (page << GUEST_PAGE_BITS);
}

static void give_up(struct hkvm_coherence *c, const char *what)
{
    if (!atomic_exchange_explicit(&c->failed, true, memory_order_relaxed))
        sim_error("KVM: coherent memory: %s: %m", what);
    sim_request_end(c->space->sim, SIM_END_ERROR, 0);
}

static int again(int fd, unsigned long request, void *arg)
{
    int ret;

    while ((ret = ioctl(fd, request, arg)) < 0 && errno == EAGAIN)
        ;
    return ret;
}

static bool protect(struct hkvm_coherence *c, uint64_t page, bool on)
{
    struct uffdio_writeprotect w = {.range = {(uintptr_t)at_page(c, page), GUEST_PAGE_SIZE},
                                    .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

    return again(c->uffd, UFFDIO_WRITEPROTECT, &w) == 0;
}

/* Maps what the memfd has and wakes who waits. A page that only readers asked for is mapped read-only, though this rank may
 * be the only one to have it: its first write must be known. */
static void map_page(struct hkvm_coherence *c, uint64_t page, bool write)
{
    struct uffdio_continue k = {.range = {(uintptr_t)at_page(c, page), GUEST_PAGE_SIZE},
                                .mode = write ? 0 : UFFDIO_CONTINUE_MODE_WP};
    struct uffdio_range range = k.range;

    /* A hole of the memfd becomes a page of zeroes. */
    (void)*(volatile uint8_t *)(c->space->ram + (page << GUEST_PAGE_BITS));
    if (again(c->uffd, UFFDIO_CONTINUE, &k) == 0)
        return;
    bool there = errno == EEXIST; /* mapped read-only, or by another thread's fault */
    if (!there || (write && !protect(c, page, false)) || ioctl(c->uffd, UFFDIO_WAKE, &range) < 0)
        give_up(c, "UFFDIO_CONTINUE");
}

static void unmap_page(struct hkvm_coherence *c, uint64_t page)
{
    if (madvise(at_page(c, page), GUEST_PAGE_SIZE, MADV_DONTNEED) < 0)
        give_up(c, "MADV_DONTNEED");
}

/* Before a page is mapped whoever saves or brings memory is asked, and a write is remembered: the page's next write after a
 * cut faults again (hkvm_coherence_protect). */
static void before_use(struct hkvm_coherence *c, uint64_t page, bool write)
{
    const uint64_t offset = page << GUEST_PAGE_BITS;

    sim_guard_before(&c->space->guard, offset, GUEST_PAGE_SIZE, write);
    if (write)
        mem_put_dirty(c->space, offset);
}

void hkvm_coherence_protect(struct hkvm_coherence *c)
{
    struct uffdio_writeprotect w = {.range = {(uintptr_t)c->space->vram, c->space->ram_size},
                                    .mode = UFFDIO_WRITEPROTECT_MODE_WP};

    sim_mutex_lock(&c->lock);
    if (again(c->uffd, UFFDIO_WRITEPROTECT, &w) < 0)
        give_up(c, "UFFDIO_WRITEPROTECT of all memory");
    sim_mutex_unlock(&c->lock);
}

/* --- the seam of mem/dsm --- */

static void revoke_pages(void *opaque, unsigned nr, const uint64_t page[], const uint8_t to[])
{
    struct hkvm_coherence *c = opaque;

    sim_mutex_lock(&c->lock);
    for (unsigned i = 0; i < nr; i++) {
        if (to[i] == DSM_INVALID)
            unmap_page(c, page[i]);
        else if (!protect(c, page[i], true))
            give_up(c, "UFFDIO_WRITEPROTECT");
    }
    sim_mutex_unlock(&c->lock);
    atomic_fetch_add_explicit(&c->nr_revoked, nr, memory_order_relaxed);
}

/* The pages thread looks after each poll; it may be another one that polled. */
static void granted(void *opaque, uint64_t page)
{
    struct hkvm_coherence *c = opaque;

    (void)page;
    ic_wake(c->ic);
}

static void failed(void *opaque, const char *why)
{
    struct hkvm_coherence *c = opaque;

    (void)why; /* said already */
    sim_request_end(c->space->sim, SIM_END_ERROR, 0);
}

const struct dsm_enforce_ops hkvm_enforce_ops = {.revoke = revoke_pages, .granted = granted, .failed = failed};

/* --- faults --- */

static struct fault *place_of(struct hkvm_coherence *c, uint32_t thread)
{
    struct fault *free = NULL;

    for (size_t i = 0; i < SIM_ARRAY_LEN(c->fault); i++) {
        if (c->fault[i].thread == thread)
            return &c->fault[i];
        if (!free && !c->fault[i].waits)
            free = &c->fault[i];
    }
    if (free)
        free->thread = thread;
    return free;
}

static void note_fault(struct hkvm_coherence *c, const struct uffd_msg *m)
{
    const uint64_t writes = UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP;
    struct fault *f = place_of(c, m->arg.pagefault.feat.ptid);

    if (!f) {
        give_up(c, "more threads than vCPUs");
        return;
    }
    f->page = (m->arg.pagefault.address - (uintptr_t)c->space->vram) >> GUEST_PAGE_BITS;
    f->write = m->arg.pagefault.flags & writes;
    f->since_ns = sim_host_ns();
    f->waits = true;
    atomic_fetch_add_explicit(&c->nr_faults, 1, memory_order_relaxed);
}

static void read_faults(struct hkvm_coherence *c)
{
    struct uffd_msg msg[BATCH];
    ssize_t n = read(c->uffd, msg, sizeof msg);

    sim_mutex_lock(&c->list_lock);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof msg[0]; i++)
        if (msg[i].event == UFFD_EVENT_PAGEFAULT)
            note_fault(c, &msg[i]);
    sim_mutex_unlock(&c->list_lock);
    ic_wake(c->ic);
}

/* Listens only, so that the pages thread can sleep where messages of other ranks wake it. */
static void *faults_main(void *arg)
{
    struct hkvm_coherence *c = arg;
    struct pollfd fds[] = {{.fd = c->uffd, .events = POLLIN}, {.fd = c->stop, .events = POLLIN}};

    while (poll(fds, SIM_ARRAY_LEN(fds), -1) >= 0 || errno == EINTR) {
        if (fds[1].revents)
            break;
        if (!fds[0].revents)
            continue;
        atomic_store_explicit(&c->reading, true, memory_order_seq_cst); /* before the message is taken */
        read_faults(c);
        atomic_store_explicit(&c->reading, false, memory_order_seq_cst);
    }
    return NULL;
}

/* --- pages that have been used --- */

/* Of a thread of this process; 0: it has gone. */
static uint64_t thread_cpu_ns(uint32_t thread)
{
    enum { PER_THREAD = 4, SCHEDULED = 2 }; /* the kernel's clock numbers, as of pthread_getcpuclockid */
    struct timespec t = {0};

    (void)clock_gettime((clockid_t)(~thread << 3 | PER_THREAD | SCHEDULED), &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t used_ns(const struct hkvm_coherence *c)
{
    uint64_t ns = 2 * c->quick_wait_ns;

    return ns < USED_MIN_NS ? USED_MIN_NS : ns > USED_MAX_NS ? USED_MAX_NS : ns;
}

static void note_wait(struct hkvm_coherence *c, uint64_t ns)
{
    uint64_t before = c->quick_wait_ns + c->quick_wait_ns / 64; /* hosts become busy */

    c->quick_wait_ns = before && before < ns ? before : ns;
    atomic_fetch_add_explicit(&c->wait_ns, ns, memory_order_relaxed);
}

/* Nobody sees an instruction retire, but a thread that has run has got beyond the one that faulted. */
static bool let_go_of_used(struct hkvm_coherence *c)
{
    const uint64_t used = used_ns(c);
    bool any = false;

    for (size_t i = 0; i < SIM_ARRAY_LEN(c->holder); i++) {
        struct holder *h = &c->holder[i];
        if (!h->thread || thread_cpu_ns(h->thread) - h->cpu_ns < used)
            continue;
        h->thread = 0;
        dsm_retired(c->dsm, (uint32_t)i);
        any = true;
    }
    return any;
}

static bool copy_fault(struct hkvm_coherence *c, size_t i, struct fault *out)
{
    sim_mutex_lock(&c->list_lock);
    *out = c->fault[i];
    sim_mutex_unlock(&c->list_lock);
    return out->waits;
}

/* False: the page has not come yet. */
static bool serve(struct hkvm_coherence *c, size_t i, const struct fault *f)
{
    sim_mutex_lock(&c->lock);
    bool ok = atomic_load_explicit(&c->given_up, memory_order_relaxed) ||
              dsm_acquire(c->dsm, f->page, f->write, (uint32_t)i) == DSM_OK;
    if (ok) { /* before the vCPU goes on: its next fault comes through the same place */
        sim_mutex_lock(&c->list_lock);
        c->fault[i].waits = false;
        sim_mutex_unlock(&c->list_lock);
        c->holder[i] = (struct holder){f->thread, thread_cpu_ns(f->thread)};
        before_use(c, f->page, f->write);
        map_page(c, f->page, f->write);
        note_wait(c, sim_host_ns() - f->since_ns);
    }
    sim_mutex_unlock(&c->lock);
    return ok;
}

static bool serve_all(struct hkvm_coherence *c)
{
    struct fault f;
    bool any = false;

    for (size_t i = 0; i < SIM_ARRAY_LEN(c->fault); i++)
        if (copy_fault(c, i, &f) && (!dsm_waiting(c->dsm, (uint32_t)i) ||
                                     atomic_load_explicit(&c->given_up, memory_order_relaxed)))
            any |= serve(c, i, &f);
    return any;
}

bool hkvm_coherence_is_settled(struct hkvm_coherence *c)
{
    bool settled = !atomic_load_explicit(&c->reading, memory_order_seq_cst);

    sim_mutex_lock(&c->lock); /* nobody is between the list and the map */
    sim_mutex_lock(&c->list_lock);
    for (size_t i = 0; i < SIM_ARRAY_LEN(c->fault); i++)
        settled &= !c->fault[i].waits;
    sim_mutex_unlock(&c->list_lock);
    sim_mutex_unlock(&c->lock);
    return settled;
}

static void *pages_main(void *arg)
{
    struct hkvm_coherence *c = arg;

    while (!atomic_load_explicit(&c->ending, memory_order_acquire)) {
        bool any = serve_all(c);
        any |= ic_poll(c->ic) != 0;
        dsm_tick(c->dsm);
        uint64_t patience = dsm_patience_ns(c->dsm), look = NAP_NS;
        if (patience < UINT64_MAX) {
            any |= let_go_of_used(c);
            look = LOOK_NS;
        }
        if (!any)
            ic_nap(c->ic, patience < look ? patience : look);
    }
    return NULL;
}

/* --- life --- */

enum sim_status hkvm_coherence_create(struct mem_space *space, struct ic *ic, struct hkvm_coherence **out)
{
    struct hkvm_coherence *c = sim_new(struct hkvm_coherence);
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM |
                                         UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_THREAD_ID};
    struct uffdio_register r = {.range = {(uintptr_t)space->vram, space->ram_size},
                                .mode = UFFDIO_REGISTER_MODE_WP | UFFDIO_REGISTER_MODE_MINOR |
                                        UFFDIO_REGISTER_MODE_MISSING};

    c->space = space;
    c->ic = ic;
    sim_mutex_init(&c->lock, SIM_RANK_HART);
    sim_mutex_init(&c->list_lock, SIM_RANK_LEAF);
    c->uffd = hkvm_open_userfaultfd();
    c->stop = eventfd(0, EFD_CLOEXEC);
    madvise(space->vram, space->ram_size, MADV_NOHUGEPAGE); /* pages come and go one by one */
    if (c->uffd < 0 || c->stop < 0 || ioctl(c->uffd, UFFDIO_API, &api) < 0 || ioctl(c->uffd, UFFDIO_REGISTER, &r) < 0) {
        sim_error("KVM: vCPUs on several ranks need userfaultfd with minor faults and write protection of shared memory "
                  "(Linux 6.4, and root or vm.unprivileged_userfaultfd=1): %m");
        hkvm_coherence_destroy(c);
        return SIM_ERR_UNSUPPORTED;
    }
    *out = c;
    return SIM_OK;
}

enum sim_status hkvm_coherence_start(struct hkvm_coherence *c, struct dsm *dsm)
{
    c->dsm = dsm;
    SIM_TRY(sim_thread_start(&c->pages, "kvm-pages", pages_main, c));
    c->has_pages = true;
    SIM_TRY(sim_thread_start(&c->faults, "kvm-faults", faults_main, c));
    c->has_faults = true;
    return SIM_OK;
}

void hkvm_coherence_give_up(struct hkvm_coherence *c)
{
    atomic_store_explicit(&c->given_up, true, memory_order_relaxed);
    ic_wake(c->ic);
}

void hkvm_coherence_stop(struct hkvm_coherence *c)
{
    const uint64_t one = 1;

    atomic_store_explicit(&c->ending, true, memory_order_release);
    ic_wake(c->ic);
    if (c->has_faults && write(c->stop, &one, sizeof one) == sizeof one)
        sim_thread_join(&c->faults);
    if (c->has_pages)
        sim_thread_join(&c->pages);
    c->has_pages = c->has_faults = false;
}

void hkvm_coherence_destroy(struct hkvm_coherence *c)
{
    if (!c)
        return;
    if (c->uffd >= 0)
        close(c->uffd); /* whoever still waits goes on with what the memfd has */
    if (c->stop >= 0)
        close(c->stop);
    sim_mutex_fini(&c->list_lock);
    sim_mutex_fini(&c->lock);
    sim_free(c);
}

void hkvm_coherence_get_stats(const struct hkvm_coherence *c, struct hkvm_coherence_stats *out)
{
    out->faults = atomic_load_explicit(&c->nr_faults, memory_order_relaxed);
    out->wait_ns = atomic_load_explicit(&c->wait_ns, memory_order_relaxed);
    out->revoked = atomic_load_explicit(&c->nr_revoked, memory_order_relaxed);
}
