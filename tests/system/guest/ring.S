# HARTS harts pass blocks of PAGES pages around: in round r hart h adds one to the first and the last word of each page of
# block (h + r) % HARTS, which must both be r, and folds the second word with what it carries in its registers. A round ends when
# all have come; so at any instant a page is as old as the round, or one younger. Whoever finds another value ends the machine
# with 1 (a page was lost, or is of another instant). When something is typed, hart 0 names the last round (LAST is one that is known
# before). Then it adds the counts up, says how many rounds there were and a sum of all pages and of all that harts carried, which
# depends on nothing but the number of rounds, and ends the machine with 0. Pages change their rank in every round.
# M mode, no devices but UART and finisher. HARTS, PAGES and LAST are given to the assembler.
        .equ    UART, 0x10000000
        .equ    FINISHER, 0x100000
        .equ    PAGE, 4096
#ifndef LAST
#define LAST -1
#endif

        .globl  _start
_start:
        la      s0, blocks
        la      s1, arrived
        mv      s2, a0                  # h
        li      s3, 0                   # r
        li      s4, HARTS
        la      s5, last
        li      t0, 3 << 13             # mstatus.FS
        csrs    mstatus, t0
        fmv.d.x fs0, s2
        li      s6, 0x9e3779b97f4a7c15
        mv      s7, s6
        mv      s8, s2
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
        ld      t5, 8(t0)
        xor     s6, s6, t5
        mul     s6, s6, s7
        add     s6, s6, s8
        sd      s6, 8(t0)
        li      t3, PAGE
        add     t0, t0, t3
        addi    t2, t2, -1
        bnez    t2, page
        fmv.x.d s8, fs0
        fmv.d.x fs0, s6
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
        la      t0, carried
        slli    t1, s2, 5
        add     t0, t0, t1
        sd      s6, 0(t0)
        sd      s8, 8(t0)
        fsd     fs0, 16(t0)
        li      t1, 1
        addi    t2, s1, 8
        amoadd.d.aqrl zero, t1, (t2)
        bnez    s2, rest
all:
        ld      t1, 8(s1)
        bltu    t1, s4, all
        fence   rw, rw
        li      t0, HARTS * PAGES
        li      t1, 0
        mv      t3, s0
        li      t4, PAGE
sum:
        ld      t2, 0(t3)
        add     t1, t1, t2
        add     t3, t3, t4
        addi    t0, t0, -1
        bnez    t0, sum
        li      t2, HARTS * PAGES
        mul     t2, t2, s3
        bne     t1, t2, bad
        li      s6, 0
        la      t0, carried
        la      t1, carried_end
fold:
        ld      t2, 0(t0)
        xor     s6, s6, t2
        mul     s6, s6, s7
        srli    t2, s6, 29
        xor     s6, s6, t2
        addi    t0, t0, 8
        bltu    t0, t1, fold
        la      a0, good
        jal     say
        mv      a0, s3
        jal     say_number
        la      a0, good_sum
        jal     say
        mv      a0, s6
        jal     say_number
        la      a0, newline
        jal     say
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

say:                                    # a0: text
        li      t0, UART
say_next:
        lbu     t2, 0(a0)
        beqz    t2, said
        sb      t2, 0(t0)
        addi    a0, a0, 1
        j       say_next
say_number:                             # a0, in 16 digits
        li      t0, UART
        li      t1, 60
digit:
        srl     t2, a0, t1
        andi    t2, t2, 15
        la      t3, digits
        add     t3, t3, t2
        lbu     t2, 0(t3)
        sb      t2, 0(t0)
        addi    t1, t1, -4
        bgez    t1, digit
said:
        ret

good:
        .asciz  "\nRING-OK rounds=0x"
good_sum:
        .asciz  " sum=0x"
newline:
        .asciz  "\n"
digits:
        .ascii  "0123456789abcdef"
        .data
        .balign 8
last:
        .dword  LAST
        .bss
        .balign 4096
arrived:                                # in the rounds, and at the end
        .skip   4096
carried:                                # 32 bytes of each hart
        .skip   4096
blocks:
        .skip   HARTS * PAGES * PAGE
carried_end:
