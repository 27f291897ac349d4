/* Load that verifies itself, one process for each kind, until the file /tmp/end exists: memory that is mapped, written, read and
 * unmapped, futexes, atomics, forks, pipes, memory that processes share. Who finds something wrong says so; at the end
 * "STRESS-OK". For Linux, without a C library. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SYS_FACCESSAT = 48, SYS_CLOSE = 57, SYS_PIPE2 = 59, SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT = 93, SYS_FUTEX = 98,
       SYS_MUNMAP = 215, SYS_CLONE = 220, SYS_MMAP = 222, SYS_WAIT4 = 260 };
enum { PROT_RW = 3, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20, SIGCHLD = 17, FUTEX_WAIT = 0, FUTEX_WAKE = 1,
       AT_FDCWD = -100, EAGAIN = 11, EINTR = 4 };
enum { PAGE = 4096, ROUNDS = 2000 };

static long call(long number, long x0, long x1, long x2, long x3)
{
    register long a0 __asm__("a0") = x0, a1 __asm__("a1") = x1, a2 __asm__("a2") = x2, a3 __asm__("a3") = x3;
    register long a4 __asm__("a4") = 0, a5 __asm__("a5") = 0, a7 __asm__("a7") = number;

    if (number == SYS_MMAP)
        a4 = -1; /* no file */
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5), "r"(a7) : "memory");
    return a0;
}

static void say(const char *text)
{
    size_t length = 0;

    while (text[length])
        length++;
    call(SYS_WRITE, 1, (long)text, (long)length, 0);
}

__attribute__((noreturn)) static void end(int code)
{
    for (;;)
        call(SYS_EXIT, code, 0, 0, 0);
}

static const char *kind = "main"; /* what this process does */

static void insist(bool right, const char *what)
{
    if (right)
        return;
    say("STRESS-FAILED ");
    say(kind);
    say(": ");
    say(what);
    say("\n");
    end(1);
}

static bool is_over(void) { return call(SYS_FACCESSAT, AT_FDCWD, (long)"/tmp/end", 0, 0) == 0; }

static long fork_process(void)
{
    long pid = call(SYS_CLONE, SIGCHLD, 0, 0, 0);

    insist(pid >= 0, "no process");
    return pid;
}

static void wait_for(long pid)
{
    int status = -1;
    long got;

    do
        got = call(SYS_WAIT4, pid, (long)&status, 0, 0);
    while (got == -EINTR);
    insist(got == pid && status == 0, "a child ended with an error");
}

static uint64_t *map(size_t bytes, int how)
{
    long p = call(SYS_MMAP, 0, (long)bytes, PROT_RW, how | MAP_ANONYMOUS);

    insist(p > 0, "no memory");
    return (uint64_t *)p;
}

static void unmap(void *p, size_t bytes) { insist(call(SYS_MUNMAP, (long)p, (long)bytes, 0, 0) == 0, "cannot unmap"); }

/* A number for each word of each round. */
static uint64_t pattern(uint64_t round, size_t i) { return (round + 1) * 0x9e3779b97f4a7c15 ^ i * 0xff51afd7ed558ccd; }

static void fill(uint64_t *p, size_t words, uint64_t round)
{
    for (size_t i = 0; i < words; i++)
        p[i] = pattern(round, i);
}

static void check(const uint64_t *p, size_t words, uint64_t round)
{
    for (size_t i = 0; i < words; i++)
        insist(p[i] == pattern(round, i), "another word in memory");
}

static void do_vm(uint64_t round)
{
    enum { BYTES = 6 << 20 };
    uint64_t *p = map(BYTES, MAP_PRIVATE);

    for (size_t i = 0; i < BYTES / sizeof *p; i += PAGE / sizeof *p)
        insist(p[i] == 0, "new memory is not zero");
    fill(p, BYTES / sizeof *p, round);
    check(p, BYTES / sizeof *p, round);
    unmap(p, BYTES);
}

/* Copies of the child and of the parent stay apart. */
static void do_fork(uint64_t round)
{
    enum { WORDS = 16 * PAGE / sizeof(uint64_t) };
    static uint64_t p[WORDS];

    fill(p, WORDS, round);
    long pid = fork_process();
    if (pid == 0) {
        check(p, WORDS, round);
        fill(p, WORDS, ~round);
        check(p, WORDS, ~round);
        end(0);
    }
    check(p, WORDS, round);
    wait_for(pid);
    check(p, WORDS, round);
}

