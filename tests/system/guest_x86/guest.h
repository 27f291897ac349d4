/* The x86-64 guest of the KVM tests: a kernel of some hundred instructions, and workers in ring 3.
 *
 *   start.S   entry in long mode, the other CPU's way there, interrupt entries
 *   kernel.c  page tables, local APICs, IPIs, timers, clocks, virtio-rng and virtio-blk by interrupts, the end
 *   worker.c  ring 3: arithmetic, and memory that comes by page faults
 *
 * It keeps to what a KVM without svm and vmx can do (kvm/README.md): ring 3 enters the kernel by INT3, page faults and
 * interrupts; the kernel uses no vector instruction, no INT, no SYSCALL; and it is short. The checksum that it ends with
 * depends on no clock and no order of events. */
#ifndef GUEST_H
#define GUEST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

enum { NR_CPUS = 2, STACK_BYTES = 8192, DATA_PAGES = 1024 };
#define DATA_BASE(cpu) (0x40000000ul + (u64)(cpu) * 0x8000000ul) /* of the worker: pages come when touched */

/* What a worker asks the kernel for, in rax, argument in rdi; INT3. In rax then: is there another round? */
enum { CALL_ROUND, CALL_DONE };

/* A worker's loop; returns its checksum. `call` is INT3. */
u64 worker(u32 cpu, u8 *data, u64 (*call)(u64 number, u64 argument));
/* `n` steps of what the loop spends its time with. */
u64 worker_compute(u64 seed, u64 n);

#endif
