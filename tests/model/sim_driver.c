/*
 * sim_driver.c: the core on the machine sim, behind driver.h.
 *
 *   window = an fl_space, but for its last pages      file f = a sim_disk, or an anonymous vnode
 *   handle = the file's vnode, and a mode
 *
 * Everything happens on fiber 0; the page daemon and the disk are fibers of their own.
 */
#include "model/sim_driver.h"
#include "support/odd_store.h"
#include "vm/vm_object.h"
#include "vm/vm_page.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE         DRIVER_PAGE
#define WINDOW_START ((vm_offset_t)0x100000000)
#define BEHIND       (16 * DRIVER_PAGE) /* addresses that exist, but are outside of the window */
#define STRIDE       (DRIVER_WINDOW_BYTES + BEHIND)

struct sim {
    struct driver driver;
    struct vm_map *map;                  /* of the present space */
    struct vm_map *space[DRIVER_SPACES]; /* NULL: it does not live */
    vm_offset_t start;                   /* of the window */
    struct sim_disk *disk[DRIVER_FILES]; /* NULL: the file has no disk */
    struct fl_file handle[DRIVER_HANDLES];
    struct driver_hold hold[DRIVER_HOLDS]; /* len 0: none */
    bool forked;                           /* there was a fork, ever */
    unsigned hold_space[DRIVER_HOLDS];     /* the space that made the call */
    struct fl_hold held[DRIVER_HOLDS];
};

static struct sim *sim_of(struct driver *d)
{
    return (struct sim *)d;
}

static vm_offset_t absolute(struct driver *d, uint64_t addr)
{
    return addr == DRIVER_ANY ? 0 : sim_of(d)->start + addr;
}

static int64_t relative(struct driver *d, int64_t at)
{
    return at < 0 ? at : at - (int64_t)sim_of(d)->start;
}

static int64_t sim_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                        uint64_t off)
{
    struct sim *sim = sim_of(d);

    return relative(d, fl_sys_mmap(sim->map, absolute(d, addr), len, prot, flags,
                                   handle < 0 ? NULL : &sim->handle[handle], off));
}

static int sim_munmap(struct driver *d, uint64_t addr, uint64_t len)
{
    return fl_sys_munmap(sim_of(d)->map, absolute(d, addr), len);
}

static int sim_mprotect(struct driver *d, uint64_t addr, uint64_t len, int prot)
{
    return fl_sys_mprotect(sim_of(d)->map, absolute(d, addr), len, prot);
}

static int64_t sim_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                          uint64_t new_addr)
{
    return relative(
        d, fl_sys_mremap(sim_of(d)->map, absolute(d, addr), len, new_len, flags, absolute(d, new_addr)));
}

static int sim_msync(struct driver *d, uint64_t addr, uint64_t len, int flags)
{
    return fl_sys_msync(sim_of(d)->map, absolute(d, addr), len, flags);
}

static int sim_madvise(struct driver *d, uint64_t addr, uint64_t len, int advice)
{
    return fl_sys_madvise(sim_of(d)->map, absolute(d, addr), len, advice);
}

static int sim_mincore(struct driver *d, uint64_t addr, uint64_t len, unsigned char *vec)
{
    return fl_sys_mincore(sim_of(d)->map, absolute(d, addr), len, vec);
}

static int sim_mlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return fl_sys_mlock(sim_of(d)->map, absolute(d, addr), len);
}

static int sim_munlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return fl_sys_munlock(sim_of(d)->map, absolute(d, addr), len);
}

static uint64_t sim_brk(struct driver *d, uint64_t addr)
{
    return fl_sys_brk(sim_of(d)->map, absolute(d, addr)) - sim_of(d)->start;
}

static int sim_driver_load(struct driver *d, uint64_t addr, void *bytes, size_t len)
{
    return sim_load(sim_of(d)->map, absolute(d, addr), bytes, len, NULL);
}

static int sim_driver_store(struct driver *d, uint64_t addr, const void *bytes, size_t len)
{
    return sim_store(sim_of(d)->map, absolute(d, addr), bytes, len, NULL);
}

/* A handle that shows the file: handles of one file share its vnode. */
static struct vnode *vnode_of(struct sim *sim, int file)
{
    int h = 0;

