/*
 * reservation.c: addresses that the program reserves, by anonymous memory that it cannot write, in order to
 * map files over it with MAP_FIXED afterwards. They come from the lowest quarter of the window, the zone:
 *
 *   window:  |          zone, in slots of 4 GiB          |        what the core hands out        |
 *            |R1 |   |R2      R2|   |R3 |   |            |                 managed | managed    |
 *             closed    opened        closed
 *
 *   mmap(NULL, len, PROT_NONE, anonymous) ─▶ reservation_place ─▶ closed: the kernel's, outside the window
 *   mmap(R2 + x, len, file, MAP_FIXED)    ─▶ reservation_open  ─▶ opened: a part of the window, managed
 *
 * Most reservations become heaps. So a closed one costs nothing: window_has denies its addresses,
 * no call on it reaches the core, and the seccomp filter ignores it. A reservation is opened when
 * the first file is to be managed in it: a filter for its slots is added, and window_has includes
 * them from then on. When an opened reservation has ended, the next one of the same length takes
 * its place, so that a program that maps file after file in this way opens only one.
 *
 * A filter cannot be removed, and each one costs every system call a little. So the last filter opens all
 * the slots behind those in use, and from then on every new reservation is treated as one that files will be
 * mapped over. A reservation that is closed then stays closed, and files mapped over it are the kernel's.
 *
 * A program that this one executes inherits the filters, so calls on these slots are
 * trapped there although they are closed. That only costs time, if a heap lies there.
 *
 * Invariant: between two reservations lies a free slot, so that no range of the program's lies in an
 * opened and a closed one. Whether a reservation has ended is found out when a place is looked for.
 *
 * Lock: (S) for everything but zone_opened, which window_has reads.
 *
 * Does not do: reservations that ask for an address, that can be written or executed, or are smaller
 * than what would be managed. A program that unmaps a part of its reservation in one thread
 * while it maps a file there, for the first time, in another, may lose the file's mapping.
 */
#include "reservation.h"
#include "filter.h"
#include "window.h"
#include <sys/mman.h>

#define ZONE_FILTERS_MAX 5
#define ZONE_COLOURS     64 /* so many reservations in a row begin at different offsets in their slots */
#define ZONE_COLOUR      ((vm_offset_t)2 << 20) /* the offsets differ by a huge page: no shared cache sets */

static struct slot {
    uint32_t nslots; /* (S) of the reservation that begins here; 0: none does */
    uint32_t into;   /* (S) 1 + how many slots behind its beginning; 0: the slot is free */
    size_t len;      /* (S) of the reservation, in bytes */
} slots[ZONE_SLOTS] FL_GUARDED_BY(shim_lock);
static unsigned filters FL_GUARDED_BY(shim_lock); /* of the zone */
static bool zone_is_there;                        /* (c) */

static vm_offset_t slot_address(size_t slot)
{
    return LINUX_WINDOW_START + slot * ZONE_SLOT_BYTES;
}

static size_t slot_of(vm_offset_t va)
{
    return (va - LINUX_WINDOW_START) / ZONE_SLOT_BYTES;
}

int reservation_start(void)
{
    int error = fl_space_reserve(fl_space(), LINUX_WINDOW_START, ZONE_END);

    if (error == 0)
        error = (int)linux_syscall(SYS_munmap, LINUX_WINDOW_START, ZONE_END - LINUX_WINDOW_START);
    zone_is_there = error == 0;
    return error;
}

/* ---- places ---------------------------------------------------------------------------------------- */

/* Anonymous memory that cannot be written: it is to be mapped over, or made writable later. */
static bool is_reservation(vm_offset_t addr, size_t len, int prot, int flags)
{
    return zone_is_there && addr == 0 && (prot & ~PROT_READ) == 0 &&
           (flags & ~MAP_NORESERVE) == (MAP_PRIVATE | MAP_ANONYMOUS) && len != 0 &&
           len >= shim_config.min_size_bytes && len < ZONE_END - LINUX_WINDOW_START;
}

static void slots_take(size_t first, size_t nslots, size_t len) FL_REQUIRES(shim_lock)
{
    slots[first] = (struct slot){.nslots = (uint32_t)nslots, .len = len};
    for (size_t i = 0; i < nslots; i++)
        slots[first + i].into = (uint32_t)i + 1;
}

static void slots_free(size_t first) FL_REQUIRES(shim_lock)
{
    for (size_t i = 0, n = slots[first].nslots; i < n; i++)
        slots[first + i] = (struct slot){0};
}

