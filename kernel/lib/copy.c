/*
 * copy.c: between the kernel's memory and a program's: the addresses are checked here, the copies are the
 * machine's (support.S), and absent pages are brought in by the page faults that the copies take.
 */
#include "lib/copy.h"

#include <linux/errno.h>

#include "kernel.h"

/* Is [user, user + len_bytes) the program's? What lies below USER_START is never mapped, but its own. */
static bool user_range(uint64_t user, size_t len_bytes)
{
    return user <= USER_END && len_bytes <= USER_END - user;
}

static void *user_pointer(uint64_t user)
{
    return (void *)user;
}

int copyin(uint64_t user, void *kernel, size_t len_bytes)
{
    if (!user_range(user, len_bytes))
        return -EFAULT;
    return copy_user(kernel, user_pointer(user), len_bytes) == 0 ? 0 : -EFAULT;
}

int copyout(const void *kernel, uint64_t user, size_t len_bytes)
{
    if (!user_range(user, len_bytes))
        return -EFAULT;
    return copy_user(user_pointer(user), kernel, len_bytes) == 0 ? 0 : -EFAULT;
}

int zeroout(uint64_t user, size_t len_bytes)
{
    if (!user_range(user, len_bytes))
        return -EFAULT;
    return fill_user(user_pointer(user), len_bytes) == 0 ? 0 : -EFAULT;
}

int64_t copyinstr(uint64_t user, char *kernel, size_t max)
{
    size_t room = user < USER_END ? USER_END - user : 0;
    size_t len_bytes = max < room ? max : room;
    int64_t copied = copy_string(kernel, user_pointer(user), len_bytes);

    if (copied >= 0)
        return copied;
    return copied == -2 && len_bytes == max ? -ENAMETOOLONG : -EFAULT;
}

int casuword(uint64_t user, uint32_t *expected, uint32_t value)
{
    if ((user & 3) != 0 || !user_range(user, sizeof(value)))
        return -EFAULT;
    return casuword_io(user_pointer(user), expected, value, cpu_has_smap) == 0 ? 0 : -EFAULT;
}
