/* Shared by the files of lockstep: where things are, random numbers, both sides, programs (lockstep.c has the picture). */
#ifndef LOCKSTEP_PRIV_H
#define LOCKSTEP_PRIV_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csr_bits.h"
#include "decode.h"
#include "hart.h"
#include "jit.h"
#include "mem.h"
#include "mem/space.h"
#include "sim-core/alloc.h"
#include "sim-core/sim.h"
#include "x86_priv.h"


/* Guest-physical and virtual layout: page n of RAM is at VA_BASE + n pages, and again (writable, for
 * code and page tables) at VA_ALIAS + n pages. */
#define RAM_BASE 0x80000000ull
#define VA_BASE 0x40000000ull
#define VA_ALIAS 0x40100000ull
#define VA_OTHER 0x40200000ull /* a superpage over RAM, or the other space's data pages */
#define VA_MMIO 0x401f0000ull
#define MMIO_BASE 0x10000000ull
enum {
    PAGES = 64,
    HANDLER_PAGE = 0,
    CODE_PAGE = 1,
    CODE_PAGES = 4,
    DATA_PAGE = 16,
    DATA_PAGES = 16, /* the page behind them is not mapped */
    RESULT_PAGE = 32, /* of sweeps, written through the alias */
    RESULT_SIZE = 1024, /* the largest group */
    RESULTS = 16 * 4096 / RESULT_SIZE,
    ROOT_PAGE = 48,
    L1_PAGE = 49,
    L0_PAGE = 50,
    SOURCE_PAGE = 51, /* of sweeps: nobody writes there */
    SOURCE_PAGES = 13,
    OTHER_ROOT_PAGE = 8, /* another space: the same code, data pages in another order */
    OTHER_L1_PAGE = 9,
    OTHER_L0_PAGE = 10,
    SATP_SLOT = 128, /* of L0_PAGE, where nothing is mapped: values of satp for programs */
    NR_SATP = 6,
    PMP_PROGRAM = 1, /* entries that programs change */
    NR_PMP_PROGRAM = 3,
    CODE_SLOTS = CODE_PAGES * 1024
};

/* Registers with a meaning; the rest is random. */
enum {
    R_SCALAR = 7,  /* of sweeps, x and f */
    R_RESULT = 8,  /* of sweeps: where the next group goes */
    R_SOURCE = 9,
    R_FLAGS = 10,
    R_FLAG_SUM = 11,
    R_PT = 22,     /* page table through the alias */
    R_SMC = 23,    /* code through the alias */
    R_MMIO = 24,
    R_LOOP = 25,
    R_PTR0 = 26,   /* 26, 27, 28: data pointers */
    R_RESUME = 29, /* where to go on after a wild jump */
    R_H0 = 30,     /* the trap handler's */
    R_H1 = 31,
    R_FIRST_FIXED = R_PT
};

/* ---- lockstep_machine.c: random numbers, and the two sides ---- */

void lockstep_seed(uint64_t seed);
uint64_t rnd(void);
unsigned below(unsigned n);
bool chance(unsigned percent);

struct side {
    struct sim *sim;
    struct mem_space *space;
    struct rv_machine *machine;
    struct vcpu *hart[2];
    unsigned nr_harts;
    struct vcpu *vcpu; /* the hart that runs; the other stands */
    struct rv_hart *h;
    struct mem_region device;
    uint64_t device_state;
};

struct program;
struct rv_isa all_extensions(unsigned vlen); /* every extension there is */
/* What a hart is without some of them; 0: nothing is missing. */
enum { NR_KINDS_OF_HART = 8 };
struct rv_isa some_extensions(unsigned kind, unsigned vlen);
/* A hart for each of the sets. */
void side_create(struct side *s, bool jit, const struct jit_options *options, unsigned nr, const struct rv_isa isa[]);
/* Another hart goes on. Page tables may have changed since it ran: it forgets, as by a remote fence. */
void side_switch(struct side *s, unsigned hart);
void side_destroy(struct side *s);
/* Into guest memory, at an offset in RAM. */
void poke(struct side *s, uint64_t offset, const void *data, uint64_t len);
/* Page tables, the handler, the program; of each hart CSRs and the pc as at its beginning. */
void set_up(struct side *s, const struct program *p);
/* Random values, the same on both sides. */
void set_registers(struct rv_hart *a, struct rv_hart *b, const struct program *p);
void fill_data(struct side *a, struct side *b);

