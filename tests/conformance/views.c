/*
 * views.c: one page of a file seen through three mappings, one shared and two private, in many orders of
 * stores, loads, eviction, write-back and truncation.
 *
 *   file 0   | 2 | 3 | 4 | 5 |      shared ─────────────▶ the file's page
 *                  ▲                first, second ──────▶ the file's page until the first store through that
 *                  the page that    (both private)        mapping, then a page of their own
 *                  is used
 *
 * An order is a word of the letters below. The test knows what each mapping must show after each letter, so
 * every load is compared byte for byte, and so is the file after a letter that writes it back.
 *
 *   1 2 3   map the file: shared, privately, privately a second time; without pages of its own each time
 *   s a b   store through the shared, the first private, the second private mapping
 *   S A B   load through it
 *   m f     msync of the shared mapping, fsync of the file: the file has what the shared mapping shows
 *   o p c   MADV_PAGEOUT of the shared and of the first private mapping, MADV_COLD of the shared one
 *   u d     MADV_DONTNEED of the shared mapping, which loses nothing, and of the first private one, which
 *           loses its own page
 *   w h     write to the file, punch the page out: pages of private mappings stay
 *   t       cut the file off within the page and make it long again: private pages stay
 *   T       cut the file off before the page and make it long again: private pages go
 */
#include "conformance/scene.h"
#include "conformance/suite.h"
#include <errno.h>
#include <faultline/vm.h>
#include <stdio.h>
#include <string.h>

enum view { SHARED, FIRST, SECOND, VIEWS };

#define MAPPED_PAGES 4
#define FILE_PAGE    3 /* the page that is used: the second of those that are mapped */
#define RDWR         0 /* a handle of file 0 */
#define CUT          2048

/* The bytes of the page that are stored and compared: all views store to the first and the last one. */
static const uint64_t offset[] = {10, 1000, 1100, 1200, 3000};
#define BYTES 5

struct page {
    struct driver *d;
    const char *word, *letter; /* that is run, and where in it */
    uint8_t file[BYTES];       /* what the file has, or will have after write-back */
    uint8_t own[VIEWS][BYTES];
    bool mapped[VIEWS], has_own[VIEWS];
    uint8_t stored; /* the last value that was stored: each store has another one */
};

static uint64_t address(int view)
{
    return P(16 * ((uint64_t)view + 1)) + P(1);
}

static void expect(struct page *page, const char *what, int64_t got, int64_t want)
{
    char text[160];

    snprintf(text, sizeof(text), "%s at %td of %s", what, page->letter - page->word, page->word);
    scene_expect(page->d, __FILE__, __LINE__, text, got, want);
}

static void map(struct page *page, int view)
{
    int flags = (view == SHARED ? FL_MAP_SHARED : FL_MAP_PRIVATE) | FL_MAP_FIXED;
    uint64_t start = address(view) - P(1);

    expect(page, "mmap", page->d->mmap(page->d, start, P(MAPPED_PAGES), RW, flags, RDWR, P(FILE_PAGE - 1)),
           (int64_t)start);
    page->mapped[view] = true;
    page->has_own[view] = false;
}

static uint8_t *shown(struct page *page, int view)
{
    return page->has_own[view] ? page->own[view] : page->file;
}

static void load(struct page *page, int view)
{
    uint8_t bytes[DRIVER_PAGE];

    expect(page, "load", page->d->load(page->d, address(view), bytes, sizeof(bytes)), 0);
    for (int i = 0; i < BYTES; i++)
        expect(page, "a byte", bytes[offset[i]], shown(page, view)[i]);
}

static void store(struct page *page, int view)
{
    page->stored++;
    if (view != SHARED && !page->has_own[view]) {
        memcpy(page->own[view], page->file, BYTES);
        page->has_own[view] = true;
    }
    for (int i = 0; i < BYTES; i++) {
        if (i != 0 && i != view + 1 && i != BYTES - 1)
            continue;
        shown(page, view)[i] = page->stored;
        expect(page, "store", page->d->store(page->d, address(view) + offset[i], &page->stored, 1), 0);
    }
}

