/*
 * main.c: how the kernel comes up, and how it goes down.
 *
 *   kernel_main ─▶ disks, swap, the thread of alarms ─▶ process 1 ─▶ init_main: fs_boot, exec of init
 *   init ends, reboot(2) ─▶ kernel_down: everything is written back, and the computer switched off
 *
 * The command line, as Linux has it: words, which double quotes may hold together.
 *
 *   root=vda           the disk with the root; without it the root is a tmpfs
 *   swap=vdb           the disk that is the swap space
 *   init=/bin/sh       process 1; else /sbin/init, /init, /bin/init, /bin/sh, whichever is there
 *   unknown=1          system calls that are missing are named on the console, each once
 *   strace=1           all system calls are
 *   panic_on_exit=1    a panic when init ends with a status other than 0
 *   failnth=100        once init runs, each 100th allocation of the kernel's for a program fails
 *   -- arguments …     of init
 *   NAME=value         goes to init's environment, if it is none of these
 */
#include <linux/errno.h>
#include <linux/resource.h>

#include "dev/blkdev.h"
#include "fs/boot.h"
#include "fs/file.h"
#include "fs/tty.h"
#include "kernel.h"
#include "kmem.h"
#include "proc/proc.h"
#include "string.h"
#include "sys/syscall.h"

#define LINE_MAX  1024
#define WORDS_MAX 32

/* All (c) after kernel_main has read the command line. */
static char line[LINE_MAX];
static const char *root_device, *swap_device, *init_path;
static bool panic_on_exit;
static uint32_t fail_nth;
static const char *init_argv[WORDS_MAX + 2];
static const char *init_envp[WORDS_MAX + 4] = {"HOME=/", "PATH=/sbin:/bin:/usr/sbin:/usr/bin", "TERM=vt100"};
static uint32_t nargv = 1, nenvp = 3;

/* ---- the command line ------------------------------------------------------------------------------ */

/* The next word at *text, without its quotes; *text moves behind it. NULL: there is none. */
static char *next_word(char **text)
{
    char *from = *text, *to, *word;
    bool quoted = false;

    while (*from == ' ')
        from++;
    if (*from == 0)
        return NULL;
    for (word = to = from; *from != 0 && (quoted || *from != ' '); from++) {
        if (*from == '"')
            quoted = !quoted;
        else
            *to++ = *from;
    }
    *text = *from != 0 ? from + 1 : from;
    *to = 0;
    return word;
}

/* The value if the word is name=value; NULL: it is not. */
static const char *value_of(const char *word, const char *name)
{
    size_t len_bytes = strlen(name);

    return strncmp(word, name, len_bytes) == 0 && word[len_bytes] == '=' ? word + len_bytes + 1 : NULL;
}

static bool is_yes(const char *value)
{
    return strcmp(value, "0") != 0;
}

static uint32_t number_of(const char *digits)
{
    uint32_t number = 0;

    for (; *digits >= '0' && *digits <= '9'; digits++)
        number = number * 10 + (uint32_t)(*digits - '0');
    return number;
}

static void read_word(const char *word)
{
    const char *value;

    if ((value = value_of(word, "root")) != NULL)
        root_device = value;
    else if ((value = value_of(word, "swap")) != NULL)
        swap_device = value;
    else if ((value = value_of(word, "init")) != NULL)
        init_path = value;
    else if ((value = value_of(word, "unknown")) != NULL)
        syscall_tells_unknown = is_yes(value);
    else if ((value = value_of(word, "strace")) != NULL)
        syscall_tells_all = is_yes(value);
    else if ((value = value_of(word, "panic_on_exit")) != NULL)
        panic_on_exit = is_yes(value);
    else if ((value = value_of(word, "failnth")) != NULL)
        fail_nth = number_of(value);
    else if (strchr(word, '=') != NULL && nenvp < WORDS_MAX)
        init_envp[nenvp++] = word;
    else
        printf("the command line's \"%s\" means nothing here\n", word);
}

static void read_command_line(const char *command_line)
{
    char *text = line, *word;
    bool for_init = false;

    if (strlcpy(line, command_line, LINE_MAX) >= LINE_MAX)
        printf("the command line is longer than %d bytes: its end is cut off\n", LINE_MAX - 1);
    while ((word = next_word(&text)) != NULL) {
        if (!for_init && strcmp(word, "--") == 0)
            for_init = true;
        else if (!for_init)
            read_word(word);
        else if (nargv <= WORDS_MAX)
            init_argv[nargv++] = word;
    }
}