/* ---- encodings ---- */

static inline uint32_t enc_i(unsigned op, unsigned f3, unsigned rd, unsigned rs1, int imm)
{
    return (uint32_t)imm << 20 | rs1 << 15 | f3 << 12 | rd << 7 | op;
}
static inline uint32_t enc_s(unsigned f3, unsigned rs1, unsigned rs2, int imm)
{
    uint32_t u = (uint32_t)imm;
    return (u >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 | (u & 31) << 7 | 0x23;
}
static inline uint32_t enc_b(unsigned f3, unsigned rs1, unsigned rs2, int off)
{
    uint32_t u = (uint32_t)off;
    return (u >> 12 & 1) << 31 | (u >> 5 & 0x3f) << 25 | rs2 << 20 | rs1 << 15 | f3 << 12 |
           (u >> 1 & 15) << 8 | (u >> 11 & 1) << 7 | 0x63;
}
static inline uint32_t enc_j(unsigned rd, int off)
{
    uint32_t u = (uint32_t)off;
    return (u >> 20 & 1) << 31 | (u >> 1 & 0x3ff) << 21 | (u >> 11 & 1) << 20 |
           (u >> 12 & 0xff) << 12 | rd << 7 | 0x6f;
}
static inline uint32_t addi(unsigned rd, unsigned rs1, int imm)
{
    return enc_i(0x13, 0, rd, rs1, imm);
}
static inline uint32_t csr(unsigned f3, unsigned rd, unsigned csr_no, unsigned rs1)
{
    return enc_i(0x73, f3, rd, rs1, (int)csr_no);
}
enum { CSRRW = 1, CSRRS = 2, CSRRC = 3, CSRRWI = 5, CSRRSI = 6, CSRRCI = 7 };
#define FENCE_I 0x0000100fu
#define SFENCE_VMA 0x12000073u
#define SRET 0x10200073u

/* ---- lockstep_program.c: random programs ---- */

struct program {
    uint32_t code[CODE_SLOTS];
    unsigned n;
    enum rv_priv priv;
    bool vectors, sweeps;
    bool asids_again; /* an address-space number names several spaces, with a fence whenever it changes */
    struct rv_isa isa;
};

/* A whole ring: of random items, or of sweeps (p->sweeps). */
void generate(struct program *p, enum rv_priv priv, bool vectors);
void put(struct program *p, uint32_t word);
void put_li(struct program *p, unsigned rd, uint32_t value); /* sign-extended */
/* Replaces the bits of a field that the encoding leaves open. */
uint32_t with_field(uint32_t word, uint32_t mask, unsigned pos, unsigned value);

/* Where page 0 of RAM is for a program. */
static inline uint64_t program_base(const struct program *p)
{
    return p->priv == RV_M ? RAM_BASE : VA_BASE;
}

/* ---- lockstep_space.c: translation changes under code that is translated already ---- */

uint64_t satp_value(unsigned n);      /* what a program finds in SATP_SLOT + n */
void put_remap(struct program *p);    /* permissions or frame of a data page */
void put_superpage(struct program *p); /* one leaf, or a table */
void put_satp(struct program *p);
void put_status(struct program *p); /* SUM, MXR; MPRV and MPP */
void put_pmp(struct program *p);

/* ---- lockstep_sweep.c: each vector instruction in turn ---- */

void put_vector_sweep(struct program *p);
void fill_sources(struct side *a, struct side *b); /* what sweeps compute from */

#endif
