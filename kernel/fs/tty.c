/*
 * tty.c: the terminal on the console, as programs see it: reading, writing, and whose terminal it is.
 *
 *   queue:  | b | b | b+end | b | b+end | …     what may be read; a canonical read stops behind `end`
 *
 * tty_line.c fills the queue. Who may read: the foreground process group of the session that the terminal
 * controls; others of the session are stopped by SIGTTIN. Processes of other sessions may, as on Linux.
 *
 * Does not do: hanging up when the session's leader ends; flow control by ^S and ^Q.
 */
#include "fs/tty.h"

#include "fs/tty_line.h"
#include "fs/uio.h"
#include "kernel.h"
#include "string.h"
#include "proc/proc.h"
#include "proc/sleep.h"

#include <asm/ioctls.h>
#include <asm/poll.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#define TCFLSH_IN  0
#define TCFLSH_OUT 1

struct tty tty = {
    .termios =
        {
            .c_iflag = ICRNL,
            .c_oflag = OPOST | ONLCR,
            .c_cflag = CS8 | CREAD | HUPCL | B115200,
            .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            .c_cc = {[VINTR] = 3,
                     [VQUIT] = 28,
                     [VERASE] = 127,
                     [VKILL] = 21,
                     [VEOF] = 4,
                     [VMIN] = 1,
                     [VSTART] = 17,
                     [VSTOP] = 19,
                     [VSUSP] = 26,
                     [VREPRINT] = 18,
                     [VWERASE] = 23,
                     [VLNEXT] = 22},
            .c_ispeed = 115200,
            .c_ospeed = 115200,
        },
    .winsize = {.ws_row = 24, .ws_col = 80},
};

/* ---- whose it is --------------------------------------------------------------------------------------- */

/* Whether a process of the group has its parent in another group of the session, who can wake it. (P). */
static bool group_is_orphaned(int pgid) FL_REQUIRES(proc_lock)
{
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p))
        if (p->pgid == pgid && p->parent != NULL && p->parent->pgid != pgid && p->parent->sid == p->sid)
            return false;
    return true;
}

static bool session_lives(int sid) FL_REQUIRES(proc_lock)
{
    for (struct proc *p = proc_next(NULL); p != NULL; p = proc_next(p))
        if (p->sid == sid && p->state != PROC_ZOMBIE)
            return true;
    return false;
}

/*
 * The caller does what belongs to the foreground. In the background the signal stops its group, and the call
 * is made again afterwards. Errors: -ERESTART; -EIO, nobody would wake it. (tty_check_change, Linux.) (TY).
 */
static int tty_foreground(int signal) FL_REQUIRES(tty.lock)
{
    struct proc *proc = curproc();
    int pgid = proc->pgid, error = 0;

    if (proc->sid != tty.session || pgid == tty.pgid)
        return 0;
    machine_lock(&proc_lock);
    if (proc->action[signal].handler == SIG_IGN || (curthread()->td_sigmask & sigbit(signal)))
        error = signal == SIGTTIN ? -EIO : 1;
    else if (group_is_orphaned(pgid))
        error = -EIO;
    machine_unlock(&proc_lock);
    if (error != 0)
        return error > 0 ? 0 : error;
    return pgsignal(pgid, signal) != 0 ? -EIO : -ERESTART;
}

bool tty_is_controlling(void)
{
    machine_lock(&tty.lock);
    bool is = tty.session == curproc()->sid;
    machine_unlock(&tty.lock);
    return is;
}

/* The terminal becomes that of the caller's session. `steal`: from another one. Errors: -EPERM. (TY). */
static int tty_take(bool steal) FL_REQUIRES(tty.lock)
{
    struct proc *proc = curproc();

    if (tty.session == proc->sid)
        return 0;
    if (proc->sid != proc->pid)
        return -EPERM;
    machine_lock(&proc_lock);
    bool taken = tty.session != 0 && session_lives(tty.session);
    machine_unlock(&proc_lock);
    if (taken && !steal)
        return -EPERM;
    tty.session = proc->sid;
    tty.pgid = proc->pgid;
    return 0;
}

