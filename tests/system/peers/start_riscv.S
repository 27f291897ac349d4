        .section .text.start, "ax"
        .globl  start
start:
        csrr    t0, mhartid
        bnez    t0, 1f                          /* one hart does all */
        la      sp, stack_end
        call    run
1:      wfi
        j       1b
        .bss
        .balign 16
        .skip   8192
stack_end:
