/*
 * console.c: the console: the first serial line (a 16550), and printf.
 *
 * Output waits until the line takes the byte, so it works at any time: in interrupts, under locks and in a
 * panic. Lines of several CPUs may mix, characters of one printf do not. Input comes by interrupt.
 */
#include "console.h"

#include "apic.h"
#include "kernel.h"

#define COM1      0x3f8
#define COM_DATA  (COM1 + 0)
#define COM_IER   (COM1 + 1) /* interrupt enable */
#define COM_FCR   (COM1 + 2) /* FIFO control */
#define COM_LCR   (COM1 + 3) /* line control */
#define COM_MCR   (COM1 + 4) /* modem control */
#define COM_LSR   (COM1 + 5) /* line status */
#define LCR_DLAB  0x80
#define LCR_8BITS 0x03
#define LSR_RXRDY 0x01
#define LSR_TXRDY 0x20
#define COM1_IRQ  4
#define COM_POLLS 100000 /* a line that takes nothing for so long is not there */

static struct spinlock console_lock; /* a printf's characters stay together */

void console_init(void)
{
    outb(COM_IER, 0);
    outb(COM_LCR, LCR_DLAB);
    outb(COM_DATA, 1); /* 115200 baud */
    outb(COM_IER, 0);
    outb(COM_LCR, LCR_8BITS);
    outb(COM_FCR, 0x07); /* on, and empty */
    outb(COM_MCR, 0x0b); /* DTR, RTS, and OUT2, which lets interrupts through */
}

void console_putc(char c)
{
    for (unsigned i = 0; i < COM_POLLS && !(inb(COM_LSR) & LSR_TXRDY); i++)
        cpu_pause();
    outb(COM_DATA, (uint8_t)c);
}

static void console_intr(void *arg)
{
    (void)arg;
    while (inb(COM_LSR) & LSR_RXRDY)
        kernel_console_input(inb(COM_DATA));
}

void console_intr_init(void)
{
    ioapic_route(COM1_IRQ, intr_establish(console_intr, NULL));
    outb(COM_IER, 0x01);
}

static void console_write(const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '\n')
            console_putc('\r');
        console_putc(*text);
    }
}

void printf(const char *format, ...)
{
    char line[256];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    uint64_t flags = spin_lock(&console_lock);
    console_write(line);
    spin_unlock(&console_lock, flags);
}

void console_panic(void)
{
    console_lock.word = 0;
}

void machine_log(const char *message)
{
    printf("%s\n", message);
}