/* The child writes what the parent reads. */
static void do_pipe(uint64_t round)
{
    uint64_t words[512];
    int ends[2];

    insist(call(SYS_PIPE2, (long)ends, 0, 0, 0) == 0, "no pipe");
    long pid = fork_process();
    for (uint64_t n = 0; n < 64; n++) {
        char *at = (char *)words, *stop = at + sizeof words;
        if (pid == 0)
            fill(words, 512, round + n);
        while (at < stop) {
            long got = call(pid ? SYS_READ : SYS_WRITE, ends[pid ? 0 : 1], (long)at, stop - at, 0);
            insist(got > 0, "the pipe is broken");
            at += got;
        }
        if (pid)
            check(words, 512, round + n);
    }
    if (pid == 0)
        end(0);
    wait_for(pid);
    call(SYS_CLOSE, ends[0], 0, 0, 0);
    call(SYS_CLOSE, ends[1], 0, 0, 0);
}

/* Two processes add to the same words, by AMO and by LR/SC. */
static void do_atomic(uint64_t round)
{
    _Atomic uint64_t *p = (_Atomic uint64_t *)map(PAGE, MAP_SHARED);
    long pid = fork_process();

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t old = atomic_load_explicit(&p[1], memory_order_relaxed);
        atomic_fetch_add(&p[0], round);
        while (!atomic_compare_exchange_weak(&p[1], &old, old + round))
            ;
    }
    if (pid == 0)
        end(0);
    wait_for(pid);
    insist(p[0] == 2 * ROUNDS * round && p[1] == 2 * ROUNDS * round, "another sum");
    unmap((void *)p, PAGE);
}

/* Two processes wake each other; who has an odd turn is the child. */
static void do_futex(uint64_t round)
{
    _Atomic uint32_t *turn = (_Atomic uint32_t *)map(PAGE, MAP_SHARED);
    long pid = fork_process();
    uint32_t mine = pid == 0;

    (void)round;
    for (uint32_t n = mine; n < 200; n += 2) {
        uint32_t now;
        while ((now = atomic_load(turn)) != n) {
            insist(now == n - 1, "it is nobody's turn");
            long got = call(SYS_FUTEX, (long)turn, FUTEX_WAIT, now, 0);
            insist(got == 0 || got == -EAGAIN || got == -EINTR, "cannot wait");
        }
        atomic_store(turn, n + 1);
        call(SYS_FUTEX, (long)turn, FUTEX_WAKE, 1, 0);
    }
    if (pid == 0)
        end(0);
    wait_for(pid);
    insist(atomic_load(turn) == 200, "turns are lost");
    unmap((void *)turn, PAGE);
}

/* The child changes what both see. */
static void do_shm(uint64_t round)
{
    enum { BYTES = 64 * PAGE, WORDS = BYTES / sizeof(uint64_t) };
    uint64_t *p = map(BYTES, MAP_SHARED);

    fill(p, WORDS, round);
    long pid = fork_process();
    if (pid == 0) {
        check(p, WORDS, round);
        fill(p, WORDS, ~round);
        end(0);
    }
    wait_for(pid);
    check(p, WORDS, ~round);
    unmap(p, BYTES);
}

static const struct {
    const char *name;
    void (*once)(uint64_t round);
} kinds[] = {{"vm", do_vm},         {"fork", do_fork},   {"pipe", do_pipe},
             {"atomic", do_atomic}, {"futex", do_futex}, {"shm", do_shm}};
enum { NR_KINDS = sizeof kinds / sizeof *kinds };

void _start(void)
{
    long pids[NR_KINDS];

    for (int i = 0; i < NR_KINDS; i++) {
        pids[i] = fork_process();
        if (pids[i] != 0)
            continue;
        kind = kinds[i].name;
        uint64_t round = 0;
        do
            kinds[i].once(++round);
        while (!is_over());
        end(0);
    }
    for (int i = 0; i < NR_KINDS; i++)
        wait_for(pids[i]);
    say("STRESS-OK\n");
    end(0);
}