    while (driver_handles[h].file != file)
        h++;
    return sim->handle[h].vnode;
}

static int sim_set_size(struct driver *d, int file, uint64_t len)
{
    struct vnode *vnode = vnode_of(sim_of(d), file);

    if (sim_of(d)->disk[file] == NULL) /* nothing happens behind the VM's back */
        return fl_vnode_truncate(vnode, len);
    sim_disk_truncate(sim_of(d)->disk[file], len);
    return fl_vnode_setsize(vnode);
}

static int sim_prefetch(struct driver *d, uint64_t addr, uint64_t len, uint64_t addr2, uint64_t len2)
{
    struct fl_iovec range[2] = {{(void *)absolute(d, addr), len}, {(void *)absolute(d, addr2), len2}};

    return fl_sys_prefetch(sim_of(d)->map, range, 2);
}

/* ---- system calls that go on ------------------------------------------------------------------ */

#define HOLD_TRIES 50 /* where memory is short, pages that could be held together once can soon be again */

static void sim_unhold(struct driver *d, int slot)
{
    fl_unhold(&sim_of(d)->held[slot]);
    sim_of(d)->hold[slot].len = 0;
}

static int sim_hold(struct driver *d, int slot, uint64_t addr, uint64_t len, int access)
{
    struct sim *sim = sim_of(d);
    int error = -EAGAIN, tries;

    for (tries = 0; error == -EAGAIN && tries < HOLD_TRIES; tries++)
        error = fl_hold(sim->map, absolute(d, addr), len, (vm_prot_t)access, &sim->held[slot]);
    if (error == 0)
        sim->hold[slot] = (struct driver_hold){addr, len, access};
    sim->hold_space[slot] = d->space;
    return error;
}

static bool sim_held(struct driver *d, int slot, struct driver_hold *hold)
{
    *hold = sim_of(d)->hold[slot];
    return hold->len != 0;
}

/* The page at addr that call number slot holds for this kind of access; NULL: none. */
static struct vm_page *held_page(struct sim *sim, int slot, uint64_t addr, vm_prot_t access)
{
    const struct driver_hold *hold = &sim->hold[slot];

    if (sim->hold_space[slot] != sim->driver.space || addr < hold->addr || addr - hold->addr >= hold->len ||
        (access == VM_PROT_WRITE && hold->access != VM_PROT_WRITE))
        return NULL;
    return sim->held[slot].page[addr / PAGE - sim->hold[slot].addr / PAGE];
}

/*
 * Whether the mapping of the held page m may be gone or more restricted without a mistake: on a machine that
 * was told to be forgetful; and where a page of a backing object can be mapped at the same place, because the
 * core unmaps the place and not the page. After a fork a backing object may have ended meanwhile.
 */
static bool may_be_forgotten(const struct sim *sim, const struct vm_page *m)
{
    const struct sim_torture *torture = sim_torture();

    return torture->forgetful_permille > 0 ||
           ((sim->forked || m->object->backing_object != NULL) && !torture->copy_first);
}

/*
 * Where the host's kernel finds the byte at addr: in the page that is
 * mapped there, or would be. NULL: not mapped.
 */
static uint8_t *held_byte(struct sim *sim, int slot, uint64_t addr, vm_prot_t access)
{
    const struct vm_page *m = held_page(sim, slot, addr, access);
    vm_frame_t frame;
    vm_prot_t prot;
    bool wired;

    if (m == NULL || m->object == NULL)
        return NULL;
    if (!sim_mapped(fl_space_machine(sim->map), sim->start + addr, &frame, &prot, &wired))
        return may_be_forgotten(sim, m) ? sim_frame(vm_page_frame(m)) + addr % PAGE : NULL;
    if (frame != vm_page_frame(m) || ((prot & access) != access && !may_be_forgotten(sim, m)))
        return NULL;
    return sim_frame(frame) + addr % PAGE;
}

/*
 * A private mapping took a clean copy of the page, which was write-protected for that: the call then gets
 * EFAULT, and is made again with its memory held anew.
 */
