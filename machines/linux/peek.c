/*
 * peek.c: a second, read-only view of a few hot stretches of the memfd, so that copying out of
 * them is a plain copy. The kernel's own read of a memfd looks up and copies page by page, which
 * takes three times as long.
 *
 *     memfd   | chunk | chunk | chunk | …          2 MiB each
 *     slot    [0] [1] … [7]                        chunk n in slot n % 8, when it is worth it
 *
 * A view costs page faults when it is new, and makes punching its pages more expensive. So a chunk gets its
 * slot after it was read twice over, unless the chunk that has the slot was read as much meanwhile. A chunk
 * that is read once, as by a stream, never gets one. All views together are PEEK_SLOTS * PEEK_CHUNK long.
 * Pages that they show are counted twice in the process's resident size, but exist once.
 *
 * The program's memory may be unmapped. The copy is one instruction; when it faults, the handler of
 * SIGSEGV and SIGBUS ends it there (linux_peek_fault), as the kernel does with its own copies. So these
 * two signals are unblocked meanwhile, with no lock held; a handler of the program's runs then only if
 * another process sent one of them.
 *
 * Invariant: a slot that has users shows its chunk. Lock: peek_lock, a leaf of the machine's own. Does not
 * do: writing, which touches pages that the memfd does not have yet.
 */
#include "peek.h"
#include "fault.h"
#include "linux_sigaction.h"
#include "linux_syscall.h"
#include "memfd.h"

#include <sys/mman.h>
#include <ucontext.h>

#define PEEK_CHUNK ((uint64_t)2 << 20)
#define PEEK_SLOTS 8u
#define PEEK_WORTH (2 * PEEK_CHUNK) /* bytes to be read of a chunk before it gets a view */

static struct machine_lock peek_lock;

struct peek_slot {
    uint64_t chunk FL_GUARDED_BY(peek_lock);  /* shown; 0: none (the memfd's start is never used) */
    uint64_t wanted FL_GUARDED_BY(peek_lock); /* the chunk that was last read without being shown */
    uint64_t asked FL_GUARDED_BY(peek_lock);  /* bytes read of `wanted`, less those of `chunk` since */
    uint32_t users FL_GUARDED_BY(peek_lock);
};

static struct {
    /* PEEK_SLOTS chunks of addresses, set under the lock before the first view; NULL: not yet, or refused. */
    char *base;
    bool unavailable FL_GUARDED_BY(peek_lock); /* refused */
    struct peek_slot slot[PEEK_SLOTS];
} peek;

/* ---- views --------------------------------------------------------------------------------------------- */

static bool peek_reserve(void) FL_REQUIRES(peek_lock)
{
    if (peek.base != NULL || peek.unavailable)
        return peek.base != NULL;
    long base = linux_syscall(SYS_mmap, 0, PEEK_SLOTS * PEEK_CHUNK, PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    peek.unavailable = linux_syscall_failed(base);
    peek.base = peek.unavailable ? NULL : (char *)base;
    return !peek.unavailable;
}

static char *peek_addr(const struct peek_slot *slot)
{
    return peek.base + (uint64_t)(slot - peek.slot) * PEEK_CHUNK;
}

/*
 * Makes the slot show the chunk. It is mapped without rights first, and unlocked: under mlockall(MCL_FUTURE)
 * the kernel would otherwise allocate every page of it. A forked child gets no views. Returns false when the
 * kernel refused; the slot then shows nothing.
 */
static bool peek_map(struct peek_slot *slot, uint64_t chunk) FL_REQUIRES(peek_lock)
{
    char *addr = peek_addr(slot);
    long r = linux_syscall(SYS_mmap, addr, PEEK_CHUNK, PROT_NONE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                           linux_memfd_fd(), chunk * PEEK_CHUNK);
    bool shown = !linux_syscall_failed(r) && linux_syscall(SYS_munlock, addr, PEEK_CHUNK) == 0 &&
                 linux_syscall(SYS_madvise, addr, PEEK_CHUNK, MADV_DONTFORK) == 0 &&
                 linux_syscall(SYS_mprotect, addr, PEEK_CHUNK, PROT_READ) == 0;
    slot->chunk = shown ? chunk : 0;
    slot->asked = 0;
    return shown;
}

/* Returns the chunk's slot, with one more user, if the chunk is shown or is now worth a
 * view; otherwise NULL. */
static struct peek_slot *peek_get(uint64_t chunk, size_t len_bytes)
{
    struct peek_slot *slot = &peek.slot[chunk % PEEK_SLOTS];
    machine_lock(&peek_lock);
    bool shown = slot->chunk == chunk;
    if (shown) {
        slot->asked -= slot->asked < len_bytes ? slot->asked : len_bytes;
    } else {
        slot->asked = slot->wanted == chunk ? slot->asked + len_bytes : len_bytes;
        slot->wanted = chunk;
        shown = slot->asked > PEEK_WORTH && slot->users == 0 && peek_reserve() && peek_map(slot, chunk);
    }
    slot->users += shown;
    machine_unlock(&peek_lock);
    return shown ? slot : NULL;
}

static void peek_put(struct peek_slot *slot)
{
    machine_lock(&peek_lock);
    slot->users--;
    machine_unlock(&peek_lock);
}

/* ---- the copy ------------------------------------------------------------------------------------------ */

extern const char linux_peek_copying[], linux_peek_copied[];
__asm__(".pushsection .text\n"
        ".globl linux_peek_bytes, linux_peek_copying, linux_peek_copied\n"
        ".hidden linux_peek_bytes, linux_peek_copying, linux_peek_copied\n"
        ".type linux_peek_bytes, @function\n"
        "linux_peek_bytes:\n"
        "    .cfi_startproc\n"
        "    movq %rdx, %rcx\n"
        "linux_peek_copying:\n"
        "    rep movsb\n"
        "linux_peek_copied:\n"
        "    movq %rcx, %rax\n"
        "    ret\n"
        "    .cfi_endproc\n"
        ".size linux_peek_bytes, . - linux_peek_bytes\n"
        ".popsection\n");

bool linux_peek_fault(const siginfo_t *info, void *ucontext)
{
    greg_t *ip = &((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP];
    if (*ip != (greg_t)linux_peek_copying || info->si_code <= 0)
        return false;
    *ip = (greg_t)linux_peek_copied;
    return true;
}

size_t linux_peek(void *to, uint64_t offset, size_t len_bytes)
{
    size_t done = 0, left = 0;
    uint64_t saved;
    struct peek_slot *slot;
    while (done < len_bytes && left == 0) {
        uint64_t at = offset + done, within = at % PEEK_CHUNK;
        size_t len = PEEK_CHUNK - within < len_bytes - done ? PEEK_CHUNK - within : len_bytes - done;
        slot = peek_get(at / PEEK_CHUNK, len);
        if (slot == NULL)
            break;
        linux_sigmask_set(LINUX_SIGMASK_ALL & ~(LINUX_SIGMASK(SIGSEGV) | LINUX_SIGMASK(SIGBUS)), &saved);
        left = linux_peek_bytes((char *)to + done, peek_addr(slot) + within, len);
        linux_sigmask_set(saved, NULL);
        peek_put(slot);
        done += len - left;
    }
    return done;
}

void linux_peek_close(void)
{
    machine_lock(&peek_lock);
    if (peek.base != NULL)
        (void)linux_syscall(SYS_munmap, peek.base, PEEK_SLOTS * PEEK_CHUNK);
    peek.base = NULL;
    peek.unavailable = false;
    __builtin_memset(peek.slot, 0, sizeof(peek.slot));
    machine_unlock(&peek_lock);
}
