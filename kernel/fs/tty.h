/*
 * tty.h: the terminal on the console: /dev/console, /dev/ttyS0, and /dev/tty for the session that it
 * controls.
 *
 *   keyboard ─interrupt─▶ tty_input: a ring ─▶ thread "tty": line discipline ─┬▶ lines, or bytes ─▶ read
 *                                                                            ├▶ echo ─▶ console
 *   write ─▶ \n becomes \r\n ─▶ console                                      └▶ ^C ^\ ^Z ─▶ signals
 *
 * The line discipline runs in a thread, since signals are sent under locks that an interrupt cannot take.
 *
 * Locks: (TY) tty.lock: all but the ring. Before (P). The ring has a spin lock.
 */
#ifndef KERNEL_FS_TTY_H
#define KERNEL_FS_TTY_H

#include "fs/file.h"

extern const struct file_ops tty_ops;

/* A byte has come from the line. Context: interrupt. */
void tty_input(unsigned char c);
/* Starts the thread. Errors: -ENOMEM. */
FL_NODISCARD int tty_start(void);
/* Whether the terminal is that of the caller's session. */
FL_NODISCARD bool tty_is_controlling(void);
/* The caller leads a session without a terminal, and has opened this one: it becomes the session's. */
void tty_opened(void);

#endif