static int hold_anew(struct driver *d, int slot, uint64_t addr)
{
    struct driver_hold hold = sim_of(d)->hold[slot];
    const struct vm_page *m = held_page(sim_of(d), slot, addr, VM_PROT_WRITE);

    if (m == NULL || (m->flags & PG_COPIED) == 0)
        return 0;
    sim_unhold(d, slot);
    return sim_hold(d, slot, hold.addr, hold.len, hold.access);
}

static int sim_held_load(struct driver *d, int slot, uint64_t addr, void *bytes, size_t len)
{
    uint8_t *from = held_byte(sim_of(d), slot, addr, VM_PROT_READ);

    if (from == NULL)
        return -EFAULT;
    memcpy(bytes, from, len);
    return 0;
}

static int sim_held_store(struct driver *d, int slot, uint64_t addr, const void *bytes, size_t len)
{
    int error = hold_anew(d, slot, addr);
    uint8_t *to = error != 0 ? NULL : held_byte(sim_of(d), slot, addr, VM_PROT_WRITE);

    if (to == NULL)
        return -EFAULT;
    memcpy(to, bytes, len);
    return 0;
}

static void end_calls(struct driver *d)
{
    int slot;

    for (slot = 0; slot < DRIVER_HOLDS; slot++)
        sim_unhold(d, slot);
}

/* ---- spaces ------------------------------------------------------------------------------------ */

static int sim_fork(struct driver *d, unsigned to)
{
    sim_of(d)->forked = true;
    return fl_space_fork(sim_of(d)->map, &sim_of(d)->space[to]);
}

static void sim_enter(struct driver *d, unsigned space)
{
    sim_of(d)->map = sim_of(d)->space[space];
}

/* Calls in progress keep nothing alive. */
static void sim_exit(struct driver *d, unsigned space)
{
    fl_space_destroy(sim_of(d)->space[space]);
    sim_of(d)->space[space] = NULL;
}

/* ---- files ------------------------------------------------------------------------------------- */

/* The bytes moved are the advance of the offset. */
static int64_t moved(const struct fl_iocb *iocb, uint64_t off, int64_t result)
{
    if (result >= 0 && !(iocb->flags & FL_IOCB_APPEND) && iocb->offset != off + (uint64_t)result)
        machine_panic("an iocb's offset is not what was moved");
    return result;
}

static int64_t sim_read(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov, uint64_t off,
                        unsigned flags)
{
    struct fl_iocb iocb = {.offset = off, .flags = flags};
    int error = driver_may_read(handle);

    return error != 0 ? error
                      : moved(&iocb, off, fl_vnode_read(sim_of(d)->handle[handle].vnode, iov, niov, &iocb));
}

static int64_t sim_write(struct driver *d, int handle, const struct fl_iovec *iov, unsigned niov,
                         uint64_t off, unsigned flags)
{
    struct fl_iocb iocb = {.offset = off, .flags = flags};
    int error = driver_may_write(handle);

    return error != 0 ? error
                      : moved(&iocb, off, fl_vnode_write(sim_of(d)->handle[handle].vnode, iov, niov, &iocb));
}

static int sim_truncate(struct driver *d, int handle, uint64_t len)
{
    return driver_handles[handle].write ? fl_vnode_truncate(sim_of(d)->handle[handle].vnode, len) : -EINVAL;
}

static int sim_punch(struct driver *d, int handle, uint64_t off, uint64_t len)
{
    int error = len == 0 ? -EINVAL : driver_may_write(handle);

    return error != 0 ? error : fl_vnode_punch(sim_of(d)->handle[handle].vnode, off, len);
}

static int sim_fsync(struct driver *d, int handle, unsigned flags)
{
    struct fl_file *file = &sim_of(d)->handle[handle];

    return fl_vnode_fsync(file->vnode, flags, &file->told);
}

static int sim_sync_range(struct driver *d, int handle, uint64_t off, uint64_t len, unsigned flags)
{
    struct fl_file *file = &sim_of(d)->handle[handle];

    return fl_vnode_sync_range(file->vnode, off, len, flags, &file->told);
}

static int sim_fadvise(struct driver *d, int handle, uint64_t off, uint64_t len, int advice)
{
    return fl_vnode_fadvise(sim_of(d)->handle[handle].vnode, off, len, advice);
}

