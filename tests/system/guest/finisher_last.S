/* Hart 1 ends the run by the test finisher, with code 7. */
        .section .text
        .global _start
_start: csrr    t0, mhartid
        li      t1, 1
        bne     t0, t1, park
        li      t1, 0x73333
        li      t0, 0x100000
        sw      t1, 0(t0)
park:   wfi
        j       park
