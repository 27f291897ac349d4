/* A vCPU: KVM_RUN in slices, and how others get it out of there.
 *
 *   run -> slice timer armed -> KVM_RUN -> exits.c: device, again | budget, kick, end -> access finished -> rest
 *
 * The signal that ends KVM_RUN is blocked in every thread of ours and open only inside KVM_RUN (its signal mask), so no
 * handler runs and none can come too early: one that is pending ends KVM_RUN at once, and is taken off afterwards. It
 * comes from the slice timer (the budget) and from vcpu_kick. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "hkvm_priv.h"
#include "sim-core/alloc.h"
#include "sim-core/log.h"

static int kick_signal(void)
{
    return SIGRTMIN + 6;
}

static void kick_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, kick_signal());
}

/* --- kicks and slices --- */

static void vcpu_interrupt(struct vcpu *v)
{
    /* G2: kick was set before; pairs with G1 */
    int tid = atomic_load_explicit(&hkvm_vcpu_of(v)->in_guest, memory_order_seq_cst);

    if (tid)
        syscall(SYS_tgkill, getpid(), tid, kick_signal());
}

/* The signals that ended KVM_RUN, or came after it had ended. */
static void take_signals(void)
{
    const struct timespec now = {0};
    sigset_t set;

    kick_set(&set);
    while (sigtimedwait(&set, NULL, &now) > 0)
        ;
}

/* The slice timer signals one thread: made again when another executor has the vCPU. */
static bool bind_to_thread(struct hkvm_vcpu *h)
{
    int tid = (int)syscall(SYS_gettid);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kick_signal()};
    sigset_t set;

    if (h->thread == tid)
        return true;
    if (h->has_slice)
        timer_delete(h->slice);
    kick_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL); /* already so in executors */
    event._sigev_un._tid = tid;
    h->has_slice = timer_create(CLOCK_MONOTONIC, &event, &h->slice) == 0;
    h->thread = h->has_slice ? tid : 0;
    if (!h->has_slice)
        hkvm_broken(h, "timer_create: %m");
    return h->has_slice;
}

static void arm_slice(struct hkvm_vcpu *h, uint64_t ns)
{
    const struct itimerspec when = {.it_value = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)}};

    timer_settime(h->slice, 0, &when, NULL);
}

/* Until the turn's end, or the APIC's timer before it. */
static void arm_for_apic(struct hkvm_vcpu *h)
{
    const uint64_t soon = 1, host = sim_host_ns();
    vtime_t due = apic_deadline(&h->apic), now = sim_clock_now(&h->vcpu.sim->clock);
    uint64_t ns = h->slice_end_ns > host ? h->slice_end_ns - host : soon;

    h->armed_due = due;
    if (due != VTIME_NEVER && (due <= now || due - now < ns))
        ns = due > now ? due - now : soon;
    arm_slice(h, ns);
}

static void begin_turn(struct hkvm_vcpu *h, uint64_t ns)
{
    h->slice_end_ns = sim_host_ns() + ns;
    if (h->m->own_apics)
        arm_for_apic(h);
    else
        arm_slice(h, ns);
}

/* --- running --- */

/* CR8 is a part of the APIC, which KVM keeps for us while the guest runs. */
static int enter_guest(struct hkvm_vcpu *h, int *error)
{
    h->run->cr8 = h->apic.tpr >> 4;
    int ret = ioctl(h->fd, KVM_RUN, 0);

    *error = errno;
    if (h->m->own_apics && h->run->cr8 != h->apic.tpr >> 4)
        apic_set_tpr(&h->apic, (uint32_t)h->run->cr8 << 4);
    return ret;
}

/* What KVM_RUN failed with. False: run() ends with *why. */
static bool after_error(struct hkvm_vcpu *h, int error, enum vcpu_exit *why)
{
    *why = VCPU_EXIT_BUDGET;
    if (error == EAGAIN) /* it waited for SIPI, and something has come */
        return true;
    if (error != EINTR) {
        errno = error;
        hkvm_broken(h, "KVM_RUN: %m");
        *why = VCPU_EXIT_END;
    }
    return false;
}

/* True: into guest code. Else *why. */
static bool take_interrupts(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    static const enum vcpu_exit exit_of[] = {[HKVM_WAITS] = VCPU_EXIT_IDLE, [HKVM_BROKEN] = VCPU_EXIT_END};

    if (!h->m->own_apics)
        return true;
    enum hkvm_readiness readiness = hkvm_interrupts_take(h);
    if (readiness != HKVM_READY) {
        *why = exit_of[readiness];
        return false;
    }
    if (apic_deadline(&h->apic) != h->armed_due)
        arm_for_apic(h);
    return true;
}

/* One entry. False: run() ends with *why. */
static bool run_once(struct hkvm_vcpu *h, enum vcpu_exit *why)
{
    struct vcpu *v = &h->vcpu;
    int ret = 0, error = 0;

    vcpu_enter(v);
    /* G1: who kicks from here on sends a signal; pairs with G2 */
    atomic_store_explicit(&h->in_guest, h->thread, memory_order_seq_cst);
    bool kicked = atomic_load_explicit(&v->kick, memory_order_seq_cst), waits = false;
    if (!kicked && !(waits = !take_interrupts(h, why)))
        ret = enter_guest(h, &error);
    atomic_store_explicit(&h->in_guest, 0, memory_order_seq_cst);
    if (kicked)
        vcpu_clear_kick(v);
    vcpu_leave(v);
    if (waits)
        return false;
    *why = sim_ending(v->sim) ? VCPU_EXIT_END : VCPU_EXIT_BUDGET;
    if (kicked)
        return false;
    if (ret < 0)
        return after_error(h, error, why);
    return hkvm_exit(h, why);
}

