/*
 * memcheck.c: memory that says what it should hold, changed and verified by processes and threads.
 *
 *   memcheck FILE MIB PROCESSES THREADS ROUNDS     MIB: of each process, a quarter of each kind
 *
 *   kinds   private anonymous | shared anonymous | a file, private | the file, shared
 *   word    seed 8 | kind 8 | page 16 | version 24 | place in the page 8
 *
 * A page belongs to one thread of one process, which alone writes it and knows its version. A round verifies
 * a page and makes it the next version, in one go or beginning at its end; now and then it forks a child that
 * verifies private pages of its parent's thread as they were, writes some, and verifies them again; gives
 * pages back (MADV_DONTNEED, munmap), which then must be zeros or the file's; or takes rights away for a
 * moment. What is wrong is told with what is there instead: zeros, an older version, or another page's words.
 */
#include "program.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define KINDS      4
#define WORDS      (PAGE / sizeof(uint64_t))
#define CHILD_LOOK 64 /* pages that a child verifies */

enum { PRIVATE_ANON, SHARED_ANON, PRIVATE_FILE, SHARED_FILE };

static const char *const kind_name[KINDS] = {"private", "shared", "private file", "shared file"};
static uint64_t *area[KINDS];
static uint32_t *version[KINDS]; /* of each page; 0: as it came: zeros */
static size_t npages;            /* of each kind, of one process */
static unsigned nthreads, rounds, process;

static uint64_t word_of(unsigned kind, size_t page, uint32_t v, size_t word)
{
    if (v == 0)
        return 0;
    return (uint64_t)(process + 1) << 56 | (uint64_t)kind << 48 | (uint64_t)page << 32 | (uint64_t)v << 8 |
           (word & 0xff);
}

static void tell(const char *who, unsigned kind, size_t page, uint32_t v, size_t word, uint64_t found)
{
    const uint64_t expected = word_of(kind, page, v, word);

    printf("memcheck: %s of process %u: %s page %zu (%p), word %zu: %016llx expected, version %u; found "
           "%016llx: ",
           who, process, kind_name[kind], page, (void *)(area[kind] + page * WORDS), word,
           (unsigned long long)expected, v, (unsigned long long)found);
    if (found == 0)
        puts("zeros");
    else if (found >> 32 == expected >> 32)
        printf("version %u\n", (unsigned)(found >> 8 & 0xffffff));
    else
        puts("not of this page");
    fflush(stdout);
}

/* Ends the program if the page does not hold version v. */
static void verify(const char *who, unsigned kind, size_t page, uint32_t v)
{
    const volatile uint64_t *at = area[kind] + page * WORDS;
    unsigned wrong = 0;

    for (size_t i = 0; i < WORDS; i++) {
        const uint64_t found = at[i];

        if (found != word_of(kind, page, v, i) && wrong++ < 3)
            tell(who, kind, page, v, i, found);
    }
    if (wrong != 0) {
        printf("memcheck: %u words of the page are wrong; now the first is %016llx\n", wrong,
               (unsigned long long)at[0]);
        fflush(stdout);
        _exit(EXIT_FAILURE);
    }
}

static void fill(unsigned kind, size_t page, uint32_t v, int backwards)
{
    volatile uint64_t *at = area[kind] + page * WORDS;

    for (size_t i = 0; i < WORDS; i++) {
        size_t word = backwards ? WORDS - 1 - i : i;
        at[word] = word_of(kind, page, v, word);
    }
}

/* The child of thread `td`: its private pages are as they were at the fork. */
static void child_looks(unsigned td, uint64_t seed)
{
    for (unsigned i = 0; i < CHILD_LOOK; i++) {
        unsigned kind = random_next(&seed) % 2 ? PRIVATE_ANON : PRIVATE_FILE;
        size_t page = random_next(&seed) % (npages / nthreads) * nthreads + td;
        uint32_t v = version[kind][page];

        verify("a child", kind, page, v);
        if (random_next(&seed) % 4 == 0) {
            fill(kind, page, v + 1000, 0);
            version[kind][page] = v + 1000;
        }
    }
    _exit(EXIT_SUCCESS);
}

static void child_end(pid_t child)
{
    int status;

    must(waitpid(child, &status, 0) == child);
    must(status == 0);
}