static uint64_t sim_file_size(struct driver *d, int file)
{
    struct sim *sim = sim_of(d);

    return sim->disk[file] == NULL ? fl_vnode_size(vnode_of(sim, file)) : sim_disk_size(sim->disk[file]);
}

static int sim_file_read(struct driver *d, int file, uint64_t off, void *bytes, size_t len)
{
    struct sim_disk *disk = sim_of(d)->disk[file];
    struct fl_iovec iov = {bytes, len};
    struct fl_iocb iocb = {.offset = off};

    if (disk == NULL)
        return fl_vnode_read(vnode_of(sim_of(d), file), &iov, 1, &iocb) == (int64_t)len ? 0 : -EINVAL;
    if (off > sim_disk_size(disk) || len > sim_disk_size(disk) - off)
        return -EINVAL;
    sim_disk_read(disk, off, bytes, len);
    return 0;
}

static int file_of(struct sim *sim, const struct vnode *vnode)
{
    int h;

    for (h = 0; vnode != NULL && h < DRIVER_HANDLES; h++)
        if (sim->handle[h].vnode == vnode)
            return driver_handles[h].file;
    return -1;
}

static bool sim_region(struct driver *d, uint64_t addr, struct driver_region *region)
{
    struct sim *sim = sim_of(d);
    struct fl_region r;

    if (fl_space_region(sim->map, absolute(d, addr), &r) != 0 || r.reserved)
        return false;
    region->start = r.start - sim->start;
    region->end = r.end - sim->start;
    region->prot = r.prot;
    region->shared = r.shared;
    region->inherit = r.inherit;
    region->file = file_of(sim, r.vnode);
    region->offset = region->file < 0 ? 0 : r.offset;
    return true;
}

static void sim_check(struct driver *d)
{
    (void)d;
    sim_vm_check();
}

/* page: the file's first bytes from `off` on. Returns how many, of one page at most. */
static uint64_t file_page(int file, uint64_t off, uint8_t page[DRIVER_PAGE])
{
    uint64_t left = driver_file_size(file) - off, n = left < PAGE ? left : PAGE;

    for (uint64_t i = 0; i < n; i++)
        page[i] = driver_file_byte(file, off + i);
    return n;
}

static void fill(struct sim_disk *disk, int file)
{
    uint8_t page[DRIVER_PAGE];

    for (uint64_t off = 0, n; off < driver_file_size(file); off += n) {
        n = file_page(file, off, page);
        sim_disk_write(disk, off, page, n);
    }
}

static struct store *open_store(struct sim_disk *disk, enum sim_files_when when)
{
    if (when == SIM_FILES_ANYHOW)
        return sim_disk_open(disk, false);
    return odd_store(sim_disk_open(disk, false), when == SIM_FILES_IN_SUBMIT ? ODD_IN_SUBMIT : ODD_IN_WAIT);
}

struct sim_files sim_files_draw(uint64_t seed)
{
    struct prng r;

    prng_init(&r, seed ^ 0x54ace);
    bool thin = prng_chance(&r, 500);
    prng_init(&r, seed ^ 0xf11e5);
    if (prng_chance(&r, 500))
        return (struct sim_files){.thin = thin};
    return (struct sim_files){.block_bytes = (uint32_t)SIM_SECTOR_SIZE << prng_below(&r, 4),
                              .thin = thin,
                              .when = prng_chance(&r, 500) ? SIM_FILES_ANYHOW
                                                           : (enum sim_files_when)prng_range(&r, 1, 2)};
}

/* Files without disks. */
static void open_anonymous(struct sim *sim)
{
    struct vnode *vnode[DRIVER_FILES];

    for (int f = 0; f < DRIVER_FILES; f++) {
        if (fl_vnode_anonymous(0, &vnode[f]) != 0)
            abort();
        for (uint64_t off = 0, n; off < driver_file_size(f); off += n) {
            uint8_t page[DRIVER_PAGE];
            struct fl_iovec iov = {page, n = file_page(f, off, page)};
            struct fl_iocb iocb = {.offset = off};

            if (fl_vnode_write(vnode[f], &iov, 1, &iocb) != (int64_t)n)
                abort();
        }
    }
    for (int i = 0; i < DRIVER_HANDLES; i++) {
        const struct driver_handle *h = &driver_handles[i];

        sim->handle[i].mode = (h->read ? FL_FREAD : 0) | (h->write ? FL_FWRITE : 0);
        sim->handle[i].vnode = vnode[h->file];
        fl_vnode_ref(vnode[h->file]);
    }
    for (int f = 0; f < DRIVER_FILES; f++)
        if (fl_vnode_close(vnode[f]) != 0) /* the handles have it */
            abort();
}

