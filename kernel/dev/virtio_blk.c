/*
 * virtio_blk.c: virtio disks: each a store whose requests go into a ring that the device reads.
 *
 *   submit ─▶ descriptors: header, pieces of pages …, status ─▶ available ring ─▶ device
 *   interrupt ─▶ the disk's reaper thread ─▶ used ring ─▶ request->done
 *
 * Requests of the core become pieces of neighbouring bytes, each a descriptor; a large request becomes two
 * entries of the ring. What comes behind the disk's end reads as zeros and is not written: the store's
 * contract. done is called by the reaper, since it may sleep for a lock and an interrupt may not; or by a
 * thread that waits, if it finds the answer first.
 *
 *   request->store_private[0]: entries of the ring that are not answered; [1]: the first error
 *
 * Locks: (R) disk->lock, a machine_lock and a leaf: the ring. Interrupts only wake.
 * Does not do: disks of other sectors than 512 bytes. (Virtual I/O Device Specification 1.1, 2.6 and 5.2.)
 */
#include <linux/errno.h>

#include "dev/blkdev.h"
#include "dev/pci.h"
#include "kernel.h"
#include "kmem.h"
#include "string.h"

#define VIRTIO_VENDOR         0x1af4
#define VIRTIO_BLK_OLD        0x1001
#define VIRTIO_BLK            0x1042
#define VIRTIO_PCI_CAP_COMMON 1
#define VIRTIO_PCI_CAP_NOTIFY 2
#define VIRTIO_PCI_CAP_DEVICE 4

/* The registers of common configuration, 4.1.4.3. */
struct virtio_common {
    uint32_t device_feature_select, device_feature, driver_feature_select, driver_feature;
    uint16_t config_msix_vector, num_queues;
    uint8_t device_status, config_generation;
    uint16_t queue_select, queue_size, queue_msix_vector, queue_enable, queue_notify_off;
    uint64_t queue_desc, queue_driver, queue_device;
} __attribute__((packed));

#define STATUS_ACKNOWLEDGE 1
#define STATUS_DRIVER      2
#define STATUS_DRIVER_OK   4
#define STATUS_FEATURES_OK 8

#define FEATURE_RO        5
#define FEATURE_FLUSH     9
#define FEATURE_VERSION_1 32

#define NO_VECTOR 0xffff

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
#define DESC_NEXT  1
#define DESC_WRITE 2 /* the device writes */

#define RING_SIZE   256
#define ENTRY_PAGES 128 /* of one entry of the ring at most; so two fit */
struct virtq_avail {
    uint16_t flags, idx, ring[RING_SIZE];
};
struct virtq_used {
    uint16_t flags, idx;
    struct {
        uint32_t id, len;
    } ring[RING_SIZE];
};

enum { BLK_IN, BLK_OUT, BLK_FLUSH = 4 };
#define BLK_S_OK 0
#define SECTOR   512

struct blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};

/* What the device is told of one request; by the number of its first descriptor. */
struct blk_slot {
    struct blk_header header;
    uint8_t status;
    struct store_request *request; /* NULL: a flush */
    bool *flushed;
    int *error;
};

struct virtio_disk {
    struct store store; /* first */
    char name[BLKDEV_NAME_MAX];
    volatile struct virtio_common *common;
    volatile uint16_t *notify;
    uint64_t len_bytes; /* (c) */
    bool flush;         /* (c) the device has a cache */
    struct machine_lock lock;
    struct virtq_desc *desc; /* (R) RING_SIZE */
    struct virtq_avail *avail;
    struct virtq_used *used;
    struct blk_slot *slot;
    uint16_t free_head, nfree; /* (R) descriptors, by next */
    uint16_t used_seen;        /* (R) */
    struct event answered;     /* the interrupt has come */
};

#define DISKS_MAX 4
static struct blkdev blkdevs[DISKS_MAX];
static uint32_t nblkdevs;

