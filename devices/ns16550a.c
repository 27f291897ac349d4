/* NS16550A: the serial port of every machine.
 *
 *   guest store THR -> chardev_write (the transmitter is always empty again at once)
 *   chardev -> receive() on the I/O thread -> 16-byte FIFO -> RBR
 *
 * The line is a level: some enabled cause is pending. Causes in IIR's order: line status (errors),
 * received data (FIFO at its trigger level, or below it: the time-out comes at once), transmitter
 * empty, modem status. Reading IIR takes the transmitter cause back; enabling IER.THRI, or writing
 * THR, raises it. Baud rate and frame format are kept and mean nothing.
 *
 * Lock order: the device's lock, then the chardev's; the chardev calls us with no lock held. */
#include "dev_priv.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, NR_REGS };

enum {
    IER_RDI = 0x01,
    IER_THRI = 0x02,
    IER_RLSI = 0x04,
    IER_MSI = 0x08,
    IER_MASK = 0x0f,

    IIR_NONE = 0x01,
    IIR_MSI = 0x00,
    IIR_THRI = 0x02,
    IIR_RDI = 0x04,
    IIR_RLSI = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFOS = 0xc0,

    FCR_ENABLE = 0x01,
    FCR_CLEAR_RX = 0x02,
    FCR_KEPT = 0xc9,

    LCR_DLAB = 0x80,

    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,
    MCR_MASK = 0x1f,

    LSR_DR = 0x01,
    LSR_OE = 0x02,
    LSR_ERRORS = 0x1e,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,

    MSR_DELTAS = 0x0f,
    MSR_TERI = 0x04,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,

    FIFO_SIZE = 16
};

/* Owner: `lock`; executors and the I/O thread come in. Lifetime: the machine's. */
struct uart {
    struct device dev;
    struct mem_region region;
    struct sim_mutex lock;
    struct irq_line irq;
    struct chardev *chardev; /* NULL: output is lost, no input */
    uint32_t reg_shift;
    bool irq_level; /* what `irq` was driven to last */

    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr, dll, dlm;
    uint8_t thr_pending; /* the transmitter cause is raised */
    uint8_t fifo[FIFO_SIZE];
    uint8_t head, count; /* of fifo */
};

static unsigned fifo_capacity(const struct uart *u)
{
    return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned trigger_level(const struct uart *u)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    return u->fcr & FCR_ENABLE ? level[u->fcr >> 6] : 1;
}

static uint8_t pending_cause(const struct uart *u)
{
    if (u->ier & IER_RLSI && u->lsr & LSR_ERRORS)
        return IIR_RLSI;
    if (u->ier & IER_RDI && u->count)
        return u->count >= trigger_level(u) ? IIR_RDI : IIR_TIMEOUT;
    if (u->ier & IER_THRI && u->thr_pending)
        return IIR_THRI;
    if (u->ier & IER_MSI && u->msr & MSR_DELTAS)
        return IIR_MSI;
    return IIR_NONE;
}

static void update_irq(struct uart *u)
{
    bool level = pending_cause(u) != IIR_NONE;

    if (level == u->irq_level)
        return;
    u->irq_level = level;
    irq_set(&u->irq, level);
}

static void fifo_clear(struct uart *u)
{
    u->head = 0;
    u->count = 0;
}

static void fifo_push(struct uart *u, uint8_t byte)
{
    if (u->count == fifo_capacity(u)) {
        u->lsr |= LSR_OE;
        if (u->fcr & FCR_ENABLE)
            return; /* the FIFO keeps what it has, the shift register is overwritten */
        fifo_clear(u);
    }
    u->fifo[(u->head + u->count++) % FIFO_SIZE] = byte;
}

static uint8_t fifo_pop(struct uart *u)
{
    uint8_t byte = u->fifo[u->head];

    if (!u->count)
        return 0;
    u->head = (u->head + 1) % FIFO_SIZE;
    u->count--;
    return byte;
}

/* The modem inputs: from our own outputs in loopback mode, else a peer that is always ready. */
static void update_modem(struct uart *u)
{
    uint8_t lines = MSR_DCD | MSR_DSR | MSR_CTS, old = u->msr & ~MSR_DELTAS;

    if (u->mcr & MCR_LOOP)
        lines = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    uint8_t changed = (lines ^ old) >> 4;
    /* The ring indicator counts its trailing edge only. */
    if (lines & MSR_RI)
        changed &= ~MSR_TERI;
    u->msr = lines | (u->msr & MSR_DELTAS) | changed;
}

