/* What a checkpoint wants to know of the vCPUs' writes: before the first one to each page (its guard copies the page), and
 * afterwards which pages they were (incremental images).
 *
 *   cut:    hkvm_machine_collect_dirty: KVM's dirty log -> mem's dirty marks, log anew
 *           hkvm_machine_write_protect: userfaultfd takes write access to all of vram away
 *   write:  fault, in the guest or in KVM -> message -> the handler: guard, then this page is writable again
 *   later:  no guard any more -> the next fault gives everything back at once
 *
 * Devices write through the other mapping and ask the guard themselves. Where userfaultfd cannot be had (it needs root or
 * vm.unprivileged_userfaultfd: KVM's own writes fault in the kernel) everything is copied at the cut. */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/guard.h"
#include "sim-core/log.h"

enum { BATCH = 16 };

/* Owner: the cut, in a frozen world; `busy` is the handler's. Lifetime: the machine's. */
struct hkvm_protect {
    struct hkvm_machine *m;
    int uffd, stop;
    struct sim_thread handler;
    atomic_bool busy;   /* the handler may be asking a guard or changing protection */
    bool has_handler;
    bool copies_all;    /* there is no userfaultfd */
};

/* --- pages that have been written --- */

static bool set_slot(struct hkvm_machine *m, uint32_t slot, const struct mem_region *r, uint32_t flags)
{
    struct kvm_userspace_memory_region k = {.slot = slot,
                                            .flags = flags,
                                            .guest_phys_addr = r->base,
                                            .memory_size = r->size,
                                            .userspace_addr = (uintptr_t)(m->space->vram + r->ram_offset)};

    return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &k) == 0;
}

static void mark_dirty(struct hkvm_machine *m, const struct mem_region *r, uint64_t page)
{
    atomic_fetch_or_explicit(mem_page_state(m->space, r->ram_offset + (page << GUEST_PAGE_BITS)), MEM_PAGE_DIRTY,
                             memory_order_relaxed);
}

/* Without a log everything may have been written. */
static void collect_slot(struct hkvm_machine *m, uint32_t slot, const struct mem_region *r)
{
    uint64_t pages = r->size >> GUEST_PAGE_BITS, words = (pages + 63) / 64;
    uint64_t *bits = sim_new_array(uint64_t, words);
    struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bits};
    bool known = ioctl(m->vm, KVM_GET_DIRTY_LOG, &log) == 0;

    if (!known)
        memset(bits, 0xff, words * sizeof bits[0]);
    for (uint64_t w = 0; w < words; w++)
        for (uint64_t left = bits[w]; left; left &= left - 1) {
            uint64_t page = w * 64 + (uint64_t)__builtin_ctzll(left);
            if (page < pages)
                mark_dirty(m, r, page);
        }
    sim_free(bits);
}

static void each_slot(struct hkvm_machine *m, void (*fn)(struct hkvm_machine *, uint32_t, const struct mem_region *))
{
    const struct mem_region *r;
    uint32_t slot = 0;

    for (unsigned i = 0; (r = mem_nth(m->space, i)); i++)
        if (!r->ops)
            fn(m, slot++, r);
}

static void start_log(struct hkvm_machine *m, uint32_t slot, const struct mem_region *r)
{
    if (!set_slot(m, slot, r, KVM_MEM_LOG_DIRTY_PAGES))
        sim_warn("KVM records no written pages (%m): incremental images will be as large as full ones");
}

void hkvm_machine_set_coherence(struct hkvm_machine *m, struct hkvm_coherence *c)
{
    m->coherence = c;
}

static void renew_slot(struct hkvm_machine *m, uint32_t slot, const struct mem_region *r)
{
    struct kvm_userspace_memory_region none = {.slot = slot};

    if (ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &none) < 0 || !set_slot(m, slot, r, m->logs_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0))
        hkvm_broken(m->vcpu[0], "RAM cannot be given to KVM anew: %m");
}

void hkvm_machine_renew_slots(struct hkvm_machine *m)
{
    if (m->logs_dirty)
        hkvm_machine_collect_dirty(m); /* the log goes with the slot */
    each_slot(m, renew_slot);
}

static void wait_for_handler(struct hkvm_machine *m);

/* The first image is a full one, or the machine has come from it: the log begins there. */
void hkvm_machine_collect_dirty(struct hkvm_machine *m)
{
    if (m->coherence)
        return; /* marked as they faulted */
    wait_for_handler(m);
    each_slot(m, m->logs_dirty ? collect_slot : start_log);
    m->logs_dirty = true;
}

/* --- before pages are written --- */

