/* The loop round a test's operations (emit.c): one turn for each instance of its variables.
 *
 *   a0 struct guest_work, a1 to a4 addresses of x y z w, a5 number of this instance, a6 results, a7 last instance
 *
 * Before each turn the threads meet (for at most `polls` looks at each other: with more harts than host threads
 * the others may not be running), then each waits a moment of its own, other in each turn. */
        .equ    WORK_VAR, 0
        .equ    WORK_FIRST, 32
        .equ    WORK_END, 40
        .equ    WORK_RESULTS, 48
        .equ    WORK_STRIDE, 56
        .equ    WORK_POLLS, 64
        .equ    WORK_SPINS, 72
        .equ    WORK_SKEW, 80
        .equ    WORK_SKEW_MASK, 88
        .equ    WORK_OWN, 96
        .equ    WORK_PEER, 104

        .macro  THREAD_BEGIN peers
        ld      a1, WORK_VAR(a0)
        ld      a2, WORK_VAR + 8(a0)
        ld      a3, WORK_VAR + 16(a0)
        ld      a4, WORK_VAR + 24(a0)
        ld      a5, WORK_FIRST(a0)
        ld      a6, WORK_RESULTS(a0)
        ld      a7, WORK_END(a0)
1:      addi    a5, a5, 1
        ld      t5, WORK_OWN(a0)
        ld      t6, WORK_POLLS(a0)
        sd      a5, 0(t5)
2:      beqz    t6, 3f
        .set    peer, 0
        .rept   \peers
        ld      t5, WORK_PEER + 8 * peer(a0)
        ld      t5, 0(t5)
        bltu    t5, a5, 6f
        .set    peer, peer + 1
        .endr
        j       3f
6:      addi    t6, t6, -1
        ld      t5, WORK_SPINS(a0)
        and     t5, t5, t6
        bnez    t5, 2b
        .word   0x0100000f              /* pause */
        j       2b
3:      ld      t5, WORK_SKEW(a0)
        ld      t6, WORK_SKEW_MASK(a0)
        mul     t5, t5, a5
        srli    t5, t5, 20
        and     t5, t5, t6
        beqz    t5, 5f
4:      addi    t5, t5, -1
        bnez    t5, 4b
5:
        .endm

        .macro  THREAD_END results
        .set    result, 0
        .irp    r, t0, t1, t2, t3, t4
        .if     result < \results
        sd      \r, 8 * result(a6)
        .endif
        .set    result, result + 1
        .endr
        ld      t5, WORK_STRIDE(a0)
        addi    a6, a6, 8 * \results
        add     a1, a1, t5
        add     a2, a2, t5
        add     a3, a3, t5
        add     a4, a4, t5
        bne     a5, a7, 1b
        ret
        .endm

/* Gives way to the other harts in every other instance, in no regular pattern. */
        .macro  MAYBE_PAUSE place
        ld      t5, WORK_SKEW(a0)
        mul     t5, t5, a5
        srli    t5, t5, 30 + \place
        andi    t5, t5, 1
        beqz    t5, 8f
        .word   0x0100000f              /* pause */
8:
        .endm

/* Long enough for the other harts to have their turn, wherever they run. */
        .macro  DELAY
        .rept   8
        .word   0x0100000f
        .endr
        li      t5, 2000
8:      addi    t5, t5, -1
        bnez    t5, 8b
        .endm