/* Files of the simulated computer; `last` is a disk to use for the last of them, or NULL. */
static void open_files(struct sim *sim, uint64_t seed, struct sim_files files, struct sim_disk *last)
{
    int i;

    for (i = 0; i < DRIVER_FILES; i++) {
        sim->disk[i] = i == DRIVER_FILES - 1 ? last : NULL;
        if (sim->disk[i] != NULL)
            continue;
        sim->disk[i] = sim_disk_create(driver_file_size(i), seed * 1000 + (uint64_t)i + 1);
        if (files.block_bytes != 0)
            sim_disk_set_block(sim->disk[i], files.block_bytes);
        fill(sim->disk[i], i);
        sim_disk_faults(sim->disk[i])->max_len_bytes = DRIVER_FILE_PAGES * PAGE;
        if (files.thin)
            sim_disk_make_thin(sim->disk[i], SIM_FILES_ROOM);
    }
    for (i = 0; i < DRIVER_HANDLES; i++) {
        const struct driver_handle *h = &driver_handles[i];

        sim->handle[i].mode = (h->read ? FL_FREAD : 0) | (h->write ? FL_FWRITE : 0);
        if (fl_vnode_open(open_store(sim->disk[h->file], files.when), &sim->handle[i].vnode) != 0)
            abort();
    }
}

static void close_files(struct sim *sim)
{
    int i;

    for (i = 0; i < DRIVER_HANDLES; i++)
        if (fl_vnode_close(sim->handle[i].vnode) != 0)
            abort(); /* no test with this driver ends while its disks fail */
}

struct vm_map *sim_driver_map(struct driver *d)
{
    return sim_of(d)->map;
}

struct sim_disk *sim_driver_disk(struct driver *d, int file)
{
    return sim_of(d)->disk[file];
}

static void destroy_disks(struct sim *sim, int n)
{
    int i;

    for (i = 0; i < n; i++)
        if (sim->disk[i] != NULL)
            sim_disk_destroy(sim->disk[i]);
}

/* Frees everything; sim_shutdown then panics if anything is left over. */
static void sim_destroy(struct driver *d)
{
    struct sim *sim = sim_of(d);
    unsigned space;

    for (space = 0; space < DRIVER_SPACES; space++)
        if (sim->space[space] != NULL)
            sim_exit(d, space);
    close_files(sim);
    end_calls(d);
    sim_shutdown();
    destroy_disks(sim, DRIVER_FILES);
    free(sim);
}

static struct sim *sim_new(const char *name, unsigned has)
{
    static const struct driver calls = {
        .address_space_end = STRIDE,
        .lives = {true},
        .mmap = sim_mmap,
        .munmap = sim_munmap,
        .mprotect = sim_mprotect,
        .mremap = sim_mremap,
        .msync = sim_msync,
        .madvise = sim_madvise,
        .mincore = sim_mincore,
        .mlock = sim_mlock,
        .munlock = sim_munlock,
        .brk = sim_brk,
        .load = sim_driver_load,
        .store = sim_driver_store,
        .set_size = sim_set_size,
        .prefetch = sim_prefetch,
        .hold = sim_hold,
        .unhold = sim_unhold,
        .held_load = sim_held_load,
        .held_store = sim_held_store,
        .held = sim_held,
        .read = sim_read,
        .write = sim_write,
        .truncate = sim_truncate,
        .punch = sim_punch,
        .fsync = sim_fsync,
        .sync_range = sim_sync_range,
        .fadvise = sim_fadvise,
        .file_read = sim_file_read,
        .file_size = sim_file_size,
        .region = sim_region,
        .fork = sim_fork,
        .enter = sim_enter,
        .exit = sim_exit,
        .check = sim_check,
        .destroy = sim_destroy,
    };
    struct sim *sim = calloc(1, sizeof(*sim));

