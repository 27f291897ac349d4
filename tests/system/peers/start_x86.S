        .section .text.start, "ax"
        .globl  start
start:
        lea     stack_end(%rip), %rsp
        xor     %ebp, %ebp
        call    run
        .bss
        .balign 16
        .skip   8192
stack_end:
        .section .note.GNU-stack, "", @progbits