static void transmit(struct uart *u, uint8_t byte)
{
    if (u->mcr & MCR_LOOP)
        fifo_push(u, byte);
    else if (u->chardev)
        chardev_write(u->chardev, &byte, 1);
    u->thr_pending = 1;
}

static void write_ier(struct uart *u, uint8_t value)
{
    if (value & ~u->ier & IER_THRI)
        u->thr_pending = 1;
    u->ier = value & IER_MASK;
}

static void write_fcr(struct uart *u, uint8_t value)
{
    if ((value ^ u->fcr) & FCR_ENABLE || value & FCR_CLEAR_RX)
        fifo_clear(u);
    /* The other bits are written only together with the enable bit. */
    u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static uint8_t read_iir(struct uart *u)
{
    uint8_t cause = pending_cause(u);

    if (cause == IIR_THRI)
        u->thr_pending = 0;
    return cause | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_reg(struct uart *u, unsigned reg)
{
    uint8_t value;

    switch (reg) {
    case REG_DATA:
        return u->lcr & LCR_DLAB ? u->dll : fifo_pop(u);
    case REG_IER:
        return u->lcr & LCR_DLAB ? u->dlm : u->ier;
    case REG_IIR_FCR:
        return read_iir(u);
    case REG_LCR:
        return u->lcr;
    case REG_MCR:
        return u->mcr;
    case REG_LSR:
        value = u->lsr | LSR_THRE | LSR_TEMT | (u->count ? LSR_DR : 0);
        u->lsr = 0;
        return value;
    case REG_MSR:
        value = u->msr;
        u->msr &= ~MSR_DELTAS;
        return value;
    default:
        return u->scr;
    }
}

static void write_reg(struct uart *u, unsigned reg, uint8_t value)
{
    switch (reg) {
    case REG_DATA:
        if (u->lcr & LCR_DLAB)
            u->dll = value;
        else
            transmit(u, value);
        break;
    case REG_IER:
        if (u->lcr & LCR_DLAB)
            u->dlm = value;
        else
            write_ier(u, value);
        break;
    case REG_IIR_FCR:
        write_fcr(u, value);
        break;
    case REG_LCR:
        u->lcr = value;
        break;
    case REG_MCR:
        u->mcr = value & MCR_MASK;
        update_modem(u);
        break;
    case REG_SCR:
        u->scr = value;
        break;
    }
}

/* The register of an access. With a register spacing of 4 any access size at the register's address
 * means that register (reg-io-width tells the guest, not us, which size to use). */
static bool decode(const struct uart *u, uint64_t offset, unsigned *reg)
{
    if (offset & ((1u << u->reg_shift) - 1) || offset >> u->reg_shift >= NR_REGS)
        return false;
    *reg = (unsigned)(offset >> u->reg_shift);
    return true;
}

static bool uart_read(void *opaque, uint64_t offset, unsigned size, uint64_t *value)
{
    struct uart *u = opaque;
    unsigned reg;

    (void)size;
    if (!decode(u, offset, &reg))
        return false;
    sim_mutex_lock(&u->lock);
    bool was_full = u->count == fifo_capacity(u);
    *value = read_reg(u, reg);
    update_irq(u);
    bool has_room = was_full && u->count < fifo_capacity(u) && !(u->mcr & MCR_LOOP);
    sim_mutex_unlock(&u->lock);
    if (has_room && u->chardev)
        chardev_accept_input(u->chardev);
    return true;
}

static bool uart_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct uart *u = opaque;
    unsigned reg;

    (void)size;
    if (!decode(u, offset, &reg))
        return false;
    sim_mutex_lock(&u->lock);
    write_reg(u, reg, (uint8_t)value);
    update_irq(u);
    sim_mutex_unlock(&u->lock);
    /* FIFO cleared or enlarged, loopback left: input may go on. */
    if ((reg == REG_IIR_FCR || reg == REG_MCR) && u->chardev)
        chardev_accept_input(u->chardev);
    return true;
}

static size_t uart_can_receive(void *opaque)
{
    struct uart *u = opaque;

    sim_mutex_lock(&u->lock);
    size_t room = u->mcr & MCR_LOOP ? 0 : fifo_capacity(u) - u->count;
    sim_mutex_unlock(&u->lock);
    return room;
}

static void uart_receive(void *opaque, const uint8_t *data, size_t len)
{
    struct uart *u = opaque;

    sim_mutex_lock(&u->lock);
    for (size_t i = 0; i < len; i++)
        fifo_push(u, data[i]);
    update_irq(u);
    sim_mutex_unlock(&u->lock);
}

static void reset_registers(struct uart *u)
{
    u->ier = u->fcr = u->lcr = u->lsr = u->scr = u->dlm = 0;
    u->dll = 0x0c; /* 9600 baud, as firmware would leave it */
    u->mcr = MCR_OUT2;
    u->thr_pending = 0;
    u->msr = MSR_DCD | MSR_DSR | MSR_CTS;
    fifo_clear(u);
}

static void uart_reset(struct device *d)
{
    struct uart *u = (struct uart *)d;

    sim_mutex_lock(&u->lock);
    reset_registers(u);
    update_irq(u);
    sim_mutex_unlock(&u->lock);
    if (u->chardev)
        chardev_accept_input(u->chardev);
}

static void uart_destroy(struct device *d)
{
    struct uart *u = (struct uart *)d;

    if (u->chardev)
        chardev_attach(u->chardev, NULL);
    sim_mutex_fini(&u->lock);
    sim_free(u);
}

static enum sim_status uart_post_load(void *object)
{
    struct uart *u = object;

    if (u->head >= FIFO_SIZE || u->count > FIFO_SIZE || u->lsr & ~LSR_ERRORS) {
        sim_error("saved state: '%s' has an impossible FIFO", u->dev.label);
        return SIM_ERR_FORMAT;
    }
    u->irq_level = pending_cause(u) != IIR_NONE;
    irq_set(&u->irq, u->irq_level);
    if (u->chardev)
        chardev_accept_input(u->chardev);
    return SIM_OK;
}

static const struct state_field uart_fields[] = {
    STATE_SCALAR(struct uart, STATE_U8, ier),   STATE_SCALAR(struct uart, STATE_U8, fcr),
    STATE_SCALAR(struct uart, STATE_U8, lcr),   STATE_SCALAR(struct uart, STATE_U8, mcr),
    STATE_SCALAR(struct uart, STATE_U8, lsr),   STATE_SCALAR(struct uart, STATE_U8, msr),
    STATE_SCALAR(struct uart, STATE_U8, scr),   STATE_SCALAR(struct uart, STATE_U8, dll),
    STATE_SCALAR(struct uart, STATE_U8, dlm),   STATE_SCALAR(struct uart, STATE_U8, thr_pending),
    STATE_ARRAY(struct uart, STATE_U8, fifo),   STATE_SCALAR(struct uart, STATE_U8, head),
    STATE_SCALAR(struct uart, STATE_U8, count), STATE_END,
};
STATE_LAYOUT(uart, struct uart,
              STATE_DERIVED(struct uart, dev) STATE_DERIVED(struct uart, region)
              STATE_DERIVED(struct uart, lock) STATE_DERIVED(struct uart, irq)
              STATE_DERIVED(struct uart, chardev) STATE_DERIVED(struct uart, reg_shift)
              STATE_DERIVED(struct uart, irq_level));
static const struct state_desc uart_state = {
    .name = "ns16550a", .version = 1, .fields = uart_fields,
    STATE_LAYOUT_OF(uart, struct uart), .post_load = uart_post_load};
static const struct device_ops uart_ops = {
    .name = "ns16550a", .reset = uart_reset, .destroy = uart_destroy, .state = &uart_state};
static const struct mem_ops uart_mem_ops = {.read = uart_read, .write = uart_write};

static enum sim_status uart_create(const struct dev_args *args, struct device **out)
{
    SIM_TRY(dev_need_regs(args, 1));
    uint32_t shift = dev_prop(args, "reg-shift", 0);

    if (shift > 3) {
        sim_error("device '%s': reg-shift %u is out of range", args->label, shift);
        return SIM_ERR_INVALID;
    }
    struct uart *u = sim_new(struct uart);

    dev_init(&u->dev, &uart_ops, args);
    sim_mutex_init(&u->lock, SIM_RANK_DEVICE);
    u->irq = dev_irq(args, 0);
    u->reg_shift = shift;
    reset_registers(u);
    enum sim_status status = dev_map(&u->region, &u->dev, args, 0, &uart_mem_ops);
    if (status != SIM_OK) {
        dev_destroy(&u->dev);
        return status;
    }
    u->chardev = args->chardev;
    if (u->chardev)
        chardev_attach(u->chardev, &(struct chardev_client){uart_can_receive, uart_receive, u});
    *out = &u->dev;
    return SIM_OK;
}

static const char *const uart_compatible[] = {"ns16550a", "ns16550", NULL};
const struct dev_driver ns16550a_driver = {
    .compatible = uart_compatible, .create = uart_create, .input = NULL};
