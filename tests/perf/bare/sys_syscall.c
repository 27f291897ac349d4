/* System calls: U mode calls S mode, which saves and restores all registers as a kernel does. */
#include "bare.h"

enum { CALLS = 520000, STACK_WORDS = 512 };
enum { EXIT, ADD };

static uint64_t total[BARE_MAX_HARTS];
static uint64_t stack[BARE_MAX_HARTS][STACK_WORDS] BARE_USER_DATA;

static BARE_USER_TEXT uint64_t call(uint64_t number, uint64_t arg)
{
    register uint64_t a0 __asm__("a0") = arg;
    register uint64_t a1 __asm__("a1");
    register uint64_t a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0), "=r"(a1) : "r"(a7) : "memory");
    return a0;
}

static BARE_USER_TEXT void user(uint64_t hart)
{
    uint64_t value = hart;
    for (unsigned i = 0; i < CALLS; i++)
        value = call(ADD, value);
    call(EXIT, hart << 56 | (value & 0xffffffffffffff));
}

static void handle(struct bare_frame *frame)
{
    if (frame->scause != CAUSE_USER_ECALL)
        __builtin_trap();
    frame->sepc += 4;
    if (frame->x[17] == ADD) {
        frame->x[10] = frame->x[10] * 5 + 1;
        return;
    }
    total[frame->x[10] >> 56] = frame->x[10];
    bare_user_leave(frame);
}

PERF_KERNEL(env)
{
    bare_on_trap(handle);
    bare_user_run(user, env->hart, stack[env->hart] + STACK_WORDS);
    return total[env->hart];
}
