/* A program for Linux: keeps a pattern of its own in all vector registers while it is preempted, and says whether it
 * stayed. Exit code 0: it did. */
        .option arch, +v
        .text
        .global _start
_start: li      a7, 172                 /* getpid */
        ecall
        mv      s0, a0
        vsetvli t0, zero, e32, m8, ta, ma
        vid.v   v0
        vadd.vx v0, v0, s0
        vadd.vi v8, v0, 8
        vadd.vi v16, v8, 8
        vadd.vi v24, v16, 8
        li      s1, 100000
1:      vadd.vi v0, v0, 1
        vadd.vi v8, v8, 1
        vadd.vi v16, v16, 1
        vadd.vi v24, v24, 1
        addi    s1, s1, -1
        bnez    s1, 1b
        li      t1, 100000
        vsub.vx v0, v0, t1
        vsub.vx v8, v8, t1
        vsub.vx v16, v16, t1
        vsub.vx v24, v24, t1
        vadd.vi v8, v8, -8
        vadd.vi v16, v16, -16
        vadd.vi v24, v24, -12
        vadd.vi v24, v24, -12
        vxor.vv v8, v8, v0              /* all the same now */
        vxor.vv v16, v16, v0
        vxor.vv v24, v24, v0
        vor.vv  v8, v8, v16
        vor.vv  v8, v8, v24
        vid.v   v16
        vadd.vx v16, v16, s0
        vxor.vv v16, v16, v0
        vor.vv  v8, v8, v16
        vmv.s.x v0, zero
        vredor.vs v0, v8, v0
        vmv.x.s a0, v0
        snez    a0, a0
        li      a7, 93                  /* exit */
        ecall
