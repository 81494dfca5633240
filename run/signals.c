/*
 * signals.c: the shim handles SIGBUS, SIGSEGV and SIGSYS, while the program sees its own actions and masks.
 *
 *   kernel ─▶ signals_fault ─▶ linux_fault_signal ─▶ fl_fault ─ 0 ─▶ the access is tried again
 *                 │ not managed            └ error ─▶ signals_deliver
 *                 ▼                                       │
 *             signals_chain: what the program has ◀───────┘
 *   kernel ─▶ signals_trap ─▶ trap_signal
 *
 * The shim's handlers replace those that fl_init installed in the kernel. What
 * the program sets by sigaction is kept here, and given back when it asks.
 *
 * The kernel kills a thread that blocks a signal which it needs for a fault. So SIGBUS and
 * SIGSEGV, and SIGSYS with the signal engine, are left out of every mask that the program
 * sets. What the thread set is remembered, and given back when it asks. A fault of the
 * program's own with such a signal "blocked" ends it, as it would without the shim.
 *
 * The handler of SIGSEGV runs on the alternate stack if the program asked for that (stack
 * overflow). SIGBUS is always handled on the program's stack, since paging needs room.
 *
 * Lock: (A), taken with all signals blocked; no other lock is taken while it is held.
 */
#include "signals.h"
#include "file_errors.h"
#include "fork.h"
#include "gate.h"
#include "real.h"
#include "trap.h"
#include "user_copy.h"
#include "window.h"
#include <string.h>

enum {
    ACTION_BUS,
    ACTION_SEGV,
    ACTION_SYS,
    ACTIONS,
};

static const int action_signo[ACTIONS] = {SIGBUS, SIGSEGV, SIGSYS};
static struct shim_mutex action_lock = {PTHREAD_MUTEX_INITIALIZER}; /* (A) */
static struct sigaction action[ACTIONS] FL_GUARDED_BY(action_lock); /* the program's */

/* The signals that this thread has set as blocked and that are not: a bit for each action. */
static _Thread_local unsigned signals_hidden __attribute__((tls_model("initial-exec")));

static bool engine_is_signal(void)
{
    return shim_config.fault != FL_FAULT_THREAD;
}

/* Whether a fault, or a copy that must not fault (user_copy.c), needs the signal of that action. */
static bool is_needed(int i)
{
    return i != ACTION_SYS || engine_is_signal();
}

/* The index of the action; -1: the signal is not the shim's. */
static int action_of(int signo)
{
    int state = atomic_load_explicit(shim_state, memory_order_acquire);

    if (signo == SIGSYS)
        return state != SHIM_OFF && engine_is_signal() ? ACTION_SYS : -1;
    if (state != SHIM_ON)
        return -1;
    return signo == SIGBUS ? ACTION_BUS : signo == SIGSEGV ? ACTION_SEGV : -1;
}

/* ---- the program's own handlers -------------------------------------------------------------------- */

static long self(void)
{
    return linux_syscall(SYS_gettid);
}

/*
 * Takes the default action, with the same siginfo. The signal
 * is not blocked. A debugger stops here (tools/faultline.gdb).
 */
__attribute__((noinline)) static void signals_die(int signo, siginfo_t *info)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    long pid = linux_syscall(SYS_getpid);

    shim_real()->sigaction(signo, &dfl, NULL);
    if (info->si_code > 0)
        linux_syscall(SYS_rt_tgsigqueueinfo, pid, self(), signo, info);
    else
        linux_syscall(SYS_tgkill, pid, self(), signo);
}

/*
 * Takes the program's action for the signal, as the kernel would: with the mask of the
 * interrupted code and that of its sigaction, without the signals that the handler
 * itself may need. No lock is held, since the handler may leave by siglongjmp.
 */
static void signals_chain(int signo, siginfo_t *info, void *ucontext)
{
    int i = signo == SIGBUS ? ACTION_BUS : signo == SIGSEGV ? ACTION_SEGV : ACTION_SYS;
    bool fatal = info->si_code > 0 && (signals_hidden & 1u << i) != 0;
    struct sigaction now;
    sigset_t all, mask;

    linux_signals_block(&all);
    shim_mutex_lock(&action_lock);
    now = action[i];
    if ((now.sa_flags & (int)SA_RESETHAND) != 0)
        action[i].sa_handler = SIG_DFL;
    shim_mutex_unlock(&action_lock);

    mask = ((const ucontext_t *)ucontext)->uc_sigmask;
    if (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN) {
        sigorset(&mask, &mask, &now.sa_mask);
        if ((now.sa_flags & SA_NODEFER) == 0)
            sigaddset(&mask, signo);
    }
    for (int k = 0; k < ACTIONS; k++)
        sigdelset(&mask, action_signo[k]);
    linux_signals_restore(&mask);
    if (fatal || now.sa_handler == SIG_DFL || (now.sa_handler == SIG_IGN && info->si_code > 0))
        signals_die(signo, info);
    else if (now.sa_handler == SIG_IGN)
        return;
    else if ((now.sa_flags & SA_SIGINFO) != 0)
        now.sa_sigaction(signo, info, ucontext);
    else
        now.sa_handler(signo);
    linux_signals_restore(&all);
}

