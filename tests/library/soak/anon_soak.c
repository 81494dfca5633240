/*
 * anon_soak.c: threads that use several times the memory limit of private memory, for as long as one likes:
 * anonymous memory and private mappings of a file, with a swap file.
 *
 *   thread ─▶ chunks of CHUNK pages, each a mapping of its own: store, load, advise, unmap and map anew, grow
 *             and shrink, protect, lock. It knows what each of its pages shows
 *   main   ─▶ watches: a thread that makes no step for STUCK_S seconds is a hang
 *
 *   anon_soak [SECONDS [THREADS [PERCENT]]]    PERCENT of the limit may hold compressed pages
 *                                              FAULTLINE_SEED=n: that seed
 *
 * It ends with 0 when no byte was wrong, nothing hung, the limit held, and swap was used. `make soak` runs it
 * for ten minutes, a ctest for some seconds.
 */
#include "support/require.h"
#include <faultline/faultline.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE        4096ul
#define WORDS       (PAGE / sizeof(uint64_t))
#define CHUNK       64 /* pages */
#define ANON_CHUNKS 40 /* of a thread */
#define FILE_CHUNKS 24
#define CHUNKS      (ANON_CHUNKS + FILE_CHUNKS)
#define LIMIT       (16ul << 20)
#define SWAP_BYTES  (512ul << 20)
#define THREADS_MAX 64
#define STUCK_S     60

#ifndef MADV_COLD
#define MADV_COLD    20
#define MADV_PAGEOUT 21
#endif

/* What a page shows. */
enum shows {
    UNTOUCHED, /* zeros, or the file */
    ZEROS,     /* which were stored */
    STAMP,
    FREED, /* STAMP, or zeros since MADV_FREE */
};

struct chunk {
    uint64_t *at;
    unsigned char shows[CHUNK];
    uint32_t stamp[CHUNK];
};

struct worker {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    struct chunk chunk[CHUNKS];
    _Atomic uint64_t steps;
};

static struct worker worker[THREADS_MAX];
static struct fl_file *file; /* FILE_CHUNKS chunks of file_word */
static atomic_bool stop;

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
}

static unsigned below(struct worker *w, unsigned n)
{
    w->random = mix(w->random + 0x632be59bd9b4e019u);
    return (unsigned)(w->random >> 20) % n;
}

/* ---- what is right ------------------------------------------------------------------------------------- */

static uint64_t file_word(uint64_t page, unsigned k)
{
    return mix(page * WORDS + k + 77);
}

static bool of_file(unsigned c)
{
    return c >= ANON_CHUNKS;
}

static uint64_t stamp_word(const struct worker *w, unsigned c, unsigned p, unsigned k)
{
    uint64_t page = ((uint64_t)w->number * CHUNKS + c) * CHUNK + p;
    uint32_t stamp = w->chunk[c].stamp[p];
    return mix(page << 32 | stamp) + (stamp % 2 == 0 ? 0 : mix(k)); /* every second one can be compressed */
}

static uint64_t right_word(const struct worker *w, unsigned c, unsigned p, unsigned k)
{
    switch (w->chunk[c].shows[p]) {
    case UNTOUCHED:
        return of_file(c) ? file_word((uint64_t)(c - ANON_CHUNKS) * CHUNK + p, k) : 0;
    case ZEROS:
        return 0;
    default:
        return stamp_word(w, c, p, k);
    }
}

static void wrong(const struct worker *w, unsigned c, unsigned p, unsigned k, uint64_t got)
{
    fprintf(stderr, "thread %u, chunk %u, page %u, word %u at %p is %#llx, not %#llx\n", w->number, c, p, k,
            (void *)(w->chunk[c].at + p * WORDS + k), (unsigned long long)got,
            (unsigned long long)right_word(w, c, p, k));
    abort();
}

/* ---- steps --------------------------------------------------------------------------------------------- */

/* Some words of the page, or all of them. */
static void load(struct worker *w, unsigned c, unsigned p)
{
    struct chunk *chunk = &w->chunk[c];
    const volatile uint64_t *at = chunk->at + p * WORDS;
    unsigned stride = below(w, 4) == 0 ? 1 : 170;
    if (chunk->shows[p] == FREED && at[0] == 0) { /* it stays so until a store */
        chunk->shows[p] = ZEROS;
        stride = 1;
    }
    for (unsigned k = 0; k < WORDS; k += stride) {
        uint64_t got = at[k];
        if (got == right_word(w, c, p, k))
            continue;
        if (chunk->shows[p] != FREED || got != 0)
            wrong(w, c, p, k, got);
        chunk->shows[p] = ZEROS; /* it was freed while we looked */
    }
}

