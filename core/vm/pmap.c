/*
 * pmap.c: from pages to machine_run: the functions of pmap.h.
 *
 *   m[0], m[1], …  ─pmap_run─▶  machine_run {object, pindex, npages, frame[]}  ─▶  machine_*
 *
 * A page in high memory has no address in the machine's window. For transfers and for copies, which may
 * sleep, its address is a kmap; for zeroing and copying a page, a kmap_local (kmap.h).
 *
 * Invariants PM1, PM2: pmap.h. Locks: the callers'; none is taken here.
 */
#include "vm/pmap.h"
#include "lib/errno.h"
#include "lib/kassert.h"
#include "vm/kmap.h"

char *pmap_direct_map;

void pmap_startup(void *direct_map)
{
    pmap_direct_map = direct_map;
}

/* `frame` has room for npages, and must live as long as the run. */
static void pmap_run(struct machine_run *run, vm_frame_t *frame, struct vm_page *const *m, uint32_t npages)
{
    for (uint32_t i = 0; i < npages; i++)
        frame[i] = vm_page_frame(m[i]);
    run->object = m[0]->object->machine;
    run->pindex = m[0]->pindex;
    run->npages = npages;
    run->frame = frame;
    run->addr = NULL;
}

int pmap_enter(struct vm_map *map, vm_offset_t va, struct vm_page *m, vm_prot_t prot, unsigned flags)
{
    struct machine_run run;
    vm_frame_t frame;
    uint32_t done;
    pmap_run(&run, &frame, &m, 1);
    return machine_map(map->space, va, &run, prot, flags, &done);
}

void pmap_enter_object(struct vm_map *map, vm_offset_t va, struct vm_page **m, uint32_t npages,
                       vm_prot_t prot)
{
    vm_frame_t frame[PMAP_BATCH];
    for (uint32_t i = 0, n; i < npages; i += n) {
        n = npages - i < PMAP_BATCH ? npages - i : PMAP_BATCH;
        struct machine_run run;
        uint32_t done;
        pmap_run(&run, frame, m + i, n);
        /* A wish: a page that the machine leaves out will fault, so an error needs no report. */
        if (machine_map(map->space, va + ptoa(i), &run, prot, MACHINE_MAP_QUICK, &done) != 0 || done < n)
            return;
    }
}

int pmap_window_get(const struct machine_run *run, enum machine_window how, bool nowait, void **addr)
{
    if (pmap_direct_map != NULL) {
        for (uint32_t i = 0; i < run->npages; i++)
            addr[i] = pmap_direct_map + ptoa((uint64_t)run->frame[i]);
        return 0;
    }
    int error = machine_window_get(run, how, nowait, addr);
    if (error != 0 || !kmap_used())
        return error;
    error = kmap(run->frame, run->npages, nowait, addr);
    if (error != 0)
        machine_window_put(run, how, addr, false);
    return error;
}

void pmap_window_put(const struct machine_run *run, enum machine_window how, void **addr, bool keep)
{
    if (pmap_direct_map != NULL)
        return;
    machine_window_put(run, how, addr, keep);
    if (kmap_used())
        kunmap(run->frame, run->npages);
}

/* Where the bytes of a page are whose window says `addr`; and the end of that. The caller does not sleep in
 * between. */
static void *pmap_quick_enter_page(vm_frame_t frame, void *addr)
{
    return addr != NULL ? addr : kmap_local(frame);
}

static void pmap_quick_remove_page(void *mapped, const void *addr)
{
    if (addr == NULL)
        kunmap_local(mapped);
}

/* A function of its own under FreeBSD's name, as the walkthroughs cite it. */
static void pagezero(void *bytes)
{
    __builtin_memset(bytes, 0, VM_PAGE_SIZE);
}

int pmap_zero_page(struct vm_page *m)
{
    struct machine_run run;
    vm_frame_t frame;
    void *addr;
    if (pmap_direct_map != NULL) {
        pagezero(pmap_direct(m));
        return 0;
    }
    pmap_run(&run, &frame, &m, 1);
    int error = machine_window_get(&run, MACHINE_WINDOW_FILL, false, &addr);
    if (error != 0)
        return error;
    void *bytes = pmap_quick_enter_page(frame, addr);
    pagezero(bytes);
    pmap_quick_remove_page(bytes, addr);
    machine_window_put(&run, MACHINE_WINDOW_FILL, &addr, true);
    return 0;
}

