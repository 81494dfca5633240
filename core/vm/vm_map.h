/*
 * vm_map.h: an address space: a sorted set of entries [start, end) in a balanced tree that also knows
 * the largest free gap below each node.
 *
 *     header list:  [start,end) ⇄ [start,end) ⇄ [start,end)          adj_free: the gap after an entry
 *     tree:               max_free = max(left's, right's, own adj_free)
 *
 * The gap before the first entry belongs to the header. Finding space, first-fit from either end, looks
 * at max_free only: O(log n).
 *
 * Locks. (M) map->lock, reader/writer, before all object locks. Faults hold it shared, calls that change
 * entries exclusively. A fault drops it for I/O
 * and compares `timestamp` afterwards. (R) vm_rmap_lock guards what reverse mapping reads of an entry:
 * start, end, object, pindex change under (M) exclusive and (R)
 * exclusive together. (e) changed by faults with (M) shared and the lock of the file object at the end
 * of the chain.
 * Invariants: A1 entries are sorted, not empty, page-aligned, inside the map, and do not overlap. A2
 * adj_free and max_free are exact. A3 two neighbours that
 * vm_map_simplify_entry could merge are merged when an operation ends. A4 an entry with an object holds
 * one reference to it. A5 an entry with an object
 * is in the object's rmap tree. A6 nentries counts them. A7 what machine_attach was told is what the
 * entries say.
 * A8 `dead` is empty whenever (M) is free or shared. A9 every map is on the list of all maps. A10 an
 * entry in transition keeps its edges and stays.
 * A11 wired_count is 1 when MAP_ENTRY_WIRED is set; one without the other is in transition.
 */
#ifndef CORE_VM_VM_MAP_H
#define CORE_VM_VM_MAP_H

#include "lib/errseq.h"
#include "lib/tree.h"
#include "vm/vm_object.h"

struct machine_space;

/* eflags */
#define MAP_ENTRY_COW           0x01 /* writes go to a private copy */
#define MAP_ENTRY_NEEDS_COPY    0x02 /* … whose shadow object does not exist yet */
#define MAP_ENTRY_NOSYNC        0x04
#define MAP_ENTRY_GROWS_DOWN    0x08
#define MAP_ENTRY_WIRED         0x10 /* mlock */
#define MAP_ENTRY_RESERVED      0x20 /* fl_space_reserve: somebody else's */
#define MAP_ENTRY_IN_TRANSITION 0x40 /* being wired with the map unlocked; others wait on the map */
#define MAP_ENTRY_NO_ROOM       0x80 /* a stack's upper part after a split: its object has no room below */

enum vm_behavior {
    MAP_BEHAV_NORMAL,
    MAP_BEHAV_SEQUENTIAL,
    MAP_BEHAV_RANDOM,
};
/*
 * What the child of a fork has in the entry's place, where it is not what the kind of mapping says (the same
 * memory if it is shared, else a copy). Both may be set: NONE counts then. (minherit, FreeBSD; VM_DONTCOPY,
 * Linux.)
 */
#define VM_INHERIT_NONE 0x1 /* nothing */
#define VM_INHERIT_ZERO 0x2 /* private anonymous memory: fresh pages */

/*
 * With the eflags of a new entry: its behavior, its inheritance from the start, so that it merges with its
 * like only.
 */
#define MAP_INSERT_BEHAVIOR(behavior)   ((unsigned)(behavior) << 8)
#define MAP_INSERT_INHERIT(inheritance) ((unsigned)(inheritance) << 16)

/* What the pager remembers of the accesses through one mapping: its own. All zero: nothing. (e) in entries. */
struct vm_pager_stream {
    uint64_t own[5];
};

struct vm_map_entry {
    /* What searches read comes first, together: 64 bytes. Aligned, because with 200 bytes to an entry, instead of
       208, the entries that one search comes by share cache sets: among a million it takes 100 ns, not 60. */
    _Alignas(16) struct tree_node node; /* (M) by start */
    vm_offset_t start, end;             /* (M)(R) */
    vm_offset_t adj_free;               /* (M) bytes free between end and the next entry, or the map's end */
    vm_offset_t max_free;               /* (M) the largest adj_free in this subtree */
    struct vm_map_entry *prev, *next;   /* (M) */
    struct vm_object *object;           /* (M)(R) NULL: anonymous and untouched, or reserved */
    vm_pindex_t pindex;                 /* (M)(R) of `start` in the object */
    struct tree_node rmap_node;         /* (R) in object->entries, by pindex */
    vm_pindex_t rmap_max_end;           /* (R) the largest end index below the node */
    struct vm_map *map;                 /* (c) */
    vm_prot_t protection, max_protection; /* (M) */
    uint8_t eflags;                       /* (M) MAP_ENTRY_* */
    uint8_t behavior;                     /* (M) enum vm_behavior */
    uint8_t inheritance;                  /* (M) VM_INHERIT_* */
    uint8_t wired_count;                  /* (M) 0 or 1: mlock does not nest */
    /* (M) exclusive, or shared with (V): which failed write-backs of its file it was told of */
    errseq_t wb_told;
    struct vm_pager_stream stream; /* (e) */
};

