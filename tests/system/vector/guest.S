/* Runs vector instructions one by one, each from a state that its record gives, and prints a hash of the state after.
 *
 * M mode; the instruction's data accesses go through Sv39 (MPRV): two pages at VA 0x40000000, one missing, one
 * read-only. A line is 8 digits of hash and 2 of the cause (ff: none). A record (records.py):
 *    0 word   4 flags: 1 memory is refilled and hashed, 2 everything is printed   6 vstart
 *    8 vtype  16 avl  24 fcsr | vcsr << 8  32 a0  40 a1  48 a2  56 offset of the registers' contents in the pool
 * s0 record, s1 how many are left, s2 in the pool, s3 vlenb */
        .option arch, +v
        .option norvc
        .text
        .global _start
_start: la      t0, trap
        csrw    mtvec, t0
        li      t0, 0x6600              /* FS, VS dirty */
        csrs    mstatus, t0
        la      t0, level0
        la      t1, pages
        srli    t2, t1, 2
        ori     t3, t2, 0xc7
        sd      t3, 0(t0)
        addi    t3, t2, 0x400
        ori     t3, t3, 0xc7
        sd      t3, 8(t0)
        li      t4, 0x800
        add     t3, t2, t4
        ori     t3, t3, 0xc3            /* not writable */
        sd      t3, 24(t0)
        la      t1, level1
        srli    t2, t0, 2
        ori     t2, t2, 1
        sd      t2, 0(t1)
        la      t3, root
        srli    t2, t1, 2
        ori     t2, t2, 1
        sd      t2, 8(t3)
        srli    t2, t3, 12
        li      t4, 8
        slli    t4, t4, 60
        or      t2, t2, t4
        csrw    satp, t2
        sfence.vma
        la      s0, records
        lwu     s1, 0(s0)
        addi    s0, s0, 64
        csrr    s3, vlenb

next:   beqz    s1, done
        lhu     t0, 4(s0)
        andi    t0, t0, 1
        beqz    t0, 2f
        la      t1, pool
        la      t2, pages
        li      t3, 12288 / 8
1:      ld      t4, 0(t1)
        sd      t4, 0(t2)
        addi    t1, t1, 8
        addi    t2, t2, 8
        addi    t3, t3, -1
        bnez    t3, 1b
2:      ld      t0, 56(s0)
        la      t1, pool
        add     s2, t1, t0
        slli    t2, s3, 3
        vl8re8.v v0, (s2)
        add     s2, s2, t2
        vl8re8.v v8, (s2)
        add     s2, s2, t2
        vl8re8.v v16, (s2)
        add     s2, s2, t2
        vl8re8.v v24, (s2)
        add     s2, s2, t2
        fld     fa0, 0(s2)
        fld     fa1, 8(s2)
        flw     fa2, 16(s2)
        flw     fa3, 24(s2)
        fmv.d.x fa4, zero
        lwu     t0, 0(s0)
        la      t1, slot
        sw      t0, 0(t1)
        fence.i
        ld      t0, 8(s0)
        ld      t1, 16(s0)
        vsetvl  zero, t1, t0
        ld      t0, 24(s0)
        csrw    fcsr, t0
        srli    t1, t0, 8
        csrw    vcsr, t1
        ld      a0, 32(s0)
        ld      a1, 40(s0)
        ld      a2, 48(s0)
        ld      a3, 0(s2)
        li      a4, 0x1234
        lhu     t2, 6(s0)
        li      t0, 0x20800             /* MPRV, MPP = S */
        li      t3, 0x1800
        csrc    mstatus, t3
        csrs    mstatus, t0
        csrw    vstart, t2
        .align  2
slot:   .word   0
        ebreak

        .align  2
trap:   csrr    s4, mcause
        csrr    s5, mtval
        csrr    s6, mepc
        la      t0, slot
        addi    t0, t0, 4
        sub     s6, s6, t0
        bnez    s6, 1f
        li      s4, 0xff                /* it was the ebreak */
        li      s5, 0
1:      csrr    s7, vstart
        csrr    s8, vl
        csrr    s9, vtype
        csrr    s11, vcsr
        slli    s11, s11, 8
        csrr    t0, fcsr
        or      s11, s11, t0
        li      t0, 0x20000
        csrc    mstatus, t0
        la      t1, save
        slli    t2, s3, 3
        vs8r.v  v0, (t1)
        add     t1, t1, t2
        vs8r.v  v8, (t1)
        add     t1, t1, t2
        vs8r.v  v16, (t1)
        add     t1, t1, t2
        vs8r.v  v24, (t1)

        li      a6, 0x9e3779b1
        li      a7, 0
        .macro  mix register
        xor     a7, a7, \register
        mul     a7, a7, a6
        srli    t6, a7, 29
        xor     a7, a7, t6
        .endm
        la      t1, save
        slli    t2, s3, 2
2:      ld      t3, 0(t1)
        mix     t3
        addi    t1, t1, 8
        addi    t2, t2, -1
        bnez    t2, 2b
        .irp    register, s4, s5, s6, s7, s8, s9, s11, a4
        mix     \register
        .endr
        fmv.x.d s10, fa4
        mix     s10
        lhu     t0, 4(s0)
        andi    t0, t0, 1
        beqz    t0, 4f
        la      t1, pages
        li      t2, 12288 / 8
3:      ld      t3, 0(t1)
        mix     t3
        addi    t1, t1, 8
        addi    t2, t2, -1
        bnez    t2, 3b

4:      lhu     t0, 4(s0)
        andi    t0, t0, 2
        beqz    t0, 7f
        .irp    register, s4, s5, s6, s7, s8, s9, s11, a4, s10
        mv      a0, \register
        call    print
        .endr
        la      s5, save
        slli    s6, s3, 2
5:      ld      a0, 0(s5)
        call    print
        addi    s5, s5, 8
        addi    s6, s6, -1
        bnez    s6, 5b
        la      s5, pages
        li      s6, 12288 / 8
6:      ld      a0, 0(s5)
        call    print
        addi    s5, s5, 8
        addi    s6, s6, -1
        bnez    s6, 6b

7:      srli    t0, a7, 32
        xor     a7, a7, t0
        slli    a7, a7, 32
        srli    a0, a7, 24
        andi    s4, s4, 255
        or      a0, a0, s4
        li      t1, 36
        call    digits
        addi    s0, s0, 64
        addi    s1, s1, -1
        j       next

print:  li      t1, 60
digits: li      t3, 0x10000000
1:      srl     t0, a0, t1
        andi    t0, t0, 15
        addi    t0, t0, '0'
        li      t2, '0' + 10
        blt     t0, t2, 2f
        addi    t0, t0, 'a' - '0' - 10
2:      sb      t0, 0(t3)
        addi    t1, t1, -4
        bgez    t1, 1b
        li      t0, '\n'
        sb      t0, 0(t3)
        ret

done:   li      t0, 0x100000
        li      t1, 0x5555
        sw      t1, 0(t0)
1:      j       1b

        .data
        .align  12
root:   .zero   4096
level1: .zero   4096
level0: .zero   4096
pages:  .zero   12288
save:   .zero   4096
pool:   .incbin "pool.bin"
        .align  6
records: .incbin "records.bin"
