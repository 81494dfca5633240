/*
 * outside.c: what the kernel reads where no fault can be served, copied out of managed memory (outside.h):
 * what a new program is given, and the groups of a process.
 *
 *   heap:  path   argv ─▶ strings   envp ─▶ strings   file actions ─▶ paths
 *            └────────────────────┬──────────────────────┘
 *                                 ▼
 *   | strings | pointers |   one block of the kernel's, of this thread; the next call frees it
 *
 * With --anon these lie in the heap, and the kernel reads them where no fault can be served: execve
 * reads strings that the shim's table of calls does not know, and posix_spawn makes its calls in a
 * child that has every signal blocked and no handlers, where a trapped call would be the end.
 *
 * The block must live until the new program runs. A child of vfork, whose memory
 * is the parent's, leaves it to the parent's thread, which it shares.
 *
 * libc makes each change of a process's groups in every thread, also in the shim's, which block all signals.
 *
 * The file actions are an array of libc's own, whose layout (struct spawn_action) glibc has had since 2.29.
 *
 * Lock: none.
 */
#include "outside.h"
#include "real.h"
#include "window.h"
#include <limits.h>
#include <string.h>
#include <unistd.h>

enum spawn_tag {
    SPAWN_OPEN = 2,
    SPAWN_CHDIR = 3,
};

/* glibc's struct __spawn_action. */
struct spawn_action {
    int tag;
    union {
        struct {
            int fd;
            char *path;
            int flags;
            mode_t mode;
        } open;
        struct {
            char *path;
        } chdir;
        int words[6];
    };
};
_Static_assert(sizeof(struct spawn_action) == 32, "as glibc has it");

static _Thread_local struct block {
    char *memory; /* NULL: none */
    size_t len, used;
} block __attribute__((tls_model("initial-exec")));

/* ---- the block ------------------------------------------------------------------------------------ */

static bool block_open(struct block *own, size_t len)
{
    long memory = shim_memory(len);

    if (linux_syscall_failed(memory))
        return false;
    if (own->memory != NULL)
        shim_memory_free(own->memory, own->len);
    *own = (struct block){(char *)memory, len, 0};
    return true;
}

static void *block_take(struct block *own, const void *bytes, size_t len)
{
    void *copy = memcpy(own->memory + own->used, bytes, len);

    own->used += (len + 7) & ~(size_t)7;
    return copy;
}

static size_t string_len(const char *string)
{
    return string != NULL ? (strlen(string) + 8) & ~(size_t)7 : 0;
}

static char *string_take(struct block *own, const char *string)
{
    return string != NULL ? block_take(own, string, strlen(string) + 1) : NULL;
}

/* How many bytes a copy of the list takes, its NULL included. */
static size_t list_len(char *const *list)
{
    size_t len = 0;

    for (; list != NULL && *list != NULL; list++)
        len += string_len(*list) + sizeof *list;
    return len + sizeof *list;
}

static char *const *list_take(struct block *own, char *const *list)
{
    size_t n = 0;
    char **copy;

    if (list == NULL)
        return NULL;
    while (list[n] != NULL)
        n++;
    copy = block_take(own, list, (n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++)
        copy[i] = string_take(own, list[i]);
    return copy;
}

/* ---- file actions --------------------------------------------------------------------------------- */

static char **action_path(struct spawn_action *action)
{
    if (action->tag == SPAWN_OPEN)
        return &action->open.path;
    return action->tag == SPAWN_CHDIR ? &action->chdir.path : NULL;
}

static size_t actions_len(const posix_spawn_file_actions_t *actions)
{
    struct spawn_action *action = actions != NULL ? (struct spawn_action *)actions->__actions : NULL;
    size_t len = 0;

    for (int i = 0; action != NULL && i < actions->__used; i++) {
        char **path = action_path(&action[i]);

        len += sizeof *action + (path != NULL ? string_len(*path) : 0);
    }
    return len;
}

static void actions_take(struct block *own, const posix_spawn_file_actions_t *actions,
                         posix_spawn_file_actions_t *copy)
{
    struct spawn_action *action;

    *copy = *actions;
    if (actions->__actions == NULL)
        return;
    action = block_take(own, actions->__actions, (size_t)actions->__used * sizeof *action);
    for (int i = 0; i < actions->__used; i++) {
        char **path = action_path(&action[i]);

        if (path != NULL)
            *path = string_take(own, *path);
    }
    copy->__actions = (struct __spawn_action *)action;
}

/* ---- calls ---------------------------------------------------------------------------------------- */

void outside_spawn(const char **path, char *const **argv, char *const **envp,
                   const posix_spawn_file_actions_t **actions, posix_spawn_file_actions_t *copy)
{
    const posix_spawn_file_actions_t *own = actions != NULL ? *actions : NULL;

    if (!shim_config.anon ||
        !block_open(&block, string_len(*path) + list_len(*argv) + list_len(*envp) + actions_len(own)))
        return;
    *path = string_take(&block, *path);
    *argv = list_take(&block, *argv);
    *envp = list_take(&block, *envp);
    if (own != NULL) {
        actions_take(&block, own, copy);
        *actions = copy;
    }
}

void outside_exec(const char **path, char *const **argv, char *const **envp)
{
    outside_spawn(path, argv, envp, NULL, NULL);
}

/* The block is never freed, since the program may keep pointers into its environment. */
void outside_environ(void)
{
    struct block own = {NULL, 0, 0};
    bool managed = window_has((vm_offset_t)environ);

    if (!shim_config.anon || environ == NULL)
        return;
    for (char **string = environ; !managed && *string != NULL; string++)
        managed = window_has((vm_offset_t)*string);
    if (managed && block_open(&own, list_len(environ)))
        environ = (char **)(uintptr_t)list_take(&own, environ);
}

/* ---- groups ------------------------------------------------------------------------------------------ */

FL_EXPORT int setgroups(size_t n, const gid_t *groups)
{
    size_t len = n * sizeof *groups;
    long memory;
    int r;

    if (!shim_config.anon || n == 0 || n > NGROUPS_MAX)
        return shim_real()->setgroups(n, groups);
    memory = shim_memory(len);
    if (linux_syscall_failed(memory))
        return (int)shim_return(memory);
    r = shim_real()->setgroups(n, memcpy((void *)memory, groups, len));
    shim_memory_free((void *)memory, len);
    return r;
}

/* libc's own has the groups in the heap. */
FL_EXPORT int initgroups(const char *user, gid_t group)
{
    int n = NGROUPS_MAX;
    size_t len = (size_t)n * sizeof group;
    long memory;
    int r;

    if (!shim_config.anon)
        return shim_real()->initgroups(user, group);
    memory = shim_memory(len);
    if (linux_syscall_failed(memory))
        return (int)shim_return(memory);
    r = getgrouplist(user, group, (gid_t *)memory, &n);
    if (r >= 0)
        r = shim_real()->setgroups((size_t)n, (const gid_t *)memory);
    shim_memory_free((void *)memory, len);
    return r;
}
