/* Reset in M mode, a1 = device tree -> guest_start(hart, tree, hart is 0). A trap ends the run with code 90 + cause. */
        .section .text.start, "ax"
        .global _start
_start:
        .option push
        .option norelax
        la      gp, __global_pointer$
        .option pop
        la      t0, trap
        csrw    mtvec, t0
        csrr    a0, mhartid
        li      t0, 64                  /* GUEST_MAX_HARTS */
        bgeu    a0, t0, park
        la      sp, stacks
        addi    t0, a0, 1
        slli    t0, t0, 13
        add     sp, sp, t0
        seqz    a2, a0
        call    guest_start
park:   wfi
        j       park

        .align  2
trap:   csrr    a0, mcause
        addi    a0, a0, 90
        call    guest_end

        .bss
        .align  12
stacks: .skip   64 << 13
