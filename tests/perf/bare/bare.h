/* What the bare-metal benchmarks have of a kernel: 4 KiB pages, traps, and a way into U mode. */
#ifndef BARE_H
#define BARE_H

#include <stdint.h>

#include "perf.h"

enum {
    PTE_V = 1,
    PTE_R = 2,
    PTE_W = 4,
    PTE_X = 8,
    PTE_U = 16,
    PTE_A = 64,
    PTE_D = 128,
    PTE_KERNEL = PTE_V | PTE_R | PTE_W | PTE_X | PTE_A | PTE_D,
    CAUSE_USER_ECALL = 8,
    BARE_MAX_HARTS = 16,
};
#define BARE_RAM 0x80000000u
#define BARE_MAPPED (192u << 20) /* RAM mapped by 4 KiB pages at its own address */
#define BARE_USER_TEXT __attribute__((section(".user"), noinline))
#define BARE_USER_DATA __attribute__((section(".user.data"), aligned(4096)))

/* Laid out for trap_entry in start.S. */
struct bare_frame {
    uint64_t x[32]; /* x[0] unused */
    uint64_t sepc, sstatus, scause, stval;
};

typedef void bare_trap_fn(struct bare_frame *frame);

/* Every trap of any hart goes to `handler`, in S mode, interrupts off. */
void bare_on_trap(bare_trap_fn *handler);
/* Runs `entry(arg)` in U mode on this hart until the handler calls bare_user_leave. The code is
 * BARE_USER_TEXT and the stack (its upper end is given) BARE_USER_DATA: U mode reaches nothing else,
 * S mode may not execute them. */
void bare_user_run(void (*entry)(uint64_t arg), uint64_t arg, void *stack);
void bare_user_leave(struct bare_frame *frame);

/* The entry which maps `address` in the common page table; address must be in the mapped RAM. */
uint64_t *bare_pte(uintptr_t address);
uint64_t *bare_root(void);
void bare_uart_put(char c);

#define bare_csr_read(name)                                                                        \
    ({                                                                                             \
        uint64_t value_;                                                                           \
        __asm__ volatile("csrr %0, " #name : "=r"(value_)::"memory");                              \
        value_;                                                                                    \
    })
#define bare_csr_write(name, value)                                                                \
    __asm__ volatile("csrw " #name ", %0" ::"rK"((uint64_t)(value)) : "memory")

static inline void bare_sfence_page(uintptr_t address)
{
    __asm__ volatile("sfence.vma %0" ::"r"(address) : "memory");
}

static inline void bare_sfence_all(void)
{
    __asm__ volatile("sfence.vma" ::: "memory");
}

#endif
