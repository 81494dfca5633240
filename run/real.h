/*
 * real.h: libc's own functions behind the names that the shim exports.
 */
#ifndef RUN_REAL_H
#define RUN_REAL_H

#include "shim.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

struct shim_real {
#define X(name) __typeof__(&name) name;
    SHIM_REAL_LIST(X)
#undef X
};

/*
 * Looks them all up at the first call: the constructor's, or that of a library that is initialised before
 * the shim.
 */
const struct shim_real *shim_real(void);

#endif
