/* The PCI bus: one host bridge with 32 slots, single-function devices without bridges.
 *
 *   ECAM access  -> host.c -> function.c configuration space (ids, BARs, command) | ops->config_*
 *   window access -> host.c finds the BAR that decodes the address -> ops->bar_read, bar_write
 *   interrupt    -> pci_set_intx -> one of four lines | pci_msix_notify -> 32-bit write to memory
 *
 * The windows are regions for the whole run; moving a BAR only changes `bar[].base`, so a guest that
 * toggles decoding costs nothing and unclaimed addresses read as ones, as on a real bus.
 *
 * Locks: a function's `lock` (SIM_RANK_DEVICE) guards its configuration space, MSI-X table and whatever
 * it models. The host's lock (SIM_RANK_BUS) guards the wired-OR of the four lines. An MSI is a write to
 * any guest address, so it is sent with no lock held: pci_unlock(). */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include "devices/device.h"
#include "sim-core/timer.h"

enum { PCI_CONFIG_SIZE = 256, PCI_SLOTS = 32, PCI_BARS = 6, PCI_MSIX_MAX = 8 };

/* Configuration space (PCI 3.0, 6.1) */
enum {
    PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08,
    PCI_CLASS = 0x09, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10, PCI_SUBSYSTEM_VENDOR = 0x2c,
    PCI_SUBSYSTEM = 0x2e, PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c, PCI_INTERRUPT_PIN = 0x3d
};
enum { PCI_COMMAND_MEMORY = 2, PCI_COMMAND_MASTER = 4, PCI_COMMAND_NO_INTX = 0x400 };
enum { PCI_STATUS_INTX = 8, PCI_STATUS_CAPABILITIES = 0x10 };
enum { PCI_BAR_64 = 4, PCI_BAR_PREFETCH = 8 };
enum { PCI_CAP_VENDOR = 0x09, PCI_CAP_MSIX = 0x11 };

#define PCI_BAR_OFF UINT64_MAX

struct pci_host;
struct pci_function;

struct pci_function_ops {
    const char *name;
    /* BAR accesses of 1, 2 or 4 bytes; no lock held. */
    uint32_t (*bar_read)(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size);
    void (*bar_write)(struct pci_function *f, unsigned bar, uint64_t offset, unsigned size,
                      uint32_t value);
    /* Optional: accesses with a side effect beyond function.c's; true when done. No lock held. */
    bool (*config_read)(struct pci_function *f, unsigned offset, unsigned size, uint32_t *value);
    bool (*config_write)(struct pci_function *f, unsigned offset, unsigned size, uint32_t value);
    /* Optional: MSI-X was switched on or off, or the function mask changed. Lock held. */
    void (*msix_changed)(struct pci_function *f);
    void (*reset)(struct pci_function *f);   /* machine reset; no lock held */
    void (*quiesce)(struct pci_function *f); /* before the state is saved; optional */
    void (*destroy)(struct pci_function *f);
    const struct state_desc *state; /* of the struct that embeds pci_function first */
};

struct pci_bar {
    uint64_t size;         /* 0: none; a power of two, at least 16 */
    uint8_t flags;         /* PCI_BAR_* */
    _Atomic uint64_t base; /* where it decodes now, or PCI_BAR_OFF; read without lock */
};

struct pci_msix_entry {
    uint64_t address;
    uint32_t data, control;
};

struct pci_msix {
    uint8_t cap; /* offset of the capability; 0: none */
    uint8_t bar;
    uint16_t nr;      /* vectors */
    uint32_t pending; /* PBA: masked vectors that fired */
    uint32_t firing;  /* to be written to memory once the lock is released */
    bool delivering;  /* a thread is writing them; it sees what is added meanwhile */
    struct pci_msix_entry entry[PCI_MSIX_MAX];
    struct sim_timer *again; /* continues when one delivery has led to very many others */
};