void tty_opened(void)
{
    machine_lock(&tty.lock);
    (void)!tty_take(false); /* if it cannot be taken, open(2) succeeds nevertheless */
    machine_unlock(&tty.lock);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Takes the byte at the queue's head. Returns it with its TTY_* bits. (TY). */
static uint16_t queue_take(void) FL_REQUIRES(tty.lock)
{
    uint16_t c = tty.queue[tty.queue_head++ % TTY_QUEUE];

    if (c & TTY_END)
        tty.lines--;
    return c;
}

static uint32_t queue_used(void) FL_REQUIRES(tty.lock)
{
    return tty.queue_tail - tty.queue_head;
}

/* Takes bytes up to the end of a line, or in raw mode what there is. (TY). */
static size_t queue_get(char *to, size_t max, bool canonical, bool *ended) FL_REQUIRES(tty.lock)
{
    size_t n = 0;

    *ended = false;
    while (n < max && queue_used() > 0 && !*ended) {
        uint16_t c = queue_take();
        if (!(c & TTY_EOF) || !canonical)
            to[n++] = (char)c;
        *ended = canonical && (c & TTY_END);
    }
    return n;
}

/* Waits until a read of len_bytes has something, or is over. Returns 0 then. (TY), released meanwhile. */
static int tty_wait(struct file *file, size_t len_bytes) FL_REQUIRES(tty.lock)
{
    uint64_t deadline = UINT64_MAX;
    uint32_t seen = 0;

    for (;;) {
        bool canonical = (tty.termios.c_lflag & ICANON) != 0;
        uint32_t used = queue_used(), least = tty.termios.c_cc[VMIN];
        uint64_t gap_ns = tty.termios.c_cc[VTIME] * UINT64_C(100000000);
        if (canonical ? tty.lines > 0 : used > 0 && used >= (least < len_bytes ? least : len_bytes))
            return 0;
        int error = tty_foreground(SIGTTIN);
        if (error != 0)
            return error;
        if (!canonical && least == 0 && gap_ns == 0)
            return 0;
        if (file->flags & O_NONBLOCK)
            return -EAGAIN;
        /* VTIME counts from the call if VMIN is 0, otherwise from each byte. */
        if (canonical || gap_ns == 0 || (least > 0 && used == 0))
            deadline = UINT64_MAX;
        else if (deadline == UINT64_MAX || (least > 0 && used != seen))
            deadline = machine_time_ns() + gap_ns;
        seen = used;
        error = sleep_interruptible(&tty.queue, &tty.lock, deadline);
        if (error == -ETIMEDOUT)
            return 0;
        if (error != 0)
            return error;
    }
}

static int64_t tty_read(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct uio uio;
    char bytes[256];
    int64_t done = 0;
    bool ended = false;

    (void)offset;
    uio_init(&uio, iov, niov);
    if (uio.left == 0)
        return 0;
    machine_lock(&tty.lock);
    int error = tty_foreground(SIGTTIN);
    if (error == 0)
        error = tty_wait(file, uio.left);
    bool canonical = (tty.termios.c_lflag & ICANON) != 0;
    while (error == 0 && uio.left > 0 && !ended && queue_used() > 0) {
        size_t n = queue_get(bytes, uio.left < sizeof(bytes) ? uio.left : sizeof(bytes), canonical, &ended);
        machine_unlock(&tty.lock);
        error = uio_copyout(&uio, bytes, n);
        done += error == 0 ? (int64_t)n : 0;
        machine_lock(&tty.lock);
    }
    machine_unlock(&tty.lock);
    return done > 0 || error == 0 ? done : error;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

void tty_put(char c, uint32_t oflag)
{
    if (c == '\n' && (oflag & OPOST) && (oflag & ONLCR))
        console_putc('\r');
    console_putc(c);
}

static int64_t tty_write(struct file *file, const struct fl_iovec *iov, uint32_t niov, uint64_t *offset)
{
    struct uio uio;
    char bytes[256];
    int64_t done = 0;
    int error = 0;

    (void)file, (void)offset;
    uio_init(&uio, iov, niov);
    machine_lock(&tty.lock);
    if (tty.termios.c_lflag & TOSTOP)
        error = tty_foreground(SIGTTOU);
    uint32_t oflag = tty.termios.c_oflag;
    machine_unlock(&tty.lock);
    while (error == 0 && uio.left > 0) {
        size_t n = uio.left < sizeof(bytes) ? uio.left : sizeof(bytes);
        error = uio_copyin(&uio, bytes, n);
        for (size_t i = 0; i < n && error == 0; i++)
            tty_put(bytes[i], oflag);
        done += error == 0 ? (int64_t)n : 0;
        if (done > 0 && signal_waiting())
            break;
    }
    return done > 0 ? done : error;
}

static unsigned tty_poll(struct file *file)
{
    (void)file;
    machine_lock(&tty.lock);
    bool readable = tty.termios.c_lflag & ICANON ? tty.lines > 0 : queue_used() > 0;
    machine_unlock(&tty.lock);
    return POLLOUT | POLLWRNORM | (readable ? POLLIN | POLLRDNORM : 0);
}

/* ---- ioctl --------------------------------------------------------------------------------------------- */

static int64_t tty_get_termios(uint64_t request, uint64_t arg)
{
    struct termios2 now;

    machine_lock(&tty.lock);
    now = tty.termios;
    machine_unlock(&tty.lock);
    /* struct termios is the beginning of struct termios2. */
    return copyout(&now, arg, request == TCGETS2 ? sizeof(now) : sizeof(struct termios));
}

static int64_t tty_set_termios(uint64_t request, uint64_t arg)
{
    bool two = request == TCSETS2 || request == TCSETSW2 || request == TCSETSF2;
    struct termios2 next = tty.termios;
    int error = copyin(arg, &next, two ? sizeof(next) : sizeof(struct termios));

    if (error != 0)
        return error;
    machine_lock(&tty.lock);
    error = tty_foreground(SIGTTOU);
    if (error == 0) {
        if (request == TCSETSF || request == TCSETSF2)
            tty_line_flush();
        if (tty.termios.c_lflag & ~next.c_lflag & ICANON)
            tty_line_commit(0); /* what was typed of the line can be read now */
        tty.termios = next;
    }
    machine_unlock(&tty.lock);
    machine_wake(&tty.queue);
    poll_wake();
    return error;
}

static int64_t tty_set_winsize(uint64_t arg)
{
    struct winsize next;
    int error = copyin(arg, &next, sizeof(next));

    if (error != 0)
        return error;
    machine_lock(&tty.lock);
    bool changed = memcmp(&tty.winsize, &next, sizeof(next)) != 0;
    tty.winsize = next;
    int pgid = tty.pgid;
    machine_unlock(&tty.lock);
    if (changed && pgid != 0)
        (void)!pgsignal(pgid, SIGWINCH); /* nobody is there: nobody needs to know */
    return 0;
}

/* Errors: -ENOTTY, -EPERM, of tty_foreground. (TY). */
static int tty_set_pgid(int pgid) FL_REQUIRES(tty.lock)
{
    struct proc *proc = curproc();
    int error = -ESRCH;

    if (tty.session != proc->sid)
        return -ENOTTY;
    if (pgid < 0)
        return -EINVAL;
    int background = tty_foreground(SIGTTOU);
    if (background != 0)
        return background;
    machine_lock(&proc_lock);
    for (struct proc *p = proc_next(NULL); p != NULL && error != 0; p = proc_next(p))
        if (p->pgid == pgid)
            error = p->sid == proc->sid ? 0 : -EPERM;
    machine_unlock(&proc_lock);
    if (error == 0)
        tty.pgid = pgid;
    return error;
}

/* Those that need (TY) and a number. */
static int64_t tty_job_ioctl(uint64_t request, int number, int *answer) FL_REQUIRES(tty.lock)
{
    struct proc *proc = curproc();

    switch (request) {
    case TIOCGPGRP:
        *answer = tty.pgid;
        return tty.session == proc->sid ? 0 : -ENOTTY;
    case TIOCGSID:
        *answer = tty.session;
        return tty.session == proc->sid ? 0 : -ENOTTY;
    case TIOCSPGRP:
        return tty_set_pgid(number);
    case TIOCSCTTY:
        return tty_take(number == 1);
    case TIOCNOTTY:
        if (tty.session != proc->sid)
            return -ENOTTY;
        if (proc->sid == proc->pid)
            tty.session = tty.pgid = 0;
        return 0;
    case FIONREAD:
        *answer = tty.termios.c_lflag & ICANON && tty.lines == 0 ? 0 : (int)queue_used();
        return 0;
    default: /* TIOCOUTQ: what is written is out */
        *answer = 0;
        return 0;
    }
}

static int64_t tty_number_ioctl(uint64_t request, uint64_t arg)
{
    bool asks = request == TIOCGPGRP || request == TIOCGSID || request == FIONREAD || request == TIOCOUTQ;
    int number = (int)arg, answer = 0;
    int64_t result = request == TIOCSPGRP ? copyin(arg, &number, sizeof(number)) : 0;

    if (result != 0)
        return result;
    machine_lock(&tty.lock);
    result = tty_job_ioctl(request, number, &answer);
    machine_unlock(&tty.lock);
    return result == 0 && asks ? copyout(&answer, arg, sizeof(answer)) : result;
}

static int64_t tty_flush(uint64_t which)
{
    if (which > 2)
        return -EINVAL;
    machine_lock(&tty.lock);
    if (which != TCFLSH_OUT)
        tty_line_flush();
    machine_unlock(&tty.lock);
    return 0;
}

static int64_t tty_ioctl(struct file *file, uint64_t request, uint64_t arg)
{
    (void)file;
    switch (request) {
    case TCGETS:
    case TCGETS2:
        return tty_get_termios(request, arg);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return tty_set_termios(request, arg);
    case TIOCGWINSZ:
        return copyout(&tty.winsize, arg, sizeof(tty.winsize));
    case TIOCSWINSZ:
        return tty_set_winsize(arg);
    case TCFLSH:
        return tty_flush(arg);
    case TCSBRK: /* all output is out already */
    case TCSBRKP:
        return 0;
    case TIOCGPGRP:
    case TIOCGSID:
    case TIOCSPGRP:
    case TIOCSCTTY:
    case TIOCNOTTY:
    case FIONREAD:
    case TIOCOUTQ:
        return tty_number_ioctl(request, arg);
    default:
        return -ENOTTY;
    }
}

const struct file_ops tty_ops = {
    .read = tty_read,
    .write = tty_write,
    .ioctl = tty_ioctl,
    .poll = tty_poll,
    .type = S_IFCHR,
};
