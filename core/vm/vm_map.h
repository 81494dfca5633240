/*
 * vm_map.h: an address space: a sorted list of entries [start, end), in a balanced tree that also knows the
 * largest free gap below each node. (vm_map, Mach and the BSDs; mm_struct and vm_area_struct, Linux.)
 *
 *     header list:  [start,end) ⇄ [start,end) ⇄ [start,end)          adj_free: the gap after an entry
 *     tree:               max_free = max(left's, right's, own adj_free)
 *
 * The gap before the first entry belongs to the header. A search for space looks at max_free only, first-fit
 * from either end: O(log n).
 *
 * Locks. (M) map->lock, reader/writer, before all object locks. Faults hold it shared; calls that change
 * entries hold it exclusively. A fault drops it for I/O, and compares `timestamp` afterwards. (R)
 * vm_rmap_lock, for what a walk of reverse mapping reads: an entry's start, end, object and pindex change
 * under (M) and (R), both exclusive. (e) the pager's part of an entry: changes under (M) shared with a lock
 * that the pager chooses (vm_pager.h), or under (M) exclusive. (T) map->transition_lock, after (M), a leaf.
 * (c) constant.
 *
 * Invariants: AM1 entries are sorted, not empty, page-aligned, inside the map, and do not overlap. AM2
 * adj_free and max_free are exact. AM3 two neighbours that vm_map_simplify_entry could merge are merged when
 * an operation ends. AM4 an entry with an object holds one reference to it. AM5 an entry with an object is in
 * the object's tree (vm_rmap.h). AM6 nentries counts the entries. AM7 what machine_attach was told is what
 * the entries say. AM8 `dead` is empty whenever (M) is free or shared. AM9 every map is on the list of all
 * maps, from vm_map_create to vm_map_destroy. AM10 an entry in transition keeps its edges and stays. AM11
 * wired_count is 1 if MAP_ENTRY_WIRED is set, and 0 if not, unless the entry is in transition. AM14
 * size_bytes, data_bytes and locked_bytes are exact.
 */
#ifndef CORE_VM_VM_MAP_H
#define CORE_VM_VM_MAP_H

#include "lib/errseq.h"
#include "lib/tree.h"
#include "vm/vm_object.h"
#include <faultline/vm.h>

struct machine_space;

/* vm_map_entry.eflags */
#define MAP_ENTRY_COW           0x01 /* writes go to a private copy */
#define MAP_ENTRY_NEEDS_COPY    0x02 /* … whose shadow object does not exist yet */
#define MAP_ENTRY_SNAPSHOT      0x04 /* a copy that stays as it is, and is never stored to */
#define MAP_ENTRY_GROWS_DOWN    0x08 /* a stack */
#define MAP_ENTRY_WIRED         0x10 /* mlock */
#define MAP_ENTRY_RESERVED      0x20 /* fl_space_reserve: addresses that are not the VM's */
#define MAP_ENTRY_IN_TRANSITION 0x40 /* being wired with the map unlocked; other changes wait */
#define MAP_ENTRY_NO_ROOM       0x80 /* a stack's upper part after a split: its object has no room below */

enum vm_behavior {
    MAP_BEHAV_NORMAL,
    MAP_BEHAV_SEQUENTIAL,
    MAP_BEHAV_RANDOM,
};

/*
 * What the child of a fork has in the entry's place instead of the same memory (if it is shared) or a copy
 * (if it is private). If both are set, NONE counts. (minherit, FreeBSD; VM_DONTCOPY, VM_WIPEONFORK, Linux.)
 */
#define VM_INHERIT_NONE 0x1 /* nothing */
#define VM_INHERIT_ZERO 0x2 /* private anonymous memory: fresh pages */

/*
 * The behavior and the inheritance of a new entry, to be ORed into the eflags of vm_map_insert and its kin,
 * so that the entry merges with neighbours of its kind only.
 */
#define MAP_INSERT_BEHAVIOR(behavior)   ((unsigned)(behavior) << 8)
#define MAP_INSERT_INHERIT(inheritance) ((unsigned)(inheritance) << 16)
#define MAP_INSERT_COMMITTED            (1u << 24) /* promised, though it cannot be written now */

