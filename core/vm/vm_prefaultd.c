/*
 * vm_prefaultd.c: the prefault daemon: it follows the windows of sequential readers, and maps their pages as
 * they arrive.
 *
 *   vm_fault at the mark # ─▶ wish [start, end) ─▶ prefaultd: page after page, waiting for those in flight
 *
 *        reader                daemon
 *          ▼                     ▼
 *   ███████#██████████████████████░░░░░░░#░░░░░░░░░░░░░░░░░░░░      █ mapped  ░ arrived or in flight
 *
 * A page with the mark is left out, because its first use must fault; so is one that was used or mapped
 * before (PG_AHEAD is gone). An absent page ends the wish: the stream has not got that far, or memory is
 * short. A wish whose next page is in flight lets the other streams' wishes go first.
 *
 * Locks: (M) shared, (O); (N) prefaultd_lock, a leaf. The daemon waits for transfers with no lock but (O),
 * which the wait releases, and a pip. A map that ends waits for the daemon to leave it (vm_prefaultd_forget).
 * Loops: each turn moves on in the wish, or waits for the end of a transfer.
 *
 * Does not do: reading. Mapping without a daemon (vm_prefault.c does that for each fault).
 */
#include "vm/vm_prefaultd.h"
#include "vm/pmap.h"
#include "vm/vm_pager.h"
#include "vm/vm_prefault.h"
#include <faultline/vm.h>

#define WISHES 8

struct wish {
    struct vm_map *map;
    vm_offset_t start, end;
    bool yielded; /* it has let the others go first, and nothing was mapped for it since */
};

static struct vm_lock prefaultd_lock; /* (N); its address is the daemon's channel */
static struct {
    struct wish ring[WISHES];
    uint32_t first, n;
    struct vm_map *serving; /* the map of the wish that is being served; NULL: none. Its address: a channel */
    bool running, stop;
} prefaultd FL_GUARDED_BY(prefaultd_lock);

void vm_prefaultd_startup(void)
{
    prefaultd_lock = (struct vm_lock){0};
    vm_lock(&prefaultd_lock);
    __builtin_memset(&prefaultd, 0, sizeof prefaultd);
    vm_unlock(&prefaultd_lock);
}

bool vm_prefaultd_wakeup(struct vm_map *map, vm_offset_t start, vm_offset_t end)
{
    vm_lock(&prefaultd_lock);
    bool room = prefaultd.running && prefaultd.n < WISHES;
    if (room)
        prefaultd.ring[(prefaultd.first + prefaultd.n++) % WISHES] =
            (struct wish){.map = map, .start = start, .end = end};
    vm_unlock(&prefaultd_lock);
    if (room)
        machine_wake(&prefaultd_lock);
    return room;
}

static void wishes_drop(const struct vm_map *map) FL_REQUIRES(prefaultd_lock)
{
    for (uint32_t i = 0; i < prefaultd.n; i++) {
        struct wish *wish = &prefaultd.ring[(prefaultd.first + i) % WISHES];
        if (wish->map == map)
            wish->map = NULL;
    }
}

void vm_prefaultd_forget(struct vm_map *map)
{
    vm_lock(&prefaultd_lock);
    wishes_drop(map);
    while (prefaultd.serving == map) {
        vm_sleep(&prefaultd.serving, &prefaultd_lock);
        wishes_drop(map); /* the one that was served may have yielded */
    }
    vm_unlock(&prefaultd_lock);
}

void vm_prefaultd_stop(void)
{
    vm_lock(&prefaultd_lock);
    prefaultd.stop = true;
    vm_unlock(&prefaultd_lock);
    machine_wake(&prefaultd_lock);
}

static bool stopped(void)
{
    vm_lock(&prefaultd_lock);
    bool stop = prefaultd.stop;
    vm_unlock(&prefaultd_lock);
    return stop;
}

/*
 * The wish waits for a page that is in flight. True: others wait for their turn, so it goes behind them; it
 * does so once, or two streams that both wait would keep the daemon turning.
 */
