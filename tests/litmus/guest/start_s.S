/* S mode under the SBI: the boot hart comes to _start with a0 = hart, a1 = device tree, the others to hart_start when it
 * starts them. Traps go to guest_trap(frame). */
#define FRAME_SIZE (34 * 8)

        .section .text.start, "ax"
        .global _start, hart_start
_start:
        li      a2, 1
        j       enter
hart_start:
        li      a2, 0
enter:
        .option push
        .option norelax
        la      gp, __global_pointer$
        .option pop
        la      t0, trap
        csrw    stvec, t0
        csrw    sie, zero
        la      sp, stacks
        addi    t0, a0, 1
        slli    t0, t0, 13
        add     sp, sp, t0
        mv      tp, a0
        call    guest_start
1:      wfi
        j       1b

        .align  2
trap:
        addi    sp, sp, -FRAME_SIZE
        .irp    n, 1,5,6,7,10,11,12,13,14,15,16,17,28,29,30,31
        sd      x\n, 8 * \n (sp)
        .endr
        csrr    t0, sepc
        csrr    t1, scause
        sd      t0, 256(sp)
        sd      t1, 264(sp)
        mv      a0, sp
        call    guest_trap
        ld      t0, 256(sp)
        csrw    sepc, t0
        .irp    n, 1,5,6,7,10,11,12,13,14,15,16,17,28,29,30,31
        ld      x\n, 8 * \n (sp)
        .endr
        addi    sp, sp, FRAME_SIZE
        sret

        .bss
        .align  12
stacks: .skip   64 << 13                /* GUEST_MAX_HARTS */