/* A new stamp, zeros, or the word that is there already: then the page only becomes dirty. */
static void store(struct worker *w, unsigned c, unsigned p)
{
    struct chunk *chunk = &w->chunk[c];
    uint64_t *at = chunk->at + p * WORDS;
    unsigned how = below(w, 8);
    if (how == 0 && chunk->shows[p] != FREED) {
        unsigned k = below(w, WORDS);
        at[k] = right_word(w, c, p, k);
    } else if (how == 1) {
        memset(at, 0, PAGE);
        chunk->shows[p] = ZEROS;
    } else {
        chunk->stamp[p]++;
        chunk->shows[p] = STAMP;
        for (unsigned k = 0; k < WORDS; k++)
            at[k] = stamp_word(w, c, p, k);
    }
}

static void map(struct worker *w, unsigned c)
{
    struct chunk *chunk = &w->chunk[c];
    int flags = MAP_PRIVATE | (of_file(c) ? 0 : MAP_ANONYMOUS);
    uint64_t offset = of_file(c) ? (uint64_t)(c - ANON_CHUNKS) * CHUNK * PAGE : 0;
    void *at = NULL;
    require(fl_mmap(&at, CHUNK * PAGE, PROT_READ | PROT_WRITE, flags, of_file(c) ? file : NULL, offset) == 0,
            "fl_mmap");
    chunk->at = at;
    memset(chunk->shows, UNTOUCHED, sizeof(chunk->shows));
}

static void map_anew(struct worker *w, unsigned c)
{
    require(fl_munmap(w->chunk[c].at, CHUNK * PAGE) == 0, "fl_munmap");
    map(w, c);
}

static void advise(struct worker *w, unsigned c)
{
    static const int advice[] = {MADV_DONTNEED, MADV_FREE,     MADV_COLD,   MADV_PAGEOUT,
                                 MADV_PAGEOUT,  MADV_WILLNEED, MADV_RANDOM, MADV_NORMAL};
    struct chunk *chunk = &w->chunk[c];
    unsigned p = below(w, CHUNK), n = 1 + below(w, CHUNK - p), which = below(w, 8);
    if (advice[which] == MADV_FREE && of_file(c))
        return;
    require(fl_madvise(chunk->at + p * WORDS, n * PAGE, advice[which]) == 0, "fl_madvise");
    for (unsigned i = p; i < p + n; i++) {
        if (advice[which] == MADV_DONTNEED)
            chunk->shows[i] = UNTOUCHED;
        else if (advice[which] == MADV_FREE && chunk->shows[i] == STAMP)
            chunk->shows[i] = FREED;
    }
}

/* A page more, which may move the mapping, and back. */
static void grow_and_shrink(struct worker *w, unsigned c)
{
    void *at = w->chunk[c].at;
    int error = fl_mremap(&at, CHUNK * PAGE, (CHUNK + 1) * PAGE, MREMAP_MAYMOVE);
    if (error == -EFAULT)
        return; /* advice to parts of it has made several mappings of it */
    require(error == 0, "fl_mremap");
    w->chunk[c].at = at;
    require(fl_mremap(&at, (CHUNK + 1) * PAGE, CHUNK * PAGE, 0) == 0, "fl_mremap");
    load(w, c, below(w, CHUNK));
}

static void protect(struct worker *w, unsigned c)
{
    unsigned p = below(w, CHUNK), n = 1 + below(w, CHUNK - p);
    uint64_t *at = w->chunk[c].at + p * WORDS;
    require(fl_mprotect(at, n * PAGE, PROT_READ) == 0, "fl_mprotect");
    load(w, c, p);
    require(fl_mprotect(at, n * PAGE, PROT_READ | PROT_WRITE) == 0, "fl_mprotect");
}

static void lock(struct worker *w, unsigned c)
{
    unsigned p = below(w, CHUNK - 4);
    uint64_t *at = w->chunk[c].at + p * WORDS;
    int error = fl_mlock(at, 4 * PAGE);
    require(error == 0 || error == -ENOMEM || error == -EAGAIN, "fl_mlock");
    load(w, c, p);
    require(fl_munlock(at, 4 * PAGE) == 0, "fl_munlock");
}

/* A stretch of pages, as programs use them. */
static void run(struct worker *w, unsigned c, void (*step)(struct worker *w, unsigned c, unsigned p))
{
    unsigned p = below(w, CHUNK), n = 1 + below(w, CHUNK - p);
    for (unsigned i = p; i < p + n; i++)
        step(w, c, i);
}

