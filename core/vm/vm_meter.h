/*
 * vm_meter.h: what the VM has done since it was booted, in numbers, for fl_vm_stats. (FreeBSD's vm_meter.)
 *
 *   vm_fault ─┐
 *   vm_pager ─┼─▶ vm_cnt.x += n ─▶ fl_vm_stats
 *   pageout  ─┘
 *
 * Lock: none. Each counter is an atomic of its own, added to with relaxed order: two counters that are read
 * together need not agree.
 */
#ifndef CORE_VM_VM_METER_H
#define CORE_VM_VM_METER_H

#include <faultline/types.h>
#include <stdatomic.h>

struct vm_counters {
    _Atomic uint64_t faults;
    _Atomic uint64_t faults_minor;
    _Atomic uint64_t faults_cow;
    _Atomic uint64_t faults_zero;
    _Atomic uint64_t page_ins;
    _Atomic uint64_t readahead;
    _Atomic uint64_t evictions;
    _Atomic uint64_t write_backs;
    _Atomic uint64_t io_errors;
    _Atomic uint64_t reactivations;
    _Atomic uint64_t requests; /* handed to stores */
    _Atomic uint64_t merges;   /* bios that went along in another's request */
};
extern struct vm_counters vm_cnt;

void vm_meter_startup(void); /* all zero; vm_page_startup calls it */

static inline void vm_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline uint64_t vm_counted(_Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
