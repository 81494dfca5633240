/*
 * vm_init.c: the VM as a whole: how it boots from a piece of memory and stops, and its statistics. (vm_init,
 * FreeBSD; start_kernel's mm_init, Linux.)
 *
 *   fl_vm_boot starts the floors from below, and what depends on numbers of others last:
 *
 *     lib    the metadata memory
 *     vm     pages (vm_phys, vm_reserv), kmap, radix nodes, objects, the table of pagers, swap, maps
 *     file   the block layer, buffer heads, transfers, vnodes, their pager, read-ahead, the flusher's marks
 *     vm     the page daemon's marks, which take account of read-ahead's window
 *
 * Invariant: SD1 when no space and no vnode is left, no page is in use, but for fl_frames_alloc's.
 *
 * Each *_startup sets every static variable of its file, so a program may boot one VM after another. Context:
 * boot, with no other thread in the core.
 */
#include "file/block.h"
#include "file/buffer.h"
#include "file/flusher.h"
#include "file/readahead.h"
#include "file/shmem.h"
#include "file/transfer.h"
#include "file/vnode_hash.h"
#include "file/vnode_pager.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "lib/zone.h"
#include "vm/kmap.h"
#include "vm/lru.h"
#include "vm/pmap.h"
#include "vm/swap_pager.h"
#include "vm/vm_commit.h"
#include "vm/vm_map.h"
#include "vm/vm_meter.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_phys.h"
#include "vm/vm_prefaultd.h"
#include "vm/vm_reserv.h"
#include <faultline/vm.h>

/* With fewer frames, a fault that copies and the page daemon's reserve do not fit together. */
#define VM_MIN_FRAMES 16
/* Bytes for slabs that are not full, and for some hundred transfers, vnodes and objects. */
#define VM_META_FIXED (1u << 20)
/* Bytes that fl_vm_boot uses beside what grows with memory. */
#define VM_BOOT_FIXED (1u << 16)

size_t fl_vm_meta_size(uint32_t nframes, uint32_t nentries)
{
    /* VM_RADIX_NODE_BYTES holds for every page of the VM, however sparse the files are. */
    size_t per_frame = sizeof(struct vm_page) + VM_RADIX_NODE_BYTES;
    size_t reservations = ((size_t)nframes / VM_LEVEL_0_NPAGES + 1) * VM_RESERV_BYTES;
    return nframes * per_frame + buffer_meta_size(nframes) + reservations +
           (size_t)nentries * (sizeof(struct vm_map_entry) + 8) + VM_META_FIXED;
}

size_t fl_vm_boot_size(uint32_t nframes)
{
    return (size_t)nframes * sizeof(struct vm_page) + (nframes / VM_LEVEL_0_NPAGES + 1) * VM_RESERV_BYTES +
           VM_BOOT_FIXED;
}

int fl_vm_boot(const struct fl_vm_params *params)
{
    if (params->nframes < VM_MIN_FRAMES || params->meta == NULL ||
        trunc_page((uintptr_t)params->meta) != (uintptr_t)params->meta)
        return -EINVAL;
    vm_meta_init(params->meta, params->meta_len_bytes, params->back_meta, params->fail_alloc);
    int error = vm_page_startup(params->nframes, params->superpages);
    if (error == 0)
        error = kmap_startup(params->kmap);
    if (error != 0)
        return error;
    pmap_startup(params->direct_map);
    vm_radix_startup();
    vm_object_startup();
    vm_pager_startup();
    swap_pager_startup();
    vm_map_startup();
    vm_prefaultd_startup();
    blk_startup();
    buffer_startup();
    transfer_startup();
    vnode_startup();
    vnode_pager_startup();
    shmem_startup();
    readahead_startup(params->readahead_max);
    error = flusher_startup(params->nframes, params->dirty_background, params->dirty_max,
                            params->dirty_expire_ns);
    if (error != 0)
        return error;
    error = vm_pageout_startup(params->nframes, params->free_reserved, params->free_min, params->free_target,
                               readahead_window());
    if (error == 0)
        vm_commit_startup(params->overcommit, params->nframes - vm_pageout.free_target);
    return error;
}

void fl_vm_stop(void)
{
    vm_pageout_stop();
    vm_prefaultd_stop();
    flusher_stop();
}

void fl_vm_halt(void)
{
    swap_pager_shutdown(); /* first: its store may have frames */
    vm_lock(&vm_phys.lock);
    bool all_free = vm_phys.free_count + vm_phys.allocated == vm_page_count;
    vm_unlock(&vm_phys.lock);
    KASSERT(all_free, "SD1"); /* no space and no vnode is left, so no page may be in use but by the host */
}

static void vm_stats_pages(struct fl_vm_stats *stats)
{
    stats->nframes = vm_page_count;
    vm_lock(&vm_phys.lock);
    stats->free = vm_phys.free_count;
    stats->taken = vm_phys.taken + vm_phys.allocated;
    stats->peak_used = vm_page_count - vm_phys.free_low;
    vm_unlock(&vm_phys.lock);
    lru_add_drain_all();
    vm_lock(&vm_queues.lock);
    stats->active = vm_queues.q[PQ_ACTIVE].count;
    stats->inactive = vm_queues.q[PQ_INACTIVE].count;
    vm_unlock(&vm_queues.lock);
    stats->wired = stats->nframes - stats->free - stats->taken - stats->active - stats->inactive;
}

void fl_vm_stats(struct fl_vm_stats *stats)
{
    vm_stats_pages(stats);
    stats->faults = vm_counted(&vm_cnt.faults);
    stats->faults_minor = vm_counted(&vm_cnt.faults_minor);
    stats->faults_cow = vm_counted(&vm_cnt.faults_cow);
    stats->faults_zero = vm_counted(&vm_cnt.faults_zero);
    stats->page_ins = vm_counted(&vm_cnt.page_ins);
    stats->page_in_bytes = ptoa(stats->page_ins);
    stats->readahead = vm_counted(&vm_cnt.readahead);
    stats->evictions = vm_counted(&vm_cnt.evictions);
    stats->write_backs = vm_counted(&vm_cnt.write_backs);
    stats->dirty = atomic_load_explicit(&vm_page_dirty_count, memory_order_relaxed);
    stats->io_errors = vm_counted(&vm_cnt.io_errors);
    stats->requests = vm_counted(&vm_cnt.requests);
    stats->merges = vm_counted(&vm_cnt.merges);
    stats->reactivations = vm_counted(&vm_cnt.reactivations);
    stats->mappings = vm_map_entries_now();
    stats->mappings_peak = vm_map_entries_peak();
    swap_pager_count(&stats->swap_pages, &stats->swap_free);
    stats->committed = vm_committed(&stats->committed_limit);
    stats->swap_error = swap_pager_error();
    stats->meta_used_bytes = vm_meta_used();
    stats->meta_page_bytes = vm_page_count * sizeof(struct vm_page) + vm_radix_node_bytes() +
                             (vm_page_count / VM_LEVEL_0_NPAGES) * VM_RESERV_BYTES;
}

void fl_vm_check(void)
{
    vm_phys_check();
    vm_reserv_check();
    vm_page_check_all();
    kmap_check();
    vm_object_check_all();
    vm_map_check_all();
    flusher_check();
}
