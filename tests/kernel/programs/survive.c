/*
 * survive.c: runs commands that may fail in any way, and does not fail itself.
 *
 *   survive TIMES COMMAND…     each COMMAND is a shell's, and says nothing
 *
 * On a kernel without enough memory, or with failnth=: calls may fail, programs may be ended, and the kernel
 * and this program go on. Process 1 is to be something else.
 */
#include "program.h"
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIES 1000

static void run(const char *command)
{
    pid_t child = -1;

    for (int tries = 0; child < 0 && tries < TRIES; tries++) {
        child = fork();
        if (child < 0)
            usleep(1000);
    }
    must(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);

        for (int fd = 0; fd < 3; fd++)
            dup2(null, fd);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    while (waitpid(child, NULL, 0) != child)
        ;
}

int main(int argc, char **argv)
{
    must(argc >= 3);
    for (int i = atoi(argv[1]); i > 0; i--)
        for (int command = 2; command < argc; command++)
            run(argv[command]);
    return ok();
}
