/*
 * kernel_init.c: /sbin/init of the kernel's disk.
 *
 *   init                      a shell on the console; when it ends, or by `poweroff`, the computer does
 *   init PROGRAM ARGUMENT…    that program instead of the shell
 *   init -l FILE              one program after the other: a line of FILE is a program and its arguments
 *
 * With -l it says `init: begin LINE` and `init: STATUS LINE` around each. The computer's status, which QEMU
 * returns (isa-debug-exit), is that of the program, or 1 if one of the list failed. A status is 7 bits: the
 * program's own up to 63, or 64 and the number of the signal that killed it.
 *
 * Under Linux the program writes the status to the port itself; the kernel of this repository does so when
 * the first process ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEBUG_EXIT_PORT 0xf4
#define OWN_MAX         63 /* statuses of programs; above them, signals */
#define WORDS_MAX       32

static volatile sig_atomic_t off_asked;

static void on_off(int signal)
{
    (void)signal;
    off_asked = 1;
}

_Noreturn static void power_off(int status)
{
    sync();
    /* Linux marks the file system clean. A kernel that cannot remount has nothing to mark. */
    mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
    if (iopl(3) == 0)
        outl((unsigned)status, DEBUG_EXIT_PORT);
    _exit(status);
}

static int status_of(int waited)
{
    int own = WEXITSTATUS(waited);

    if (WIFSIGNALED(waited))
        return OWN_MAX + 1 + WTERMSIG(waited);
    return own < OWN_MAX ? own : OWN_MAX;
}

static pid_t start(char *const argv[], const char *path)
{
    pid_t child = fork();

    if (child != 0)
        return child;
    signal(SIGUSR1, SIG_DFL);
    signal(SIGUSR2, SIG_DFL);
    setsid();
    ioctl(STDIN_FILENO, TIOCSCTTY, 1); /* Ctrl-C is its; a console without job control refuses, and is used */
    execvp(path, argv);
    fprintf(stderr, "init: %s: %s\n", path, strerror(errno));
    _exit(EXIT_FAILURE);
}

/* Waits for `child`, and meanwhile for processes that lost their parents. */
static int wait_for(pid_t child)
{
    int waited = 0;
    pid_t ended;

    if (child < 0) {
        perror("init: fork");
        return EXIT_FAILURE;
    }
    while ((ended = wait(&waited)) != child)
        if (off_asked || (ended < 0 && errno != EINTR))
            return 0;
    return status_of(waited);
}

/* Cuts a line into words; the array ends with NULL. */
static void words_of(char *line, char *words[WORDS_MAX + 1])
{
    int n = 0;

    for (char *word = strtok(line, " \n"); word != NULL && n < WORDS_MAX; word = strtok(NULL, " \n"))
        words[n++] = word;
    words[n] = NULL;
}

static int run_list(const char *path)
{
    char line[512], copy[512], *words[WORDS_MAX + 1];
    FILE *list = fopen(path, "re");
    bool failed = false;

    if (list == NULL) {
        perror(path);
        return EXIT_FAILURE;
    }
    while (!off_asked && fgets(line, sizeof(line), list) != NULL) {
        line[strcspn(line, "\n")] = 0;
        strcpy(copy, line);
        words_of(copy, words);
        if (words[0] == NULL)
            continue;
        printf("init: begin %s\n", line);
        int status = wait_for(start(words, words[0]));
        printf("init: %d %s\n", status, line);
        failed |= status != 0;
    }
    fclose(list);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static char *shell[] = {"-sh", NULL}; /* the dash: a login shell, which reads /etc/profile */
    struct sigaction off = {.sa_handler = on_off};

    sigaction(SIGUSR1, &off, NULL); /* BusyBox's halt and poweroff */
    sigaction(SIGUSR2, &off, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    setenv("PATH", "/bin:/sbin:/test", 1);
    setenv("HOME", "/", 1);
    setenv("TERM", "vt100", 1);
    if (argc > 2 && strcmp(argv[1], "-l") == 0)
        power_off(run_list(argv[2]));
    power_off(wait_for(argc > 1 ? start(argv + 1, argv[1]) : start(shell, "/bin/sh")));
}