static bool yield_turn(struct wish *wish)
{
    vm_lock(&prefaultd_lock);
    bool yields = !wish->yielded && prefaultd.n > 0 && prefaultd.n < WISHES;
    if (yields) {
        wish->yielded = true;
        prefaultd.ring[(prefaultd.first + prefaultd.n++) % WISHES] = *wish;
    }
    vm_unlock(&prefaultd_lock);
    return yields;
}

/* Busy page m is in flight: waits for its transfer. Releases (M) and (O). */
static void wait_arrival(struct vm_map *map, struct vm_object *object, struct vm_page *m)
    FL_RELEASE_SHARED(map->lock) FL_RELEASE(object->lock)
{
    vm_object_pip_add(object);
    vm_map_unlock_read(map);
    vm_page_busy_sleep(m);
    vm_object_pip_wakeup(object);
    vm_unlock(&object->lock);
}

enum step { STEP_ON, STEP_AGAIN, STEP_END };

/*
 * One step of the wish in the entry: maps the pages at wish->start, or passes one over. STEP_AGAIN: a page is
 * in flight; it has arrived, and (M) is not held any more. (M) shared.
 */
static enum step serve_entry(struct wish *wish, struct vm_map_entry *entry, struct vm_object *object)
    FL_RELEASE_SHARED(wish->map->lock)
{
    vm_lock(&object->lock);
    struct vm_page *m = vm_page_lookup(object, vm_map_entry_pindex(entry, wish->start));
    bool inflight = m != NULL && (m->flags & (PG_BUSY | PG_INFLIGHT)) == (PG_BUSY | PG_INFLIGHT);
    if (inflight && (m->flags & PG_READAHEAD) == 0) {
        if (!yield_turn(wish)) {
            wait_arrival(wish->map, object, m);
            return STEP_AGAIN;
        }
        vm_unlock(&object->lock);
        vm_map_unlock_read(wish->map);
        return STEP_END;
    }
    bool end = m == NULL || ((m->flags & PG_BUSY) && !inflight);
    uint32_t n = end ? 0 : vm_fault_prefault_ahead(entry, object, wish->start, m->pindex, wish->end);
    vm_unlock(&object->lock);
    vm_map_unlock_read(wish->map);
    wish->start += ptoa(n > 0 ? n : 1);
    wish->yielded = wish->yielded && n == 0;
    return end ? STEP_END : STEP_ON;
}

/* Serves the wish until it is done, or has become pointless. No lock held. */
static void serve(struct wish *wish)
{
    enum step step = STEP_ON;
    while (wish->start < wish->end && step != STEP_END && !stopped()) {
        struct vm_map_entry *entry;
        vm_map_lock_read(wish->map);
        if (!vm_map_lookup_entry(wish->map, wish->start, &entry) || entry->object == NULL ||
            (entry->protection & VM_PROT_READ) == 0) {
            vm_map_unlock_read(wish->map);
            return;
        }
        step = serve_entry(wish, entry, entry->object);
    }
}

void vm_prefaultd(void)
{
    vm_lock(&prefaultd_lock);
    prefaultd.running = true;
    while (!prefaultd.stop) {
        if (prefaultd.n == 0) {
            vm_sleep(&prefaultd_lock, &prefaultd_lock);
            continue;
        }
        struct wish wish = prefaultd.ring[prefaultd.first];
        prefaultd.first = (prefaultd.first + 1) % WISHES;
        prefaultd.n--;
        prefaultd.serving = wish.map;
        vm_unlock(&prefaultd_lock);
        if (wish.map != NULL)
            serve(&wish);
        vm_lock(&prefaultd_lock);
        prefaultd.serving = NULL;
        machine_wake(&prefaultd.serving);
    }
    prefaultd.running = false;
    vm_unlock(&prefaultd_lock);
}

/* ---- what vm.h offers ---------------------------------------------------------------------------------- */

void fl_prefault_run(void)
{
    vm_prefaultd();
}
