/* access.c: see access.h. */
#include "conformance/access.h"
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static sigjmp_buf jump;
static volatile sig_atomic_t armed;
static unsigned nested;
static struct sigaction old_segv, old_bus;

static void on_fault(int signo, siginfo_t *info, void *context)
{
    (void)context;
    if (!armed)
        abort(); /* not from an access of this file: a real crash */
    if (signo == SIGBUS)
        siglongjmp(jump, ENXIO);
    siglongjmp(jump, info->si_code == SEGV_MAPERR ? EFAULT : EACCES);
}

void access_begin(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    if (nested++ == 0 &&
        (sigaction(SIGSEGV, &action, &old_segv) != 0 || sigaction(SIGBUS, &action, &old_bus) != 0))
        abort();
}

void access_end(void)
{
    if (--nested == 0 && (sigaction(SIGSEGV, &old_segv, NULL) != 0 || sigaction(SIGBUS, &old_bus, NULL) != 0))
        abort();
}

int access_bytes(void *to, const void *from, size_t len)
{
    int error = sigsetjmp(jump, 1);

    if (error == 0) {
        armed = 1;
        memcpy(to, from, len);
    }
    armed = 0;
    return -error;
}