/* ---- the ring ------------------------------------------------------------------------------------------ */

static uint16_t desc_alloc(struct virtio_disk *disk, uint64_t addr, uint32_t len, uint16_t flags)
{
    const uint16_t d = disk->free_head;

    disk->free_head = disk->desc[d].next;
    disk->nfree--;
    disk->desc[d] = (struct virtq_desc){.addr = addr, .len = len, .flags = flags};
    return d;
}

static void desc_append(struct virtio_disk *disk, uint16_t *last, uint64_t addr, uint32_t len, uint16_t flags)
{
    const uint16_t d = desc_alloc(disk, addr, len, flags);

    disk->desc[*last].flags |= DESC_NEXT;
    disk->desc[*last].next = d;
    *last = d;
}

static void desc_free_chain(struct virtio_disk *disk, uint16_t head)
{
    uint16_t d = head;

    for (;;) {
        const bool more = (disk->desc[d].flags & DESC_NEXT) != 0;
        const uint16_t next = disk->desc[d].next;

        disk->desc[d].next = disk->free_head;
        disk->free_head = d;
        disk->nfree++;
        if (!more)
            break;
        d = next;
    }
}

/* The address of the kernel's memory for the device: the direct map, or the image. */
static uint64_t device_address(const void *memory)
{
    const uint64_t va = (uint64_t)memory;

    return va >= KERNBASE ? va - KERNBASE : virt_to_phys(memory);
}

static void ring_push(struct virtio_disk *disk, uint16_t head)
{
    disk->avail->ring[disk->avail->idx % RING_SIZE] = head;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    disk->avail->idx++;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    *disk->notify = 0;
}

/* ---- answers ------------------------------------------------------------------------------------------- */

/* Takes one answer from the used ring; *head: its first descriptor, for slot_free. Returns false if there is
 * none. */
static bool ring_pop(struct virtio_disk *disk, struct blk_slot *answer, uint16_t *head)
{
    machine_lock(&disk->lock);
    if (__atomic_load_n(&disk->used->idx, __ATOMIC_ACQUIRE) == disk->used_seen) {
        machine_unlock(&disk->lock);
        return false;
    }
    *head = (uint16_t)disk->used->ring[disk->used_seen % RING_SIZE].id;
    disk->used_seen++;
    *answer = disk->slot[*head];
    machine_unlock(&disk->lock);
    return true;
}

/* The answer is told: its descriptors are free, and who waits for the request looks again. */
static void slot_free(struct virtio_disk *disk, uint16_t head)
{
    machine_lock(&disk->lock);
    disk->slot[head].request = NULL;
    desc_free_chain(disk, head);
    machine_wake(&disk->nfree);
    machine_unlock(&disk->lock);
}

