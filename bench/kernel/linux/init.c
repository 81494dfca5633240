/*
 * init.c: the first program in Debian's Linux, before the root of the kernel's own disk: as little as there
 * can be, because its time counts in Linux's boot.
 *
 *   modules of the disk ─▶ /dev/vda on /root, with /proc /dev /tmp ─▶ swap ─▶ the root becomes / ─▶ init=…
 *
 * The modules are the files /0, /1 … of the initial RAM disk (fetch). `root=`, `swap=` and `init=` are read
 * from the kernel's command line, and mean what they mean to the kernel that this repository has.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <unistd.h>

static void must(int result, const char *what)
{
    if (result == 0)
        return;
    perror(what);
    exit(EXIT_FAILURE);
}

static void load_modules(void)
{
    char path[16];
    int fd;

    for (int i = 0; snprintf(path, sizeof(path), "/%d", i), (fd = open(path, O_RDONLY)) >= 0; i++) {
        must((int)syscall(SYS_finit_module, fd, "", 0), path);
        close(fd);
    }
}

/* The value of a word `name=…` of the kernel's command line; or NULL. */
static char *word_of(char *line, const char *name)
{
    char *at = strstr(line, name), *value;

    if (at == NULL)
        return NULL;
    value = strdup(at + strlen(name));
    value[strcspn(value, " \n")] = 0;
    return value;
}

static void device_path(char *path, size_t max, const char *name)
{
    snprintf(path, max, "/dev/%s", name);
}

int main(int argc, char **argv)
{
    static char line[4096];
    char path[64], *init, *root, *swap;
    int fd;

    (void)argc;
    must(mount("proc", "/proc", "proc", 0, NULL), "mount /proc");
    must(mount("dev", "/dev", "devtmpfs", 0, NULL), "mount /dev");
    fd = open("/proc/cmdline", O_RDONLY);
    must(fd < 0 || read(fd, line, sizeof(line) - 1) < 0, "/proc/cmdline");
    close(fd);
    root = word_of(line, " root=");
    swap = word_of(line, " swap=");
    init = word_of(line, " init=");
    if (root != NULL) {
        load_modules();
        device_path(path, sizeof(path), root);
        must(mount(path, "/root", "ext2", 0, NULL), path);
    }
    if (swap != NULL) {
        device_path(path, sizeof(path), swap);
        must(swapon(path, 0), path);
    }
    must(mount("/proc", "/root/proc", NULL, MS_MOVE, NULL), "move /proc");
    must(mount("/dev", "/root/dev", NULL, MS_MOVE, NULL), "move /dev");
    must(mount("tmp", "/root/tmp", "tmpfs", 0, NULL), "mount /tmp");
    must(chdir("/root"), "/root");
    must(mount(".", "/", NULL, MS_MOVE, NULL), "move /");
    must(chroot("."), "chroot");
    must(chdir("/"), "/");
    argv[0] = init != NULL ? init : "/sbin/init";
    execv(argv[0], argv);
    perror(argv[0]);
    return EXIT_FAILURE;
}