/* ---- up -------------------------------------------------------------------------------------------- */

int kernel_swapon(const char *device)
{
    struct store *store = blkdev_find(strncmp(device, "/dev/", 5) == 0 ? device + 5 : device);

    return store != NULL ? fl_swapon(store) : -ENOENT;
}

static void init_limits(struct proc *proc)
{
    for (int i = 0; i < RLIMITS; i++)
        proc->rlimit_cur[i] = proc->rlimit_max[i] = FL_NO_LIMIT;
    proc->rlimit_cur[RLIMIT_STACK] = UINT64_C(8) << 20;
    proc->rlimit_cur[RLIMIT_CORE] = 0;
    proc->rlimit_cur[RLIMIT_NOFILE] = 1024;
    proc->rlimit_max[RLIMIT_NOFILE] = 4096;
    proc->rlimit_cur[RLIMIT_NICE] = proc->rlimit_max[RLIMIT_NICE] = 0;
    proc->rlimit_cur[RLIMIT_RTPRIO] = proc->rlimit_max[RLIMIT_RTPRIO] = 0;
}

/* Becomes the program at the path. Errors: of kernel_exec. */
static int init_exec(const char *path)
{
    init_argv[0] = path;
    return kernel_exec(path, init_argv, init_envp);
}

/* Process 1's thread, before it is a program. */
static void init_main(void *arg __attribute__((unused)))
{
    static const char *const usual[] = {"/sbin/init", "/init", "/bin/init", "/bin/sh"};
    int error = fs_boot(root_device);

    if (error != 0)
        panic("no root: error %d of %s", -error, root_device != NULL ? root_device : "tmpfs");
    if (init_path != NULL) {
        error = init_exec(init_path);
    } else {
        error = -ENOENT;
        for (uint32_t i = 0; error != 0 && i < sizeof(usual) / sizeof(usual[0]); i++)
            error = init_exec(usual[i]);
    }
    if (error != 0)
        panic("no init: error %d of %s", -error, init_argv[0]);
    kmem_fail_every(fail_nth);
}

static void start_init(void)
{
    struct proc *proc = proc_alloc();
    struct thread *td = thread_create("init", init_main, NULL, true);
    int error = -ENOMEM;

    if (proc != NULL && td != NULL) {
        init_limits(proc);
        proc->fd = filedesc_create();
        proc->fs = fs_context_create();
        td->td_proc = proc;
        machine_lock(&proc_lock);
        error = proc_insert_locked(proc, NULL);
        td->td_tid = proc->pid;
        thread_insert_locked(proc, td);
        machine_unlock(&proc_lock);
    }
    if (error != 0 || proc->fd == NULL || proc->fs == NULL)
        panic("no memory for process 1");
    thread_start(td);
}

void kernel_main(const char *command_line)
{
    struct thread *alarms;
    int error;

    read_command_line(command_line);
    blkdev_init();
    if (swap_device != NULL) {
        error = kernel_swapon(swap_device);
        if (error != 0)
            printf("no swap on %s: error %d\n", swap_device, -error);
    }
    alarms = thread_create("itimer", itimer_run, NULL, false);
    if (alarms == NULL)
        panic("no memory for the thread of alarms");
    thread_start(alarms);
    start_init();
    thread_exit();
}

/* ---- down ------------------------------------------------------------------------------------------ */

void kernel_down(bool restart, unsigned code)
{
    int error = fs_unmount_all();

    if (error != 0)
        printf("not everything could be written back: error %d\n", -error);
    if (restart)
        reboot();
    poweroff(code);
}

void init_exited(int status)
{
    int code = (status & 0x7f) != 0 ? 128 + (status & 0x7f) : status >> 8;

    if (panic_on_exit && code != 0)
        panic("init has ended with status %d", code);
    if (code != 0)
        printf("init has ended with status %d\n", code);
    kernel_down(false, (unsigned)code);
}

/* ---- what the machine asks for --------------------------------------------------------------------- */

void kernel_console_input(unsigned char c)
{
    tty_input(c);
}

void kernel_panic_report(void)
{
    const struct proc *proc = curproc();

    if (proc != NULL)
        printf("process %d (%s), thread %d\n", proc->pid, proc->comm, curthread()->td_tid);
    fl_vm_check(); /* says which one does not, if it comes back at all */
    printf("the VM's invariants hold\n");
}
