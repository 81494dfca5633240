/*
 * refault.c: what a fault on a resident page costs, against the bare primitive (signal, UFFDIO_CONTINUE,
 * return) alone; and what a page that is mapped already costs.
 *
 * Both sides take one page's mapping away with MADV_DONTNEED, out of the measured time, and touch the page
 * again: the same page cache hit in the same memfd, with nothing of ours on the bare side but the handler.
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <fcntl.h>
#include <faultline/faultline.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef UFFDIO_CONTINUE_MODE_WP /* Linux 6.4; Debian 12's headers are older */
#define UFFDIO_CONTINUE_MODE_WP ((uint64_t)1 << 1)
#endif

#define NPAGES ((size_t)1024)
#define ROUNDS 41

static int bare_uffd;

static void bare_handler(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    struct uffdio_continue c = {
        .range = {.start = (uintptr_t)info->si_addr & ~(BENCH_PAGE - 1), .len = BENCH_PAGE},
        .mode = UFFDIO_CONTINUE_MODE_WP,
    };
    if (ioctl(bare_uffd, UFFDIO_CONTINUE, &c) != 0)
        _exit(1);
}

/* A memfd full of pages, registered as the linux machine registers its views. */
static char *bare_setup(void)
{
    bare_uffd = (int)syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {
        .api = UFFD_API,
        .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP |
                    UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
    };
    int fd = memfd_create("bare", MFD_CLOEXEC);
    if (bare_uffd < 0 || ioctl(bare_uffd, UFFDIO_API, &api) != 0 || fd < 0 ||
        ftruncate(fd, NPAGES * BENCH_PAGE) != 0)
        bench_fail("userfaultfd", errno);
    char *fill = mmap(NULL, NPAGES * BENCH_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *view = mmap(NULL, NPAGES * BENCH_PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (fill == MAP_FAILED || view == MAP_FAILED)
        bench_fail("mmap", errno);
    memset(fill, 1, NPAGES * BENCH_PAGE);
    struct uffdio_register reg = {
        .range = {.start = (uintptr_t)view, .len = NPAGES * BENCH_PAGE},
        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP,
    };
    if (ioctl(bare_uffd, UFFDIO_REGISTER, &reg) != 0)
        bench_fail("UFFDIO_REGISTER", errno);
    return view;
}

/* Seconds for a touch of every page, in an order that no neighbour helps. */
static double touch_all(volatile char *base, bool unmap)
{
    if (unmap && syscall(__NR_madvise, base, NPAGES * BENCH_PAGE, MADV_DONTNEED) != 0)
        bench_fail("madvise", errno);
    double start = bench_now();
    for (size_t i = 0; i < NPAGES; i++)
        (void)base[(i * 389 % NPAGES) * BENCH_PAGE];
    return bench_now() - start;
}

static char *ours_setup(void)
{
    struct fl_options options = {.memory_limit_bytes = BENCH_LIMIT};
    struct fl_file *file;
    void *view = NULL;
    int fd = bench_open();
    if (fl_init(&options) != 0)
        bench_skip("resident page re-faulted", fl_init_error());
    int error = fl_open_fd(fd, &file);
    if (error == 0)
        error = fl_mmap(&view, NPAGES * BENCH_PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (error == 0)
        error = fl_madvise(view, NPAGES * BENCH_PAGE, MADV_RANDOM);
    if (error != 0)
        bench_fail("a mapping of ours", error);
    (void)touch_all(view, false);
    return view;
}

void bench_refault(void)
{
    double bare[ROUNDS], ours[ROUNDS];
    char *view = ours_setup();
    char *bare_view = bare_setup();
    struct sigaction action = {.sa_sigaction = bare_handler, .sa_flags = SA_SIGINFO}, our_action;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < ROUNDS; i++) {
        sigaction(SIGBUS, &action, &our_action);
        bare[i] = touch_all(bare_view, true);
        sigaction(SIGBUS, &our_action, NULL);
        ours[i] = touch_all(view, true);
    }
    double a = bench_median(ours, ROUNDS) / NPAGES * 1e9, b = bench_median(bare, ROUNDS) / NPAGES * 1e9;
    bench_report(&(struct bench_result){"resident page re-faulted, against the bare primitive", "ns", a, b,
                                        a / b, 1.3, false});
}

void bench_mapped(void)
{
    double plain[ROUNDS], ours[ROUNDS];
    char *view = ours_setup();
    char *memory = mmap(NULL, NPAGES * BENCH_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        bench_fail("mmap", errno);
    madvise(memory, NPAGES * BENCH_PAGE, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < ROUNDS; i++) {
        plain[i] = ours[i] = 0;
        for (int j = 0; j < 100; j++) {
            plain[i] += touch_all(memory, false);
            ours[i] += touch_all(view, false);
        }
    }
    double a = bench_median(ours, ROUNDS) / NPAGES * 1e7, b = bench_median(plain, ROUNDS) / NPAGES * 1e7;
    /* 1.05: what two runs over ordinary memory differ by; the TLB and the caches are the same for both. */
    bench_report(&(struct bench_result){"page already mapped, against ordinary memory", "ns", a, b, a / b,
                                        1.05, false});
}