/* What the pager remembers of the accesses through one mapping. All zero: nothing. */
struct vm_pager_stream {
    uint64_t own[5];
};

struct vm_map_entry {
    /*
     * What searches read comes first: 64 bytes. Aligned, so that an entry has 208 bytes. With 200, the
     * entries that a search visits share cache sets: among a million entries it takes 100 ns instead of 60.
     */
    _Alignas(16) struct tree_node node; /* (M) by start */
    vm_offset_t start, end;             /* (M)(R) */
    vm_offset_t adj_free; /* (M) free bytes behind `end`, without the guard gap of a stack that follows */
    vm_offset_t max_free; /* (M) the largest adj_free in this subtree */
    struct vm_map_entry *prev, *next; /* (M) */
    struct vm_object *object;         /* (M)(R) NULL: anonymous and untouched, or reserved */
    vm_pindex_t pindex;               /* (M)(R) of `start` in the object */
    struct tree_node rmap_node FL_GUARDED_BY(vm_rmap_lock); /* (R) in object->entries, by pindex */
    vm_pindex_t rmap_max_end FL_GUARDED_BY(vm_rmap_lock);   /* (R) the largest end index in this subtree */
    struct vm_map *map;                                     /* (c) */
    vm_prot_t protection, max_protection;                   /* (M) */
    uint8_t eflags;                                         /* (M) MAP_ENTRY_* */
    uint8_t behavior;                                       /* (M) enum vm_behavior */
    uint8_t inheritance;                                    /* (M) VM_INHERIT_* */
    uint8_t wired_count;                                    /* (M) 0 or 1: mlock does not nest */
    bool attached;    /* (O) of its object: the machine shows [start, end) */
    bool writenotify; /* (O) attached so, whatever the object says: private, and not its own copy at first */
    errseq_t wb_told; /* (e) cursor of the failed writes that the mapping was told of */
    bool committed;   /* (M) its memory is promised (vm_commit.h); stays so when it becomes read-only */
    struct vm_pager_stream stream; /* (e) */
};

struct vm_map {
    struct vm_rwlock lock;              /* (M) */
    struct vm_map_entry header;         /* (M) header.next: the first entry; adj_free: the gap before it */
    struct tree tree;                   /* (M) */
    vm_offset_t min_offset, max_offset; /* (c) the map is [min_offset, max_offset) */
    uint32_t nentries;                  /* (M) */
    uint32_t timestamp;                 /* (M) grows with every exclusive lock */
    /* (M) The bytes of all entries but reserved ones; of data (vm_map_is_data); of wired entries. */
    uint64_t size_bytes, data_bytes, locked_bytes;
    struct fl_space_limits limits; /* (M) */
    bool wire_future;              /* (M) new mappings are wired: mlockall(MCL_FUTURE) */
    vm_offset_t mmap_base;         /* (M) get_unmapped_area looks below it first; a stack lies above */
    struct machine_space *space;   /* (c) */
    vm_offset_t brk_start, brk, brk_limit; /* (M) the heap: [brk_start, brk); brk <= brk_limit */
    struct vm_map *all_next;               /* (vm_maps_lock, in vm_map_space.c) every map, for checkers */
    struct vm_map_entry *dead;             /* (M) deleted entries, by `next`: vm_map_unlock frees them */
    struct vm_lock transition_lock;        /* (T) */
    uint32_t transitions; /* (T) how often entries left transition; the map's address is the channel */
};

/*
 * A stack grows to at most limits.stack_bytes, at first VM_STACK_LIMIT, and keeps VM_STACK_GUARD_GAP bytes
 * free above what is mapped below it.
 */
#define VM_STACK_LIMIT     ((vm_offset_t)8 << 20)
#define VM_STACK_GUARD_GAP ((vm_offset_t)256 << VM_PAGE_SHIFT)

/*
 * Where the free space below the entry ends: a stack keeps a gap, so that what is mapped below it is not
 * reached by a step too far. Of the header: the map's end. (M) shared at least. (vm_start_gap, Linux.)
 */
static inline vm_offset_t vm_start_gap(const struct vm_map_entry *entry)
{
    vm_offset_t gap = (entry->eflags & MAP_ENTRY_GROWS_DOWN) != 0 ? VM_STACK_GUARD_GAP : 0;

    return entry->start > gap ? entry->start - gap : 0;
}

