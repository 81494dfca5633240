/*
 * tty_line.c: the line discipline: what typed bytes do.
 *
 *   interrupt ─▶ ring ─▶ tty_thread ─▶ line_input ─┬ ISIG: a signal to the foreground
 *                                                  ├ ICANON: edits the line; at its end ─▶ queue
 *                                                  └ raw ─▶ queue
 *
 * An interrupt cannot take the lock under which the thread goes to sleep. So its wake-up may come too early,
 * and would be lost; for as long as the ring has bytes, a callout wakes the thread again.
 *
 * Does not do: tabs' width when a line is erased.
 */
#include "fs/tty_line.h"

#include "fs/tty.h"
#include "kernel.h"
#include "proc/proc.h"

#include <linux/errno.h>

#define RING_BYTES 256 /* a power of two */
#define REWAKE_NS  UINT64_C(5000000)

/* Bytes from the interrupt to the thread. */
struct ring {
    struct spinlock lock;
    unsigned char byte[RING_BYTES]; /* (lock), as all of it; what does not fit is lost */
    uint32_t head, tail;
    bool rewakes; /* the callout is on its way */
    struct callout callout;
};

static struct ring ring;
static struct machine_lock ring_sleep_lock; /* only for machine_wait */

/* ---- from the interrupt to the thread ------------------------------------------------------------------ */

static void ring_rewake(void *arg)
{
    uint64_t flags = spin_lock(&ring.lock);

    (void)arg;
    ring.rewakes = ring.head != ring.tail;
    bool again = ring.rewakes;
    spin_unlock(&ring.lock, flags);
    if (!again)
        return;
    machine_wake(&ring);
    timeout(&ring.callout, machine_time_ns() + REWAKE_NS, ring_rewake, NULL);
}

void tty_input(unsigned char c)
{
    uint64_t flags = spin_lock(&ring.lock);

    if (ring.tail - ring.head < RING_BYTES)
        ring.byte[ring.tail++ % RING_BYTES] = c;
    bool arm = !ring.rewakes;
    ring.rewakes = true;
    spin_unlock(&ring.lock, flags);
    machine_wake(&ring);
    if (arm)
        timeout(&ring.callout, machine_time_ns() + REWAKE_NS, ring_rewake, NULL);
}

static bool ring_get(unsigned char *c)
{
    uint64_t flags = spin_lock(&ring.lock);
    bool got = ring.head != ring.tail;

    if (got)
        *c = ring.byte[ring.head++ % RING_BYTES];
    spin_unlock(&ring.lock, flags);
    return got;
}

static unsigned char ring_wait(void)
{
    unsigned char c;

    machine_lock(&ring_sleep_lock);
    while (!ring_get(&c))
        machine_wait(&ring, &ring_sleep_lock, UINT64_MAX);
    machine_unlock(&ring_sleep_lock);
    return c;
}

/* ---- the queue ----------------------------------------------------------------------------------------- */

static void queue_put(uint16_t c) FL_REQUIRES(tty.lock)
{
    if (tty.queue_tail - tty.queue_head == TTY_QUEUE)
        return; /* nobody reads: it is lost, as on any terminal */
    tty.queue[tty.queue_tail++ % TTY_QUEUE] = c;
    if (c & TTY_END)
        tty.lines++;
}

void tty_line_commit(uint16_t bits)
{
    for (uint32_t i = 0; i < tty.line_len; i++)
        queue_put((unsigned char)tty.line[i] | (i + 1 == tty.line_len ? bits : 0));
    tty.line_len = 0;
}

void tty_line_flush(void)
{
    tty.queue_head = tty.queue_tail;
    tty.lines = 0;
    tty.line_len = 0;
}

/* ---- echo ---------------------------------------------------------------------------------------------- */

static void echo_put(char c) FL_REQUIRES(tty.lock)
{
    tty_put(c, tty.termios.c_oflag);
}

/* Shown as ^X. */
static bool echo_is_control(char c) FL_REQUIRES(tty.lock)
{
    return (tty.termios.c_lflag & ECHOCTL) && (c == 127 || ((unsigned char)c < 32 && c != '\n' && c != '\t'));
}

static void echo(char c) FL_REQUIRES(tty.lock)
{
    if (!(tty.termios.c_lflag & ECHO) && !(c == '\n' && (tty.termios.c_lflag & ECHONL)))
        return;
    if (echo_is_control(c)) {
        echo_put('^');
        echo_put(c ^ 0x40);
    } else {
        echo_put(c);
    }
}

/* Takes the last byte of the line off the screen. */
static void echo_erase(char c) FL_REQUIRES(tty.lock)
{
    if (!(tty.termios.c_lflag & ECHO))
        return;
    for (int columns = echo_is_control(c) ? 2 : 1; columns > 0; columns--) {
        echo_put('\b');
        echo_put(' ');
        echo_put('\b');
    }
}

/* ---- the line ------------------------------------------------------------------------------------------ */