static void step(struct worker *w)
{
    static void (*const rare[])(struct worker * w, unsigned c) = {advise,          advise,  advise, map_anew,
                                                                  grow_and_shrink, protect, lock};
    unsigned c = below(w, CHUNKS), what = below(w, 100);
    if (what < 35)
        load(w, c, below(w, CHUNK));
    else if (what < 70)
        store(w, c, below(w, CHUNK));
    else if (what < 85)
        run(w, c, what < 78 ? load : store);
    else
        rare[below(w, sizeof(rare) / sizeof(rare[0]))](w, c);
    atomic_fetch_add(&w->steps, 1);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    while (!atomic_load(&stop))
        step(w);
    for (unsigned c = 0; c < CHUNKS; c++)
        for (unsigned p = 0; p < CHUNK; p++)
            load(w, c, p);
    return NULL;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static int open_unnamed(void)
{
    const char *dir = getenv("TMPDIR");
    int fd = open(dir != NULL ? dir : ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    require(fd >= 0, "a file without a name in TMPDIR, or else in the working directory");
    return fd;
}

static void open_data(void)
{
    static uint64_t page[WORDS];
    int fd = open_unnamed();
    for (uint64_t p = 0; p < FILE_CHUNKS * CHUNK; p++) {
        for (unsigned k = 0; k < WORDS; k++)
            page[k] = file_word(p, k);
        require(pwrite(fd, page, PAGE, (off_t)(p * PAGE)) == (ssize_t)PAGE, "pwrite");
    }
    require(fl_open_fd(fd, &file) == 0, "fl_open_fd");
    close(fd);
}

static uint64_t all_steps(unsigned nthreads)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < nthreads; i++)
        sum += atomic_load(&worker[i].steps);
    return sum;
}

/* Ends the program when a thread has made no step for STUCK_S seconds. */
static void watch(unsigned nthreads)
{
    static uint64_t seen[THREADS_MAX];
    static time_t moved[THREADS_MAX];
    time_t now = time(NULL);
    for (unsigned i = 0; i < nthreads; i++) {
        uint64_t steps = atomic_load(&worker[i].steps);
        if (moved[i] == 0 || steps != seen[i])
            moved[i] = now;
        seen[i] = steps;
        if (now - moved[i] < STUCK_S)
            continue;
        fprintf(stderr, "thread %u hangs after %llu steps\n", i, (unsigned long long)steps);
        abort();
    }
}

static void say(unsigned nthreads, unsigned second)
{
    struct fl_stats stats;
    fl_stats(&stats);
    printf("%4u s: %llu steps, %llu faults, %llu pages read, %llu written, %llu slots in use\n", second,
           (unsigned long long)all_steps(nthreads), (unsigned long long)stats.vm.faults,
           (unsigned long long)stats.vm.page_ins, (unsigned long long)stats.vm.write_backs,
           (unsigned long long)(stats.vm.swap_pages - stats.vm.swap_free));
    fflush(stdout);
}

static void start(unsigned nthreads)
{
    const char *given = getenv("FAULTLINE_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    printf("seed %llu, %u threads, %lu times the limit\n", (unsigned long long)seed, nthreads,
           nthreads * CHUNKS * CHUNK * PAGE / LIMIT);
    for (unsigned i = 0; i < nthreads; i++) {
        worker[i].number = i;
        worker[i].random = mix(seed * THREADS_MAX + i);
        for (unsigned c = 0; c < CHUNKS; c++)
            map(&worker[i], c);
    }
    for (unsigned i = 0; i < nthreads; i++)
        require(pthread_create(&worker[i].thread, NULL, work, &worker[i]) == 0, "pthread_create");
}

/* An access failed, of which the program dies. Only async-signal-safe calls. */
static void say_error(const struct fl_error *error, void *arg)
{
    char line[256];
    (void)arg;
    int n = snprintf(line, sizeof(line), "error %d at %p: %s\n", error->error, error->addr, error->what);
    (void)!write(STDERR_FILENO, line, (size_t)n);
}

int main(int argc, char **argv)
{
    struct fl_options options = {
        .memory_limit_bytes = LIMIT, .swap_max_bytes = SWAP_BYTES, .on_error = say_error};
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 600,
             nthreads = argc > 2 ? (unsigned)atoi(argv[2]) : 4;
    struct fl_stats stats;
    options.compress_percent = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    require(nthreads > 0 && nthreads <= THREADS_MAX, "THREADS is out of range");
    if (fl_init(&options) != 0)
        fprintf(stderr, "fl_init: %s\n", fl_init_error());
    open_data();
    start(nthreads);
    for (unsigned second = 1; second <= seconds; second++) {
        sleep(1);
        watch(nthreads);
        if (second % 30 == 0 || second == seconds)
            say(nthreads, second);
    }
    atomic_store(&stop, true);
    alarm(STUCK_S + seconds); /* the last look at all pages ends, too */
    for (unsigned i = 0; i < nthreads; i++)
        pthread_join(worker[i].thread, NULL);
    fl_stats(&stats);
    require(stats.peak_resident_bytes <= LIMIT, "more memory than the limit");
    require(stats.vm.swap_free < stats.vm.swap_pages, "nothing was swapped out");
    require(fl_close(file) == 0 && fl_shutdown() == 0, "fl_shutdown");
    return EXIT_SUCCESS;
}
