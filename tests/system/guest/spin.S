/* Computes for ever, without a word. */
        .section .text
        .global _start
_start: addi    t0, t0, 1
        j       _start
