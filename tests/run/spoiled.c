/*
 * spoiled.c: spoiled CASE FILE: a mapped file that another program shortens,
 * lengthens, removes or replaces, that must not grow, or whose file system is
 * full. What it prints is the same under the kernel and under `faultline run`.
 *
 * The other program is the shell, so it has a view of its own of the file.
 */
#include "cases.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096ul

static const char *path;
static int fd;
static volatile unsigned char *map;
static size_t len; /* of the mapping: the file's length at first */
static sigjmp_buf bus;

static void on_bus(int signo)
{
    (void)signo;
    siglongjmp(bus, 1);
}

static void shell(const char *format, size_t argument)
{
    char command[8192];
    int n = snprintf(command, sizeof command, "file='%s'; ", path);

    snprintf(command + n, sizeof command - (size_t)n, format, argument);
    if (system(command) != 0)
        printf("the shell failed: %s\n", command);
}

/* The number at the start of a page, or the signal of the access. */
static void look(const char *what, size_t at)
{
    char digits[9] = "";

    if (sigsetjmp(bus, 1) != 0) {
        printf("%s: SIGBUS at %zu\n", what, at);
        return;
    }
    for (int i = 0; i < 8; i++)
        digits[i] = (char)map[at + (size_t)i];
    printf("%s: %s at %zu\n", what, digits[0] == 0 ? "zeros" : digits, at);
}

static void tell(const char *what, long result)
{
    printf("%s: %ld %s\n", what, result, result < 0 ? strerrorname_np(errno) : "");
}

static void store(size_t at, const char *text)
{
    for (size_t i = 0; text[i] != 0; i++)
        map[at + i] = (unsigned char)text[i];
}

static long size_now(void)
{
    struct stat st;
    return fstat(fd, &st) != 0 ? -1 : (long)st.st_size;
}

/*
 * A page that was not accessed yet is gone at once; a cached one is gone
 * at the program's next call on the file.
 */
static void shortened(void)
{
    size_t half = len / 2 / PAGE * PAGE + 100;
    char byte;

    look("before", PAGE);
    look("before", len - PAGE);
    shell("truncate -s %zu \"$file\"", half);
    look("absent, beyond the end", len - 999 * PAGE);
    tell("a read beyond the end", pread(fd, &byte, 1, (off_t)(len - PAGE)));
    look("cached, beyond the end", len - PAGE);
    look("the last page", half / PAGE * PAGE);
    look("behind it in the last page", half / PAGE * PAGE + 200);
    look("before the end", half - 300 * PAGE - 100);
    tell("the length", size_now());
    shell("truncate -s %zu \"$file\"", len);
    tell("a read where the end was", pread(fd, &byte, 1, (off_t)(len - PAGE)));
    look("long again", len - PAGE);
    look("long again, the page of the cut", half / PAGE * PAGE + 200);
    store(3 * PAGE, "storedA.");
    tell("msync", msync((void *)map, len, MS_SYNC));
}

static void shortened_while_read(void)
{
    size_t half = len / 2 / PAGE * PAGE;
    volatile size_t at = 0;
    volatile unsigned long sum = 0;

    if (sigsetjmp(bus, 1) == 0) {
        for (; at < len; at += PAGE) {
            sum += map[at + 7];
            if (at == half / 2)
                shell("truncate -s %zu \"$file\"", half);
        }
    }
    /* Read-ahead may have read pages a little beyond the end. */
    printf("ended %s the cut, sum of half of it %s\n", at >= half ? "at or behind" : "before",
           sum > half / PAGE * '0' ? "right" : "wrong");
}

static void lengthened(void)
{
    size_t longer = len + 100 * PAGE;

    munmap((void *)map, len);
    map = mmap(NULL, longer, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    look("beyond the end", len + 5 * PAGE);
    shell("truncate -s %zu \"$file\"", longer);
    look("lengthened", len + 5 * PAGE);
    shell("printf 00appended >>\"$file\"; true %zu", 0);
    tell("the length", size_now());
    store(len + 6 * PAGE, "storedB.");
    tell("msync", msync((void *)map, longer, MS_SYNC));
}

static void removed(void)
{
    unsigned char bytes[8];

    look("before", 0);
    shell("rm \"$file\"; true %zu", 0);
    for (size_t at = 0; at < len; at += 7 * PAGE)
        store(at, "storedC.");
    tell("msync", msync((void *)map, len, MS_SYNC));
    tell("fsync", fsync(fd));
    look("removed", 7 * PAGE);
    look("removed, not written", 8 * PAGE);
    tell("a read", pread(fd, bytes, 8, 14 * (off_t)PAGE));
    printf("%.8s\n", (char *)bytes);
    tell("a write", pwrite(fd, "written.", 8, 8 * (off_t)PAGE));
    look("written", 8 * PAGE);
    shell("head -c 16384 /dev/zero >\"$file\"; true %zu", 0);
    look("another of that name", 8 * PAGE);
}

static void replaced(void)
{
    look("before", 5 * PAGE);
    shell("cp \"$file\" \"$file.new\"; printf replaced | dd of=\"$file.new\" conv=notrunc seek=5 bs=%zu "
          "status=none; "
          "mv \"$file.new\" \"$file\"",
          PAGE);
    look("the old one", 5 * PAGE);
    store(6 * PAGE, "storedD.");
    tell("msync", msync((void *)map, len, MS_SYNC));

    int other = open(path, O_RDWR | O_CLOEXEC);
    volatile unsigned char *first = map;
    map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0);
    look("the new one", 5 * PAGE);
    look("the new one", 6 * PAGE);
    store(7 * PAGE, "storedE.");
    map = first;
    look("the old one", 7 * PAGE);
    close(other);
}

