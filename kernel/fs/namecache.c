/*
 * namecache.c: which names in which directories lead to which inodes, of those that were looked up lately.
 */
#include "fs/namecache.h"

#include "kmem.h"
#include "string.h"

#include <linux/errno.h>

#define NAMECACHE_MAX     2048
#define NAMECACHE_BUCKETS 512
#define PURGE_BATCH       32
#define SECOND_CHANCES    8 /* entries that an eviction passes over because their inodes are in use */

struct namecache_entry {
    struct inode *dir, *inode;               /* (NC) with references */
    struct namecache_entry *by_name;         /* (NC) the next of the bucket */
    struct namecache_entry *by_inode;        /* (NC) */
    struct namecache_entry *older, *younger; /* (NC) */
    const struct vnode *vnode;               /* (NC) the inode's; NULL: it was not opened since */
    uint32_t hash;                           /* (c) of dir and name */
    uint8_t len_bytes;                       /* (c) */
    char name[];                             /* (c) without a 0 */
};

static struct machine_lock namecache_lock;
static struct namecache_entry *by_name[NAMECACHE_BUCKETS];  /* (NC) */
static struct namecache_entry *by_inode[NAMECACHE_BUCKETS]; /* (NC) */
static struct namecache_entry *namecache_oldest;            /* (NC) */
static struct namecache_entry *namecache_youngest;          /* (NC) */
static uint32_t namecache_count;                            /* (NC) */

static uint32_t hash_name(const struct inode *dir, const char *name, size_t len_bytes)
{
    uint32_t hash = (uint32_t)((uint64_t)dir >> 4) * 2654435761u;

    for (size_t i = 0; i < len_bytes; i++)
        hash = (hash ^ (uint8_t)name[i]) * 16777619u; /* FNV-1a */
    return hash ^ hash >> 15;
}

static uint32_t hash_inode(const struct inode *inode)
{
    return ((uint32_t)((uint64_t)inode >> 4) * 2654435761u) >> 16;
}

/* ---- the lists, (NC) ----------------------------------------------------------------------------------- */

static struct namecache_entry *entry_find(const struct inode *dir, const char *name, size_t len_bytes,
                                          uint32_t hash)
{
    struct namecache_entry *entry = by_name[hash % NAMECACHE_BUCKETS];

    while (entry != NULL && !(entry->hash == hash && entry->dir == dir && entry->len_bytes == len_bytes &&
                              memcmp(entry->name, name, len_bytes) == 0))
        entry = entry->by_name;
    return entry;
}

static void age_remove(struct namecache_entry *entry)
{
    *(entry->older != NULL ? &entry->older->younger : &namecache_oldest) = entry->younger;
    *(entry->younger != NULL ? &entry->younger->older : &namecache_youngest) = entry->older;
}

static void age_insert_youngest(struct namecache_entry *entry)
{
    entry->older = namecache_youngest;
    entry->younger = NULL;
    *(namecache_youngest != NULL ? &namecache_youngest->younger : &namecache_oldest) = entry;
    namecache_youngest = entry;
}

static void entry_insert(struct namecache_entry *entry)
{
    struct namecache_entry **name_head = &by_name[entry->hash % NAMECACHE_BUCKETS];
    struct namecache_entry **inode_head = &by_inode[hash_inode(entry->inode) % NAMECACHE_BUCKETS];

    entry->by_name = *name_head;
    *name_head = entry;
    entry->by_inode = *inode_head;
    *inode_head = entry;
    age_insert_youngest(entry);
    namecache_count++;
}

static void entry_remove(struct namecache_entry *entry)
{
    struct namecache_entry **link = &by_name[entry->hash % NAMECACHE_BUCKETS];

    while (*link != entry)
        link = &(*link)->by_name;
    *link = entry->by_name;
    link = &by_inode[hash_inode(entry->inode) % NAMECACHE_BUCKETS];
    while (*link != entry)
        link = &(*link)->by_inode;
    *link = entry->by_inode;
    age_remove(entry);
    namecache_count--;
}

/* Takes the oldest entry out whose inode nobody else uses; after some tries, the oldest. */
static struct namecache_entry *entry_evict(void)
{
    struct namecache_entry *entry = namecache_oldest;

    for (int i = 0; i < SECOND_CHANCES && atomic_load(&entry->inode->refs) > 1; i++) {
        age_remove(entry);
        age_insert_youngest(entry);
        entry = namecache_oldest;
    }
    entry_remove(entry);
    return entry;
}