/* An entry of the request is answered. The last one ends it. */
static void request_answered(struct store_request *request, int error)
{
    uint64_t none = 0;

    if (error != 0)
        (void)__atomic_compare_exchange_n(&request->store_private[1], &none, (uint64_t)-error, false,
                                          __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    if (__atomic_sub_fetch(&request->store_private[0], 1, __ATOMIC_ACQ_REL) == 0)
        request->done(request, -(int)request->store_private[1]);
}

static void disk_reap(struct virtio_disk *disk)
{
    struct blk_slot answer;
    uint16_t head;

    while (ring_pop(disk, &answer, &head)) {
        const int error = answer.status == BLK_S_OK ? 0 : -EIO;

        if (answer.request != NULL) {
            request_answered(answer.request, error);
        } else {
            machine_lock(&disk->lock);
            *answer.error = error;
            *answer.flushed = true;
            machine_wake(answer.flushed);
            machine_unlock(&disk->lock);
        }
        slot_free(disk, head);
    }
}

static void disk_intr(void *arg)
{
    struct virtio_disk *disk = arg;

    event_signal(&disk->answered);
}

static void reaper_main(void *arg)
{
    struct virtio_disk *disk = arg;

    for (;;) {
        event_wait(&disk->answered);
        disk_reap(disk);
    }
}

/* ---- the store ----------------------------------------------------------------------------------------- */

/* How many bytes of the request lie on the disk. The rest of a read becomes zeros. */
static uint64_t trim(const struct virtio_disk *disk, const struct store_request *request)
{
    uint64_t len = request->len_bytes;

    if (request->offset >= disk->len_bytes)
        len = 0;
    else if (len > disk->len_bytes - request->offset)
        len = disk->len_bytes - request->offset;
    if (request->op == STORE_WRITE)
        return len;
    uint64_t at = 0;
    for (uint32_t i = 0; i < request->npages; i++) {
        size_t start;
        const size_t piece = store_request_piece(request, i, &start);
        const uint64_t keep = at >= len ? 0 : len - at < piece ? len - at : piece;

        memset((char *)request->addr[i] + start + keep, 0, piece - keep);
        at += piece;
    }
    return len;
}

/* Waits until there are n free descriptors. */
static void ring_reserve(struct virtio_disk *disk, uint32_t n) FL_REQUIRES(disk->lock)
{
    while (disk->nfree < n)
        (void)machine_wait(&disk->nfree, &disk->lock, UINT64_MAX);
}

/* Pages [first, end) of the request, of which `len` bytes are on the disk, in descriptors. Returns the
 * last. */
static uint16_t append_pages(struct virtio_disk *disk, uint16_t last, const struct store_request *request,
                             uint32_t first, uint32_t end, uint64_t len)
{
    const uint16_t flags = request->op == STORE_READ ? DESC_WRITE : 0;

    for (uint32_t i = first; i < end && len > 0; i++) {
        size_t start;
        size_t piece = store_request_piece(request, i, &start);

        if (piece > len)
            piece = len;
        const uint64_t addr = device_address((char *)request->addr[i] + start);
        struct virtq_desc *before = &disk->desc[last];
        if (i > first && before->addr + before->len == addr)
            before->len += (uint32_t)piece;
        else
            desc_append(disk, &last, addr, (uint32_t)piece, flags);
        len -= piece;
    }
    return last;
}

/* An entry of the ring: pages [first, end) of what->request, if there is one. */
static void disk_start(struct virtio_disk *disk, uint32_t type, const struct blk_slot *what, uint32_t first,
                       uint32_t end, uint64_t offset, uint64_t len)
{
    machine_lock(&disk->lock);
    ring_reserve(disk, end - first + 2);
    const uint16_t head = desc_alloc(disk, 0, sizeof(struct blk_header), 0);
    struct blk_slot *slot = &disk->slot[head];
    *slot = *what;
    slot->header = (struct blk_header){.type = type, .sector = offset / SECTOR};
    disk->desc[head].addr = device_address(&slot->header);
    uint16_t last = head;
    if (first < end)
        last = append_pages(disk, last, what->request, first, end, len);
    desc_append(disk, &last, device_address(&slot->status), 1, DESC_WRITE);
    ring_push(disk, head);
    machine_unlock(&disk->lock);
}

static void disk_submit(struct store *store, struct store_request *request)
{
    struct virtio_disk *disk = (struct virtio_disk *)store;
    const struct blk_slot what = {.request = request};
    const uint32_t type = request->op == STORE_READ ? BLK_IN : BLK_OUT;
    const uint64_t len = trim(disk, request);
    /* how many bytes the first entry's pages have */
    uint64_t head_len = ptoa((uint64_t)ENTRY_PAGES) - request->offset % FL_PAGE_SIZE;

    if (len == 0) {
        request->done(request, 0);
        return;
    }
    const bool two = request->npages > ENTRY_PAGES && len > head_len;
    request->store_private[0] = two ? 2 : 1;
    request->store_private[1] = 0;
    disk_start(disk, type, &what, 0, two ? ENTRY_PAGES : request->npages, request->offset,
               two ? head_len : len);
    if (two)
        disk_start(disk, type, &what, ENTRY_PAGES, request->npages, request->offset + head_len,
                   len - head_len);
}

/* Whether an entry of the ring is the request's, or its `done` is being called. */
static bool request_is_under_way(const struct virtio_disk *disk, const struct store_request *request)
    FL_REQUIRES(disk->lock)
{
    for (uint32_t i = 0; i < RING_SIZE; i++)
        if (disk->slot[i].request == request)
            return true;
    return false;
}

static void disk_wait(struct store *store, struct store_request *request)
{
    struct virtio_disk *disk = (struct virtio_disk *)store;

    disk_reap(disk);
    machine_lock(&disk->lock);
    while (request_is_under_way(disk, request)) /* the reaper takes what comes */
        (void)machine_wait(&disk->nfree, &disk->lock, UINT64_MAX);
    machine_unlock(&disk->lock);
}

static int disk_size(struct store *store, uint64_t *len_bytes)
{
    *len_bytes = ((struct virtio_disk *)store)->len_bytes;
    return 0;
}

static int disk_flush(struct store *store)
{
    struct virtio_disk *disk = (struct virtio_disk *)store;
    bool flushed = false;
    int error = 0;
    const struct blk_slot what = {.flushed = &flushed, .error = &error};

    if (!disk->flush)
        return 0;
    disk_start(disk, BLK_FLUSH, &what, 0, 0, 0, 0);
    machine_lock(&disk->lock);
    while (!flushed)
        (void)machine_wait(&flushed, &disk->lock, UINT64_MAX);
    machine_unlock(&disk->lock);
    return error;
}

static void disk_close(struct store *store)
{
    (void)store; /* the disk stays */
}

static const struct store_ops disk_ops = {
    .name = "virtio_blk",
    .submit = disk_submit,
    .wait = disk_wait,
    .size = disk_size,
    .flush = disk_flush,
    .close = disk_close,
};

/* ---- attaching ----------------------------------------------------------------------------------------- */

/* The registers of this kind, mapped; the capability is that at `reg`, if it is not NULL. */
static volatile void *virtio_map(const struct pci_device *pci, uint8_t kind, uint32_t *reg)
{
    uint32_t at = 0;

    while ((at = pci_capability(pci, PCI_CAP_VENDOR, at)) != 0) {
        if ((pci_read(pci, at) >> 24) != kind)
            continue;
        const uint64_t pa = pci_bar(pci, pci_read(pci, at + 4) & 0xff) + pci_read(pci, at + 8);

        if (reg != NULL)
            *reg = at;
        return device_map(pa, pci_read(pci, at + 12));
    }
    return NULL;
}

static bool feature(volatile struct virtio_common *common, unsigned n)
{
    common->device_feature_select = n / 32;
    return (common->device_feature & UINT32_C(1) << n % 32) != 0;
}

static bool disk_negotiate(struct virtio_disk *disk)
{
    volatile struct virtio_common *common = disk->common;

    common->device_status = 0;
    common->device_status = STATUS_ACKNOWLEDGE;
    common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER;
    if (!feature(common, FEATURE_VERSION_1))
        return false;
    disk->flush = feature(common, FEATURE_FLUSH);
    disk->store.read_only = feature(common, FEATURE_RO);
    common->driver_feature_select = 0;
    common->driver_feature = (disk->flush ? UINT32_C(1) << FEATURE_FLUSH : 0) |
                             (disk->store.read_only ? UINT32_C(1) << FEATURE_RO : 0);
    common->driver_feature_select = 1;
    common->driver_feature = 1; /* FEATURE_VERSION_1 */
    common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK;
    return (common->device_status & STATUS_FEATURES_OK) != 0;
}

static bool disk_make_ring(struct virtio_disk *disk)
{
    disk->desc = kmalloc(sizeof(*disk->desc) * RING_SIZE);
    disk->avail = kmalloc(sizeof(*disk->avail));
    disk->used = kmalloc(sizeof(*disk->used));
    disk->slot = kmalloc(sizeof(*disk->slot) * RING_SIZE);
    if (disk->desc == NULL || disk->avail == NULL || disk->used == NULL || disk->slot == NULL)
        return false;
    for (uint16_t i = 0; i < RING_SIZE; i++)
        disk->desc[i].next = (uint16_t)(i + 1);
    disk->nfree = RING_SIZE;
    return true;
}

static int disk_start_ring(struct virtio_disk *disk, const struct pci_device *pci, uint32_t notify_reg)
{
    volatile struct virtio_common *common = disk->common;

    common->queue_select = 0;
    if (common->queue_size < RING_SIZE)
        return -ENODEV;
    common->queue_size = RING_SIZE;
    common->queue_desc = device_address(disk->desc);
    common->queue_driver = device_address(disk->avail);
    common->queue_device = device_address(disk->used);
    common->config_msix_vector = NO_VECTOR;
    int error = pci_msix(pci, 0, disk_intr, disk);
    if (error != 0)
        return error;
    common->queue_msix_vector = 0;
    disk->notify = (volatile uint16_t *)((volatile char *)disk->notify +
                                         common->queue_notify_off * pci_read(pci, notify_reg + 16));
    common->queue_enable = 1;
    common->device_status = STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK;
    return 0;
}

static int disk_attach(struct virtio_disk *disk, const struct pci_device *pci)
{
    uint32_t notify_reg = 0;

    pci_enable(pci);
    disk->common = virtio_map(pci, VIRTIO_PCI_CAP_COMMON, NULL);
    disk->notify = virtio_map(pci, VIRTIO_PCI_CAP_NOTIFY, &notify_reg);
    volatile uint64_t *config = virtio_map(pci, VIRTIO_PCI_CAP_DEVICE, NULL);
    if (disk->common == NULL || disk->notify == NULL || config == NULL)
        return -ENODEV; /* an old device without the modern interface */
    if (!disk_negotiate(disk))
        return -ENODEV;
    if (!disk_make_ring(disk))
        return -ENOMEM;
    disk->len_bytes = *config * SECTOR;
    disk->store.ops = &disk_ops;
    disk->store.block_bytes = SECTOR;
    disk->store.key[0] = (uint64_t)disk;
    return disk_start_ring(disk, pci, notify_reg);
}

static void virtio_probe(const struct pci_device *pci)
{
    if (pci->vendor != VIRTIO_VENDOR || (pci->device != VIRTIO_BLK && pci->device != VIRTIO_BLK_OLD) ||
        nblkdevs == DISKS_MAX)
        return;
    struct virtio_disk *disk = kmalloc(sizeof(*disk));
    int error = disk != NULL ? disk_attach(disk, pci) : -ENOMEM;
    struct thread *reaper = error == 0 ? thread_create("virtio_blk", reaper_main, disk, false) : NULL;
    if (reaper == NULL) {
        printf("the virtio disk in slot %u cannot be used: error %d\n", pci->slot, error);
        return;
    }
    (void)snprintf(disk->name, sizeof(disk->name), "vd%c", 'a' + (int)nblkdevs);
    (void)strlcpy(blkdevs[nblkdevs].name, disk->name, sizeof(blkdevs[0].name));
    blkdevs[nblkdevs++].store = &disk->store;
    thread_start(reaper);
}

/* ---- by name ------------------------------------------------------------------------------------------- */

void blkdev_init(void)
{
    pci_scan(virtio_probe);
}

struct store *blkdev_find(const char *name)
{
    for (uint32_t i = 0; i < nblkdevs; i++) {
        if (strcmp(blkdevs[i].name, name) == 0)
            return blkdevs[i].store;
    }
    return NULL;
}

const struct blkdev *blkdev_get(uint32_t n)
{
    return n < nblkdevs ? &blkdevs[n] : NULL;
}
