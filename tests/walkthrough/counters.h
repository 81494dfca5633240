/* counters.h: the VM's counters that a reader of a walkthrough can follow. */
#ifndef TESTS_WALKTHROUGH_COUNTERS_H
#define TESTS_WALKTHROUGH_COUNTERS_H

#include <faultline/vm.h>
#include <stddef.h>
#include <stdint.h>

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
    {"faults", offsetof(struct fl_vm_stats, faults)},
    {"faults without I/O", offsetof(struct fl_vm_stats, faults_minor)},
    {"pages copied", offsetof(struct fl_vm_stats, faults_cow)},
    {"pages zeroed", offsetof(struct fl_vm_stats, faults_zero)},
    {"pages read", offsetof(struct fl_vm_stats, page_ins)},
    {"of these ahead", offsetof(struct fl_vm_stats, readahead)},
    {"pages written", offsetof(struct fl_vm_stats, write_backs)},
    {"pages evicted", offsetof(struct fl_vm_stats, evictions)},
    {"transfers", offsetof(struct fl_vm_stats, requests)},
    {"transfers merged", offsetof(struct fl_vm_stats, merges)},
    {"transfers failed", offsetof(struct fl_vm_stats, io_errors)},
    {"free frames", offsetof(struct fl_vm_stats, free)},
    {"wired frames", offsetof(struct fl_vm_stats, wired)},
    {"dirty pages of files", offsetof(struct fl_vm_stats, dirty)},
    {"map entries", offsetof(struct fl_vm_stats, mappings)},
};
#define NCOUNTERS (sizeof(counters) / sizeof(counters[0]))

static inline uint64_t counter_value(const struct fl_vm_stats *stats, size_t i)
{
    return *(const uint64_t *)(const void *)((const char *)stats + counters[i].offset);
}

#endif
