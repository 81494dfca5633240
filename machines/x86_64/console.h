/* console.h: the console's part that only the machine uses; kernel.h has printf and console_putc. */
#ifndef MACHINES_X86_64_CONSOLE_H
#define MACHINES_X86_64_CONSOLE_H

/* Output works from here on. */
void console_init(void);
/* … and input. Context: interrupts can be established. */
void console_intr_init(void);
/* Whoever holds the console will not come back: the panicking CPU writes anyway. */
void console_panic(void);

#endif