/* Nothing is mapped in the reservation's slots any more. */
static bool has_ended(size_t first) FL_REQUIRES(shim_lock)
{
    vm_offset_t start = slot_address(first);
    size_t len = slots[first].nslots * ZONE_SLOT_BYTES;
    long r = linux_syscall(SYS_mmap, start, len, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

    if (linux_syscall_failed(r))
        return false;
    linux_syscall(SYS_munmap, start, len);
    return true;
}

/* The slots of an opened reservation that had this length and has ended; -1: none. */
static long find_like(size_t len) FL_REQUIRES(shim_lock)
{
    for (size_t i = 0; i < ZONE_SLOTS; i++)
        if (slots[i].nslots != 0 && slots[i].len == len && zone_opened[i] && has_ended(i))
            return (long)i;
    return -1;
}

/* A run of free slots, all opened or all closed, with a free one at each end; -1: none. */
static long find_free(size_t nslots, bool opened) FL_REQUIRES(shim_lock)
{
    size_t run = 0;

    for (size_t i = 0; i < ZONE_SLOTS; i++) {
        run = slots[i].into == 0 && zone_opened[i] == opened ? run + 1 : 0;
        if (run == nslots + 2)
            return (long)(i - nslots);
    }
    return -1;
}

static long find_place(size_t len, size_t nslots) FL_REQUIRES(shim_lock)
{
    bool opened = filters >= ZONE_FILTERS_MAX;
    long first = find_like(len);

    if (first >= 0) {
        slots_free((size_t)first);
        return first;
    }
    first = find_free(nslots, opened);
    for (size_t i = 0; first < 0 && i < ZONE_SLOTS; i++)
        if (slots[i].nslots != 0 && has_ended(i))
            slots_free(i);
    if (first < 0)
        first = find_free(nslots, opened);
    return first >= 0 ? first : find_free(nslots, !opened);
}

/*
 * As the kernel chooses: memory begins at a huge page only if its length is a multiple of one. Otherwise
 * the first touch would allocate a whole huge page, of which the program asked for a part only.
 */
static vm_offset_t place_in_slot(size_t first, size_t len)
{
    vm_offset_t colour = first % ZONE_COLOURS * ZONE_COLOUR;

    return slot_address(first) + colour + (ZONE_COLOUR - len % ZONE_COLOUR) % ZONE_COLOUR;
}

long reservation_place(vm_offset_t addr, size_t len, int prot, int flags)
{
    sigset_t saved;
    size_t nslots;
    long first;
    long r = -ENOMEM;

    if (!is_reservation(addr, len, prot, flags))
        return -EINVAL;
    shim_enter(&saved);
    nslots = (len + ZONE_COLOURS * ZONE_COLOUR + ZONE_SLOT_BYTES - 1) / ZONE_SLOT_BYTES;
    first = find_place(len, nslots);
    if (first >= 0) {
        r = linux_syscall(SYS_mmap, place_in_slot((size_t)first, round_page(len)), len, prot,
                          flags | MAP_FIXED_NOREPLACE, -1, 0);
        if (r != -ENOMEM) /* -EEXIST: the kernel maps something here; the next search skips the slots */
            slots_take((size_t)first, nslots, len);
    }
    shim_leave(&saved);
    return r;
}

/* ---- opening --------------------------------------------------------------------------------------- */

/*
 * From the first slot of the first reservation that the
 * range touches to behind the last slot of the last one.
 */
static void range_slots(vm_offset_t start, vm_offset_t end, size_t *first, size_t *behind)
    FL_REQUIRES(shim_lock)
{
    *first = slot_of(start);
    *behind = slot_of(end - 1) + 1;
    if (slots[*first].into != 0)
        *first -= slots[*first].into - 1;
    while (*behind < ZONE_SLOTS && slots[*behind].into > 1)
        ++*behind;
}

static bool all_opened(size_t first, size_t behind)
{
    while (first < behind && zone_opened[first])
        first++;
    return first == behind;
}

static int slots_open(size_t first, size_t behind) FL_REQUIRES(shim_lock)
{
    int error = 0;

    if (shim_config.fault != FL_FAULT_THREAD) { /* handler threads serve the kernel's own faults */
        error = filter_install(slot_address(first), slot_address(behind));
        filters += error == 0;
    }
    if (error != 0)
        return error;
    for (size_t i = first; i < behind; i++)
        zone_opened[i] = true;
    return 0;
}

int reservation_open(vm_offset_t start, vm_offset_t end)
{
    size_t first, behind, tail = ZONE_SLOTS;
    int error;

    if (!zone_is_there)
        return -ENOTSUP;
    range_slots(start, end, &first, &behind);
    if (all_opened(first, behind))
        return 0;
    if (filters >= ZONE_FILTERS_MAX)
        return -EMFILE;
    error = slots_open(first, behind);
    if (error != 0 || filters != ZONE_FILTERS_MAX - 1)
        return error;
    while (tail > 0 && slots[tail - 1].into == 0 && !zone_opened[tail - 1])
        tail--;
    return tail < ZONE_SLOTS ? slots_open(tail, ZONE_SLOTS) : 0;
}

void reservation_settle(vm_offset_t start, vm_offset_t end)
{
    struct fl_region region = {0};

    if (end > ZONE_END)
        end = ZONE_END;
    for (vm_offset_t va = start; va < end; va = region.end) {
        vm_offset_t to = end;

        if (fl_space_region(fl_space(), va, &region) != 0)
            region.end = end;
        else if (region.start < end)
            to = region.start;
        if (to <= va)
            continue;
        linux_syscall(SYS_munmap, va, to - va);
        /* It has just been an entry, so there is memory for it. */
        if (fl_space_reserve(fl_space(), va, to) != 0)
            shim_verbose("%zu bytes of addresses cannot be used any more", (size_t)(to - va));
        region.end = to;
    }
}
