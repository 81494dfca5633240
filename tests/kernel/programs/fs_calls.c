/*
 * fs_calls.c: file-system calls and what they answer, line by line: as a program on Linux and on the kernel,
 * whose outputs must be equal.
 *
 *   fs_calls DIR      works in DIR, which exists and is empty, and leaves it empty
 *
 * Each line says which call, and its result or the error's name. Nothing is printed that may differ: no inode
 * numbers, times, device numbers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int line;

/* Prints the result of a call; returns it. */
static long said(const char *what, long result)
{
    if (result < 0)
        printf("%d %s: error %d\n", ++line, what, errno);
    else
        printf("%d %s: %ld\n", ++line, what, result);
    fflush(stdout);
    return result;
}
#define SAY(call) said(#call, (long)(call))

static char name[5000];

static const char *long_name(size_t len)
{
    memset(name, 'n', len);
    name[len] = 0;
    return name;
}

static void names(void)
{
    struct stat st;

    SAY(mkdir("d", 0755));
    SAY(mkdir("d", 0755));
    SAY(mkdir("d/", 0755));
    SAY(mkdir("new/", 0755));
    SAY(rmdir("new/"));
    SAY(mkdir("", 0755));
    SAY(mkdir("no/d", 0755));
    SAY(mkdir("/", 0755));
    SAY(mkdir(".", 0755));
    SAY(mkdir("d/..", 0755));
    SAY(close(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644)) * 0);
    SAY(open("f", O_CREAT | O_EXCL | O_WRONLY, 0644));
    SAY(open("f/", O_RDONLY));
    SAY(open("g/", O_CREAT | O_WRONLY, 0644));
    SAY(open("f/x", O_RDONLY));
    SAY(open("f", O_RDONLY | O_DIRECTORY));
    SAY(open("d", O_WRONLY));
    SAY(open("d", O_RDWR | O_CREAT, 0644));
    SAY(open("d", O_CREAT | O_RDONLY, 0644));
    SAY(open("", O_RDONLY));
    SAY(open(NULL, O_RDONLY));
    SAY(open((char *)8, O_RDONLY));
    SAY(open(long_name(255), O_RDONLY));
    SAY(open(long_name(256), O_RDONLY));
    SAY(open(long_name(4096), O_RDONLY));
    SAY(mkdir("f/x", 0755));
    SAY(rmdir("f"));
    SAY(unlink("d"));
    SAY(unlink("."));
    SAY(unlink("/"));
    SAY(unlink("f/"));
    SAY(unlink("nothing"));
    SAY(rmdir("."));
    SAY(rmdir("d/.."));
    SAY(rmdir("d/."));
    SAY(rmdir("/"));
    SAY(rmdir("nothing"));
    SAY(symlink("f", "l"));
    SAY(symlink("f", "l"));
    SAY(symlink("", "m"));
    SAY(symlink("x", ""));
    SAY(symlink("x", "new/"));
    SAY(symlink("loop", "loop"));
    SAY(symlink("d", "ld"));
    SAY(symlink("missing", "dangling"));
    SAY(open("loop", O_RDONLY));
    SAY(open("l", O_RDONLY | O_NOFOLLOW));
    SAY(open("loop/x", O_RDONLY));
    SAY(open("dangling", O_RDONLY));
    SAY(open("dangling", O_CREAT | O_EXCL | O_WRONLY, 0600));
    SAY(open("ld", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    SAY(close(open("ld/", O_RDONLY | O_DIRECTORY | O_NOFOLLOW)));
    SAY(close(open("dangling", O_CREAT | O_WRONLY, 0600)));
    SAY(stat("missing", &st));
    SAY(unlink("missing"));
    SAY(lstat("l", &st));
    printf("link mode %o size %ld\n", st.st_mode, (long)st.st_size);
    SAY(lstat("l/", &st));
    SAY(rmdir("ld"));
    SAY(unlink("ld/"));
    SAY(mkdir("ld/sub", 0700));
    SAY(rmdir("d/sub"));
    SAY(readlink("f", name, 10));
    SAY(readlink("l", name, 10));
    SAY(readlink("ld", name, 0));
    SAY(readlink("dangling", name, 3));
    SAY(link("f", "h"));
    SAY(link("f", "h"));
    SAY(link("d", "hd"));
    SAY(link("nothing", "hd"));
    SAY(link("l", "hl"));
    SAY(lstat("hl", &st));
    printf("hl mode %o\n", st.st_mode);
    SAY(linkat(AT_FDCWD, "l", AT_FDCWD, "hf", AT_SYMLINK_FOLLOW));
    SAY(stat("f", &st));
    printf("f nlink %ld mode %o\n", (long)st.st_nlink, st.st_mode);
    SAY(stat("d", &st));
    printf("d nlink %ld mode %o\n", (long)st.st_nlink, st.st_mode);
    SAY(unlink("hl"));
    SAY(unlink("hf"));
    SAY(unlink("h"));
    SAY(access("f", X_OK));
    SAY(access("f", R_OK | W_OK));
    SAY(access("d", X_OK));
    SAY(access("nothing", F_OK));
    SAY(access("f", 8));
}

static void renames(void)
{
    SAY(mkdir("a", 0755));
    SAY(mkdir("a/b", 0755));
    SAY(mkdir("e", 0755));
    SAY(rename("a", "a/b/c"));
    SAY(rename("a", "a/c"));
    SAY(rename("a/b", "a"));
    SAY(rename("a", "e"));
    SAY(rename("e/b", "e/b"));
    SAY(rename("e", "f"));
    SAY(rename("f", "e"));
    SAY(rename("f", "e/"));
    SAY(rename("f", "ff/"));
    SAY(rename("f/", "ff"));
    SAY(rename("nothing", "x"));
    SAY(rename("e/.", "x"));
    SAY(rename("e/..", "x"));
    SAY(rename("e", "."));
    SAY(rename("e", "nodir/x"));
    SAY(link("f", "f2"));
    SAY(rename("f", "f2"));
    SAY(access("f", F_OK));
    SAY(rename("f2", "f3"));
    SAY(renameat2(AT_FDCWD, "f3", AT_FDCWD, "f", RENAME_NOREPLACE));
    SAY(renameat2(AT_FDCWD, "f3", AT_FDCWD, "f4", RENAME_NOREPLACE));
    SAY(renameat2(AT_FDCWD, "f4", AT_FDCWD, "f5", 64));
    SAY(rename("f4", "f"));
    SAY(rename("e/b", "b"));
    SAY(mkdir("b/full", 0755));
    SAY(rename("e", "b"));
    SAY(rmdir("b"));
    SAY(rename("b", "e"));
    SAY(rmdir("e/full"));
    SAY(rmdir("e"));
    SAY(rename("f", "l/x"));
    SAY(rename("l", "k"));
    SAY(access("k", F_OK));
    SAY(rename("k", "l"));
}

static void bytes(void)
{
    char buffer[100], *hole = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec iov[3] = {{buffer, 3}, {NULL, 0}, {buffer + 10, 5}};
    struct stat st;
    int fd = open("f", O_RDWR);

    munmap(hole + 4096, 4096);
    SAY(write(fd, "0123456789", 10));
    SAY(pread(fd, buffer, 100, 4));
    SAY(pread(fd, buffer, 100, 10));
    SAY(pread(fd, buffer, 100, -1));
    SAY(pread(fd, buffer, 0, 3));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(lseek(fd, -20, SEEK_CUR));
    SAY(lseek(fd, 5, SEEK_END));
    SAY(lseek(fd, 0, 9));
    SAY(lseek(fd, 3, SEEK_DATA));
    SAY(lseek(fd, 3, SEEK_HOLE));
    SAY(lseek(fd, 10, SEEK_DATA));
    SAY(pwrite(fd, "x", 1, 20));
    SAY(pread(fd, buffer, 100, 8));
    printf("zeros between: %d %d %d\n", buffer[1] == '9', buffer[2] == 0, buffer[12] == 'x');
    SAY(lseek(fd, 0, SEEK_SET));
    SAY(readv(fd, iov, 3));
    SAY(readv(fd, iov, 0));
    SAY(readv(fd, iov, -1));
    SAY(readv(fd, iov, 1025));
    SAY(read(fd, NULL, 5));
    SAY(read(fd, (void *)-4096, 5));
    SAY(read(fd, (void *)0xffff800000000000, 5));
    SAY(write(fd, NULL, 5));
    SAY(ftruncate(fd, 8192));
    SAY(pread(fd, hole, 4096, 0));
    SAY(pread(fd, hole + 4000, 200, 0));
    SAY(pread(fd, hole + 4096, 200, 0));
    SAY(pwrite(fd, hole + 4000, 200, 0));
    SAY(pwrite(fd, hole + 4096, 200, 0));
    SAY(ftruncate(fd, -1));
    SAY(ftruncate(fd, 5));
    SAY(fstat(fd, &st));
    printf("size %ld\n", (long)st.st_size);
    SAY(truncate("f", 7));
    SAY(truncate("d", 7));
    SAY(truncate("nothing", 7));
    SAY(fallocate(fd, 0, 0, 100));
    SAY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 10000));
    SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 10));
    SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 10));
    SAY(fallocate(fd, 0, 0, 0));
    SAY(fallocate(fd, 0, -1, 5));
    SAY(fstat(fd, &st));
    printf("size %ld\n", (long)st.st_size);
    SAY(fsync(fd));
    SAY(fdatasync(fd));
    SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    SAY(posix_fadvise(fd, 0, 0, 77));
    SAY(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    SAY(sync_file_range(fd, 0, 0, 99));
    SAY(close(fd));
    SAY(close(fd));
    SAY(read(fd, buffer, 1));
    fd = open("f", O_WRONLY | O_APPEND);
    SAY(read(fd, buffer, 1));
    SAY(write(fd, "end", 3));
    SAY(lseek(fd, 0, SEEK_CUR));
    SAY(pwrite(fd, "E", 1, 0));
    SAY(lseek(fd, 0, SEEK_END));
    SAY(close(fd));
    fd = open("f", O_RDONLY);
    SAY(write(fd, "x", 1));
    SAY(ftruncate(fd, 1));
    SAY(fallocate(fd, 0, 0, 1));
    SAY(close(fd));
    fd = open("f", O_RDWR | O_TRUNC);
    SAY(lseek(fd, 0, SEEK_END));
    SAY(preadv2(fd, iov, 1, 0, 0));
    SAY(pwritev2(fd, iov, 1, -1, 0));
    SAY(pwritev2(fd, iov, 1, 0, 0x4000));
    SAY(close(fd));
    fd = open("d", O_RDONLY);
    SAY(read(fd, buffer, 1));
    SAY(write(fd, buffer, 1));
    SAY(fsync(fd));
    SAY(ftruncate(fd, 1));
    SAY(close(fd));
    munmap(hole, 4096);
}

