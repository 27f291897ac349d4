# HARTS harts pass blocks of PAGES pages around: in round r hart h adds one to the first and the last word of each page of
# block (h + r) % HARTS, which must both be r. A round ends when all have come; so at any instant a page is as old as the
# round, or one younger. Whoever finds another value ends the machine with 1 (a page was lost, or is of another instant). When
# something is typed, hart 0 names the last round; then it adds all pages up and ends the machine with 0. Pages change their
# rank in every round. M mode, no devices but UART and finisher. HARTS and PAGES are given to the assembler.
        .equ    UART, 0x10000000
        .equ    FINISHER, 0x100000
        .equ    PAGE, 4096

        .globl  _start
_start:
        la      s0, blocks
        la      s1, arrived
        mv      s2, a0                  # h
        li      s3, 0                   # r
        li      s4, HARTS
        la      s5, last
round:
        ld      t0, 0(s5)
        beq     s3, t0, over
        add     t0, s2, s3
        remu    t0, t0, s4
        li      t1, PAGES * PAGE
        mul     t0, t0, t1
        add     t0, s0, t0              # the block
        li      t2, PAGES
page:
        li      t3, PAGE - 8
        add     t3, t0, t3
        ld      t4, 0(t0)
        ld      t5, 0(t3)
        bne     t4, s3, bad
        bne     t5, s3, bad
        addi    t4, t4, 1
        sd      t4, 0(t0)
        sd      t4, 0(t3)
        li      t3, PAGE
        add     t0, t0, t3
        addi    t2, t2, -1
        bnez    t2, page
        # all of this round
        li      t1, 1
        amoadd.d.aqrl zero, t1, (s1)
        addi    s3, s3, 1
        mul     t1, s3, s4
wait:
        ld      t2, 0(s1)
        bgeu    t2, t1, next
        .word   0x0100000f              # pause
        j       wait
next:
        fence   rw, rw
        bnez    s2, round
        andi    t0, s3, 15
        bnez    t0, round
        li      t0, UART                # hart 0, now and then
        lbu     t1, 5(t0)
        andi    t1, t1, 1
        beqz    t1, say_dot
        addi    t1, s3, 2               # all see it when they have come in this round
        sd      t1, 0(s5)
say_dot:
        andi    t1, s3, 1023
        bnez    t1, round
        li      t1, '.'
        sb      t1, 0(t0)
        j       round

over:
        bnez    s2, rest
        li      t0, HARTS * PAGES
        li      t1, 0
sum:
        ld      t2, 0(s0)
        add     t1, t1, t2
        li      t3, PAGE
        add     s0, s0, t3
        addi    t0, t0, -1
        bnez    t0, sum
        li      t2, HARTS * PAGES
        mul     t2, t2, s3
        bne     t1, t2, bad
        la      t1, good
        li      t0, UART
say:
        lbu     t2, 0(t1)
        beqz    t2, end
        sb      t2, 0(t0)
        addi    t1, t1, 1
        j       say
end:
        li      t0, FINISHER
        li      t1, 0x5555
        sw      t1, 0(t0)
rest:
        wfi
        j       rest
bad:
        li      t0, FINISHER
        li      t1, 0x13333             # exit code 1
        sw      t1, 0(t0)
        j       rest

good:
        .asciz  "\nRING-OK\n"
        .data
        .balign 8
last:
        .dword  -1
        .bss
        .balign 4096
arrived:
        .skip   4096
blocks:
        .skip   HARTS * PAGES * PAGE
