/* Writes the word of `value` to the SiFive test finisher. The test puts another word over the marker. */
        .section .text
        .global _start
_start: csrr    t0, mhartid
        bnez    t0, park
        lla     t0, value
        lwu     t1, 0(t0)
        li      t0, 0x100000
        sw      t1, 0(t0)
park:   wfi
        j       park
        .align  3
value:  .ascii  "FINISHER-VALUE"