static void descriptors(void)
{
    struct stat st;
    int fd = open("f", O_RDWR), fd2;

    SAY(dup2(fd, 20));
    SAY(dup2(fd, fd) == fd);
    SAY(dup2(fd, -1));
    SAY(dup2(99, 3));
    SAY(dup2(99, 99));
    SAY(dup3(fd, fd, 0));
    SAY(dup3(fd, 21, O_CLOEXEC));
    SAY(fcntl(21, F_GETFD));
    SAY(fcntl(20, F_GETFD));
    SAY(fcntl(20, F_SETFD, FD_CLOEXEC));
    SAY(fcntl(20, F_GETFD));
    SAY(fcntl(fd, F_DUPFD, 30));
    SAY(fcntl(fd, F_DUPFD, -1));
    SAY(fcntl(fd, F_DUPFD_CLOEXEC, 30));
    SAY(fcntl(31, F_GETFD));
    SAY(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    SAY(fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK));
    SAY(fcntl(20, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
    SAY(fcntl(fd, F_SETFL, 0));
    SAY(fcntl(fd, 9999));
    SAY(fcntl(99, F_GETFD));
    SAY(write(fd, "abc", 3));
    SAY(lseek(20, 0, SEEK_CUR));
    SAY(close_range(20, 40, 0));
    SAY(close(20));
    SAY(close_range(5, 4, 0));
    fd2 = open("f", O_PATH);
    SAY(read(fd2, name, 1));
    SAY(fstat(fd2, &st));
    SAY(fchmod(fd2, 0600));
    SAY(ftruncate(fd2, 0));
    SAY(lseek(fd2, 0, SEEK_SET));
    SAY(fcntl(fd2, F_GETFL) & O_PATH);
    SAY(fcntl(fd2, F_SETFL, 0));
    SAY(fchdir(fd2));
    SAY(close(fd2));
    fd2 = open("d", O_RDONLY | O_DIRECTORY);
    SAY(close(openat(fd2, "x", O_CREAT | O_WRONLY, 0600)) * 0);
    SAY(openat(fd, "x", O_RDONLY));
    SAY(openat(77, "x", O_RDONLY));
    SAY(fstatat(fd2, "x", &st, 0));
    SAY(fstatat(fd2, "", &st, 0));
    SAY(fstatat(fd2, "", &st, AT_EMPTY_PATH));
    SAY(fstatat(fd, "", &st, AT_EMPTY_PATH));
    SAY(fstatat(fd2, "x", &st, 0x40000));
    SAY(unlinkat(fd2, "x", AT_REMOVEDIR));
    SAY(unlinkat(fd2, "x", 77));
    SAY(unlinkat(fd2, "x", 0));
    SAY(fchdir(fd2));
    SAY(chdir(".."));
    SAY(close(fd2));
    SAY(chdir("f"));
    SAY(chdir("nothing"));
    SAY(syscall(SYS_getcwd, name, 1));
    SAY(syscall(SYS_getcwd, (char *)8, 3000));
    SAY(ioctl(fd, 0x5401, name));
    SAY(ioctl(99, 0x5401, name));
    SAY(close(fd));
    fd = memfd_create("m", 0);
    SAY(write(fd, "memory", 6));
    SAY(lseek(fd, 0, SEEK_END));
    SAY(fstat(fd, &st));
    printf("memfd nlink %ld size %ld\n", (long)st.st_nlink, (long)st.st_size);
    SAY(close(fd));
    SAY(memfd_create("m", 0x8000));
}

static void attributes(void)
{
    struct timespec times[2] = {{100, 5}, {200, 7}}, omit[2] = {{0, UTIME_OMIT}, {300, 0}},
                    bad[2] = {{0, -5}, {0, 0}};
    struct statx stx;
    struct stat st;

    SAY(umask(027));
    SAY(close(open("u", O_CREAT | O_WRONLY, 0666)));
    SAY(stat("u", &st));
    printf("mode %o\n", st.st_mode);
    SAY(umask(022));
    SAY(chmod("u", 06755));
    SAY(chown("u", 1, 2));
    SAY(stat("u", &st));
    printf("mode %o uid %d gid %d\n", st.st_mode, st.st_uid, st.st_gid);
    SAY(chown("u", -1, 5));
    SAY(stat("u", &st));
    printf("uid %d gid %d\n", st.st_uid, st.st_gid);
    SAY(chmod("nothing", 0));
    SAY(utimensat(AT_FDCWD, "u", times, 0));
    SAY(stat("u", &st));
    printf("atime %ld mtime %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
    SAY(utimensat(AT_FDCWD, "u", omit, 0));
    SAY(stat("u", &st));
    printf("atime %ld mtime %ld\n", (long)st.st_atim.tv_sec, (long)st.st_mtim.tv_sec);
    SAY(utimensat(AT_FDCWD, "u", bad, 0));
    SAY(utimensat(AT_FDCWD, "u", NULL, 5));
    SAY(statx(AT_FDCWD, "u", 0, STATX_BASIC_STATS, &stx));
    printf("statx mode %o size %ld nlink %d\n", stx.stx_mode, (long)stx.stx_size, stx.stx_nlink);
    SAY(statx(AT_FDCWD, "u", 0x80000, STATX_BASIC_STATS, &stx));
    SAY(unlink("u"));
    SAY(mknod("n", S_IFIFO | 0600, 0));
    SAY(mknod("n", S_IFIFO | 0600, 0));
    SAY(mknod("n2", S_IFDIR | 0600, 0));
    SAY(mknod("n2", 0600, 0));
    SAY(unlink("n2"));
    SAY(open("n", O_WRONLY | O_NONBLOCK));
    SAY(close(open("n", O_RDONLY | O_NONBLOCK)) * 0);
    SAY(unlink("n"));
}

static void pipes(void)
{
    static char big[70000];
    struct pollfd pfd[2];
    int p[2], n;

    signal(SIGPIPE, SIG_IGN);
    SAY(pipe2(p, O_NONBLOCK));
    SAY(read(p[0], big, 10));
    SAY(write(p[0], big, 10));
    SAY(read(p[1], big, 10));
    SAY(write(p[1], big, 70000));
    SAY(write(p[1], big, 1));
    SAY(ioctl(p[0], 0x541b, &n));
    printf("%d in the pipe\n", n);
    pfd[0] = (struct pollfd){p[0], POLLIN, 0};
    pfd[1] = (struct pollfd){p[1], POLLOUT, 0};
    SAY(poll(pfd, 2, 0));
    printf("events %x %x\n", pfd[0].revents, pfd[1].revents);
    SAY(read(p[0], big, 4096));
    SAY(write(p[1], big, 4097));
    SAY(write(p[1], big, 4096));
    SAY(read(p[0], big, 70000));
    SAY(lseek(p[0], 0, SEEK_SET));
    SAY(pread(p[0], big, 1, 0));
    SAY(fcntl(p[0], F_GETPIPE_SZ));
    SAY(fsync(p[0]));
    SAY(ftruncate(p[1], 0));
    SAY(write(p[1], NULL, 1));
    SAY(write(p[1], "abc", 3));
    SAY(read(p[0], NULL, 1));
    SAY(read(p[0], big, 10));
    SAY(poll(pfd, 2, 0));
    printf("events %x %x\n", pfd[0].revents, pfd[1].revents);
    SAY(close(p[1]));
    SAY(read(p[0], big, 10));
    SAY(poll(pfd, 1, -1));
    printf("events %x\n", pfd[0].revents);
    SAY(close(p[0]));
    SAY(pipe2(p, 0x7));
    SAY(pipe2(p, 0));
    SAY(close(p[0]));
    SAY(write(p[1], "x", 1));
    pfd[0] = (struct pollfd){p[1], POLLOUT, 0};
    SAY(poll(pfd, 1, 0));
    printf("events %x\n", pfd[0].revents);
    SAY(close(p[1]));
    pfd[0] = (struct pollfd){99, POLLIN, 0};
    SAY(poll(pfd, 1, 1000));
    printf("events %x\n", pfd[0].revents);
    SAY(poll(NULL, 0, 10));
    SAY(pipe((int *)8));
}

static void waits(void)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 7}, got[4];
    struct timeval soon = {0, 10000};
    uint64_t value = 5;
    fd_set in, out;
    int p[2], e, v;

    SAY(pipe(p));
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_SET(p[0], &in);
    FD_SET(p[1], &out);
    SAY(select(p[1] + 1, &in, &out, NULL, NULL));
    printf("in %d out %d\n", FD_ISSET(p[0], &in) != 0, FD_ISSET(p[1], &out) != 0);
    FD_SET(p[0], &in);
    SAY(select(p[1] + 1, &in, NULL, NULL, &soon));
    FD_SET(40, &in);
    SAY(select(41, &in, NULL, NULL, &soon));
    SAY(select(-1, NULL, NULL, NULL, NULL));
    v = eventfd(0, EFD_NONBLOCK);
    SAY(read(v, &value, 8));
    SAY(read(v, &value, 4));
    SAY(write(v, &value, 8));
    value = UINT64_MAX;
    SAY(write(v, &value, 8));
    value = UINT64_MAX - 1;
    SAY(write(v, &value, 8));
    SAY(read(v, &value, 8));
    printf("value %ld\n", (long)value);
    e = epoll_create1(0);
    SAY(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
    SAY(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &event));
    SAY(epoll_ctl(e, EPOLL_CTL_MOD, p[1], &event));
    SAY(epoll_ctl(e, EPOLL_CTL_DEL, p[1], NULL));
    SAY(epoll_ctl(e, EPOLL_CTL_ADD, 99, &event));
    SAY(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &event));
    SAY(epoll_wait(e, got, 4, 0));
    SAY(write(p[1], "x", 1));
    SAY(epoll_wait(e, got, 4, 1000));
    printf("events %x data %d\n", got[0].events, (int)got[0].data.u64);
    event.events = EPOLLIN | EPOLLONESHOT;
    SAY(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &event));
    SAY(epoll_wait(e, got, 4, 1000));
    SAY(epoll_wait(e, got, 4, 0));
    SAY(epoll_wait(e, got, 0, 0));
    SAY(close(p[1]));
    SAY(close(p[0]));
    SAY(close(e));
    SAY(close(v));
}

