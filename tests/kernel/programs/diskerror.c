/*
 * diskerror.c: diskerror FILE PAGE: a file, one of whose pages the disk can neither read nor write.
 *
 *   pread  EIO for that page, the bytes of the others          store, msync  EIO, once it is there
 *   load   SIGBUS at that page, the bytes of the others
 *
 * Nothing else suffers: the program goes on, and so does the file.
 */
#include "program.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static sigjmp_buf back;
static void *volatile address;

static void on_bus(int signal, siginfo_t *info, void *context)
{
    (void)signal, (void)context;
    address = info->si_addr;
    siglongjmp(back, 1);
}

static void reads(int fd, size_t npages, size_t bad)
{
    static unsigned char page[PAGE];

    for (size_t i = 0; i < npages; i++) {
        ssize_t got = pread(fd, page, PAGE, (off_t)(i * PAGE));
        must(i == bad ? got == -1 && errno == EIO : got == (ssize_t)PAGE && page[0] == 'a' + i % 26);
    }
}

static void loads(volatile unsigned char *map, size_t npages, size_t bad)
{
    for (volatile size_t i = 0; i < npages; i++) {
        address = NULL;
        if (sigsetjmp(back, 1) == 0)
            must(map[i * PAGE] == 'a' + i % 26);
        must(address == (i == bad ? (void *)(map + bad * PAGE) : NULL));
    }
}

/* The whole page is written over, so that it need not be read; then the disk refuses it. */
static void writes(int fd, size_t bad)
{
    static unsigned char page[PAGE];

    memset(page, 'A', PAGE);
    must(pwrite(fd, page, PAGE, (off_t)(bad * PAGE)) == (ssize_t)PAGE);
    must(fsync(fd) == -1 && errno == EIO);
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    struct stat st;

    must(argc == 3);
    int fd = open(argv[1], O_RDWR);
    size_t bad = strtoul(argv[2], NULL, 10);
    must(fd >= 0 && fstat(fd, &st) == 0 && sigaction(SIGBUS, &action, NULL) == 0);
    size_t npages = (size_t)st.st_size / PAGE;
    void *map = mmap(NULL, npages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    must(map != MAP_FAILED && bad < npages);
    reads(fd, npages, bad);
    loads(map, npages, bad);
    writes(fd, bad);
    return ok();
}