/* RLIMIT_FSIZE: a write across the limit is short, and one beyond it fails. */
static void limited(void)
{
    static char bytes[16 * PAGE];
    struct rlimit limit = {len + 2 * PAGE + 77, len + 2 * PAGE + 77};

    signal(SIGXFSZ, SIG_IGN);
    memset(bytes, 'w', sizeof bytes);
    setrlimit(RLIMIT_FSIZE, &limit);
    look("before", 0);
    tell("a write across", pwrite(fd, bytes, sizeof bytes, (off_t)(len - PAGE)));
    tell("a write behind", pwrite(fd, bytes, 10, (off_t)(len + 5 * PAGE)));
    tell("truncate", ftruncate(fd, (off_t)(len + 10 * PAGE)));
    tell("the length", size_now());
    look("written", len - PAGE);
    store(2 * PAGE, "storedF.");
    tell("msync", msync((void *)map, len, MS_SYNC));
}

/* The file system has room for only part of the writes: by mapped pages of a hole, then by a call. */
static void full(void)
{
    static char bytes[64 * PAGE];
    size_t hole = len + 256 * PAGE;
    volatile size_t i = 0;

    memset(bytes, 'w', sizeof bytes);
    tell("a hole", ftruncate(fd, (off_t)(len + 512 * PAGE)));
    map = mmap(NULL, len + 512 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shell("head -c %zu /dev/zero >\"$file.filler\" 2>/dev/null; true", (size_t)1 << 30);
    if (sigsetjmp(bus, 1) == 0)
        for (; i < 100; i++)
            store(hole + i * PAGE, "storedG.");
    printf("told at a store: %d\n", i < 100);
    tell("msync of what had room", msync((void *)map, len + 512 * PAGE, MS_SYNC));
    tell("a write", pwrite(fd, bytes, sizeof bytes, (off_t)(len + 400 * PAGE)));
    shell("rm \"$file.filler\"; true %zu", 0);
    for (i = 0; i < 100; i++)
        store(hole + i * PAGE, "storedH.");
    tell("with room again, a write", pwrite(fd, bytes, sizeof bytes, (off_t)(len + 400 * PAGE)));
    tell("then msync", msync((void *)map, len + 512 * PAGE, MS_SYNC));
    tell("then fsync", fsync(fd));
}

/* Which pages of [start, end) are in the file as they were stored; the first that is not. */
static size_t stored_until(size_t start, size_t end)
{
    char bytes[9] = "";

    for (; start < end; start += PAGE)
        if (pread(fd, bytes, 8, (off_t)start) != 8 || strcmp(bytes, "storedI.") != 0)
            break;
    return start;
}

/*
 * Far more is stored to a hole than the disk or memory has room for: a
 * program that handles the error goes on.
 */
static void sparse(void)
{
    size_t total = (size_t)64 << 20, hole = total - 500 * PAGE;
    volatile size_t at = len;
    int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    volatile int again = 0;

    shell("head -c %zu /dev/zero >\"$file.filler\"", (size_t)4 << 20);
    tell("a hole", ftruncate(fd, (off_t)total));
    map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (sigsetjmp(bus, 1) == 0)
        for (; at < total; at += PAGE)
            store(at, "storedI.");
    printf("told at a store: %d\n", at < total);
    tell("msync of what had room", msync((void *)map, total, MS_SYNC));
    printf("all of it is there: %d\n", stored_until(len, at) == at);
    look("a hole", hole);
    tell("a call that stores to it", read(zeros, (void *)(map + hole), PAGE));
    tell("a call that stores to one not looked at", read(zeros, (void *)(map + hole + 100 * PAGE), PAGE));
    tell("a call that reads it", pwrite(fd, (void *)(map + hole), PAGE, 0));
    for (volatile size_t i = 0; i < 3; i++)
        if (sigsetjmp(bus, 1) == 0)
            store(hole + i * PAGE, "storedI.");
        else
            again++;
    printf("told again: %d\n", again);
    shell("rm \"$file.filler\"; true %zu", 0);
    for (size_t i = 0; i < 200; i++)
        store(hole + i * PAGE, "storedI.");
    tell("with room again, a call", read(zeros, (void *)(map + hole + 300 * PAGE), PAGE));
    tell("then msync", msync((void *)map, total, MS_SYNC));
    tell("then fsync", fsync(fd));
    printf("all of that too: %d\n", stored_until(hole, hole + 200 * PAGE) == hole + 200 * PAGE);
}

static const struct named_case cases[] = {
    {"shortened", shortened},
    {"shortened_while_read", shortened_while_read},
    {"lengthened", lengthened},
    {"removed", removed},
    {"replaced", replaced},
    {"limited", limited},
    {"full", full},
    {"sparse", sparse},
};

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_bus};

    setvbuf(stdout, NULL, _IONBF, 0);
    path = argc > 2 ? argv[2] : "";
    fd = open(path, O_RDWR | O_CLOEXEC);
    len = (size_t)size_now();
    map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || map == MAP_FAILED)
        return 2;
    sigaction(SIGBUS, &action, NULL);
    return CASE_RUN(cases, argv[1]) ? 0 : 2;
}
