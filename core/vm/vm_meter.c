/*
 * vm_meter.c: the counters of vm_meter.h.
 */
#include "vm/vm_meter.h"

struct vm_counters vm_cnt;

void vm_meter_startup(void)
{
    atomic_init(&vm_cnt.faults, 0);
    atomic_init(&vm_cnt.faults_minor, 0);
    atomic_init(&vm_cnt.faults_cow, 0);
    atomic_init(&vm_cnt.faults_zero, 0);
    atomic_init(&vm_cnt.page_ins, 0);
    atomic_init(&vm_cnt.readahead, 0);
    atomic_init(&vm_cnt.evictions, 0);
    atomic_init(&vm_cnt.write_backs, 0);
    atomic_init(&vm_cnt.io_errors, 0);
    atomic_init(&vm_cnt.reactivations, 0);
    atomic_init(&vm_cnt.requests, 0);
    atomic_init(&vm_cnt.merges, 0);
}