    if (sim == NULL)
        abort();
    sim->driver = calls;
    sim->driver.name = name;
    sim->driver.has = has;
    return sim;
}

struct driver *sim_driver_create(const struct sim_params *params)
{
    return sim_driver_create_on(params, (struct sim_files){.block_bytes = 0});
}

struct driver *sim_driver_create_on(const struct sim_params *params, struct sim_files files)
{
    struct sim *sim =
        sim_new("sim", DRIVER_HAS_BRK | DRIVER_HAS_DIRECT | DRIVER_HAS_DSYNC | DRIVER_HAS_REMOVE |
                           DRIVER_HAS_PUNCH | DRIVER_HAS_LIMIT | DRIVER_HAS_HOLD | DRIVER_HAS_FORK);

    sim->start = WINDOW_START;
    if (sim_boot(params) != 0)
        abort();
    if (sim_swap_disk() != NULL)
        sim->driver.has |= DRIVER_HAS_SWAP;
    if (files.anonymous) {
        sim->driver.has &= ~(unsigned)(DRIVER_HAS_DIRECT | DRIVER_HAS_LIMIT);
        open_anonymous(sim);
    } else {
        open_files(sim, params->seed, files, NULL);
    }
    if (fl_space_create(WINDOW_START, WINDOW_START + STRIDE, &sim->map) != 0 ||
        fl_space_reserve(sim->map, WINDOW_START + DRIVER_WINDOW_BYTES, WINDOW_START + STRIDE) != 0)
        abort();
    sim->space[0] = sim->map;
    fl_space_set_brk(sim->map, WINDOW_START + DRIVER_BRK_START, WINDOW_START + DRIVER_BRK_LIMIT);
    return &sim->driver;
}

/* ---- slices ------------------------------------------------------------------------------------ */

static int64_t slice_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                          uint64_t off)
{
    return driver_mmap_placed(d, sim_mmap, addr, len, prot, flags, handle, off);
}

static int64_t slice_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                            uint64_t new_addr)
{
    return driver_mremap_placed(d, sim_mremap, addr, len, new_len, flags, new_addr);
}

/* Other slices are always in the middle of an operation; sim_slices_destroy checks. */
static void slice_check(struct driver *d)
{
    (void)d;
}

void sim_slices_create(const struct sim_params *params, unsigned n, struct driver *slice[])
{
    struct vm_map *map;
    struct sim *sim;
    unsigned i;

    if (sim_boot(params) != 0 || fl_space_create(WINDOW_START, WINDOW_START + n * STRIDE, &map) != 0)
        abort();
    for (i = 0; i < n; i++) {
        sim = sim_new("slice", DRIVER_HAS_PUNCH | DRIVER_HAS_LIMIT | DRIVER_HAS_HOLD);
        sim->map = map;
        sim->start = WINDOW_START + i * STRIDE;
        sim->driver.mmap = slice_mmap;
        sim->driver.mremap = slice_mremap;
        sim->driver.check = slice_check;
        open_files(sim, params->seed * SIM_SLICES_MAX + i, sim_files_draw(params->seed),
                   i == 0 ? NULL : sim_of(slice[0])->disk[DRIVER_FILES - 1]);
        if (fl_space_reserve(map, sim->start + DRIVER_WINDOW_BYTES, sim->start + STRIDE) != 0)
            abort();
        slice[i] = &sim->driver;
    }
}

void sim_slices_destroy(unsigned n, struct driver *slice[])
{
    unsigned i;

    fl_space_destroy(sim_of(slice[0])->map);
    for (i = 0; i < n; i++)
        close_files(sim_of(slice[i]));
    for (i = 0; i < n; i++)
        end_calls(slice[i]);
    sim_shutdown();
    for (i = n; i-- > 0;) {
        destroy_disks(sim_of(slice[i]), i == 0 ? DRIVER_FILES : DRIVER_FILES - 1);
        free(sim_of(slice[i]));
    }
}
