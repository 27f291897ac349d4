/* Something for profilers, traces and plugins to look at: a loop in a function, in M mode, and one in U mode with an
 * ecall at its end; then the finisher. */
#ifndef ROUNDS
#define ROUNDS 200
#endif
        .section .text
        .global _start
_start: csrr    t0, mhartid
#ifdef TWO_HARTS
        bnez    t0, other
#else
        bnez    t0, park
#endif
        li      s0, ROUNDS
again:  call    count_down
        addi    s0, s0, -1
        bnez    s0, again
        lla     t0, on_trap
        csrw    mtvec, t0
        li      t0, -1
        srli    t0, t0, 10
        csrw    pmpaddr0, t0
        li      t0, 0x1f
        csrw    pmpcfg0, t0
        lla     t0, in_user
        csrw    mepc, t0
        li      t0, 0x1800
        csrc    mstatus, t0
        mret

        .global count_down
        .type count_down, @function
count_down:
        li      t1, 5000
1:      addi    t1, t1, -1
        bnez    t1, 1b
        ret
        .size count_down, . - count_down

        .global in_user
        .type in_user, @function
in_user:
        lla     t2, buffer
        li      t1, 1000
1:      ld      t3, 0(t2)
        add     t3, t3, t1
        sd      t3, 0(t2)
        addi    t1, t1, -1
        bnez    t1, 1b
        amoadd.w t4, t1, (t2)
        ecall
        .size in_user, . - in_user

        .balign 4
on_trap:
#ifdef TWO_HARTS /* the end is when hart 1 has waited for an interrupt of this one */
        li      t0, 0x2000004
        li      t1, 1
        sw      t1, 0(t0)
        lla     t0, waited
1:      lw      t1, 0(t0)
        beqz    t1, 1b
#endif
        li      t1, 0x5555
        li      t0, 0x100000
        sw      t1, 0(t0)
park:   wfi
        j       park
#ifdef TWO_HARTS
other:  csrwi   mie, 8
        wfi
        csrwi   mie, 0
        lla     t0, waited
        li      t1, 1
        sw      t1, 0(t0)
        j       park
        .align  2
waited: .word   0
#endif
        .align  3
buffer: .dword  0x1122334455667788