/* ---- the handlers in the kernel's table ------------------------------------------------------------ */

/*
 * Whether a fault may be out of date: the address is mapped now, but may not have been mapped at the
 * access. Each thread tries again once after each hand-over or replaced mapping; a real fault comes again.
 */
static bool maybe_stale(void)
{
    static _Thread_local unsigned known __attribute__((tls_model("initial-exec")));
    unsigned now = gate_count();
    bool stale = known != now;

    known = now;
    return stale;
}

/* Whether the error of an access is that of writes to the swap file. */
static bool swap_failed(int error)
{
    struct fl_vm_stats stats;

    fl_vm_stats(&stats);
    return stats.swap_error == error;
}

static void end_without_memory(void)
{
    char why[384];

    library_memory_text(why, sizeof why, "--memory", "--swap-size");
    shim_say("%s", why);
    linux_syscall(SYS_kill, linux_syscall(SYS_getpid), SIGKILL);
}

/*
 * Delivers an error of the core (linux_fault_set_deliver). It is no error if the file has
 * grown meanwhile, or if the mapping is being handed to the kernel or replaced at this moment.
 */
static void signals_deliver(int signo, siginfo_t *info, void *ucontext, int error)
{
    vm_offset_t va = (vm_offset_t)info->si_addr;

    if (error == -ENXIO && file_grew(va))
        return;
    if (error == -EFAULT && (gate_waited(va) || window_is_reserved(va) || maybe_stale()))
        return;
    if (!file_errors_say(va, error) && (error == -ENOMEM || swap_failed(error)))
        end_without_memory();
    signals_chain(signo, info, ucontext);
}

static void signals_fault(int signo, siginfo_t *info, void *ucontext)
{
    vm_offset_t va = (vm_offset_t)info->si_addr;
    if (linux_peek_fault(info, ucontext) || (!shim_on() && fork_child_fault()))
        return;
    bool reserved = shim_on() && info->si_code > 0 && (!window_has(va) || window_is_reserved(va));

    if ((shim_on() && info->si_code > 0 && gate_waited(va)) || (reserved && maybe_stale()))
        return;
    if (!shim_on() || reserved || !linux_fault_signal(signo, info, ucontext))
        signals_chain(signo, info, ucontext);
}

static void signals_trap(int signo, siginfo_t *info, void *ucontext)
{
    int saved_errno = errno;

    if (!trap_signal(info, ucontext))
        signals_chain(signo, info, ucontext);
    errno = saved_errno;
}

void signals_remember(void)
{
    const struct shim_real *real = shim_real();

    shim_mutex_lock(&action_lock);
    for (int i = 0; i < ACTIONS; i++)
        real->sigaction(action_signo[i], NULL, &action[i]);
    shim_mutex_unlock(&action_lock);
}

/* What the program has for the signal now. */
static struct sigaction action_get(int i)
{
    struct sigaction now;

    shim_mutex_lock(&action_lock);
    now = action[i];
    shim_mutex_unlock(&action_lock);
    return now;
}

static int signals_install(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction own = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

    sigfillset(&own.sa_mask);
    return shim_real()->sigaction(signo, &own, NULL) == 0 ? 0 : -errno;
}

int signals_start(void)
{
    sigset_t needed;
    int error = signals_install(SIGBUS, signals_fault, 0);

    linux_fault_set_deliver(signals_deliver);
    if (error == 0)
        error = signals_install(SIGSEGV, signals_fault, action_get(ACTION_SEGV).sa_flags & SA_ONSTACK);
    if (error != 0)
        return error;
    sigemptyset(&needed);
    for (int i = 0; i < ACTIONS; i++)
        if (is_needed(i))
            sigaddset(&needed, action_signo[i]);
    /* The program may have been started with them blocked. */
    shim_real()->pthread_sigmask(SIG_UNBLOCK, &needed, NULL);
    return engine_is_signal() ? signals_install(SIGSYS, signals_trap, 0) : 0;
}