/* KVM finishes an access (registers, instruction pointer) when it is entered again. A vCPU at rest has nothing
 * unfinished, so that its state is the guest's. */
static void finish_access(struct hkvm_vcpu *h)
{
    enum vcpu_exit why;
    int error;

    h->run->immediate_exit = 1;
    while (h->io_pending) {
        h->io_pending = false;
        if (enter_guest(h, &error) < 0) {
            if (error != EINTR && error != EAGAIN)
                (void)after_error(h, error, &why);
        } else if (!hkvm_exit(h, &why)) {
            break;
        }
    }
    h->run->immediate_exit = 0;
}

static enum vcpu_exit vcpu_run(struct vcpu *v, uint64_t budget)
{
    struct hkvm_vcpu *h = hkvm_vcpu_of(v);
    enum vcpu_exit why = VCPU_EXIT_END;

    if (!bind_to_thread(h))
        return VCPU_EXIT_END;
    begin_turn(h, budget > h->m->slice_ns ? budget : h->m->slice_ns);
    while (run_once(h, &why))
        ;
    arm_slice(h, 0);
    finish_access(h);
    take_signals();
    return why;
}

static enum vcpu_exit vcpu_run_exclusive(struct vcpu *v)
{
    (void)v; /* never asks for it */
    return VCPU_EXIT_BUDGET;
}

/* With KVM's APIC it waits for interrupts inside KVM_RUN. */
static bool vcpu_has_work(struct vcpu *v)
{
    struct hkvm_vcpu *h = hkvm_vcpu_of(v);

    return !h->m->own_apics || apic_has_work(&h->apic);
}

static vtime_t vcpu_deadline(struct vcpu *v)
{
    struct hkvm_vcpu *h = hkvm_vcpu_of(v);

    return h->m->own_apics ? apic_deadline(&h->apic) : VTIME_NEVER;
}

static void vcpu_ops_destroy(struct vcpu *v)
{
    (void)v; /* the machine's */
}

const struct vcpu_ops hkvm_vcpu_ops = {
    .name = "kvm",
    .run = vcpu_run,
    .run_exclusive = vcpu_run_exclusive,
    .has_work = vcpu_has_work,
    .deadline = vcpu_deadline,
    .interrupt = vcpu_interrupt,
    .destroy = vcpu_ops_destroy,
    .deliver = hkvm_interrupts_deliver,
    .state = &hkvm_vcpu_state,
};

/* --- life --- */

static enum sim_status failed(const struct hkvm_vcpu *h, const char *what)
{
    sim_error("KVM: vCPU %u: %s: %m", h->apic_id, what);
    return SIM_ERR_IO;
}

/* Inside KVM_RUN everything is blocked but the kick. The kernel's set has 8 bytes. */
static enum sim_status set_signal_mask(struct hkvm_vcpu *h)
{
    struct {
        struct kvm_signal_mask head;
        uint64_t set;
    } SIM_ALIGNED(4) mask = {.head.len = 8};
    const uint64_t set = ~(1ull << (kick_signal() - 1));

    memcpy(mask.head.sigset, &set, sizeof set);
    if (ioctl(h->fd, KVM_SET_SIGNAL_MASK, &mask) < 0)
        return failed(h, "KVM_SET_SIGNAL_MASK");
    return SIM_OK;
}

static enum sim_status map_run(struct hkvm_vcpu *h)
{
    int bytes = ioctl(h->m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

    if (bytes < (int)sizeof *h->run)
        return failed(h, "KVM_GET_VCPU_MMAP_SIZE");
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
    if (p == MAP_FAILED)
        return failed(h, "mmap");
    h->run = p;
    h->run_bytes = (size_t)bytes;
    return SIM_OK;
}

static enum sim_status set_up(struct hkvm_vcpu *h)
{
    h->fd = ioctl(h->m->vm, KVM_CREATE_VCPU, (unsigned long)h->apic_id);
    if (h->fd < 0)
        return failed(h, "KVM_CREATE_VCPU");
    SIM_TRY(map_run(h));
    SIM_TRY(set_signal_mask(h));
    SIM_TRY(hkvm_cpuid_set(h));
    return hkvm_vcpu_get(h, &h->initial);
}

enum sim_status hkvm_vcpu_create(struct hkvm_machine *m, uint32_t apic_id, struct hkvm_vcpu **out)
{
    struct hkvm_vcpu *h = sim_new(struct hkvm_vcpu);

    h->vcpu.ops = &hkvm_vcpu_ops;
    h->m = m;
    h->apic_id = apic_id;
    h->fd = -1;
    h->vcpu.remote = m->is_remote && m->is_remote(m->is_remote_opaque, apic_id);
    hkvm_interrupts_add(h);
    enum sim_status status = h->vcpu.remote ? SIM_OK : set_up(h);
    if (status != SIM_OK) {
        hkvm_vcpu_destroy(h);
        return status;
    }
    *out = h;
    return SIM_OK;
}

void hkvm_vcpu_destroy(struct hkvm_vcpu *h)
{
    if (h->has_slice)
        timer_delete(h->slice);
    if (h->run)
        munmap(h->run, h->run_bytes);
    if (h->fd >= 0)
        close(h->fd);
    sim_free(h);
}