/* Owner: whoever holds *lock, but for bar[].base. */
struct pci_function {
    const struct pci_function_ops *ops;
    struct pci_host *host; /* NULL until plugged */
    struct mem_space *space;
    struct sim_mutex *lock;
    unsigned slot;
    uint8_t intx; /* 0 or 1: the level it wants, before the command register's mask */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* bits the guest may change */
    uint8_t initial[PCI_CONFIG_SIZE];  /* after reset */
    struct pci_bar bar[PCI_BARS];
    struct pci_msix msix;
};

/* --- function.c --- */

struct pci_ids {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint8_t revision;
    uint32_t class_code; /* 24 bits */
    bool interrupt;      /* has INTA */
};

/* Fills the header. Then capabilities and BARs are added, then pci_function_ready(). */
void pci_function_init(struct pci_function *f, const struct pci_function_ops *ops,
                       struct sim_mutex *lock, const struct pci_ids *ids);
void pci_add_bar(struct pci_function *f, unsigned bar, uint64_t size, uint8_t flags);
/* Appends a capability of `len` bytes; returns its offset. Bytes 2.. (vendor: 3..) are the caller's. */
unsigned pci_add_capability(struct pci_function *f, uint8_t id, unsigned len);
void pci_function_ready(struct pci_function *f);
void pci_function_fini(struct pci_function *f);
/* Power-on contents; BARs decode nothing. Lock held. */
void pci_function_reset(struct pci_function *f);

/* Context: no lock held. The access lies within PCI_CONFIG_SIZE. */
uint32_t pci_config_read(struct pci_function *f, unsigned offset, unsigned size);
void pci_config_write(struct pci_function *f, unsigned offset, unsigned size, uint32_t value);
/* Drives INTA. Lock held. */
void pci_set_intx(struct pci_function *f, bool level);
/* Releases *f->lock and sends the MSIs that were raised under it. */
void pci_unlock(struct pci_function *f);

static inline void pci_put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void pci_put32(uint8_t *p, uint32_t v)
{
    pci_put16(p, (uint16_t)v);
    pci_put16(p + 2, (uint16_t)(v >> 16));
}
static inline uint16_t pci_get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t pci_get32(const uint8_t *p)
{
    return pci_get16(p) | (uint32_t)pci_get16(p + 2) << 16;
}

extern const struct state_desc pci_function_state; /* of struct pci_function */

/* --- msix.c --- */

enum { PCI_MSIX_BAR_SIZE = 0x1000, PCI_MSIX_PBA = 0x800 };

/* Adds the capability and a BAR that holds nothing but the table and the pending bits. */
void pci_msix_init(struct pci_function *f, struct sim *sim, unsigned bar, unsigned nr);
void pci_msix_fini(struct pci_function *f);
void pci_msix_reset(struct pci_function *f);
bool pci_msix_enabled(const struct pci_function *f);
/* Raises a vector; the message leaves at pci_unlock or pci_msix_deliver. Lock held. */
void pci_msix_notify(struct pci_function *f, unsigned vector);
/* Sends what was raised. No lock held. */
void pci_msix_deliver(struct pci_function *f);
/* The table's BAR. Lock held. */
uint32_t pci_msix_read(struct pci_function *f, uint64_t offset, unsigned size);
void pci_msix_write(struct pci_function *f, uint64_t offset, unsigned size, uint32_t value);
/* After the control word or a mask bit changed: raises what waited. Lock held. */
void pci_msix_unmasked(struct pci_function *f);

extern const struct state_desc pci_msix_state;

/* --- host.c --- */

/* Puts a function into the next free slot; takes it over on SIM_OK. Context: before the executors. */
enum sim_status pci_host_plug(struct device *host, struct pci_function *f) SIM_MUST_CHECK;
struct mem_space *pci_host_space(struct device *host);
/* The level of one slot's INTA, which shares its line with others. */
void pci_host_set_intx(struct pci_host *host, unsigned slot, bool level);

#endif
