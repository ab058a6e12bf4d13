/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The 16550A UART (National Semiconductor PC16550D).
 *
 * The wire has no speed of its own: a character written is handed to the backend at once, and only
 * when the backend takes no more does the transmitter look busy. Guests send a character an exit,
 * so the path of a write to THR is kept short; batching is the backend's business.
 */
#include "vmm/dev/pc/pc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vmm/util.h"

enum {			/* registers; DLAB in LCR swaps the first two */
	REG_DATA = 0,	/* RBR, THR, DLL */
	REG_IER = 1,	/* IER, DLM */
	REG_IIR = 2,	/* IIR, FCR */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RX		0x01
#define IER_TX		0x02
#define IER_LINE	0x04
#define IER_MODEM	0x08

#define IIR_NONE	0x01
#define IIR_MODEM	0x00
#define IIR_TX		0x02
#define IIR_RX		0x04
#define IIR_LINE	0x06
#define IIR_RX_TIMEOUT	0x0c
#define IIR_FIFOS	0xc0

#define FCR_ENABLE	0x01
#define FCR_CLEAR_RX	0x02
#define FCR_CLEAR_TX	0x04
#define FCR_TRIGGER	0xc0

#define LCR_BREAK	0x40
#define LCR_DLAB	0x80

#define MCR_DTR		0x01
#define MCR_RTS		0x02
#define MCR_OUT1	0x04
#define MCR_OUT2	0x08	/* on a PC, gates the interrupt */
#define MCR_LOOP	0x10

#define LSR_DATA	0x01
#define LSR_OVERRUN	0x02
#define LSR_BREAK	0x10
#define LSR_THRE	0x20
#define LSR_TEMT	0x40

#define MSR_DELTAS	0x0f
#define MSR_TERI	0x04
#define MSR_CTS		0x10
#define MSR_DSR		0x20
#define MSR_RI		0x40
#define MSR_DCD		0x80

#define FIFO_SIZE	16

struct uart {
	struct device dev;
	struct region region;
	struct irq_pin irq;
	struct char_backend *backend;
	bool attached;			/* the backend's input flows; from the first reset on */

