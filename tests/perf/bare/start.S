/* Reset in M mode -> PMP open, traps of U and S mode delegated -> S mode under Sv39 -> bare_main. */
#define FRAME_SIZE (36 * 8)

        .section .text.start, "ax"
        .global _start
_start:
        .option push
        .option norelax
        la      gp, __global_pointer$
        .option pop
        la      t0, machine_trap
        csrw    mtvec, t0
        csrr    a0, mhartid
        li      t0, 16                  /* BARE_MAX_HARTS */
        bgeu    a0, t0, park
        la      sp, stacks
        addi    t0, a0, 1
        slli    t0, t0, 14
        add     sp, sp, t0
        li      t0, -1
        csrw    pmpaddr0, t0
        li      t0, 0x1f                /* NAPOT over everything, RWX */
        csrw    pmpcfg0, t0
        li      t0, 7
        csrw    mcounteren, t0
        csrw    scounteren, t0
        li      t0, 0xb10d              /* misaligned fetch, illegal, breakpoint, U ecall, page faults */
        csrw    medeleg, t0
        csrw    mideleg, zero
        csrw    mie, zero
        li      t0, 0x46e00             /* SUM, FS and VS dirty, MPP = S */
        csrw    mstatus, t0
        mv      s0, a0
        call    bare_setup              /* takes the device tree in a1, returns satp */
        csrw    satp, a0
        sfence.vma
        csrw    sscratch, zero
        la      t0, trap_entry
        csrw    stvec, t0
        la      t0, bare_main
        csrw    mepc, t0
        mv      a0, s0
        mret

park:   wfi
        j       park

/* Nothing traps to M mode on purpose: say so by the finisher, code 99. */
        .align  2
machine_trap:
        li      t0, 0x100000
        li      t1, 99 << 16 | 0x3333
        sw      t1, 0(t0)
1:      j       1b

/* sscratch is the hart's kernel stack while in U mode and 0 in S mode. */
        .align  2
trap_entry:
        csrrw   sp, sscratch, sp
        bnez    sp, 1f
        csrr    sp, sscratch
1:      addi    sp, sp, -FRAME_SIZE
        .irp    n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        sd      x\n, 8 * \n (sp)
        .endr
        csrrw   t0, sscratch, zero
        sd      t0, 16(sp)              /* the interrupted stack pointer */
        csrr    t1, sepc
        csrr    t2, sstatus
        csrr    t3, scause
        csrr    t4, stval
        sd      t1, 256(sp)
        sd      t2, 264(sp)
        sd      t3, 272(sp)
        sd      t4, 280(sp)
        .option push
        .option norelax
        la      gp, __global_pointer$
        .option pop
        mv      a0, sp
        call    bare_trap
        ld      t1, 256(sp)
        ld      t2, 264(sp)
        csrw    sepc, t1
        csrw    sstatus, t2
        andi    t2, t2, 0x100           /* SPP */
        bnez    t2, 2f
        addi    t0, sp, FRAME_SIZE
        csrw    sscratch, t0
2:      .irp    n, 1,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
        ld      x\n, 8 * \n (sp)
        .endr
        ld      sp, 16(sp)
        sret

/* void bare_user_run(entry, arg, stack): the kernel context goes on the stack, user_return takes it back. */
        .global bare_user_run
bare_user_run:
        addi    sp, sp, -112
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
        sd      s\n, 8 * \n (sp)
        .endr
        sd      ra, 96(sp)
        csrw    sscratch, sp
        csrw    sepc, a0
        li      t0, 0x100
        csrc    sstatus, t0
        mv      sp, a2
        mv      a0, a1
        sret
        .global user_return
user_return:                            /* sp as it was at the sret above */
        .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11
        ld      s\n, 8 * \n (sp)
        .endr
        ld      ra, 96(sp)
        addi    sp, sp, 112
        ret

        .bss
        .align  12
stacks: .skip   16 << 14
