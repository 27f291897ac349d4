/* Many harts at once, under the SBI: hart after hart is started until the machine has no more, each adds one to a counter
 * and sends an interrupt to the next in the ring, which waits for it; whoever counts the last one powers off. What
 * must not happen ends with code 1. */
        .equ SBI_IPI, 0x735049
        .equ SBI_HSM, 0x48534d
        .equ SBI_SRST, 0x53525354
        .equ INVALID_PARAM, -3
        .equ SSIP, 2

        .section .text
        .global _start
_start: mv      s0, a0                  # this hart
        mv      s1, zero                # the first hart that could not be started
        la      s2, total
start:  addi    s1, s1, 1
        beq     s1, s0, start
        mv      a0, s1
        la      a1, work
        mv      a2, zero
        li      a6, 0
        li      a7, SBI_HSM
        ecall
        beqz    a0, start
        li      t0, INVALID_PARAM
        bne     a0, t0, wrong
        fence   w, w
        sd      s1, 0(s2)               # from here on they know how many they are
        mv      a0, s0

work:   mv      s0, a0
        la      s2, total
        la      s3, started
        la      s4, heard
        csrwi   sie, SSIP
        li      t0, 1
        amoadd.d zero, t0, (s3)
1:      ld      s5, 0(s2)               # the ring closes when the number is known
        bnez    s5, 2f
        .word   0x0100000f              # pause
        j       1b
2:      addi    a1, s0, 1
        bne     a1, s5, 3f
        mv      a1, zero
3:      li      a0, 1                   # the mask: one hart from a1 on
        li      a6, 0
        li      a7, SBI_IPI
        ecall
        bnez    a0, wrong

wait:   csrr    t0, sip
        andi    t0, t0, SSIP
        bnez    t0, 4f
        wfi
        j       wait
4:      csrci   sip, SSIP
        li      t0, 1
        amoadd.d t0, t0, (s4)
        addi    t0, t0, 1
        bne     t0, s5, park
        ld      t1, 0(s3)               # the last one: all have started, all have heard
        bne     t1, s5, wrong
        li      a1, 0
        j       off
wrong:  li      a1, 1                   # reason: system failure
off:    li      a0, 0
        li      a6, 0
        li      a7, SBI_SRST
        ecall
park:   csrwi   sie, 0
        wfi
        j       park

        .balign 64
total:  .dword  0
        .balign 64
started: .dword 0
        .balign 64
heard:  .dword  0
