/*
 * store_swap_file_test.c: the unnamed swap file: that it has no name, holds what is written to it, takes
 * space only for that, and gives it back; the way without O_TMPFILE; and each error.
 */
#include "swap_file.h"
#include "stores.h"

#include <faultline/faultline.h>
#include <faultline/types.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define LEN_BYTES ((uint64_t)64 << 30) /* far more than the disk of a test has */
#define PAGES     32

static char dir[] = "swap_file_test.XXXXXX";
static char *pages; /* of the transfers */
static int done_error;

static void done(struct store_request *request, int error)
{
    (void)request;
    done_error = error;
}

static int transfer(struct store *store, enum store_op op, uint64_t page, uint32_t npages)
{
    void *addr[PAGES];
    for (uint32_t i = 0; i < npages; i++)
        addr[i] = pages + ptoa(i);
    struct store_request request = {.op = op,
                                    .flags = STORE_REQUEST_WAIT,
                                    .offset = ptoa(page),
                                    .len_bytes = ptoa(npages),
                                    .npages = npages,
                                    .addr = addr,
                                    .done = done};
    done_error = 1;
    store->ops->submit(store, &request);
    if (store->ops->wait != NULL)
        store->ops->wait(store, &request);
    return done_error;
}

static bool pages_are(int byte, uint32_t npages)
{
    for (size_t i = 0; i < ptoa(npages); i++)
        if (pages[i] != (char)byte)
            return false;
    return true;
}

static uint64_t space_of(struct store *store)
{
    struct stat st;
    assert_int_equal(fstat(fl_store_file_fd(store), &st), 0);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    return (uint64_t)st.st_blocks * 512;
}

static uint32_t names_in(const char *path)
{
    uint32_t n = 0;
    DIR *names = opendir(path);
    assert_non_null(names);
    for (struct dirent *name = readdir(names); name != NULL; name = readdir(names))
        n += strcmp(name->d_name, ".") != 0 && strcmp(name->d_name, "..") != 0;
    closedir(names);
    return n;
}

/* A file that works, in directory `where`: far pages, holes between them, space taken and given back. */
static void try_file(const char *where)
{
    struct store *store;
    uint64_t len_bytes = 0, last = atop(LEN_BYTES) - PAGES;
    assert_int_equal(swap_file_open(where, LEN_BYTES, &store), 0);
    assert_int_equal(store->ops->size(store, &len_bytes), 0);
    assert_int_equal(len_bytes, LEN_BYTES);
    uint64_t empty = space_of(store);
    assert_true(empty < ptoa(PAGES));
    memset(pages, 7, ptoa(PAGES));
    assert_int_equal(transfer(store, STORE_WRITE, 100, PAGES), 0);
    assert_int_equal(transfer(store, STORE_WRITE, last, PAGES), 0);
    assert_true(space_of(store) >= empty + ptoa(2 * PAGES));
    assert_int_equal(transfer(store, STORE_READ, last - PAGES, PAGES), 0);
    assert_true(pages_are(0, PAGES));
    assert_int_equal(transfer(store, STORE_READ, last, PAGES), 0);
    assert_true(pages_are(7, PAGES));
    assert_int_equal(store->ops->punch(store, ptoa(100), ptoa(PAGES)), 0);
    assert_int_equal(store->ops->punch(store, ptoa(last), ptoa(PAGES - 1)), 0);
    assert_true(space_of(store) <= empty + ptoa(PAGES / 2));
    assert_int_equal(transfer(store, STORE_READ, 100, PAGES), 0);
    assert_true(pages_are(0, PAGES));
    assert_int_equal(transfer(store, STORE_READ, last + PAGES - 1, 1), 0);
    assert_true(pages_are(7, 1));
    store->ops->close(store);
}

static void the_file_has_no_name_and_works(void **state)
{
    (void)state;
    uint32_t names = names_in(dir);
    try_file(dir);
    assert_int_equal(names_in(dir), names);
}

static void so_does_one_in_memory(void **state)
{
    (void)state;
    try_file("/dev/shm");
}