struct vm_map {
    struct vm_rwlock lock;      /* (M) */
    struct vm_map_entry header; /* (M) header.next is the first entry, header.adj_free the gap before it */
    struct tree tree;           /* (M) */
    vm_offset_t min_offset, max_offset;    /* (c) */
    uint32_t nentries;                     /* (M) */
    uint32_t timestamp;                    /* (M) grows with every exclusive lock */
    uint64_t size_bytes;                   /* (M) sum of the entries' lengths */
    struct machine_space *space;           /* (c) */
    vm_offset_t brk_start, brk, brk_limit; /* (M) */
    struct vm_map *all_next;               /* (vm_maps_lock) every map, for checkers */
    struct vm_map_entry *dead;      /* (M) deleted entries, by `next`, whose objects vm_map_unlock lets go */
    struct vm_lock transition_lock; /* (w) after (M), a leaf */
    uint32_t transitions; /* (w) how often entries left transition; the map's address is the channel */
};

/* A stack grows to at most this many bytes (Linux: RLIMIT_STACK), and stays this far above what is below
 * it. */
#define VM_STACK_LIMIT     ((vm_offset_t)8 << 20)
#define VM_STACK_GUARD_GAP ((vm_offset_t)256 << VM_PAGE_SHIFT)

void vm_map_startup(void);
FL_NODISCARD int vm_map_create(vm_offset_t min, vm_offset_t max, struct vm_map **map);
void vm_map_destroy(struct vm_map *map);

void vm_map_lock(struct vm_map *map) FL_ACQUIRE(map->lock); /* and timestamp++ */
void vm_map_unlock(struct vm_map *map) FL_RELEASE(map->lock);
void vm_map_lock_read(struct vm_map *map) FL_ACQUIRE_SHARED(map->lock);
void vm_map_unlock_read(struct vm_map *map) FL_RELEASE_SHARED(map->lock);

/* True and *entry: the one that contains va. False: *entry is the last one before va, or &map->header.
 * (M) shared at least. */
FL_NODISCARD bool vm_map_lookup_entry(struct vm_map *map, vm_offset_t va, struct vm_map_entry **entry);
/* The first entry that ends after va, or &map->header. (M) shared at least. */
FL_NODISCARD struct vm_map_entry *vm_map_first_after(struct vm_map *map, vm_offset_t va);
/* The index of va's page in the entry's object. */
static inline vm_pindex_t vm_map_entry_pindex(const struct vm_map_entry *entry, vm_offset_t va)
{
    return entry->pindex + atop(va - entry->start);
}

/*
 * What a fault at va of kind `access` is to use. On success (M) is held shared, *entry is the entry,
 * *object / *pindex what to look in, *prot the rights that may be
 * entered (without write while a write would have to copy first), *wired whether the entry is. A write
 * to a NEEDS_COPY entry makes its shadow, and an untouched anonymous
 * entry its object, first; `timestamp` says when. Errors: -EFAULT, -EACCES, -ENOMEM; (M) is not held
 * then. Grows a stack when va lies in the gap below one.
 */
FL_NODISCARD int vm_map_lookup(struct vm_map *map, vm_offset_t va, vm_prot_t access,
                               struct vm_map_entry **entry, struct vm_object **object, vm_pindex_t *pindex,
                               vm_prot_t *prot, bool *wired);
FL_NODISCARD enum vm_behavior vm_map_entry_behavior(const struct vm_map_entry *entry);

/* *addr becomes the start of a gap of `length` bytes at or after *addr (or, topdown, the highest that
 * ends at or below max). Errors: -ENOMEM. (M) held. */
FL_NODISCARD int vm_map_findspace(struct vm_map *map, vm_offset_t start, vm_offset_t length,
                                  vm_offset_t *addr);
FL_NODISCARD int vm_map_findspace_topdown(struct vm_map *map, vm_offset_t length, vm_offset_t *addr);

/* Inserts [start, end) over object from pindex (which takes the caller's reference on success). Errors:
 * -ENOMEM; -EEXIST not free; -EINVAL out of the map.
 * Tells the machine, merges with neighbours, and enters resident pages (vm_map_pmap_enter). (M)
 * exclusive. */
