/*
 * tty_line.h: the terminal's state, and its line discipline.
 */
#ifndef KERNEL_FS_TTY_LINE_H
#define KERNEL_FS_TTY_LINE_H

#include <faultline/machine.h>

#include <asm/termbits.h>

#define TTY_QUEUE 4096 /* bytes that wait for a read; a power of two */
#define TTY_LINE  1024 /* of a line that is being typed */

#define TTY_END 0x100 /* the last of a line */
#define TTY_EOF 0x200 /* … and no byte of it: ^D */

/* The ABI's; asm/termios.h has it among much that the kernel has no use for. */
struct winsize {
    unsigned short ws_row, ws_col, ws_xpixel, ws_ypixel;
};

struct tty {
    struct machine_lock lock;  /* (TY) */
    struct termios2 termios;   /* (TY) */
    struct winsize winsize;    /* (TY) */
    int session, pgid;         /* (TY) 0: none */
    uint16_t queue[TTY_QUEUE]; /* (TY) bytes with TTY_*; the address is the channel of readers */
    uint32_t queue_head, queue_tail;
    uint32_t lines;      /* (TY) entries with TTY_END */
    char line[TTY_LINE]; /* (TY) what is typed and can still be changed */
    uint32_t line_len;
    bool literal; /* (TY) ^V came: the next byte means itself */
};

extern struct tty tty;

/* The line goes to the queue, its last byte with `bits`. */
void tty_line_commit(uint16_t bits) FL_REQUIRES(tty.lock);
/* Forgets what was typed and not read. */
void tty_line_flush(void) FL_REQUIRES(tty.lock);
/* Writes a byte to the console. oflag: of the termios. */
void tty_put(char c, uint32_t oflag);

#endif