static void compare_file(struct page *page, int64_t error)
{
    uint8_t bytes[DRIVER_PAGE];

    expect(page, "write-back", error, 0);
    expect(page, "reading the file",
           page->d->file_read(page->d, driver_handles[RDWR].file, P(FILE_PAGE), bytes, sizeof(bytes)), 0);
    for (int i = 0; i < BYTES; i++)
        expect(page, "a byte of the file", bytes[offset[i]], page->file[i]);
}

static void sync_mapping(struct page *page, int arg)
{
    (void)arg;
    compare_file(page, page->d->msync(page->d, address(SHARED), P(1), FL_MS_SYNC));
}

static void sync_file(struct page *page, int arg)
{
    (void)arg;
    compare_file(page, page->d->fsync(page->d, RDWR, 0));
}

static void advise(struct page *page, int view, int advice)
{
    expect(page, "madvise", page->d->madvise(page->d, address(view) - P(1), P(MAPPED_PAGES), advice), 0);
}

static void page_out(struct page *page, int view)
{
    advise(page, view, FL_MADV_PAGEOUT);
}

static void cool(struct page *page, int view)
{
    advise(page, view, FL_MADV_COLD);
}

static void drop(struct page *page, int view)
{
    advise(page, view, FL_MADV_DONTNEED);
    page->has_own[view] = false;
}

static void write_to_file(struct page *page, int arg)
{
    struct fl_iovec iov = {&page->stored, 1};

    (void)arg;
    page->file[0] = ++page->stored;
    expect(page, "write", page->d->write(page->d, RDWR, &iov, 1, P(FILE_PAGE) + offset[0], 0), 1);
}

static void punch(struct page *page, int arg)
{
    (void)arg;
    memset(page->file, 0, BYTES);
    expect(page, "punch", page->d->punch(page->d, RDWR, P(FILE_PAGE), P(1)), 0);
}

/* Cuts the file off at `bytes` of the page, and makes it as long again as it was. */
static void cut(struct page *page, int bytes)
{
    uint64_t size = page->d->file_size(page->d, driver_handles[RDWR].file);
    uint8_t byte;

    expect(page, "truncate", page->d->truncate(page->d, RDWR, P(FILE_PAGE) + (uint64_t)bytes), 0);
    for (int i = 0; i < BYTES; i++)
        if (offset[i] >= (uint64_t)bytes)
            page->file[i] = 0;
    for (int view = 0; bytes == 0 && view < VIEWS; view++) {
        if (!page->mapped[view])
            continue;
        expect(page, "load beyond the end", page->d->load(page->d, address(view), &byte, 1), -ENXIO);
        page->has_own[view] = false;
    }
    expect(page, "truncate back", page->d->truncate(page->d, RDWR, size), 0);
}

/* ---- letters ------------------------------------------------------------------------------------------- */

static const struct letter {
    void (*run)(struct page *page, int arg);
    int arg;
} letters[128] = {
    ['1'] = {map, SHARED},      ['2'] = {map, FIRST},      ['3'] = {map, SECOND},  ['s'] = {store, SHARED},
    ['a'] = {store, FIRST},     ['b'] = {store, SECOND},   ['S'] = {load, SHARED}, ['A'] = {load, FIRST},
    ['B'] = {load, SECOND},     ['m'] = {sync_mapping, 0}, ['f'] = {sync_file, 0}, ['o'] = {page_out, SHARED},
    ['p'] = {page_out, FIRST},  ['c'] = {cool, SHARED},    ['u'] = {drop, SHARED}, ['d'] = {drop, FIRST},
    ['w'] = {write_to_file, 0}, ['h'] = {punch, 0},        ['t'] = {cut, CUT},     ['T'] = {cut, 0},
};

static void run_word(struct page *page, const char *word)
{
    page->word = word;
    for (page->letter = word; *page->letter != '\0'; page->letter++)
        letters[(unsigned char)*page->letter].run(page, letters[(unsigned char)*page->letter].arg);
}