/* Page `page` of a private kind is given back, and holds what it held at first. */
static void give_back(unsigned kind, size_t page)
{
    uint64_t *at = area[kind] + page * WORDS;

    must(madvise(at, PAGE, MADV_DONTNEED) == 0);
    version[kind][page] = 0;
    verify("given back", kind, page, 0);
}

static void round_of_thread(unsigned td, uint64_t *seed, pid_t *child)
{
    unsigned kind = random_next(seed) % KINDS, what = random_next(seed) % 512;
    size_t page = random_next(seed) % (npages / nthreads) * nthreads + td;
    void *at = area[kind] + page * WORDS;

    verify("a thread", kind, page, version[kind][page]);
    if (what < 16 && (kind == PRIVATE_ANON || kind == PRIVATE_FILE)) {
        give_back(kind, page);
    } else if (what < 24) {
        must(mprotect(at, PAGE, PROT_READ) == 0);
        verify("protected", kind, page, version[kind][page]);
        must(mprotect(at, PAGE, PROT_READ | PROT_WRITE) == 0);
    } else if (what < 40) {
        if (*child > 0)
            child_end(*child);
        *child = fork();
        must(*child >= 0);
        if (*child == 0)
            child_looks(td, *seed);
    }
    if (what % 4 != 0)
        fill(kind, page, ++version[kind][page], what & 1);
}

static void *thread_main(void *arg)
{
    unsigned td = (unsigned)(uintptr_t)arg;
    uint64_t seed = 0x9e3779b97f4a7c15 * (process * 16 + td + 1);
    pid_t child = 0;

    for (unsigned i = 0; i < rounds; i++)
        round_of_thread(td, &seed, &child);
    if (child > 0)
        child_end(child);
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (size_t page = td; page < npages / nthreads * nthreads; page += nthreads)
            verify("at the end, a thread", kind, page, version[kind][page]);
    return NULL;
}

static void process_main(void)
{
    pthread_t thread[16];

    for (unsigned i = 0; i < nthreads; i++)
        must(pthread_create(&thread[i], NULL, thread_main, (void *)(uintptr_t)i) == 0);
    for (unsigned i = 0; i < nthreads; i++)
        must(pthread_join(thread[i], NULL) == 0);
}

/* The memory of the calling process. The file and the shared memory are longer: each process has its part. */
static void map_areas(int fd, unsigned nprocesses)
{
    const int rw = PROT_READ | PROT_WRITE;
    const size_t len = npages * PAGE;

    must(ftruncate(fd, (off_t)(len * (nprocesses + 1))) == 0); /* behind the shared parts: zeros, for all */
    area[PRIVATE_ANON] = mmap(NULL, len, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    area[PRIVATE_FILE] = mmap(NULL, len, rw, MAP_PRIVATE, fd, (off_t)(len * nprocesses));
    area[SHARED_FILE] = mmap(NULL, len * nprocesses, rw, MAP_SHARED, fd, 0);
    area[SHARED_ANON] = mmap(NULL, len * nprocesses, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        must(area[kind] != MAP_FAILED);
        version[kind] = calloc(npages, sizeof(*version[kind]));
        must(version[kind] != NULL);
    }
}

int main(int argc, char **argv)
{
    must(argc == 6);
    const unsigned nprocesses = (unsigned)atoi(argv[3]);
    pid_t child[16];
    int fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);

    npages = (size_t)atoi(argv[2]) * 256 / KINDS;
    nthreads = (unsigned)atoi(argv[4]);
    rounds = (unsigned)atoi(argv[5]);
    must(fd >= 0 && nprocesses <= 16 && nthreads > 0 && nthreads <= 16 && npages <= 0x10000);
    map_areas(fd, nprocesses);
    for (unsigned i = 0; i < nprocesses; i++) {
        child[i] = fork();
        must(child[i] >= 0);
        if (child[i] == 0) {
            process = i;
            area[SHARED_FILE] += i * npages * WORDS;
            area[SHARED_ANON] += i * npages * WORDS;
            process_main();
            _exit(EXIT_SUCCESS);
        }
    }
    for (unsigned i = 0; i < nprocesses; i++)
        child_end(child[i]);
    must(unlink(argv[1]) == 0);
    return ok();
}