static bool is_continuation(char c) /* of a character in UTF-8 */
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static void line_erase(void) FL_REQUIRES(tty.lock)
{
    bool utf8 = (tty.termios.c_iflag & IUTF8) != 0;

    while (utf8 && tty.line_len > 1 && is_continuation(tty.line[tty.line_len - 1]))
        tty.line_len--;
    if (tty.line_len > 0)
        echo_erase(tty.line[--tty.line_len]);
}

static void line_erase_word(void) FL_REQUIRES(tty.lock)
{
    while (tty.line_len > 0 && tty.line[tty.line_len - 1] == ' ')
        line_erase();
    while (tty.line_len > 0 && tty.line[tty.line_len - 1] != ' ')
        line_erase();
}

static void line_reprint(void) FL_REQUIRES(tty.lock)
{
    echo('\n');
    for (uint32_t i = 0; i < tty.line_len; i++)
        echo(tty.line[i]);
}

static void line_add(char c) FL_REQUIRES(tty.lock)
{
    if (tty.line_len == TTY_LINE - 1 && c != '\n') /* there is always room for the line's end */
        return;
    tty.line[tty.line_len++] = c;
}

/* Whether c is the control byte `which`. 0 switches it off. */
static bool is_cc(char c, int which) FL_REQUIRES(tty.lock)
{
    return (unsigned char)c == tty.termios.c_cc[which] && c != 0;
}

static void line_end(char c) FL_REQUIRES(tty.lock)
{
    if (is_cc(c, VEOF)) {
        if (tty.line_len > 0)
            tty_line_commit(TTY_END);
        else
            queue_put(TTY_END | TTY_EOF);
        return;
    }
    echo(c);
    line_add(c);
    tty_line_commit(TTY_END);
}

static void canonical_input(char c) FL_REQUIRES(tty.lock)
{
    bool extended = (tty.termios.c_lflag & IEXTEN) != 0;

    if (is_cc(c, VERASE)) {
        line_erase();
    } else if (is_cc(c, VKILL)) {
        while (tty.line_len > 0)
            line_erase();
    } else if (extended && is_cc(c, VWERASE)) {
        line_erase_word();
    } else if (extended && is_cc(c, VREPRINT)) {
        line_reprint();
    } else if (extended && is_cc(c, VLNEXT)) {
        tty.literal = true;
    } else if (c == '\n' || is_cc(c, VEOF) || is_cc(c, VEOL) || is_cc(c, VEOL2)) {
        line_end(c);
    } else {
        echo(c);
        line_add(c);
    }
}

/* ---- signals ------------------------------------------------------------------------------------------- */

/* Returns the signal that the byte sends; 0: none. */
static int signal_of(char c) FL_REQUIRES(tty.lock)
{
    if (!(tty.termios.c_lflag & ISIG))
        return 0;
    if (is_cc(c, VINTR))
        return SIGINT;
    if (is_cc(c, VQUIT))
        return SIGQUIT;
    return is_cc(c, VSUSP) ? SIGTSTP : 0;
}

static void signal_input(char c, int signal) FL_REQUIRES(tty.lock)
{
    if (!(tty.termios.c_lflag & NOFLSH))
        tty_line_flush();
    echo(c);
    if (tty.pgid != 0)
        (void)!pgsignal(tty.pgid, signal); /* the group may have ended: then nobody is meant */
}

/* ---- one byte ------------------------------------------------------------------------------------------ */

/* What the input flags make of a byte. Returns false: nothing. */
static bool input_map(char *c) FL_REQUIRES(tty.lock)
{
    uint32_t iflag = tty.termios.c_iflag;

    if (iflag & ISTRIP)
        *c &= 0x7f;
    if (*c == '\r' && (iflag & IGNCR))
        return false;
    if (*c == '\r' && (iflag & ICRNL))
        *c = '\n';
    else if (*c == '\n' && (iflag & INLCR))
        *c = '\r';
    return true;
}

static void line_input(char c) FL_REQUIRES(tty.lock)
{
    if (tty.literal) {
        tty.literal = false;
        echo(c);
        line_add(c);
        return;
    }
    if (!input_map(&c))
        return;
    int signal = signal_of(c);
    if (signal != 0) {
        signal_input(c, signal);
    } else if (tty.termios.c_lflag & ICANON) {
        canonical_input(c);
    } else {
        echo(c);
        queue_put((unsigned char)c);
    }
}

static _Noreturn void tty_loop(void)
{
    for (;;) {
        unsigned char c = ring_wait();
        machine_lock(&tty.lock);
        line_input((char)c);
        machine_unlock(&tty.lock);
        machine_wake(&tty.queue);
        poll_wake();
    }
}

static void tty_thread(void *arg)
{
    (void)arg;
    tty_loop();
}

int tty_start(void)
{
    struct thread *td = thread_create("tty", tty_thread, NULL, false);

    if (td == NULL)
        return -ENOMEM;
    thread_start(td);
    return 0;
}