/* Makes every open with O_TMPFILE fail with `error`, in this process from now on. */
static void forbid_tmpfile(unsigned error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    assert_int_equal(open(dir, O_TMPFILE | O_RDWR, 0600), -1);
    assert_int_equal(errno, error);
}

/* What a child did: 0 when all of it held. */
static int in_child(void (*what)(void))
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        what();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void try_without_tmpfile(void)
{
    forbid_tmpfile(EOPNOTSUPP);
    try_file(dir);
}

static void without_o_tmpfile_a_name_is_removed(void **state)
{
    (void)state;
    uint32_t names = names_in(dir);
    assert_int_equal(in_child(try_without_tmpfile), 0);
    assert_int_equal(names_in(dir), names);
}

/* A smaller limit on file sizes is an error, and no signal. */
static void try_size_limit(void)
{
    struct store *store;
    struct rlimit limit = {ptoa(10), ptoa(10)};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || swap_file_open(dir, ptoa(11), &store) != -EFBIG ||
        swap_file_open(dir, ptoa(10), &store) != 0)
        _exit(1);
}

static void errors_say_what_is_wrong(void **state)
{
    (void)state;
    struct store *store;
    char name[64];
    assert_int_equal(swap_file_open(dir, 0, &store), -EINVAL);
    assert_int_equal(swap_file_open(dir, 4097, &store), -EINVAL);
    assert_int_equal(swap_file_open(dir, UINT64_MAX - 4095, &store), -EFBIG);
    assert_int_equal(swap_file_open("/nonexistent", 4096, &store), -ENOENT);
    snprintf(name, sizeof name, "%s/file", dir);
    int fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(swap_file_open(name, 4096, &store), -ENOTDIR);
    unlink(name);
    assert_int_equal(swap_file_open("/proc", 4096, &store), -ENOENT); /* neither O_TMPFILE nor new files */
    assert_int_equal(in_child(try_size_limit), 0);
}

static void tmpdir_is_asked(void **state)
{
    (void)state;
    struct store *store;
    assert_int_equal(setenv("TMPDIR", "/nonexistent", 1), 0);
    assert_int_equal(swap_file_open(swap_file_dir(), 4096, &store), -ENOENT);
    assert_int_equal(setenv("TMPDIR", dir, 1), 0);
    assert_int_equal(swap_file_open(swap_file_dir(), 4096, &store), 0);
    store->ops->close(store);
    unsetenv("TMPDIR");
    assert_int_equal(swap_file_open(swap_file_dir(), 4096, &store), 0);
    store->ops->close(store);
}

static void a_place_is_a_directory_or_a_new_name(void **state)
{
    (void)state;
    struct store *store;
    char name[64];
    uint32_t names = names_in(dir);
    assert_int_equal(swap_file_open_at(dir, 4096, &store), 0);
    store->ops->close(store);
    snprintf(name, sizeof name, "%s/swap", dir);
    assert_int_equal(swap_file_open_at(name, 4096, &store), 0);
    assert_true(space_of(store) == 0);
    assert_int_equal(names_in(dir), names);
    store->ops->close(store);
    int fd = open(name, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "bytes", 5), 5);
    assert_int_equal(swap_file_open_at(name, 4096, &store), -EEXIST);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 5);
    assert_int_equal(st.st_nlink, 1);
    close(fd);
    unlink(name);
    assert_int_equal(swap_file_open_at("/nonexistent/swap", 4096, &store), -ENOENT);
    assert_int_equal(swap_file_open_at(dir, 4097, &store), -EINVAL);
}

static int setup(void **state)
{
    (void)state;
    pages = mmap(NULL, ptoa(PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED || mkdtemp(dir) == NULL;
}

static int teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_file_has_no_name_and_works),
        cmocka_unit_test(so_does_one_in_memory),
        cmocka_unit_test(without_o_tmpfile_a_name_is_removed),
        cmocka_unit_test(errors_say_what_is_wrong),
        cmocka_unit_test(tmpdir_is_asked),
        cmocka_unit_test(a_place_is_a_directory_or_a_new_name),
    };
    return cmocka_run_group_tests_name("swap file", tests, setup, teardown);
}
