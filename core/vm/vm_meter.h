/*
 * vm_meter.h: what the VM has done since boot, in numbers. (vm_meter, FreeBSD.)
 *
 *   vm_fault, lru, vm_pageout ─┐
 *   the pagers                ─┴─▶ vm_count ─▶ vm_cnt ─▶ vm_counted ─▶ fl_vm_stats
 *
 * Locks: none. Each counter is an atomic that is added to in relaxed order, so two counters that are read
 * together need not agree.
 */
#ifndef CORE_VM_VM_METER_H
#define CORE_VM_VM_METER_H

#include <faultline/types.h>
#include <stdatomic.h>

struct vm_counters {
    /* Faults; one that must not sleep and is tried again counts once. Of them: */
    _Atomic uint64_t faults;
    _Atomic uint64_t faults_minor; /* succeeded without a read */
    _Atomic uint64_t faults_cow;   /* copied a page */
    _Atomic uint64_t faults_zero;  /* made a page of zeros */
    /* Pages. */
    _Atomic uint64_t page_ins;      /* read from sources */
    _Atomic uint64_t readahead;     /* of page_ins, read before they were needed */
    _Atomic uint64_t evictions;     /* freed by page-out */
    _Atomic uint64_t write_backs;   /* written to sources */
    _Atomic uint64_t reactivations; /* from inactive to active */
    /* Transfers. */
    _Atomic uint64_t requests;  /* handed to sources */
    _Atomic uint64_t merges;    /* transfers that went along in the request of another */
    _Atomic uint64_t io_errors; /* transfers that failed */
};
extern struct vm_counters vm_cnt;

/* Sets all counters to 0. Context: boot (vm_page_startup). */
void vm_meter_startup(void);

/* Adds n. Context: any lock may be held. */
static inline void vm_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline uint64_t vm_counted(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