	/* state, under dev.lock */
	uint8_t ier, fcr, lcr, mcr, msr, scr;
	uint8_t lsr_errors;		/* LSR_OVERRUN, LSR_BREAK: until LSR is read */
	uint16_t divisor;
	bool thr_interrupt;		/* THR became empty, and IIR has not told yet */
	bool rx_timeout;		/* characters below the trigger level have waited */
	uint8_t rx[FIFO_SIZE], tx[FIFO_SIZE];
	uint32_t rx_used, tx_used;
};

static const struct state_field uart_fields[] = {
	STATE_INT(1, 1, struct uart, ier),
	STATE_INT(2, 1, struct uart, fcr),
	STATE_INT(3, 1, struct uart, lcr),
	STATE_INT(4, 1, struct uart, mcr),
	STATE_INT(5, 1, struct uart, msr),
	STATE_INT(6, 1, struct uart, scr),
	STATE_INT(7, 1, struct uart, lsr_errors),
	STATE_INT(8, 1, struct uart, divisor),
	STATE_INT(9, 1, struct uart, thr_interrupt),
	STATE_INT(10, 1, struct uart, rx_timeout),
	STATE_ARRAY_USED(11, 1, struct uart, rx, rx_used),
	STATE_ARRAY_USED(12, 1, struct uart, tx, tx_used),
};

static unsigned int fifo_size(const struct uart *u)
{
	return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static int uart_post_load(void *object, unsigned int version)
{
	struct uart *u = object;

	if (u->rx_used > fifo_size(u) || u->tx_used > fifo_size(u))
		return -EINVAL;
	return 0;
}
STATE_TABLE_STATIC(uart_state, "uart", 1, struct uart, uart_fields, .post_load = uart_post_load);

static unsigned int rx_trigger(const struct uart *u)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* The interrupt of the highest priority that is pending and enabled (PC16550D, table V). */
static uint8_t pending_interrupt(const struct uart *u)
{
	if ((u->ier & IER_LINE) && u->lsr_errors)
		return IIR_LINE;
	if ((u->ier & IER_RX) && u->rx_used >= rx_trigger(u))
		return IIR_RX;
	if ((u->ier & IER_RX) && u->rx_used && u->rx_timeout)
		return IIR_RX_TIMEOUT;
	if ((u->ier & IER_TX) && u->thr_interrupt)
		return IIR_TX;
	if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
		return IIR_MODEM;
	return IIR_NONE;
}

/*
 * The pin follows the pending interrupts. When one is dealt with and another waits, a real 16550's
 * pin stays high, and a PC's driver loops until IIR says none; so does this one.
 */
static void update_irq(struct uart *u)
{
	irq_pin_set(&u->irq, pending_interrupt(u) != IIR_NONE && (u->mcr & MCR_OUT2));
}

/* ------------------------------------------------------------------ transmitter and receiver */

static void receive(struct uart *u, uint8_t c)
{
	if (u->rx_used < fifo_size(u)) {
		u->rx[u->rx_used++] = c;
	} else {
		/* The FIFO keeps what it has; a lone buffer register is overwritten. */
		if (!(u->fcr & FCR_ENABLE))
			u->rx[0] = c;
		u->lsr_errors |= LSR_OVERRUN;
	}
}

/* Hands the transmitter's characters to the backend, as far as it takes them. */
static void transmit(struct uart *u)
{
	size_t taken;

	if (!u->tx_used)
		return;
	taken = u->backend->ops->write(u->backend, u->tx, u->tx_used);
	u->tx_used -= taken;
	memmove(u->tx, u->tx + taken, u->tx_used);
	if (!u->tx_used)
		u->thr_interrupt = true;
}

static void write_thr(struct uart *u, uint8_t c)
{
	u->thr_interrupt = false;
	if (u->mcr & MCR_LOOP) {
		receive(u, c);
		u->rx_timeout = true;
		u->thr_interrupt = true;
		return;
	}
	/* A guest that does not look at LSR loses its last character to the next. */
	if (u->tx_used == fifo_size(u))
		u->tx_used--;
	u->tx[u->tx_used++] = c;
	transmit(u);
}

static uint8_t read_rbr(struct uart *u)
{
	uint8_t c = u->rx[0];

	if (!u->rx_used)
		return 0;
	u->rx_used--;
	memmove(u->rx, u->rx + 1, u->rx_used);
	if (!u->rx_used) {
		u->rx_timeout = false;
		u->backend->ops->accept_input(u->backend);
	}
	return c;
}

/* ------------------------------------------------------------------ registers */

/* The modem's lines: the other end is always there and ready; in loop mode, our own outputs. */
static uint8_t modem_lines(const struct uart *u)
{
	if (!(u->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
	       (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
}

static void update_modem_lines(struct uart *u)
{
	uint8_t now = modem_lines(u), changed = (u->msr ^ now) & ~MSR_DELTAS;
	uint8_t deltas = changed >> 4;

	/* The ring indicator counts only its trailing edge. */
	if (now & MSR_RI)
		deltas &= ~MSR_TERI;
	u->msr = now | (u->msr & MSR_DELTAS) | deltas;
}

static void write_fcr(struct uart *u, uint8_t value)
{
	/* Switching the FIFOs on or off clears them. */
	if ((value ^ u->fcr) & FCR_ENABLE)
		value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	u->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_TRIGGER) : 0;
	if (value & FCR_CLEAR_RX) {
		u->rx_used = 0;
		u->rx_timeout = false;
		u->backend->ops->accept_input(u->backend);
	}
	if ((value & FCR_CLEAR_TX) && u->tx_used) {
		u->tx_used = 0;
		u->thr_interrupt = true;
	}
}

static uint8_t read_iir(struct uart *u)
{
	uint8_t iir = pending_interrupt(u);

	/* Reading which one it is acknowledges this one. */
	if (iir == IIR_TX)
		u->thr_interrupt = false;
	return iir | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *u)
{
	uint8_t lsr = u->lsr_errors;

	if (u->rx_used)
		lsr |= LSR_DATA;
	if (!u->tx_used)
		lsr |= LSR_THRE | LSR_TEMT;
	u->lsr_errors = 0;
	return lsr;
}

static uint64_t uart_read(struct device *dev, uint64_t offset, unsigned int size)
{
	struct uart *u = container_of(dev, struct uart, dev);
	uint8_t value;

	switch (offset) {
	case REG_DATA:
		value = u->lcr & LCR_DLAB ? (uint8_t)u->divisor : read_rbr(u);
		break;
	case REG_IER:
		value = u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
		break;
	case REG_IIR:
		value = read_iir(u);
		break;
	case REG_LCR:
		value = u->lcr;
		break;
	case REG_MCR:
		value = u->mcr;
		break;
	case REG_LSR:
		value = read_lsr(u);
		break;
	case REG_MSR:
		value = u->msr;
		u->msr &= ~MSR_DELTAS;
		break;
	default:
		value = u->scr;
	}
	update_irq(u);
	return value;
}

static void uart_write(struct device *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct uart *u = container_of(dev, struct uart, dev);

	switch (offset) {
	case REG_DATA:
		if (u->lcr & LCR_DLAB)
			u->divisor = (u->divisor & 0xff00) | value;
		else
			write_thr(u, value);
		break;
	case REG_IER:
		if (u->lcr & LCR_DLAB) {
			u->divisor = (u->divisor & 0xff) | value << 8;
			break;
		}
		/* Enabling it with THR empty gives the interrupt at once. */
		if (!(u->ier & IER_TX) && (value & IER_TX) && !u->tx_used)
			u->thr_interrupt = true;
		u->ier = value & 0x0f;
		break;
	case REG_IIR:
		write_fcr(u, value);
		break;
	case REG_LCR:
		/* In loop mode a break comes back as one. */
		if ((u->mcr & MCR_LOOP) && (value & ~u->lcr & LCR_BREAK)) {
			receive(u, 0);
			u->lsr_errors |= LSR_BREAK;
		}
		u->lcr = value;
		break;
	case REG_MCR:
		u->mcr = value & 0x1f;
		update_modem_lines(u);
		break;
	case REG_SCR:
		u->scr = value;
		break;
	default:	/* LSR and MSR are read-only */
		break;
	}
	update_irq(u);
}

static const struct region_ops uart_region_ops = {
	.read = uart_read,
	.write = uart_write,
	.max_access = 1,
};

/* ------------------------------------------------------------------ the backend's side */

static size_t uart_room(void *front)
{
	struct uart *u = front;
	size_t room;

	pthread_mutex_lock(&u->dev.lock);
	room = u->mcr & MCR_LOOP ? 0 : fifo_size(u) - u->rx_used;
	pthread_mutex_unlock(&u->dev.lock);
	return room;
}

static void uart_input(void *front, const uint8_t *data, size_t length)
{
	struct uart *u = front;

	pthread_mutex_lock(&u->dev.lock);
	for (size_t i = 0; i < length; i++)
		receive(u, data[i]);
	/* No more is coming right behind: the wait that the timeout measures is over already. */
	u->rx_timeout = true;
	update_irq(u);
	pthread_mutex_unlock(&u->dev.lock);
}

static void uart_writable(void *front)
{
	struct uart *u = front;

	pthread_mutex_lock(&u->dev.lock);
	transmit(u);
	update_irq(u);
	pthread_mutex_unlock(&u->dev.lock);
}

static const struct char_front uart_front = {
	.room = uart_room,
	.input = uart_input,
	.writable = uart_writable,
};

/* ------------------------------------------------------------------ the device */

static void uart_reset(struct device *dev)
{
	struct uart *u = container_of(dev, struct uart, dev);

	u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->lsr_errors = 0;
	u->divisor = 12;	/* 9600 baud, where firmware would leave it */
	u->thr_interrupt = u->rx_timeout = false;
	u->rx_used = u->tx_used = 0;
	u->msr = modem_lines(u);
	update_irq(u);
}

static void uart_resume(struct device *dev)
{
	struct uart *u = container_of(dev, struct uart, dev);

	pthread_mutex_lock(&dev->lock);
	transmit(u);
	update_irq(u);
	pthread_mutex_unlock(&dev->lock);
	if (!u->attached) {
		u->attached = true;
		char_attach(u->backend, &uart_front, u);
	} else {
		u->backend->ops->accept_input(u->backend);
	}
}

static void uart_destroy(struct device *dev)
{
	struct uart *u = container_of(dev, struct uart, dev);

	bus_unmap(&u->region);
	u->backend->ops->destroy(u->backend);
	free(u);
}

static const struct device_ops uart_ops = {
	.reset = uart_reset,
	.resume = uart_resume,
	.destroy = uart_destroy,
};

int uart_create(struct machine *m, uint16_t port, unsigned int gsi, struct char_backend *backend,
		struct vmm_error *error)
{
	struct uart *u = calloc(1, sizeof(*u));
	int err;

	if (!u) {
		backend->ops->destroy(backend);
		return vmm_fail(error, -ENOMEM, "out of memory");
	}
	u->backend = backend;
	u->region = (struct region){
		.name = "uart", .dev = &u->dev, .ops = &uart_region_ops, .size = UART_PORTS,
	};
	err = irq_pin_connect(&u->irq, m, gsi, false);
	if (!err)
		err = bus_map(&m->pio, &u->region, port);
	if (err) {
		backend->ops->destroy(backend);
		free(u);
		return vmm_fail(error, err, "cannot make the serial port: %s", strerror(-err));
	}
	device_add(&u->dev, m, &uart_ops, "uart0");
	device_add_section(&u->dev, &uart_state, u);
	return 0;
}