static void locks(void)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    int fd = open("f", O_RDWR), fd2 = open("f", O_RDWR);

    SAY(fcntl(fd, F_SETLK, &lock));
    fflush(stdout);
    if (fork() == 0) {
        struct flock other = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
        SAY(fcntl(fd2, F_SETLK, &other));
        other.l_type = F_RDLCK;
        SAY(fcntl(fd2, F_GETLK, &other));
        printf("type %d start %ld len %ld mine %d\n", other.l_type, (long)other.l_start, (long)other.l_len,
               other.l_pid == getppid());
        other = (struct flock){.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
        SAY(fcntl(fd2, F_SETLK, &other));
        other.l_start = 20;
        other.l_len = -5;
        SAY(fcntl(fd2, F_SETLK, &other));
        other.l_len = -30;
        SAY(fcntl(fd2, F_SETLK, &other));
        _exit(0);
    }
    wait(NULL);
    line += 5; /* the child's */
    lock.l_type = F_UNLCK;
    lock.l_start = 12;
    lock.l_len = 2;
    SAY(fcntl(fd, F_SETLK, &lock));
    lock.l_type = 77;
    SAY(fcntl(fd, F_SETLK, &lock));
    SAY(flock(fd, LOCK_EX));
    SAY(flock(fd2, LOCK_SH | LOCK_NB));
    SAY(flock(fd, LOCK_SH));
    SAY(flock(fd2, LOCK_SH | LOCK_NB));
    SAY(flock(fd2, LOCK_EX | LOCK_NB));
    SAY(flock(fd, LOCK_UN));
    SAY(flock(fd2, LOCK_EX | LOCK_NB));
    SAY(flock(fd, LOCK_SH | LOCK_EX));
    SAY(flock(99, LOCK_SH));
    lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    SAY(fcntl(fd, F_OFD_SETLK, &lock));
    SAY(fcntl(fd2, F_OFD_SETLK, &lock));
    SAY(close(fd));
    SAY(fcntl(fd2, F_OFD_SETLK, &lock));
    SAY(close(fd2));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listing(void)
{
    char *entry[300], file[32];
    int n = 0;

    for (int i = 0; i < 250; i++) {
        snprintf(file, sizeof(file), "d/entry-%d", i);
        close(open(file, O_CREAT | O_WRONLY, 0644));
    }
    DIR *dir = opendir("d");
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        entry[n++] = strdup(e->d_name);
    qsort(entry, (size_t)n, sizeof(entry[0]), by_name);
    printf("%d entries: %s %s … %s\n", n, entry[0], entry[1], entry[n - 1]);
    rewinddir(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            unlinkat(dirfd(dir), e->d_name, 0);
    closedir(dir);
    SAY(rmdir("d"));
    SAY(mkdir("d", 0755));
    SAY(chdir("d"));
    SAY(rmdir("../d"));
    SAY(open("x", O_CREAT | O_WRONLY, 0644));
    SAY(mkdir("x", 0755));
    SAY(syscall(SYS_getcwd, name, 3000));
    SAY(syscall(SYS_getdents64, open(".", O_RDONLY), name, 3000));
    SAY(chdir(".."));
}

static void copies(void)
{
    int in = open("f", O_RDWR), out = open("g", O_CREAT | O_RDWR, 0644);
    off_t offset = 2;

    SAY(ftruncate(in, 0));
    SAY(pwrite(in, "0123456789", 10, 0));
    SAY(sendfile(out, in, &offset, 5));
    SAY(offset);
    SAY(sendfile(out, in, NULL, 100));
    SAY(lseek(in, 0, SEEK_CUR));
    SAY(lseek(out, 0, SEEK_CUR));
    SAY(sendfile(out, in, NULL, 100));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, in, 0);
    map[3] = 'M';
    SAY(pread(in, name, 10, 0));
    printf("%.10s\n", name);
    SAY(pwrite(in, map, 5, 5));
    printf("%.15s\n", map);
    munmap(map, 4096);
    SAY(close(in));
    SAY(close(out));
    SAY(unlink("g"));
}

int main(int argc, char **argv)
{
    if (argc != 2 || chdir(argv[1]) != 0)
        return 2;
    close_range(3, 100, 0);
    umask(022);
    names();
    renames();
    bytes();
    descriptors();
    attributes();
    pipes();
    waits();
    locks();
    copies();
    listing();
    const char *const left[] = {"f", "f4", "l", "loop", "ld", "dangling", "d"};
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
        unlink(left[i]);
    SAY(chdir("/"));
    SAY(rmdir(argv[1]));
    SAY(mkdir(argv[1], 0755));
    return 0;
}