/* The bytes of a page in a window become those of another one. */
static void pmap_copy_windows(vm_frame_t src, const void *from, vm_frame_t dst, void *to)
{
    void *from_bytes = pmap_quick_enter_page(src, (void *)(uintptr_t)from);
    void *to_bytes = pmap_quick_enter_page(dst, to);
    __builtin_memcpy(to_bytes, from_bytes, VM_PAGE_SIZE);
    pmap_quick_remove_page(to_bytes, to);
    pmap_quick_remove_page(from_bytes, from);
}

int pmap_copy_page(struct vm_page *src, struct vm_page *dst)
{
    struct machine_run src_run, dst_run;
    vm_frame_t src_frame, dst_frame;
    void *from, *to;
    if (pmap_direct_map != NULL) {
        __builtin_memcpy(pmap_direct(dst), pmap_direct(src), VM_PAGE_SIZE);
        return 0;
    }
    pmap_run(&src_run, &src_frame, &src, 1);
    pmap_run(&dst_run, &dst_frame, &dst, 1);
    int error = machine_window_get(&src_run, MACHINE_WINDOW_READ, false, &from);
    if (error != 0)
        return error;
    error = machine_window_get(&dst_run, MACHINE_WINDOW_FILL, false, &to);
    if (error == 0) {
        pmap_copy_windows(src_frame, from, dst_frame, to);
        machine_window_put(&dst_run, MACHINE_WINDOW_FILL, &to, true);
    }
    machine_window_put(&src_run, MACHINE_WINDOW_READ, &from, true);
    return error;
}

/* Not through an object window: that may be a copy, while the program stores into the rest of the page. */
int pmap_zero_page_area(struct vm_page *m, uint32_t start, uint32_t end)
{
    static const char zeros[VM_PAGE_SIZE];
    size_t done;
    return pmap_copyin(&m, 1, start, zeros, end - start, &done);
}

/*
 * A copy of pages of which some may be in high memory. A function of its own: its array is too large for the
 * stack of a fault on machines that do not need it.
 */
static __attribute__((noinline)) int pmap_copy_high(struct machine_run *run, uint32_t start, void *memory,
                                                    size_t len_bytes, bool out, size_t *done)
{
    void *addr[PMAP_BATCH];
    int error = kmap(run->frame, run->npages, false, addr);
    *done = 0;
    if (error != 0)
        return error;
    run->addr = addr;
    error = out ? machine_copyout(run, start, memory, len_bytes, done)
                : machine_copyin(run, start, memory, len_bytes, done);
    kunmap(run->frame, run->npages);
    return error;
}

int pmap_copyout(struct vm_page *const *m, uint32_t npages, uint32_t start, void *to, size_t len_bytes,
                 size_t *done)
{
    struct machine_run run;
    vm_frame_t frame[PMAP_BATCH];
    pmap_run(&run, frame, m, npages);
    if (kmap_used())
        return pmap_copy_high(&run, start, to, len_bytes, true, done);
    return machine_copyout(&run, start, to, len_bytes, done);
}

int pmap_copyin(struct vm_page *const *m, uint32_t npages, uint32_t start, const void *from, size_t len_bytes,
                size_t *done)
{
    struct machine_run run;
    vm_frame_t frame[PMAP_BATCH];
    pmap_run(&run, frame, m, npages);
    if (kmap_used())
        return pmap_copy_high(&run, start, (void *)(uintptr_t)from, len_bytes, false, done);
    return machine_copyin(&run, start, from, len_bytes, done);
}

void pmap_rename(struct vm_page *m, struct vm_object *object, vm_pindex_t pindex)
{
    vm_frame_t frame = vm_page_frame(m);
    struct machine_run run = {
        .object = m->object->machine, .pindex = m->pindex, .npages = 1, .frame = &frame};
    machine_rename(&run, object->machine, pindex);
}

void pmap_release(struct vm_object *object, struct vm_page **m, uint32_t npages)
{
    vm_frame_t frame[PMAP_BATCH];
    for (uint32_t i = 0, n; i < npages; i += n) {
        KASSERT(m[i]->object == object, "PG1");
        for (n = 1; i + n < npages && n < PMAP_BATCH && m[i + n]->pindex == m[i]->pindex + n;)
            n++;
        struct machine_run run;
        pmap_run(&run, frame, m + i, n);
        machine_release(&run);
    }
}