FL_NODISCARD int vm_map_insert(struct vm_map *map, struct vm_object *object, vm_pindex_t pindex,
                               vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max,
                               unsigned eflags) FL_REQUIRES(map->lock);
/* findspace (hint *addr) + insert. Takes (M). */
FL_NODISCARD int vm_map_find(struct vm_map *map, struct vm_object *object, vm_pindex_t pindex,
                             vm_offset_t *addr, vm_offset_t length, vm_prot_t prot, vm_prot_t max,
                             unsigned eflags);
/* The same at [start, end), in place of whatever is there (MAP_FIXED). Takes (M). */
FL_NODISCARD int vm_map_fixed(struct vm_map *map, struct vm_object *object, vm_pindex_t pindex,
                              vm_offset_t start, vm_offset_t end, vm_prot_t prot, vm_prot_t max,
                              unsigned eflags);
/* Removes whatever is in [start, end): unmaps, detaches, drops references. Wired entries too. Errors:
 * -ENOMEM when a clip needs an entry. (M) exclusive;
 * waits, with (M) released meanwhile, for entries in transition, before it changes anything. The
 * objects' references go at vm_map_unlock. */
FL_NODISCARD int vm_map_delete(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock);
/* The entry is split at addr, when addr lies inside it; `entry` is afterwards the part that starts
 * (ends) at addr. Errors: -ENOMEM. (M) exclusive. */
FL_NODISCARD int vm_map_clip_start(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr);
FL_NODISCARD int vm_map_clip_end(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t addr);
/* Merges the entry with its neighbours where they continue each other. */
void vm_map_simplify_entry(struct vm_map *map, struct vm_map_entry *entry);
/* mprotect: the whole range must be mapped. Errors: -ENOMEM (gap), -EACCES (beyond max_protection).
 * Takes (M). */
FL_NODISCARD int vm_map_protect(struct vm_map *map, vm_offset_t start, vm_offset_t end, vm_prot_t prot);
/* madvise's behaviours. Gaps are skipped and give -ENOMEM at the end. Takes (M). */
FL_NODISCARD int vm_map_behave(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                               enum vm_behavior behavior);
/* Sets, or clears, one of VM_INHERIT_*. As vm_map_behave. */
FL_NODISCARD int vm_map_inherit(struct vm_map *map, vm_offset_t start, vm_offset_t end, unsigned flag,
                                bool set);
/* Faults in and wires / unwires. Errors: -ENOMEM (gap), -EAGAIN (no pages), and as vm_fault. Takes (M). */
FL_NODISCARD int vm_map_wire(struct vm_map *map, vm_offset_t start, vm_offset_t end);
FL_NODISCARD int vm_map_unwire(struct vm_map *map, vm_offset_t start, vm_offset_t end);
/* Returns when no entry of [start, end) is in transition; releases (M) to wait, so the caller looks
 * everything up afterwards. */
void vm_map_wait_transition(struct vm_map *map, vm_offset_t start, vm_offset_t end) FL_REQUIRES(map->lock);
/* mremap's move: [old, old + length) becomes [new, …), where nothing is. Nothing of it is in transition.
 * Errors: -ENOMEM, nothing moved. (M) exclusive. */
FL_NODISCARD int vm_map_relocate(struct vm_map *map, vm_offset_t old, vm_offset_t length,
                                 vm_offset_t new_start) FL_REQUIRES(map->lock);
/* The stack entry after the gap that va lies in grows down to va. Errors: -EFAULT. (M) exclusive. (grow,
 * FreeBSD 2.1.) */
FL_NODISCARD int vm_map_growstack(struct vm_map *map, vm_offset_t va) FL_REQUIRES(map->lock);
/*
 * What the mappings of a file in [start, end) were told of its failed write-backs (vm_map_told.c). A new one
 * was told of everything but what nobody was. vm_map_told_older: of no more than `told`, a descriptor's.
 * vm_map_check_wb_err: tells them; the first one's error, or 0. Take (M); the caller has a reference to the
 * vnode.
 */
void vm_map_told_older(struct vm_map *map, vm_offset_t start, vm_offset_t end, const struct vm_object *object,
                       errseq_t told);
FL_NODISCARD int vm_map_check_wb_err(struct vm_map *map, vm_offset_t start, vm_offset_t end,
                                     struct vm_object *object);
/* Enters the resident pages of [start, end) without reading any. (M) held. */
void vm_map_pmap_enter(struct vm_map *map, struct vm_map_entry *entry, vm_offset_t start, vm_offset_t end);

void vm_map_check(struct vm_map *map); /* A1 … A7 */
void vm_map_check_all(void);
FL_NODISCARD uint64_t vm_map_entries_peak(void);
FL_NODISCARD uint64_t vm_map_entries_now(void);

#endif
