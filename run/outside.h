/* outside.h: copies of a new program's arguments outside of managed memory (outside.c). */
#ifndef RUN_OUTSIDE_H
#define RUN_OUTSIDE_H

#include "shim.h"
#include <spawn.h>

/*
 * Replaces *path, *argv and *envp, each of which may be NULL, by copies, for as long as this thread does not
 * ask for others. They stay as they are without --anon, and when there is no memory for copies. Context:
 * signals as the program has them; a child of vfork, too.
 */
void outside_exec(const char **path, char *const **argv, char *const **envp);
/* The same, and *actions, whose copy lies in *copy. */
void outside_spawn(const char **path, char *const **argv, char *const **envp,
                   const posix_spawn_file_actions_t **actions, posix_spawn_file_actions_t *copy);
/* The same for the program's environment, for good: libc hands it to a program by itself. */
void outside_environ(void);

#endif
