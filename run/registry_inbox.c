/*
 * registry_inbox.c: how Faultline processes ask each other for a file (registry_inbox.h).
 *
 *   inbox_ask ─┬─▶ peer.asked + 1                      found within a second: registry_anything_asked
 *              └─▶ datagram to @faultline-UID-OWNER ─▶ watch.c's thread: registry_socket, registry_asked
 *
 * The request itself is WANTED in the record; the datagram only wakes the other process. It
 * is lost when the queue is full, or the other process lives in another network namespace.
 */
#include "registry_inbox.h"
#include "registry.h"
#include "registry_memory.h"
#include <linux_fd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

struct inbox_message {
    uint64_t dev, ino;
};

static int inbox_fd = -1;           /* constant once it is open */
static _Atomic uint32_t asked_seen; /* peer.asked at the last registry_anything_asked */

/* ---- asking ---------------------------------------------------------------------------------------- */

static socklen_t inbox_address(struct sockaddr_un *address, uint64_t owner)
{
    int len;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    len = snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "faultline-%u-%lx",
                   (unsigned)linux_syscall(SYS_geteuid), (unsigned long)owner);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

void inbox_ask(uint64_t owner, dev_t dev, ino_t ino)
{
    const struct inbox_message message = {dev, ino};
    struct sockaddr_un address;
    socklen_t len = inbox_address(&address, owner);

    owner_peer(owner)->asked++;
    linux_syscall(SYS_sendto, inbox_fd, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL, &address, len);
}

void registry_wake_self(void)
{
    if (registry != NULL)
        inbox_ask(registry_me, 0, 0);
}

/* ---- being asked ----------------------------------------------------------------------------------- */

int registry_socket(void)
{
    return inbox_fd;
}

bool registry_asked(dev_t *dev, ino_t *ino)
{
    struct inbox_message message;

    if (inbox_fd < 0 ||
        linux_syscall(SYS_recvfrom, inbox_fd, &message, sizeof message, MSG_DONTWAIT) != (long)sizeof message)
        return false;
    *dev = message.dev;
    *ino = message.ino;
    return true;
}

bool registry_anything_asked(void)
{
    uint32_t asked = registry != NULL ? registry_self->asked : 0;

    return atomic_exchange(&asked_seen, asked) != asked;
}

/* ---- the socket ------------------------------------------------------------------------------------ */

void inbox_open(void)
{
    struct sockaddr_un address;
    socklen_t len = inbox_address(&address, registry_me);
    int fd = (int)linux_syscall(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    asked_seen = registry_self->asked;
    if (fd < 0)
        return;
    inbox_fd = linux_fd_dup(fd);
    linux_syscall(SYS_close, fd);
    if (inbox_fd >= 0)
        (void)linux_syscall(SYS_bind, inbox_fd, &address, len);
}

void inbox_fork_child(void)
{
    if (inbox_fd >= 0)
        linux_syscall(SYS_close, inbox_fd);
    inbox_fd = -1;
}