static bool protect(struct hkvm_protect *p, uint64_t offset, uint64_t len, bool on)
{
    struct uffdio_writeprotect w = {.range = {(uintptr_t)p->m->space->vram + offset, len},
                                    .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0};

    while (ioctl(p->uffd, UFFDIO_WRITEPROTECT, &w) < 0)
        if (errno != EAGAIN)
            return false;
    return true;
}

static void handle_fault(struct hkvm_protect *p, uint64_t address)
{
    struct mem_space *s = p->m->space;
    uint64_t offset = (address - (uintptr_t)s->vram) & GUEST_PAGE_MASK;
    bool ok;

    if (atomic_load_explicit(&s->guard, memory_order_acquire)) {
        sim_guard_before(&s->guard, offset, GUEST_PAGE_SIZE, true);
        ok = protect(p, offset, GUEST_PAGE_SIZE, false);
    } else {
        ok = protect(p, 0, s->ram_size, false);
    }
    if (!ok) {
        sim_error("KVM: guest memory stays write-protected: %m");
        sim_request_end(p->m->sim, SIM_END_ERROR, 0);
    }
}

static void handle_faults(struct hkvm_protect *p)
{
    struct uffd_msg msg[BATCH];
    ssize_t n = read(p->uffd, msg, sizeof msg);

    for (ssize_t i = 0; i < n / (ssize_t)sizeof msg[0]; i++)
        if (msg[i].event == UFFD_EVENT_PAGEFAULT)
            handle_fault(p, msg[i].arg.pagefault.address);
}

static void *handler_main(void *arg)
{
    struct hkvm_protect *p = arg;
    struct pollfd fds[] = {{.fd = p->uffd, .events = POLLIN}, {.fd = p->stop, .events = POLLIN}};

    while (poll(fds, SIM_ARRAY_LEN(fds), -1) >= 0 || errno == EINTR) {
        if (fds[1].revents)
            break;
        /* Before a message is taken: who sees `busy` false in a frozen world knows that none is left. */
        atomic_store_explicit(&p->busy, true, memory_order_seq_cst);
        handle_faults(p);
        atomic_store_explicit(&p->busy, false, memory_order_seq_cst);
    }
    return NULL;
}

/* vCPUs stand; what the handler still does was for them, and is over soon. The last image's guard is gone. */
static void wait_for_handler(struct hkvm_machine *m)
{
    while (m->protect && atomic_load_explicit(&m->protect->busy, memory_order_seq_cst))
        sim_thread_yield();
}

/* --- setting up, at the first cut --- */

int hkvm_open_userfaultfd(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), dev;

    if (fd >= 0)
        return fd;
    dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (dev < 0)
        return -1;
    fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    close(dev);
    return fd;
}

static bool register_ram(struct hkvm_protect *p)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    struct uffdio_register r = {.range = {(uintptr_t)p->m->space->vram, p->m->space->ram_size},
                                .mode = UFFDIO_REGISTER_MODE_WP};

    p->uffd = hkvm_open_userfaultfd();
    p->stop = eventfd(0, EFD_CLOEXEC);
    return p->uffd >= 0 && p->stop >= 0 && ioctl(p->uffd, UFFDIO_API, &api) == 0 &&
           ioctl(p->uffd, UFFDIO_REGISTER, &r) == 0;
}

static struct hkvm_protect *protect_create(struct hkvm_machine *m)
{
    struct hkvm_protect *p = sim_new(struct hkvm_protect);

    p->m = m;
    p->copies_all = !register_ram(p);
    if (p->copies_all)
        sim_warn("checkpoint: userfaultfd cannot be used (%m): the guest stands still while its memory is copied");
    else
        p->has_handler = sim_thread_start(&p->handler, "kvm-writes", handler_main, p) == SIM_OK;
    p->copies_all = !p->has_handler;
    return p;
}

void hkvm_protect_destroy(struct hkvm_protect *p)
{
    const uint64_t one = 1;

    if (!p)
        return;
    if (p->has_handler && write(p->stop, &one, sizeof one) == sizeof one)
        sim_thread_join(&p->handler);
    if (p->uffd >= 0)
        close(p->uffd);
    if (p->stop >= 0)
        close(p->stop);
    sim_free(p);
}

void hkvm_machine_write_protect(struct hkvm_machine *m)
{
    struct mem_space *s = m->space;

    if (m->coherence) {
        hkvm_coherence_protect(m->coherence);
        return;
    }
    if (!m->protect)
        m->protect = protect_create(m);
    if (m->protect->copies_all || !protect(m->protect, 0, s->ram_size, true))
        sim_guard_before(&s->guard, 0, s->ram_size, true);
}
