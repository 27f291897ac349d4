/* Entry points of the demo guest. S mode, paging off; loaded anywhere (medany, no relocations).
 *   boot hart:  a0 = hartid, a1 = device tree
 *   others:     a0 = hartid, a1 = struct hart (sbi_hart_start's opaque value), a1[0] = stack top */
    .section .text.start, "ax"
    .globl _start
_start:
    la      sp, boot_stack_top
    la      t0, bss_start
    la      t1, image_end
2:  sd      zero, 0(t0)
    addi    t0, t0, 8
    bltu    t0, t1, 2b
    call    enable
    call    demo_main
1:  wfi
    j       1b

    .globl hart_start
hart_start:
    ld      sp, 0(a1)
    call    enable
    mv      a0, a1
    call    hart_main
1:  wfi
    j       1b

/* Floating point on; an unexpected trap says where. */
enable:
    li      t0, 0x2000          /* sstatus.FS = initial */
    csrs    sstatus, t0
    csrw    fcsr, zero
    lla     t0, trap
    csrw    stvec, t0
    ret

    .balign 4
trap:
    csrr    a0, scause
    csrr    a1, sepc
    csrr    a2, stval
    j       demo_trap

    .section .bss
    .balign 16
    .skip   16384
boot_stack_top:
