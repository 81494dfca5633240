/*
 * trap.c: system calls that are given managed memory, wherever
 * they are made: in the program, in libc, in any library.
 *
 *   syscall ─▶ seccomp: does an argument point into the window?  no ─▶ the kernel
 *                 │ yes, and not from linux_syscall
 *                 ▼
 *              SIGSYS ─▶ trap_signal ─▶ trap_call ─┬─ the mmap family ─▶ mapping.c
 *                                                 ├─ reads, writes of managed files ─▶ file_io.c
 *                                                 ├─ readv, sendmsg …─▶ vector_calls.c
 *                                                 ├─ in syscall_table: hold the buffers, call, drop
 *                                                 └─ unknown: hold what each pointer points at
 *
 * The filter outlives execve, and this handler does not. So the filter traps only calls with
 * an argument in the window: a program that was just started has none. For the same reason
 * the one address whose calls pass must be the same in every program: linux_syscall moves to
 * a page at a fixed address, and a program that inherits a filter needs no second one.
 *
 * A register that a call does not use may hold any value. A trap for its sake costs time in a program
 * that has the handler, and kills one that was just started: filter.c knows which registers count.
 *
 * The handler runs on the program's stack, with all signals blocked, and so uses little of it.
 * While a call sleeps, the program's own mask is in force, so that its signals interrupt the call.
 */
#include "trap.h"
#include "file_io.h"
#include "filter.h"
#include "gate.h"
#include "hold.h"
#include "mapping.h"
#include "syscall_table.h"
#include "user_copy.h"
#include "vector.h"
#include "window.h"
#include <linux/futex.h>
#include <unistd.h>

#define TRAP_ARGS          6
#define TRAP_FUTEX_RETRIES 100
#define TRAP_FUTEX_LOOK_NS 5000000
#define TRAP_UNKNOWN_BYTES (2 * VM_PAGE_SIZE)
/* The page to which linux_syscall's instruction is moved. */
#define TRAP_GATE (LINUX_WINDOW_START - VM_PAGE_SIZE)

/* ---- issuing --------------------------------------------------------------------------------------- */

static long trap_raw(long number, const uint64_t arg[TRAP_ARGS])
{
    return linux_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

long trap_issue(long number, const uint64_t arg[TRAP_ARGS], const sigset_t *mask)
{
    sigset_t blocked;
    long r;

    linux_syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, &blocked, _NSIG / 8);
    r = trap_raw(number, arg);
    linux_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, _NSIG / 8);
    return r;
}

static size_t arg_len(const struct syscall_arg *rule, const uint64_t arg[TRAP_ARGS])
{
    if (rule->kind == ARG_STRING)
        return VM_PAGE_SIZE;
    return rule->len_arg < 0 ? rule->len : arg[rule->len_arg] * rule->len;
}

/*
 * Holds what one argument points at, in several pieces if need be, at most a chunk. Memory that
 * cannot be held is left out: if the call needs it, the kernel says EFAULT. Errors: -ENOMEM.
 */
static int hold_arg(struct hold **held, vm_offset_t va, size_t len, vm_prot_t access)
{
    size_t most = hold_chunk_bytes();
    int error = 0;

    if (!window_has(va))
        return 0;
    if (len > most)
        len = most;
    while (error == 0 && len > 0) {
        size_t n = len;

        error = hold_add(held, va, &n, access);
        va += n;
        len -= n;
    }
    return error == -ENOMEM ? -ENOMEM : 0;
}

static long call_and_drop(const struct syscall_rule *rule, long number, const uint64_t arg[TRAP_ARGS],
                          const sigset_t *mask)
{
    struct hold *held = NULL;
    long r = 0;

    for (int i = 0; r == 0 && i < SYSCALL_ARGS_MAX && rule->arg[i].kind != ARG_END; i++) {
        const struct syscall_arg *a = &rule->arg[i];

        r = hold_arg(&held, arg[a->arg], arg_len(a, arg), a->kind == ARG_OUT ? VM_PROT_WRITE : VM_PROT_READ);
    }
    if (r == 0)
        r = trap_issue(number, arg, mask);
    hold_drop(&held);
    return r;
}

/* Whether a call may be repeated after EFAULT. One without output said so before it did anything. */
static bool may_repeat(const struct syscall_rule *rule)
{
    for (int i = 0; i < SYSCALL_ARGS_MAX && rule->arg[i].kind != ARG_END; i++)
        if (rule->arg[i].kind == ARG_OUT)
            return rule->flow == FLOW_ASK;
    return true;
}

static vm_offset_t first_managed(const struct syscall_rule *rule, const uint64_t arg[TRAP_ARGS])
{
    for (int i = 0; i < SYSCALL_ARGS_MAX && rule->arg[i].kind != ARG_END; i++)
        if (window_has(arg[rule->arg[i].arg]))
            return arg[rule->arg[i].arg];
    return 0;
}

static long call_once(const struct syscall_rule *rule, long number, const uint64_t arg[TRAP_ARGS],
                      const sigset_t *mask)
{
    vm_offset_t va = may_repeat(rule) ? first_managed(rule, arg) : 0;
    unsigned tries = 0;
    long r;

    do {
        r = call_and_drop(rule, number, arg, mask);
    } while (r == -EFAULT && va != 0 && hold_again(va, &tries));
    return r;
}

/*
 * A call that is not in the table: holds the two pages at
 * each pointer, for writing where the mapping is writable.
 */
static long call_unknown(long number, const uint64_t arg[TRAP_ARGS], const sigset_t *mask)
{
    struct hold *held = NULL;
    struct fl_region region;
    long r = 0;

    for (int i = 0; r == 0 && i < TRAP_ARGS; i++) {
        if (!window_has(arg[i]) || fl_space_region(fl_space(), arg[i], &region) != 0)
            continue;
        if (region.start <= arg[i] && !region.reserved)
            r = hold_arg(&held, arg[i], TRAP_UNKNOWN_BYTES - (arg[i] & VM_PAGE_MASK),
                         (region.prot & VM_PROT_WRITE) != 0 ? VM_PROT_WRITE : VM_PROT_READ);
    }
    if (r == 0)
        r = trap_issue(number, arg, mask);
    hold_drop(&held);
    return r;
}

/* ---- transfers longer than a chunk ----------------------------------------------------------------- */

/*
 * A file gives all that is asked for, so a read of it goes on until 0 or an error, also after a turn
 * that was short because its memory was taken away. A pipe, a socket or a terminal may give less, and
 * the read ends there. A socket's messages must not be cut, so its turns are as long as possible.
 */
enum turns {
    TURNS_LONG = 0x1,  /* a turn is a whole chunk */
    TURNS_GO_ON = 0x2, /* a complete turn is followed by another */
    TURNS_FILE = 0x4,  /* … and so is a short one */
    TURNS_AGAIN = 0x8, /* EFAULT loses nothing: the turn may be repeated */
};

static unsigned turns_of(const struct syscall_rule *rule, long number, const uint64_t arg[TRAP_ARGS])
{
    int fd = (int)arg[0];
    bool writes = rule->flow == FLOW_WRITE, named = number == SYS_recvfrom && arg[4] != 0;
    struct stat st = {0};
    unsigned turns = writes ? TURNS_GO_ON : 0;

    if (number == SYS_getrandom)
        return TURNS_GO_ON | TURNS_AGAIN;
    if (linux_syscall(SYS_fstat, fd, &st) != 0)
        return turns;
    if (vector_keeps_data(fd, st.st_mode, writes) && !named)
        turns |= TURNS_AGAIN;
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        turns |= TURNS_GO_ON | TURNS_FILE;
    return S_ISSOCK(st.st_mode) ? turns | TURNS_LONG : turns;
}

static long call_in_turns(const struct syscall_rule *rule, long number, const uint64_t arg[TRAP_ARGS],
                          const sigset_t *mask)
{
    const struct syscall_arg *buffer = &rule->arg[0];
    size_t len = arg[buffer->len_arg];
    unsigned turns = turns_of(rule, number, arg), tries = 0;
    uint64_t turn[TRAP_ARGS];
    size_t done = 0;
    long r = 0;

    if (!window_has(arg[buffer->arg]) || len == 0 ||
        window_reserved_from(arg[buffer->arg]) >= len) /* nothing to hold, so nothing to cut */
        return call_once(rule, number, arg, mask);
    __builtin_memcpy(turn, arg, sizeof turn);
    for (;;) { /* ends: each turn moves something, or is counted */
        struct hold *held = NULL;
        bool called = false;
        size_t most = (turns & TURNS_LONG) != 0 ? hold_chunk_bytes() : hold_turn_bytes();
        size_t n = len - done < most ? len - done : most;

        r = hold_add(&held, arg[buffer->arg] + done, &n,
                     buffer->kind == ARG_OUT ? VM_PROT_WRITE : VM_PROT_READ);
        for (int i = 1; r == 0 && i < SYSCALL_ARGS_MAX && rule->arg[i].kind != ARG_END; i++)
            r = hold_arg(&held, arg[rule->arg[i].arg], arg_len(&rule->arg[i], arg),
                         rule->arg[i].kind == ARG_OUT ? VM_PROT_WRITE : VM_PROT_READ);
        if (r == 0) {
            turn[buffer->arg] = arg[buffer->arg] + done;
            turn[buffer->len_arg] = n;
            if (rule->offset_arg != 0)
                turn[rule->offset_arg] = arg[rule->offset_arg] + done;
            r = trap_issue(number, turn, mask);
            called = true;
        }
        hold_drop(&held);
        if (r == -EFAULT && called && (turns & TURNS_AGAIN) != 0 &&
            hold_again(arg[buffer->arg] + done, &tries))
            continue;
        if (r <= 0)
            break;
        done += (size_t)r;
        tries = 0;
        if (done == len || (turns & TURNS_GO_ON) == 0 || ((size_t)r < n && (turns & TURNS_FILE) == 0))
            break;
    }
    return done > 0 ? (long)done : r;
}

/* ---- calls with a way of their own ------------------------------------------------------------------ */

/* Makes the pages that a futex call names resident, without holding them. */
static int futex_touch(const uint64_t arg[TRAP_ARGS])
{
    int error = 0;

    for (int a = 0; error == 0 && a < TRAP_ARGS; a++) {
        struct hold *held = NULL;

        if (a != 0 && a != 3 && a != 4)
            continue;
        error = hold_arg(&held, arg[a], sizeof(uint64_t), a == 3 ? VM_PROT_READ : VM_PROT_WRITE);
        hold_drop(&held);
    }
    return error;
}

/*
 * No slot is left, so a hand-over could not wake this thread. Instead of the futex
 * wait it sleeps for a few milliseconds, and returns as after a spurious wake-up.
 */
static long futex_look_again(const uint64_t arg[TRAP_ARGS], const sigset_t *mask)
{
    const struct timespec moment = {0, TRAP_FUTEX_LOOK_NS};
    const uint64_t sleep[TRAP_ARGS] = {(uint64_t)&moment};
    int operation = (int)arg[1] & FUTEX_CMD_MASK;

    if (operation != FUTEX_WAIT && operation != FUTEX_WAIT_BITSET)
        return trap_issue(SYS_futex, arg, mask);
    return trap_issue(SYS_nanosleep, sleep, mask);
}

/*
 * A futex wait may be long, so its page is made resident but not held: if it is evicted
 * before the kernel looks at it, the kernel says EFAULT, and the call is made again.
 */
static long call_futex(const uint64_t arg[TRAP_ARGS], const sigset_t *mask)
{
    long r = -EFAULT;

    for (int i = 0; r == -EFAULT && i < TRAP_FUTEX_RETRIES; i++) {
        int slot = gate_futex_begin(arg[0]);

        r = futex_touch(arg);
        if (r == 0)
            r = slot != GATE_NO_SLOT ? trap_issue(SYS_futex, arg, mask) : futex_look_again(arg, mask);
        gate_futex_end(slot);
    }
    return r;
}

/* Changes the mask that becomes the thread's when the handler returns. */
static long call_sigprocmask(const uint64_t arg[TRAP_ARGS], sigset_t *mask)
{
    uint64_t *now = (uint64_t *)mask;
    uint64_t old = *now;
    uint64_t set;

    if (arg[3] != sizeof set)
        return -EINVAL;
    if (arg[1] != 0) {
        if (user_copy_in(&set, (const void *)arg[1], sizeof set) != 0)
            return -EFAULT;
        set &= ~(1ull << (SIGBUS - 1) | 1ull << (SIGSEGV - 1) | 1ull << (SIGSYS - 1));
        switch (arg[0]) {
        case SIG_BLOCK:
            *now |= set;
            break;
        case SIG_UNBLOCK:
            *now &= ~set;
            break;
        case SIG_SETMASK:
            *now = set;
            break;
        default:
            return -EINVAL;
        }
    }
    return arg[2] != 0 ? user_copy_out((void *)arg[2], &old, sizeof old) : 0;
}

/* -ENOSYS: not of the mmap family. */
static long call_mapping(long number, const uint64_t arg[TRAP_ARGS])
{
    switch (number) {
    case SYS_mmap:
        return mapping_mmap(arg[0], arg[1], (int)arg[2], (int)arg[3], (int)arg[4], arg[5]);
    case SYS_munmap:
        return mapping_munmap(arg[0], arg[1]);
    case SYS_mprotect:
        return mapping_mprotect(arg[0], arg[1], (int)arg[2]);
    case SYS_mremap:
        return mapping_mremap(arg[0], arg[1], arg[2], (int)arg[3], arg[4]);
    case SYS_msync:
        return mapping_msync(arg[0], arg[1], (int)arg[2]);
    case SYS_madvise:
        return mapping_madvise(arg[0], arg[1], (int)arg[2]);
    case SYS_mincore:
        return mapping_mincore(arg[0], arg[1], (unsigned char *)arg[2]);
    case SYS_mlock:
    case SYS_mlock2:
        return mapping_mlock(arg[0], arg[1], number == SYS_mlock2 ? (unsigned)arg[2] : 0);
    case SYS_munlock:
        return mapping_munlock(arg[0], arg[1]);
    case SYS_remap_file_pages:
        return mapping_remap_file_pages(arg[0], arg[1], (int)arg[2], arg[3], (int)arg[4]);
    default:
        return -ENOSYS;
    }
}

/* The kernel's call, with what it touches held. */
static long call_held(long number, const uint64_t arg[TRAP_ARGS], const sigset_t *mask)
{
    const struct syscall_rule *rule = syscall_rule(number);
    long r = vector_call(number, arg, mask);

    if (r != -ENOSYS)
        return r;
    if (rule == NULL)
        return call_unknown(number, arg, mask);
    return rule->flow == FLOW_READ || rule->flow == FLOW_WRITE ? call_in_turns(rule, number, arg, mask)
                                                               : call_once(rule, number, arg, mask);
}

long trap_call(long number, const uint64_t arg[TRAP_ARGS], sigset_t *mask)
{
    struct file_io io;
    struct iovec piece;
    long r;

    if (!shim_on())
        return trap_issue(number, arg, mask);
    if (number == SYS_futex)
        return call_futex(arg, mask);
    if (number == SYS_rt_sigprocmask)
        return call_sigprocmask(arg, mask);
    r = call_mapping(number, arg);
    if (r != -ENOSYS)
        return r;
    if (!file_io_of_call(number, arg, &io, &piece))
        return call_held(number, arg, mask);
    if (file_io(&io, &r))
        return r;
    r = call_held(number, arg, mask);
    if (io.writes)
        file_io_after(&io);
    return r;
}

#define TRAP_PROBE SYS_getpgid
static _Atomic bool trap_probed; /* a call of this number with an argument in the window was trapped */

/* ---- the signal ------------------------------------------------------------------------------------ */

bool trap_signal(siginfo_t *info, void *ucontext)
{
    ucontext_t *uc = ucontext;
    greg_t *reg = uc->uc_mcontext.gregs;
    const uint64_t arg[TRAP_ARGS] = {(uint64_t)reg[REG_RDI], (uint64_t)reg[REG_RSI], (uint64_t)reg[REG_RDX],
                                     (uint64_t)reg[REG_R10], (uint64_t)reg[REG_R8],  (uint64_t)reg[REG_R9]};
    bool ours = false;

    if (info->si_code != 1 /* SYS_SECCOMP */)
        return false;
    for (int i = 0; i < TRAP_ARGS; i++) /* in the zone, too: an inherited filter may trap there */
        ours |= window_has(arg[i]) || zone_has(arg[i]);
    trap_probed |= info->si_syscall == TRAP_PROBE;
    if (ours)
        reg[REG_RAX] = trap_call(info->si_syscall, arg, &uc->uc_sigmask);
    return ours;
}

/* ---- the start ------------------------------------------------------------------------------------- */

/* Makes a call with an argument that every filter of Faultline traps. */
static bool filter_is_there(void)
{
    trap_probed = false;
    (void)syscall(TRAP_PROBE, ZONE_END);
    return trap_probed;
}

int trap_gate(void)
{
    return linux_syscall_move(TRAP_GATE);
}

int trap_start(void)
{
    return filter_is_there() ? 0 : filter_install(ZONE_END, LINUX_WINDOW_END);
}
