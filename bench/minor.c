/*
 * minor.c: what an access to a page that is in memory costs: a load from a mapped page, a load from one that
 * lost its mapping, the first store to a clean one. The latter two against the kernel's own minor faults on a
 * shared mapping of the same file.
 *
 *   | x ............... | x ............... | x …      x: the pages that are used, one of FAULT_AROUND
 *
 * A load that faults on the kernel's side also maps those of the 16 pages around it that are in the page
 * cache (fault-around), and no advice switches that off. So only one of each aligned 16 pages is in the page
 * cache: under MADV_RANDOM a page is read alone. Then every touch is a fault of its own and maps one page. A
 * store maps no neighbours. The kernel's first store to a clean page includes the file system's part of it
 * (page_mkwrite).
 */
#define _GNU_SOURCE
#include "bench.h"
#include <errno.h>
#include <faultline/faultline.h>
#include <sys/mman.h>

#define NPAGES       ((size_t)1024)
#define FAULT_AROUND ((size_t)16)                         /* pages */
#define SPAN         (NPAGES * FAULT_AROUND * BENCH_PAGE) /* of the mapping */
#define ROUNDS       21

struct view {
    volatile char *base;
    int (*sync)(void *addr, size_t len_bytes, int flags);
};

/* The place of page i in an order that no neighbour helps. */
static size_t place(size_t i)
{
    return i * 389 % NPAGES * FAULT_AROUND * BENCH_PAGE;
}

static void load_all(const struct view *view)
{
    for (size_t i = 0; i < NPAGES; i++)
        (void)view->base[place(i)];
}

static void store_all(const struct view *view)
{
    for (size_t i = 0; i < NPAGES; i++)
        view->base[place(i)] = (char)i;
}

/* By the kernel's own call on both sides, as Faultline's page-out makes it. */
static void unmap_all(const struct view *view)
{
    if (madvise((void *)view->base, SPAN, MADV_DONTNEED) != 0)
        bench_fail("madvise", errno);
}

/* Every page is clean afterwards, and mapped. */
static void clean_all(const struct view *view)
{
    int error = view->sync((void *)view->base, SPAN, MS_SYNC);
    if (error != 0)
        bench_fail("msync", error);
    load_all(view);
}

/* What is measured on either side: access, after prepare and out of its time. */
struct fault {
    void (*prepare)(const struct view *view);
    void (*access)(const struct view *view);
};

/* ns a page. */
static double fault_ns(const struct view *view, const struct fault *fault)
{
    double seconds[ROUNDS];
    fault->access(view); /* all are in memory */
    for (size_t i = 0; i < ROUNDS; i++) {
        fault->prepare(view);
        double start = bench_now();
        fault->access(view);
        seconds[i] = bench_now() - start;
    }
    return bench_median(seconds, ROUNDS) / NPAGES * 1e9;
}

static struct bench_score our_side(int fd, const void *fault)
{
    char *base = bench_map_ours(fd, SPAN, PROT_READ | PROT_WRITE, MADV_RANDOM, NULL);
    struct view view = {base, fl_msync};
    return (struct bench_score){fault_ns(&view, fault), 0};
}

static struct bench_score kernel_side(int fd, const void *fault)
{
    char *base = bench_map_kernel(fd, SPAN, PROT_READ | PROT_WRITE, MADV_RANDOM);
    struct view view = {base, bench_kernel_msync};
    double ns = fault_ns(&view, fault);
    if (bench_cached_bytes(fd) != NPAGES * BENCH_PAGE)
        bench_fail("other pages than those that are used are in the page cache", EINVAL);
    return (struct bench_score){ns, 0};
}

static void against_kernel(const char *name, const struct fault *fault)
{
    const struct bench_side sides[] = {{"Faultline", our_side, fault, 0},
                                       {"the kernel", kernel_side, fault, BENCH_LIMIT}};
    struct bench_score score[2];
    bench_compare(name, bench_open(), sides, 2, score);
    bench_report_at_most(name, "ns", score[0], score[1], 1.3);
}

void bench_refault(void)
{
    static const struct fault fault = {unmap_all, load_all};
    against_kernel("resident page found again, against the kernel's minor fault", &fault);
}

void bench_first_store(void)
{
    static const struct fault fault = {clean_all, store_all};
    against_kernel("first store to a clean page, against the kernel's minor fault", &fault);
}

/* ---- mapped pages -------------------------------------------------------------------------------------- */

#define PASSES 100 /* over all pages in a round, since nothing faults */

static void keep(const struct view *view)
{
    (void)view;
}

static void load_again(const struct view *view)
{
    for (size_t i = 0; i < PASSES; i++)
        load_all(view);
}

static const struct fault no_fault = {keep, load_again};

static struct bench_score our_mapped(int fd, const void *arg)
{
    struct bench_score score = our_side(fd, arg);
    score.value /= PASSES;
    return score;
}

static struct bench_score ordinary_mapped(int fd, const void *arg)
{
    (void)fd;
    char *memory =
        mmap(NULL, SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || madvise(memory, SPAN, MADV_NOHUGEPAGE) != 0)
        bench_fail("mmap", errno);
    struct view view = {memory, bench_kernel_msync};
    store_all(&view);
    return (struct bench_score){fault_ns(&view, arg) / PASSES, 0};
}

void bench_mapped(void)
{
    static const char *const name = "page already mapped, against ordinary memory";
    static const struct bench_side sides[] = {{"Faultline", our_mapped, &no_fault, 0},
                                              {"ordinary memory", ordinary_mapped, &no_fault, 0}};
    struct bench_score score[2];
    bench_compare(name, bench_open(), sides, 2, score);
    /* 1.05: what two runs over ordinary memory differ by; the TLB and the caches are the same for both. */
    bench_report_at_most(name, "ns", score[0], score[1], 1.05);
}
