/* Entry, traps and probes of the hostile guests. M mode without firmware, or S mode under the built-in
 * SBI (-DSMODE): there the boot hart comes alone and starts others at hart_start. */
#ifdef SMODE
#define xepc sepc
#define xcause scause
#define xtvec stvec
#define xscratch sscratch
#else
#define xepc mepc
#define xcause mcause
#define xtvec mtvec
#define xscratch mscratch
#endif
        .section .text.start, "ax"
        .global _start, hart_start
_start:
hart_start:                             /* a0: hart id */
        .option push
        .option norelax
        la      gp, __global_pointer$
        .option pop
        la      t0, trap
        csrw    xtvec, t0
        csrw    xscratch, zero
#ifndef SMODE
        li      t0, 0x6000              /* FS */
        csrs    mstatus, t0
        csrr    a0, mhartid
#endif
        la      sp, stacks
        addi    t0, a0, 1
        slli    t0, t0, 14
        add     sp, sp, t0
        mv      tp, a0
        call    guest_main
1:      wfi
        j       1b

/* A trap inside a probe (xscratch: where to go on) gives its cause in a0; interrupts go to guest_irq; else
 * the guest ends with code 90 + cause. */
        .align  2
trap:
        csrrw   t6, xscratch, t6
        beqz    t6, 1f
        csrw    xepc, t6
        csrr    a0, xcause
        csrw    xscratch, zero
#ifdef SMODE
        sret
#else
        li      t5, 0x21800             /* back in M mode, MPRV off */
        csrc    mstatus, t5
        li      t5, 0x1800
        csrs    mstatus, t5
        mret
#endif
1:      csrrw   t6, xscratch, t6        /* not a probe: only interrupts are expected */
        addi    sp, sp, -256
        .irp    n, 1,5,6,7,10,11,12,13,14,15,16,17,28,29,30,31
        sd      x\n, 8 * \n (sp)
        .endr
        csrr    a0, xcause
        bgez    a0, 2f
        call    guest_irq
        .irp    n, 1,5,6,7,10,11,12,13,14,15,16,17,28,29,30,31
        ld      x\n, 8 * \n (sp)
        .endr
        addi    sp, sp, 256
#ifdef SMODE
        sret
#else
        mret
#endif
2:      addi    a0, a0, 90
        call    guest_end

/* long probe(void (*what)(long arg), long arg): -1, or the cause of the trap that ended it. The callee saves
 * nothing: all that matters is on the stack. */
        .global probe
probe:
        addi    sp, sp, -112
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
        sd      s\n, 8 * \n (sp)
        .endr
        sd      ra, 96(sp)
        la      t0, probe_sp
        slli    t1, tp, 3
        add     t0, t0, t1
        sd      sp, 0(t0)
        la      t0, 1f
        csrw    xscratch, t0
        mv      t0, a0
        mv      a0, a1
        jalr    t0
        csrw    xscratch, zero
        li      a0, -1
1:      la      t0, probe_sp
        slli    t1, tp, 3
        add     t0, t0, t1
        ld      sp, 0(t0)
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
        ld      s\n, 8 * \n (sp)
        .endr
        ld      ra, 96(sp)
        addi    sp, sp, 112
        ret

        .bss
        .align  12
stacks: .skip   16 << 14
probe_sp: .skip 16 * 8
