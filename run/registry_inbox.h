/*
 * registry_inbox.h: how Faultline processes ask each other for a file (registry_inbox.c).
 * For the parts of the registry; what watch.c needs of it stands in registry.h.
 */
#ifndef RUN_REGISTRY_INBOX_H
#define RUN_REGISTRY_INBOX_H

#include <stdint.h>
#include <sys/types.h>

/* Opens this process's inbox. Without one, requests are found once a second. */
void inbox_open(void);
/* In the child of a fork. */
void inbox_fork_child(void);
/* Asks the owner of a record that is WANTED to hand the file over. */
void inbox_ask(uint64_t owner, dev_t dev, ino_t ino);

#endif
