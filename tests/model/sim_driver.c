/*
 * sim_driver.c: the core on the machine sim, behind driver.h.
 *
 *   window = one fl_space, but for its last pages      file f = a sim_disk      handle = a vnode of the
 * file's disk, and a mode
 *
 * Everything happens on fiber 0; the page daemon and the disk are fibers of their own.
 */
#include "model/sim_driver.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE         DRIVER_PAGE
#define WINDOW_START ((vm_offset_t)0x100000000)
#define WINDOW_END   (WINDOW_START + DRIVER_WINDOW_BYTES)
#define BEHIND       (16 * DRIVER_PAGE) /* addresses that are there, but somebody else's */

struct sim {
    struct driver driver;
    struct vm_map *map;
    struct sim_disk *disk[DRIVER_FILES];
    struct fl_file handle[DRIVER_HANDLES];
};

static struct sim *sim_of(struct driver *d)
{
    return (struct sim *)d;
}

static vm_offset_t absolute(uint64_t addr)
{
    return addr == DRIVER_ANY ? 0 : WINDOW_START + addr;
}

static int64_t relative(int64_t at)
{
    return at < 0 ? at : at - (int64_t)WINDOW_START;
}

static int64_t sim_mmap(struct driver *d, uint64_t addr, uint64_t len, int prot, int flags, int handle,
                        uint64_t off)
{
    struct sim *sim = sim_of(d);

    return relative(fl_sys_mmap(sim->map, absolute(addr), len, prot, flags,
                                handle < 0 ? NULL : &sim->handle[handle], off));
}

static int sim_munmap(struct driver *d, uint64_t addr, uint64_t len)
{
    return fl_sys_munmap(sim_of(d)->map, absolute(addr), len);
}

static int sim_mprotect(struct driver *d, uint64_t addr, uint64_t len, int prot)
{
    return fl_sys_mprotect(sim_of(d)->map, absolute(addr), len, prot);
}

static int64_t sim_mremap(struct driver *d, uint64_t addr, uint64_t len, uint64_t new_len, int flags,
                          uint64_t new_addr)
{
    return relative(fl_sys_mremap(sim_of(d)->map, absolute(addr), len, new_len, flags, absolute(new_addr)));
}

static int sim_msync(struct driver *d, uint64_t addr, uint64_t len, int flags)
{
    return fl_sys_msync(sim_of(d)->map, absolute(addr), len, flags);
}

static int sim_madvise(struct driver *d, uint64_t addr, uint64_t len, int advice)
{
    return fl_sys_madvise(sim_of(d)->map, absolute(addr), len, advice);
}

static int sim_mincore(struct driver *d, uint64_t addr, uint64_t len, unsigned char *vec)
{
    return fl_sys_mincore(sim_of(d)->map, absolute(addr), len, vec);
}

static int sim_mlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return fl_sys_mlock(sim_of(d)->map, absolute(addr), len);
}

static int sim_munlock(struct driver *d, uint64_t addr, uint64_t len)
{
    return fl_sys_munlock(sim_of(d)->map, absolute(addr), len);
}

static uint64_t sim_brk(struct driver *d, uint64_t addr)
{
    return fl_sys_brk(sim_of(d)->map, absolute(addr)) - WINDOW_START;
}

static int sim_driver_load(struct driver *d, uint64_t addr, void *bytes, size_t len)
{
    return sim_load(sim_of(d)->map, absolute(addr), bytes, len, NULL);
}

static int sim_driver_store(struct driver *d, uint64_t addr, const void *bytes, size_t len)
{
    return sim_store(sim_of(d)->map, absolute(addr), bytes, len, NULL);
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
    sim_disk_truncate(sim_of(d)->disk[file], len);
    return fl_vnode_setsize(vnode_of(sim_of(d), file));
}

static int sim_file_read(struct driver *d, int file, uint64_t off, void *bytes, size_t len)
{
    struct sim_disk *disk = sim_of(d)->disk[file];

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

    if (fl_space_region(sim->map, absolute(addr), &r) != 0 || r.reserved)
        return false;
    region->start = r.start - WINDOW_START;
    region->end = r.end - WINDOW_START;
    region->prot = r.prot;
    region->shared = r.shared;
    region->file = file_of(sim, r.vnode);
    region->offset = region->file < 0 ? 0 : r.offset;
    return true;
}

static void sim_check(struct driver *d)
{
    struct sim_torture *torture = sim_torture(), saved = *torture;

    (void)d;
    sim_settle();
    torture->preempt_permille = torture->forgetful_permille = 0;
    fl_vm_check();
    *torture = saved;
}

/* Frees everything; sim_shutdown then panics when anything was left over. */
static void sim_destroy(struct driver *d)
{
    struct sim *sim = sim_of(d);
    int i;

    fl_space_destroy(sim->map);
    for (i = 0; i < DRIVER_HANDLES; i++)
        if (fl_vnode_close(sim->handle[i].vnode) != 0)
            abort(); /* no test here ends with a disk that fails */
    sim_shutdown();
    for (i = 0; i < DRIVER_FILES; i++)
        sim_disk_destroy(sim->disk[i]);
    free(sim);
}

static void fill(struct sim_disk *disk, int file)
{
    uint8_t page[DRIVER_PAGE];
    uint64_t off, i, n, len = driver_file_size(file);

    for (off = 0; off < len; off += n) {
        n = len - off < PAGE ? len - off : PAGE;
        for (i = 0; i < n; i++)
            page[i] = driver_file_byte(file, off + i);
        sim_disk_write(disk, off, page, n);
    }
}

static void open_files(struct sim *sim, uint64_t seed)
{
    int i;

    for (i = 0; i < DRIVER_FILES; i++) {
        sim->disk[i] = sim_disk_create(driver_file_size(i), seed + (uint64_t)i + 1);
        fill(sim->disk[i], i);
    }
    for (i = 0; i < DRIVER_HANDLES; i++) {
        const struct driver_handle *h = &driver_handles[i];

        sim->handle[i].mode = (h->read ? FL_FREAD : 0) | (h->write ? FL_FWRITE : 0);
        if (fl_vnode_open(sim_disk_open(sim->disk[h->file], false), &sim->handle[i].vnode) != 0)
            abort();
    }
}

struct vm_map *sim_driver_map(struct driver *d)
{
    return sim_of(d)->map;
}

struct sim_disk *sim_driver_disk(struct driver *d, int file)
{
    return sim_of(d)->disk[file];
}

struct driver *sim_driver_create(const struct sim_params *params)
{
    static const struct driver calls = {
        .name = "sim",
        .has = DRIVER_HAS_BRK,
        .address_space_end = DRIVER_WINDOW_BYTES + BEHIND,
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
        .file_read = sim_file_read,
        .region = sim_region,
        .check = sim_check,
        .destroy = sim_destroy,
    };
    struct sim *sim = calloc(1, sizeof(*sim));

    if (sim == NULL || sim_boot(params) != 0)
        abort();
    sim->driver = calls;
    open_files(sim, params->seed);
    if (fl_space_create(WINDOW_START, WINDOW_END + BEHIND, &sim->map) != 0 ||
        fl_space_reserve(sim->map, WINDOW_END, WINDOW_END + BEHIND) != 0)
        abort();
    fl_space_set_brk(sim->map, absolute(DRIVER_BRK_START), absolute(DRIVER_BRK_LIMIT));
    return &sim->driver;
}
