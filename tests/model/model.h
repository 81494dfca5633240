/*
 * model.h: naive address spaces, which every other driver is compared with.
 *
 *   space[]: an array of pages each; a fork copies all of it
 *   page[]:  | - | - | rw p file 0 page 3, own copy | r- s file 1 page 0 | rw p anonymous, zero | - | …
 *   file[]:  bytes and a size; a shared anonymous mapping is a nameless file
 *
 * One record for each page of the window, no ranges, no trees, no laziness: each call is
 * a loop over pages that does what Linux's manual page says. Where Linux's own rules need
 * to know what is one mapping (mremap), pages carry the number of the call that made
 * them; where that does not decide, model_is_vague says so and the operation is skipped.
 *
 * Does not do: residency, write-back, threads.
 */
#ifndef TESTS_MODEL_MODEL_H
#define TESTS_MODEL_MODEL_H

#include "model/driver.h"
#include "model/op.h"

#define MODEL_FILES_MAX 1024

struct model_file {
    uint8_t *bytes;
    uint64_t size, capacity;
    /* A program stored beyond the end, in the last page: there, both the stored byte and zero are right. */
    bool tail_stored;
};

struct model_page {
    bool mapped, shared, may_write, locked, grows_down, dont_fork, wipe_on_fork, touched;
    uint8_t prot, behavior;
    int file;        /* or -1: private anonymous */
    uint64_t pindex; /* in the file */
    /*
     * A private mapping's own bytes, or NULL. Behind them, one byte for each says whether it may be zero
     * instead (after MADV_FREE, or copied from such a byte).
     */
    uint8_t *copy;
    bool lock_vague; /* locking failed, or the file was cut off there: differences.c */
    bool free_vague; /* MADV_FREE: the page may have been reclaimed */
    /* Since a fork nothing was stored here: the page may be that of another space, until it is copied. */
    bool inherited;
    /*
     * A bit for each system call in progress that holds the page here and must
     * still find it, without a fault.
     */
    uint8_t held;
    uint8_t kept; /* a bit for each that keeps the page in memory, wherever it is mapped */
    uint32_t made_by;
};

/* Mistakes that the model can be told to make, to see the oracle catch them. */
enum model_bug {
    MODEL_BUG_NONE,
    MODEL_BUG_LOST_STORE,     /* a store that crosses byte 4000 of a page loses that byte */
    MODEL_BUG_STALE_COPY,     /* munmap keeps the last page when there are three or more */
    MODEL_BUG_WRONG_ERRNO,    /* msync of a hole: -EINVAL */
    MODEL_BUG_OFFSET_BY_PAGE, /* mremap to a new place shows a file one page too far */
    MODEL_BUG_SHORT_WRITE,    /* a write of more than a page loses its last byte */
    MODEL_BUG_STALE_TAIL,     /* bytes that were stored beyond the end show when the file grows */
    MODEL_BUG_FORKED_BYTE,    /* a fork spoils byte 100 of a private page of the child's */
    MODEL_BUGS,
};

struct model_space {
    struct model_page page[DRIVER_WINDOW_PAGES];
    uint64_t brk;
};

struct model {
    struct driver driver;
    struct model_space space[DRIVER_SPACES];
    struct model_page *page; /* of the present space */
    bool forked;             /* there was a fork, ever */
    struct model_file file[MODEL_FILES_MAX];
    int nfiles;
    struct driver_hold hold[DRIVER_HOLDS]; /* len 0: none */
    uint32_t calls;
    uint32_t block; /* block size of the files' stores */
    enum model_bug bug;
};

static inline struct model *model_of(struct driver *d)
{
    return (struct model *)d;
}

/* The smallest direct transfer; a page at first. */
void model_set_block(struct driver *d, uint32_t block_bytes);
void model_set_bug(struct driver *d, enum model_bug bug);
/* Whether the call's result depends on what counts as one mapping, where the model cannot know it. */
bool model_is_vague(struct driver *d, const struct op *op);
/* Whether the byte at addr may be zero instead. */
bool model_byte_may_be_zero(struct driver *d, uint64_t addr);
/* Pages of all spaces that cannot leave memory: locked ones; without swap also private and anonymous ones. */
uint64_t model_pinned_pages(struct driver *d, bool swap);
/* How many more such pages the operation could make, at most. */
uint64_t model_may_pin(struct driver *d, const struct op *op, bool swap);

/* The first region that ends after addr. */
bool model_region(struct driver *d, uint64_t addr, struct driver_region *region);

/* ---- model_page.c: one page ---- */

void model_files_init(struct model *model);
int model_file_new(struct model *model, uint64_t size); /* zeros; its index */
void model_page_unmap(struct model_page *page);
/* Why an access to the page fails, or 0. */
int model_page_fault(const struct model *model, const struct model_page *page, int access);
/* A private page gets its own bytes. */
void model_page_copy(const struct model *model, struct model_page *page);
/* The page's 4096 bytes as the mapping shows them now. */
const uint8_t *model_page_bytes(const struct model *model, const struct model_page *page);
/* MADV_FREE of a private anonymous page: from now on its bytes may be zero, until they are stored to. */
void model_page_free(struct model_page *page);
/* The effect of faulting the page in ahead, for reading or writing (populate, mlock). Errors: -EFAULT. */
int model_page_populate(const struct model *model, struct model_page *page);
int model_load(struct driver *d, uint64_t addr, void *bytes, size_t len);
int model_store(struct driver *d, uint64_t addr, const void *bytes, size_t len);
int model_set_size(struct driver *d, int file, uint64_t len);
int model_file_read(struct driver *d, int file, uint64_t off, void *bytes, size_t len);

/* ---- model_space.c: several spaces ---- */

int model_fork(struct driver *d, unsigned to);
void model_enter(struct driver *d, unsigned space);
void model_exit(struct driver *d, unsigned space);

/* ---- model_hold.c: system calls in progress ---- */

int model_hold(struct driver *d, int slot, uint64_t addr, uint64_t len, int access);
void model_unhold(struct driver *d, int slot);
bool model_held(struct driver *d, int slot, struct driver_hold *hold);
int model_held_load(struct driver *d, int slot, uint64_t addr, void *bytes, size_t len);
int model_held_store(struct driver *d, int slot, uint64_t addr, const void *bytes, size_t len);
/* Whether a call in progress may or may not find the page that it holds. */
bool model_held_is_vague(struct model *model, const struct op *op);
/* Pages that calls in progress keep in memory, whatever happened to their mappings. */
uint64_t model_held_pages(const struct model *model);

/* ---- model_file.c: calls on files ---- */

int64_t model_read(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov, uint64_t off,
                   unsigned flags);
int64_t model_write(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov, uint64_t off,
                    unsigned flags);
int model_truncate(struct driver *d, int handle, uint64_t len);
int model_punch(struct driver *d, int handle, uint64_t off, uint64_t len);
/* MADV_REMOVE of one page. */
int model_remove(struct model *model, struct model_page *page);
int model_fsync(struct driver *d, int handle, unsigned flags);
int model_sync_range(struct driver *d, int handle, uint64_t off, uint64_t len, unsigned flags);
int model_fadvise(struct driver *d, int handle, uint64_t off, uint64_t len, int advice);
uint64_t model_file_size(struct driver *d, int file);

#endif