void signals_fork_child(void)
{
    struct sigaction bus, segv;

    shim_mutex_reset(&action_lock);
    bus = action_get(ACTION_BUS);
    segv = action_get(ACTION_SEGV);
    shim_real()->sigaction(SIGBUS, &bus, NULL);
    shim_real()->sigaction(SIGSEGV, &segv, NULL);
}

/* ---- sigaction ------------------------------------------------------------------------------------- */

static void strip(sigset_t *set)
{
    for (int i = 0; i < ACTIONS; i++)
        if (is_needed(i))
            sigdelset(set, action_signo[i]);
}

FL_EXPORT int sigaction(int signo, const struct sigaction *act, struct sigaction *old)
{
    int i = action_of(signo);
    struct sigaction wanted, before;
    sigset_t saved;

    if (act != NULL) { /* copied before (A) is taken, since it may lie in managed memory */
        wanted = *act;
        if (shim_on())
            strip(&wanted.sa_mask);
    }
    if (i < 0)
        return shim_real()->sigaction(signo, act != NULL ? &wanted : NULL, old);
    linux_signals_block(&saved);
    shim_mutex_lock(&action_lock);
    before = action[i];
    if (act != NULL)
        action[i] = wanted;
    shim_mutex_unlock(&action_lock);
    if (i == ACTION_SEGV && act != NULL)
        (void)signals_install(SIGSEGV, signals_fault, wanted.sa_flags & SA_ONSTACK);
    linux_signals_restore(&saved);
    if (old != NULL)
        *old = before;
    return 0;
}

FL_EXPORT __sighandler_t signal(int signo, __sighandler_t handler)
{
    struct sigaction wanted = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct sigaction old;

    sigemptyset(&wanted.sa_mask);
    return sigaction(signo, &wanted, &old) == 0 ? old.sa_handler : SIG_ERR;
}

/* ---- masks ----------------------------------------------------------------------------------------- */

/* Notes what the thread sets as blocked; adds to *old what it had set before. */
static void hidden_update(int how, const sigset_t *set, sigset_t *old)
{
    unsigned named = 0;

    for (int i = 0; i < ACTIONS; i++) {
        if (old != NULL && (signals_hidden & 1u << i) != 0)
            sigaddset(old, action_signo[i]);
        if (set != NULL && is_needed(i) && sigismember(set, action_signo[i]) == 1)
            named |= 1u << i;
    }
    if (set == NULL)
        return;
    if (how == SIG_BLOCK)
        signals_hidden |= named;
    else if (how == SIG_UNBLOCK)
        signals_hidden &= ~named;
    else
        signals_hidden = named;
}

FL_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t wanted, asked;
    int error;

    if (!shim_on())
        return shim_real()->pthread_sigmask(how, set, old);
    if (set != NULL) {
        asked = wanted = *set;
        if (how != SIG_UNBLOCK)
            strip(&wanted);
    }
    error = shim_real()->pthread_sigmask(how, set != NULL ? &wanted : NULL, old);
    if (error == 0)
        hidden_update(how, set != NULL ? &asked : NULL, old);
    return error;
}

FL_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    int error = pthread_sigmask(how, set, old);

    if (error == 0)
        return 0;
    errno = error;
    return -1;
}

/*
 * A copy of the mask without the signals that are needed, as long as the
 * kernel's. NULL, and a mask that cannot be read, are passed on as they are.
 */
static const sigset_t *stripped(const sigset_t *mask, sigset_t *copy)
{
    sigemptyset(copy);
    if (mask == NULL || !shim_on() || !user_read(copy, mask, _NSIG / 8))
        return mask;
    strip(copy);
    return copy;
}

FL_EXPORT int sigsuspend(const sigset_t *mask)
{
    sigset_t copy;

    return shim_real()->sigsuspend(stripped(mask, &copy));
}

FL_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;

    return shim_real()->ppoll(fds, n, timeout, stripped(mask, &copy));
}

FL_EXPORT int pselect(int n, fd_set *in, fd_set *out, fd_set *error, const struct timespec *timeout,
                      const sigset_t *mask)
{
    sigset_t copy;

    return shim_real()->pselect(n, in, out, error, timeout, stripped(mask, &copy));
}

FL_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int n, int timeout, const sigset_t *mask)
{
    sigset_t copy;

    return shim_real()->epoll_pwait(fd, events, n, timeout, stripped(mask, &copy));
}

FL_EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int n, const struct timespec *timeout,
                           const sigset_t *mask)
{
    sigset_t copy;

    return shim_real()->epoll_pwait2(fd, events, n, timeout, stripped(mask, &copy));
}

FL_EXPORT int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *mask)
{
    sigset_t copy;

    return shim_real()->pthread_attr_setsigmask_np(attr, stripped(mask, &copy));
}
