/* Fields of the control and status registers (Privileged specification, chapters 3 and 4). */
#ifndef CPU_RISCV_CSR_BITS_H
#define CPU_RISCV_CSR_BITS_H

#define MSTATUS_SIE (1ull << 1)
#define MSTATUS_MIE (1ull << 3)
#define MSTATUS_SPIE (1ull << 5)
#define MSTATUS_MPIE (1ull << 7)
#define MSTATUS_SPP (1ull << 8)
#define MSTATUS_VS (3ull << 9) /* as FS */
#define MSTATUS_MPP_SHIFT 11
#define MSTATUS_MPP (3ull << MSTATUS_MPP_SHIFT)
#define MSTATUS_FS_SHIFT 13
#define MSTATUS_FS (3ull << MSTATUS_FS_SHIFT) /* 0 off, 1 initial, 2 clean, 3 dirty */
#define MSTATUS_MPRV (1ull << 17)
#define MSTATUS_SUM (1ull << 18)
#define MSTATUS_MXR (1ull << 19)
#define MSTATUS_TVM (1ull << 20)
#define MSTATUS_TW (1ull << 21)
#define MSTATUS_TSR (1ull << 22)
#define MSTATUS_UXL64 (2ull << 32)
#define MSTATUS_SXL64 (2ull << 34)
#define MSTATUS_SD (1ull << 63)

/* mip and mie */
#define MIP_SSIP (1ull << 1)
#define MIP_MSIP (1ull << 3)
#define MIP_STIP (1ull << 5)
#define MIP_MTIP (1ull << 7)
#define MIP_SEIP (1ull << 9)
#define MIP_MEIP (1ull << 11)
#define MIP_S_ALL (MIP_SSIP | MIP_STIP | MIP_SEIP)
#define MIP_M_ALL (MIP_MSIP | MIP_MTIP | MIP_MEIP)

#define MCAUSE_INTERRUPT (1ull << 63)

/* menvcfg; senvcfg has the first four */
#define ENVCFG_FIOM (1ull << 0)
#define ENVCFG_CBIE_SHIFT 4
#define ENVCFG_CBIE (3ull << ENVCFG_CBIE_SHIFT)
#define ENVCFG_CBCFE (1ull << 6)
#define ENVCFG_CBZE (1ull << 7)
#define ENVCFG_ADUE (1ull << 61)
#define ENVCFG_PBMTE (1ull << 62)
#define ENVCFG_STCE (1ull << 63)

#define COUNTEREN_CY (1ull << 0)
#define COUNTEREN_TM (1ull << 1)
#define COUNTEREN_IR (1ull << 2)

#define SATP_MODE_SHIFT 60
#define SATP_ASID_SHIFT 44
#define SATP_PPN ((1ull << 44) - 1)
enum { SATP_BARE = 0, SATP_SV39 = 8, SATP_SV48 = 9, SATP_SV57 = 10 };

/* pmpcfg */
enum { PMP_R = 1, PMP_W = 2, PMP_X = 4, PMP_A_SHIFT = 3, PMP_L = 0x80 };
enum { PMP_OFF = 0, PMP_TOR = 1, PMP_NA4 = 2, PMP_NAPOT = 3 };

#endif