/* Not under (NC). NULL is allowed. */
static void entry_free(struct namecache_entry *entry)
{
    if (entry == NULL)
        return;
    inode_put(entry->inode);
    inode_put(entry->dir);
    kfree(entry);
}

/* ---- what namecache.h offers --------------------------------------------------------------------------- */

struct inode *namecache_lookup(struct inode *dir, const char *name, size_t len_bytes)
{
    uint32_t hash = hash_name(dir, name, len_bytes);
    struct inode *inode = NULL;

    machine_lock(&namecache_lock);
    struct namecache_entry *entry = entry_find(dir, name, len_bytes, hash);
    if (entry != NULL)
        inode = inode_get(entry->inode);
    if (entry != NULL && entry != namecache_youngest) {
        age_remove(entry);
        age_insert_youngest(entry);
    }
    machine_unlock(&namecache_lock);
    return inode;
}

void namecache_enter(struct inode *dir, const char *name, size_t len_bytes, struct inode *inode)
{
    if (dir->mount->uncached || len_bytes > NAME_LEN_MAX)
        return;
    struct namecache_entry *evicted = NULL, *entry = kmalloc(sizeof(*entry) + len_bytes);
    if (entry == NULL)
        return;
    entry->dir = inode_get(dir);
    entry->inode = inode_get(inode);
    entry->hash = hash_name(dir, name, len_bytes);
    entry->len_bytes = (uint8_t)len_bytes;
    memcpy(entry->name, name, len_bytes);
    machine_lock(&namecache_lock);
    if (entry_find(dir, name, len_bytes, entry->hash) != NULL) {
        evicted = entry;
    } else {
        entry_insert(entry);
        if (namecache_count > NAMECACHE_MAX)
            evicted = entry_evict();
    }
    machine_unlock(&namecache_lock);
    entry_free(evicted);
}

void namecache_purge(struct inode *dir, const char *name, size_t len_bytes)
{
    uint32_t hash = hash_name(dir, name, len_bytes);

    machine_lock(&namecache_lock);
    struct namecache_entry *entry = entry_find(dir, name, len_bytes, hash);
    if (entry != NULL)
        entry_remove(entry);
    machine_unlock(&namecache_lock);
    entry_free(entry);
}

void namecache_purge_mount(struct mount *mount)
{
    struct namecache_entry *purged[PURGE_BATCH];
    uint32_t n;

    do {
        n = 0;
        machine_lock(&namecache_lock);
        for (struct namecache_entry *entry = namecache_oldest, *next; entry != NULL && n < PURGE_BATCH;
             entry = next) {
            next = entry->younger;
            if (mount != NULL && entry->dir->mount != mount)
                continue;
            entry_remove(entry);
            purged[n++] = entry;
        }
        machine_unlock(&namecache_lock);
        for (uint32_t i = 0; i < n; i++)
            entry_free(purged[i]);
    } while (n > 0);
}

int namecache_name(struct inode *inode, struct inode **dir, char *name)
{
    machine_lock(&namecache_lock);
    struct namecache_entry *entry = by_inode[hash_inode(inode) % NAMECACHE_BUCKETS];
    while (entry != NULL && entry->inode != inode)
        entry = entry->by_inode;
    if (entry != NULL) {
        *dir = inode_get(entry->dir);
        memcpy(name, entry->name, entry->len_bytes);
        name[entry->len_bytes] = 0;
    }
    machine_unlock(&namecache_lock);
    return entry != NULL ? 0 : -ENOENT;
}

void namecache_set_vnode(struct inode *inode, const struct vnode *vnode)
{
    machine_lock(&namecache_lock);
    for (struct namecache_entry *entry = by_inode[hash_inode(inode) % NAMECACHE_BUCKETS]; entry != NULL;
         entry = entry->by_inode)
        if (entry->inode == inode)
            entry->vnode = vnode;
    machine_unlock(&namecache_lock);
}

struct inode *namecache_find_vnode(const struct vnode *vnode)
{
    struct inode *inode = NULL;

    machine_lock(&namecache_lock);
    for (struct namecache_entry *entry = namecache_youngest; entry != NULL && inode == NULL;
         entry = entry->older)
        if (entry->vnode == vnode)
            inode = inode_get(entry->inode);
    machine_unlock(&namecache_lock);
    return inode;
}
