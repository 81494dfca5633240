/*
 * registry_records.h: records of managed files in the registry
 * (registry_records.c). For the parts of the registry.
 */
#ifndef RUN_REGISTRY_RECORDS_H
#define RUN_REGISTRY_RECORDS_H

#include "registry_memory.h"

/* registry_record.state */
#define STATE_HELD     0x1   /* the owner manages the file */
#define STATE_WRITES   0x2   /* … and may write it */
#define STATE_KERNEL   0x4   /* the file is the kernel's in the owner, for as long as it lives */
#define STATE_WANTED   0x8   /* another process asks the owner to hand the file over */
#define STATE_MOVING   0x10  /* the owner is handing it over */
#define STATE_SEQUENCE 0x100 /* and above: tells a record from the next one in the same place */

/* Visits each record of the file, as it is now, until visit returns other than 0, which is returned. */
int records_each(dev_t dev, ino_t ino, uint64_t hash,
                 int (*visit)(struct registry_record *record, uint64_t owner, uint32_t state, void *arg),
                 void *arg);
/* A record of this process for the file, with these bits: NULL: the table is full there. */
struct registry_record *record_insert(dev_t dev, ino_t ino, uint64_t hash, uint32_t state);
/* Frees the record, unless it is no longer the owner's. */
void record_take_down(struct registry_record *record, uint64_t owner);

/* This process's record of the file; NULL: it has none. */
struct registry_record *own_record(dev_t dev, ino_t ino, uint64_t hash);
/* Clears and sets bits of one of this process's records, and wakes the processes that wait for it. */
void own_change(struct registry_record *record, uint32_t clear, uint32_t set);

#endif
