/* Entries: of the boot CPU (long mode, rsi = boot_params), of the other one (real mode), of interrupts. */
        .equ    TRAMPOLINE, 0x8000
        .equ    STACK_BYTES, 8192

        .section .text.start, "ax"
        .globl  start
start:
        lea     stacks + STACK_BYTES(%rip), %rsp
        mov     %rsi, %rdi
        xor     %ebp, %ebp
        call    boot_cpu
1:      hlt
        jmp     1b

/* enter_user(entry, stack, cpu): to ring 3 with interrupts on. */
        .globl  enter_user
enter_user:
        push    $0x2b
        push    %rsi
        push    $0x202
        push    $0x33
        push    %rdi
        mov     %rdx, %rdi
        iretq

/* --- the other CPU: 16-bit at TRAMPOLINE, then long mode with the boot CPU's page tables --- */
        .code16
        .globl  trampoline, trampoline_end
trampoline:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   TRAMPOLINE + (trampoline_gdtr - trampoline)
        mov     $0x620, %eax                    /* PAE, OSFXSR, OSXMMEXCPT */
        mov     %eax, %cr4
        mov     TRAMPOLINE + (trampoline_cr3 - trampoline), %eax
        mov     %eax, %cr3
        mov     $0xc0000080, %ecx
        rdmsr
        or      $0x100, %eax                    /* EFER.LME */
        wrmsr
        mov     %cr0, %eax
        and     $~4, %eax                       /* no EM */
        or      $0x80000023, %eax               /* PG, NE, MP, PE */
        mov     %eax, %cr0
        ljmpl   $0x08, $TRAMPOLINE + (trampoline64 - trampoline)
        .code64
trampoline64:
        mov     $0x10, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $stacks + 2 * STACK_BYTES, %rsp
        mov     $other_cpu, %rax
        jmp     *%rax
        .balign 8
trampoline_gdt:
        .quad   0, 0x00af9b000000ffff, 0x00cf93000000ffff
trampoline_gdtr:
        .word   23
        .long   TRAMPOLINE + (trampoline_gdt - trampoline)
        .globl  trampoline_cr3
trampoline_cr3:
        .long   0
trampoline_end:

/* --- interrupts: struct frame in kernel.c --- */
        .text
        .macro  entry vector, has_error
        .globl  entry_\vector
entry_\vector:
        .if     \has_error == 0
        push    $0
        .endif
        push    $\vector
        jmp     common
        .endm
        entry   2, 0
        entry   3, 0
        entry   6, 0
        entry   13, 1
        entry   14, 1
        entry   64, 0
        entry   65, 0
        entry   80, 0
        entry   81, 0
        entry   255, 0

common:
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, %rdi
        cld
        call    interrupt
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        iretq

        .bss
        .balign 4096
        .globl  stacks
stacks: .skip   2 * STACK_BYTES
        .section .note.GNU-stack, "", @progbits
