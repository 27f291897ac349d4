/* A thread that waits for signals (signalfd) or for its own end (eventfd). */
#include "signals.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "sim-core/alloc.h"
#include "sim-core/lock.h"
#include "sim-core/log.h"
#include "terminal.h"

static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGUSR1};

/* Owner: the signal thread; the launch thread creates it and writes `stop`. */
struct signals {
    int signals, stop;
    struct sim_thread thread;
    sigset_t set, previous;
    void (*end)(void *opaque, int sig);
    void *opaque;
    bool ending;
};

/* kill -TSTP, or Ctrl-Z when the terminal is not raw: leave it as the shell expects it. */
static void stop_process(void)
{
    terminal_restore();
    raise(SIGSTOP); /* to this thread: it does not go on before the process has stopped */
    terminal_resume();
}

static void handle(struct signals *s, int sig)
{
    if (sig == SIGTSTP) {
        stop_process();
    } else if (sig == SIGCONT) {
        terminal_resume();
    } else if (sig == SIGUSR1) {
        s->end(s->opaque, sig);
    } else if (!s->ending) {
        s->ending = true;
        s->end(s->opaque, sig);
    } else {
        terminal_restore();
        _exit(128 + sig);
    }
}

static void *signals_main(void *arg)
{
    struct signals *s = arg;
    struct pollfd fds[] = {{s->signals, POLLIN, 0}, {s->stop, POLLIN, 0}};
    struct signalfd_siginfo info;

    for (;;) {
        if (poll(fds, SIM_ARRAY_LEN(fds), -1) < 0)
            continue; /* EINTR after SIGSTOP */
        if (fds[1].revents)
            return NULL;
        if (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
            handle(s, (int)info.ssi_signo);
    }
}

static void close_fds(struct signals *s)
{
    if (s->signals >= 0)
        close(s->signals);
    if (s->stop >= 0)
        close(s->stop);
}

/* nohup and background jobs of scripts ignore some; a signalfd would see them all the same. */
static bool is_ignored(int sig)
{
    struct sigaction sa;

    return sigaction(sig, NULL, &sa) == 0 && !(sa.sa_flags & SA_SIGINFO) &&
           sa.sa_handler == SIG_IGN;
}

static void fill_set(sigset_t *set)
{
    sigemptyset(set);
    for (size_t i = 0; i < SIM_ARRAY_LEN(handled); i++)
        if (!is_ignored(handled[i]))
            sigaddset(set, handled[i]);
}

void signals_block(sigset_t *previous)
{
    sigset_t set;

    fill_set(&set);
    sigprocmask(SIG_BLOCK, &set, previous);
}

void signals_unblock(const sigset_t *previous)
{
    sigprocmask(SIG_SETMASK, previous, NULL);
}

enum sim_status signals_start(void (*end)(void *opaque, int sig), void *opaque,
                              struct signals **out)
{
    struct signals *s = sim_new(struct signals);
    enum sim_status status = SIM_ERR_IO;

    s->end = end;
    s->opaque = opaque;
    fill_set(&s->set);
    sigprocmask(SIG_BLOCK, &s->set, &s->previous);
    s->signals = signalfd(-1, &s->set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->stop = eventfd(0, EFD_CLOEXEC);
    if (s->signals < 0 || s->stop < 0)
        sim_error("cannot wait for signals: %m");
    else
        status = sim_thread_start(&s->thread, "signals", signals_main, s);
    if (status != SIM_OK) {
        sigprocmask(SIG_SETMASK, &s->previous, NULL);
        close_fds(s);
        sim_free(s);
        return status;
    }
    *out = s;
    return SIM_OK;
}

void signals_stop(struct signals *s)
{
    uint64_t one = 1;

    if (!s)
        return;
    if (write(s->stop, &one, sizeof one) < 0) {
        /* cannot fail: the counter is 0 */
    }
    sim_thread_join(&s->thread);
    sigprocmask(SIG_SETMASK, &s->previous, NULL);
    close_fds(s);
    sim_free(s);
}