/* Private memory that may be written, but for stacks: what RLIMIT_DATA limits. */
static inline bool vm_map_is_data(unsigned eflags, vm_prot_t prot)
{
    return (eflags & (MAP_ENTRY_COW | MAP_ENTRY_GROWS_DOWN | MAP_ENTRY_RESERVED)) == MAP_ENTRY_COW &&
           (prot & VM_PROT_WRITE) != 0;
}

/* Context: boot. */
void vm_map_startup(void);
/* An empty map of [min, max), which are page-aligned. Errors: -ENOMEM, and as machine_space_create. */
FL_NODISCARD int vm_map_create(vm_offset_t min, vm_offset_t max, struct vm_map **map);
/* Deletes all mappings, and the map. No lock held; no thread uses the map any more. */
void vm_map_destroy(struct vm_map *map);

/*
 * *child: a map that shows what the parent shows now: shared memory the same, private memory a copy, which is
 * made page by page when either side stores (vm_map_fork.c). Nothing of it is wired. Takes (M) of the parent.
 * Errors: -ENOMEM, and as machine_space_create; then there is no child, and the parent shows what it showed.
 * (vmspace_fork, FreeBSD.)
 */
FL_NODISCARD int vmspace_fork(struct vm_map *parent, struct vm_map **child);

/*
 * *copy: where a copy of [start, end) is from now on, at the highest free place. It can only be read, and
 * stays as it is. Pages are copied when the original is about to change. Takes (M), and waits with it
 * released. Errors, and nothing is mapped then: -ENOMEM, a gap, no memory or no place; -EACCES, a part cannot
 * be read.
 */
FL_NODISCARD int vm_map_snapshot(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_offset_t *copy);

/*
 * The private memory of [start, end) shows its source again, zeros or a file, and leaves its pages to those
 * that share them since a fork. Gaps and shared memory are skipped. Takes (M). Errors: -ENOMEM; a part may be
 * unmapped then.
 */
FL_NODISCARD int vm_map_renew(struct vm_map *map, vm_offset_t start, vm_offset_t end);

/* (M) exclusive: for changes. */
void vm_map_lock(struct vm_map *map) FL_ACQUIRE(map->lock);
/* Drops the references of deleted entries afterwards, so no other lock may be held. */
void vm_map_unlock(struct vm_map *map) FL_RELEASE(map->lock);
/* (M) shared. */
void vm_map_lock_read(struct vm_map *map) FL_ACQUIRE_SHARED(map->lock);
void vm_map_unlock_read(struct vm_map *map) FL_RELEASE_SHARED(map->lock);

/* ---- finding ------------------------------------------------------------------------------------------ */

/* True: *entry contains va. False: *entry is the last one before va, or &map->header. */
FL_NODISCARD bool vm_map_lookup_entry(struct vm_map *map, vm_offset_t va, struct vm_map_entry **entry)
    FL_REQUIRES_SHARED(map->lock);
/* The first entry that ends after va, or &map->header. */
FL_NODISCARD struct vm_map_entry *vm_map_first_after(struct vm_map *map, vm_offset_t va)
    FL_REQUIRES_SHARED(map->lock);

/* The index of va's page in the entry's object. (M) shared at least. */
static inline vm_pindex_t vm_map_entry_pindex(const struct vm_map_entry *entry, vm_offset_t va)
{
    return entry->pindex + atop(va - entry->start);
}

/*
 * What a fault at va must know: *entry; *object and *pindex, where to look for the page; *prot, the rights
 * that may be entered (without the write right while a write would have to copy first); *wired, whether the
 * entry is. `access` is VM_PROT_READ, _WRITE or _EXECUTE.
 *
 * Before that it makes the object of an untouched anonymous entry, makes the shadow if a write meets
 * NEEDS_COPY, and grows a stack if va lies in the gap below one; then `timestamp` grows.
 *
 * On success (M) is held shared. Errors: -EFAULT, nothing is mapped there; -EACCES, the protection forbids
 * it; -ENOMEM. (M) is not held then.
 */