static void begin(struct page *page, struct driver *d)
{
    *page = (struct page){.d = d};
    for (int i = 0; i < BYTES; i++)
        page->file[i] = driver_file_byte(driver_handles[RDWR].file, P(FILE_PAGE) + offset[i]);
}

/* ---- chosen orders ------------------------------------------------------------------------------------- */

static void run_words(struct driver *d, const char *const *words, size_t nwords)
{
    struct page page;

    begin(&page, d);
    for (size_t i = 0; i < nwords; i++) {
        run_word(&page, words[i]);
        expect(&page, "munmap", d->munmap(d, 0, P(16 * (VIEWS + 1))), 0);
        memset(page.mapped, 0, sizeof(page.mapped));
    }
}
#define RUN_WORDS(words) run_words(d, words, sizeof(words) / sizeof((words)[0]))

static void private_first(struct driver *d)
{
    static const char *const words[] = {
        "2A1sSA",     "2A1SsAaSA",   "2a1SsSAmA",  "2Aa1ssSAmSA", "2Ap1sASmA",
        "2A1soSAmoA", "2A1scSAmpAS", "2Ap1SsApSA", "2A1SmsAmSA",
    };

    RUN_WORDS(words);
}

static void shared_first(struct driver *d)
{
    static const char *const words[] = {
        "1S2AsSA",     "1s2ASsAmA",   "1s2aSAsSAmA",   "1sm2AsASmSA", "1so2AaSsoSAmSA",
        "1Sm2AsmAsmA", "1smu2AsuAsS", "1sm2AosAomASA", "1s2Aw1SAsSA",
    };

    RUN_WORDS(words);
}

static void two_private(struct driver *d)
{
    static const char *const words[] = {
        "123ABsABS",     "123ABasSABbsSABm", "123AaBbSABsSABmSAB", "231ABsABSaBsAB",
        "213aBsBSAmopB", "321BAsmABasmABb",  "123ABspoABSaspoABS", "123sABsABuSABmuSABdSAB",
    };

    RUN_WORDS(words);
}

/* The clean copies that a private mapping may have of the file's pages do not outlive a store to the file. */
static void private_read_before_store(struct driver *d)
{
    static const char *const words[] = {
        "12AsA", "12ASsAsAsA", "12AmsAmsAmsA", "12AosAcsAusA", "123ABwABSsABw", "12AdsAdA", "12AhASsA",
    };

    RUN_WORDS(words);
}

static void cut_in_between(struct driver *d)
{
    static const char *const words[] = {
        "12AstSA",        "12AaTSA",    "12asTASsamSA",  "123ABsTABSsABS", "123aBtSABsSABmSAB",
        "12AsmtASsmTASm", "12AtsATsAo", "12aotSAsToSAm", "21AsothSAaTsA",
    };

    RUN_WORDS(words);
}

/* ---- every order --------------------------------------------------------------------------------------- */

/*
 * Every word of three letters, between loads through all of the mappings. They follow each other without new
 * mappings: what one leaves behind is what the next one finds.
 */
static void every_three(struct driver *d)
{
    static const char used[] = "sabSAmopudwht";
    char word[] = "...SAB";
    struct page page;

    begin(&page, d);
    run_word(&page, "123");
    for (const char *x = used; *x != '\0'; x++) {
        for (const char *y = used; *y != '\0'; y++) {
            for (const char *z = used; *z != '\0'; z++) {
                word[0] = *x, word[1] = *y, word[2] = *z;
                run_word(&page, word);
            }
        }
    }
    run_word(&page, "m2T3SAB");
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static const struct scene view_scenes[] = {
    {SCENE(private_first)},  {SCENE(shared_first)}, {SCENE(two_private)}, {SCENE(private_read_before_store)},
    {SCENE(cut_in_between)}, {SCENE(every_three)},
};

int suite_views(struct driver *(*create)(void))
{
    return scenes_run(create, view_scenes, sizeof(view_scenes) / sizeof(view_scenes[0]));
}