FL_NODISCARD int vm_map_lookup(struct vm_map *map, vm_offset_t va, vm_prot_t access,
                               struct vm_map_entry **entry, struct vm_object **object, vm_pindex_t *pindex,
                               vm_prot_t *prot, bool *wired) FL_TRY_ACQUIRE_SHARED(0, map->lock);
/*
 * The rights that may be entered for pages of the entry: without the write right while a write would have to
 * copy first. (M) shared at least.
 */
FL_NODISCARD vm_prot_t vm_map_entry_rights(const struct vm_map_entry *entry);
/* (M) shared at least. */
FL_NODISCARD enum vm_behavior vm_map_entry_behavior(const struct vm_map_entry *entry);

/*
 * *addr: where `length` free bytes, whole pages, start: the lowest such place at or behind `start`; topdown:
 * the highest that ends at or below `limit`. Errors: -ENOMEM. (vm_map_findspace, FreeBSD; unmapped_area and
 * unmapped_area_topdown, Linux.)
 */
FL_NODISCARD int vm_map_findspace(struct vm_map *map, vm_offset_t start, vm_offset_t length,
                                  vm_offset_t *addr) FL_REQUIRES_SHARED(map->lock);
FL_NODISCARD int vm_map_findspace_topdown(struct vm_map *map, vm_offset_t limit, vm_offset_t length,
                                          vm_offset_t *addr) FL_REQUIRES_SHARED(map->lock);
/*
 * *addr: the hint, if it is not 0 and `length` bytes are free there; else the highest place below mmap_base;
 * if there is none, the lowest place. Errors: -ENOMEM.
 */
FL_NODISCARD int get_unmapped_area(struct vm_map *map, vm_offset_t hint, vm_offset_t length,
                                   vm_offset_t *addr) FL_REQUIRES_SHARED(map->lock);
/* *addr: the lowest place at or behind the hint that is a multiple of `align`, a power of two. */
FL_NODISCARD int vm_map_find(struct vm_map *map, vm_offset_t hint, vm_offset_t length, vm_offset_t align,
                             vm_offset_t *addr) FL_REQUIRES_SHARED(map->lock);

/* ---- limits (vm_map_limit.c) --------------------------------------------------------------------------- */

/* Whether `bytes` more may be mapped, which are data or not. (may_expand_vm, Linux.) */
FL_NODISCARD bool may_expand_vm(const struct vm_map *map, bool data, uint64_t bytes)
    FL_REQUIRES_SHARED(map->lock);
/* Whether `bytes` more may be wired. (mlock_future_ok, Linux.) */
FL_NODISCARD bool mlock_future_ok(const struct vm_map *map, uint64_t bytes) FL_REQUIRES_SHARED(map->lock);

/* ---- inserting ---------------------------------------------------------------------------------------- */

/*
 * Maps [start, end) to the object from page pindex on; object NULL: untouched anonymous memory, or reserved.
 * On success the caller's reference to the object is the entry's. Tells the machine, and enters resident
 * pages (vm_map_pmap_enter). Where the mapping continues a neighbour of its kind, that one becomes longer,
 * and no entry is allocated. Checks no limits. eflags: MAP_ENTRY_*, MAP_INSERT_*. Errors: -EINVAL, not
 * aligned, or not inside the map; -EEXIST, a part of it is mapped; -ENOMEM.
 */
FL_NODISCARD int vm_map_insert(struct vm_map *map, struct vm_object *object, vm_pindex_t pindex,
                               vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max,
                               unsigned eflags) FL_REQUIRES(map->lock);
/* Maps resident pages of [start, end), which lies in the entry, up to a limit. Reads none. */
void vm_map_pmap_enter(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end)
    FL_REQUIRES_SHARED(map->lock);

/* ---- splitting, deleting, moving ---------------------------------------------------------------------- */

/*
 * Splits the entry at addr if addr lies inside it. `entry` is afterwards the part that starts at addr
 * (clip_end: that ends there). Errors: -ENOMEM, nothing changed.
 */
FL_NODISCARD int vm_map_clip_start(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr)
    FL_REQUIRES(map->lock);
FL_NODISCARD int vm_map_clip_end(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr)
    FL_REQUIRES(map->lock);
/* Merges the entry with its neighbours where they continue each other; `entry` remains. */
void vm_map_simplify_entry(struct vm_map *map, struct vm_map_entry *entry) FL_REQUIRES(map->lock);
/*
 * Removes all mappings from [start, end), wired ones too: unmaps, detaches, and unlinks the entries, whose
 * references vm_map_unlock drops. First it waits until no entry there is in transition, with (M) released in
 * between. Errors: -ENOMEM when a clip needs an entry; nothing changed.
 */
FL_NODISCARD int vm_map_delete(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock);
/*
 * Moves the mappings of [old, old + length) to [new_start, new_start + length), where nothing is mapped.
 * Nothing of either is in transition. (mremap.) Errors: -ENOMEM, nothing moved.
 */
FL_NODISCARD int vm_map_relocate(struct vm_map *map, vm_offset_t old, vm_offset_t length,
                                 vm_offset_t new_start) FL_REQUIRES(map->lock);
/* Grows the stack above the gap that va lies in down to va. Errors: -EFAULT, -ENOMEM. (grow, FreeBSD 2.1.) */
FL_NODISCARD int vm_map_growstack(struct vm_map *map, vm_offset_t va) FL_REQUIRES(map->lock);

/* ---- changing ranges. Take (M). ------------------------------------------------------------------------ */

/*
 * mprotect of [start, end). Errors: -ENOMEM, a gap, or no memory; -EACCES, more than max_protection. The part
 * before the place of the error is changed.
 */
FL_NODISCARD int vm_map_protect(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot);
/* madvise's behaviours. Gaps are skipped, and give -ENOMEM at the end. */
FL_NODISCARD int vm_map_behave(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                               enum vm_behavior behavior);
/* Sets or clears one of VM_INHERIT_*. Gaps as in vm_map_behave. */
FL_NODISCARD int vm_map_inherit(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flag,
                                bool set);
/*
 * mlock: faults in the pages of [start, end) and wires them. VM_MAP_WIRE_REACHABLE: pages that cannot be had
 * are left out, though their entries count as wired. On an error nothing of it is newly wired. Errors:
 * -ENOMEM, a gap, or more than limits.memlock_bytes; -EAGAIN, no pages; and as vm_fault.
 */
#define VM_MAP_WIRE_REACHABLE 0x1
FL_NODISCARD int vm_map_wire(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flags);
/* vm_map_wire with VM_MAP_WIRE_REACHABLE of all that is mapped, mapping by mapping. Errors: -EAGAIN. */
FL_NODISCARD int vm_map_wire_all(struct vm_map *map);
/* munlock. Gaps are skipped, and give -ENOMEM at the end. */
FL_NODISCARD int vm_map_unwire(struct vm_map *map, vm_offset_t start, vm_offset_t end);
/*
 * Returns when no entry of [start, end) is in transition. Releases (M) to wait, so the caller looks
 * everything up afterwards.
 */
void vm_map_wait_transition(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock);

/*
 * ---- failed writes (vm_map_told.c). Take (M); the caller has a reference to the object. -----------------
 */

/*
 * Each mapping has a cursor (errseq.h) of the failed writes of its object's pages that it was told of. A new
 * mapping was told of all but those that no cursor was told of. vm_map_told_older: the mappings of the object
 * in [start, end) were told of no more than `told`, the cursor of a descriptor.
 */
void vm_map_told_older(struct vm_map *map, vm_offset_t start, vm_offset_t end, const struct vm_object *object,
                       errseq_t told);
/*
 * Tells the mappings of the object in [start, end) what they were not told of: the first one's error, or 0.
 */
FL_NODISCARD int vm_map_check_wb_err(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                                     struct vm_object *object);

/* ---- checks and counts --------------------------------------------------------------------------------- */

/* Panics unless AM1 … AM8 and AM11 hold. Takes (M) and (R) shared. Context: nothing else changes the map. */
void vm_map_check(struct vm_map *map);
/* How many pages the map's entries promise (CM1). */
FL_NODISCARD uint64_t vm_map_check_committed(struct vm_map *map);
void vm_map_check_all(void);
/* Entries of all maps: the most there ever were, and now. Any lock. */
FL_NODISCARD uint64_t vm_map_entries_peak(void);
FL_NODISCARD uint64_t vm_map_entries_now(void);

#endif
