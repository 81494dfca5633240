/*
 * disk_power.c: what a power cut leaves of a simulated disk.
 *
 *     the durable image ◀── the pieces that landed ── cached writes, oldest first, then writes in flight
 */
#include "disk_state.h"

struct sim_disk *sim_disk_snapshot(const struct sim_disk *disk)
{
    struct sim_disk *copy = disk_create(prng_mix(disk->key), disk->key);

    copy->block_bytes = disk->block_bytes;
    sim_disk_write(copy, 0, disk->current.bytes, disk->current.len_bytes);
    return copy;
}

void sim_disk_unsafe(const struct sim_disk *disk, sim_disk_unsafe_fn *fn, void *arg)
{
    for (const struct cached_write *write = disk->oldest; write != NULL; write = write->next)
        fn(write->offset, write->bytes, write->len_bytes, arg);
    for (const struct disk_transfer *t = disk_transfer_first(); t != NULL; t = t->next) {
        if (t->disk != disk || t->moved || t->request->op != STORE_WRITE)
            continue;
        for (uint32_t i = 0; i < t->request->npages; i++) {
            struct disk_piece piece = disk_request_piece(t->request, i);
            /* What lies behind the end when the write is over does not land (disk_transfer.c). */
            size_t len_bytes = image_trim(&disk->current, piece.offset, piece.len_bytes);

            if (len_bytes > 0)
                fn(piece.offset, piece.bytes, len_bytes, arg);
        }
    }
}

/* A power cut: the durable image, and over it the unsafe pieces that landed. */
struct power_cut {
    struct sim_disk *cut;
    uint32_t permille; /* of the sectors land */
    uint64_t landed;   /* bit i: piece i landed */
    uint32_t npieces;
};

static void power_cut_begin(struct power_cut *pc, const struct sim_disk *disk, uint64_t seed)
{
    pc->cut = disk_create(prng_mix(disk->key ^ seed), seed);
    pc->cut->block_bytes = disk->block_bytes;
    image_resize(&pc->cut->current, disk->durable.len_bytes);
    image_write(&pc->cut->current, 0, disk->durable.bytes, disk->durable.len_bytes);
}

static struct sim_disk *power_cut_end(struct power_cut *pc)
{
    image_resize(&pc->cut->durable, pc->cut->current.len_bytes);
    image_write(&pc->cut->durable, 0, pc->cut->current.bytes, pc->cut->current.len_bytes);
    return pc->cut;
}

static void piece_tear(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg)
{
    struct power_cut *pc = arg;

    image_write_torn(&pc->cut->current, offset, bytes, len_bytes, &pc->cut->prng, pc->permille);
}

static void piece_land(uint64_t offset, const uint8_t *bytes, size_t len_bytes, void *arg)
{
    struct power_cut *pc = arg;

    if (pc->landed >> pc->npieces++ & 1)
        image_write(&pc->cut->current, offset, bytes, len_bytes);
}

struct sim_disk *sim_disk_power_cut(const struct sim_disk *disk, uint64_t seed)
{
    struct power_cut pc = {.cut = NULL};

    power_cut_begin(&pc, disk, seed);
    /* One bias for each cut, so that all, none, and everything between occurs. */
    pc.permille = (uint32_t)prng_below(&pc.cut->prng, 5) * 250;
    sim_disk_unsafe(disk, piece_tear, &pc);
    return power_cut_end(&pc);
}

struct sim_disk *sim_disk_power_cut_landed(const struct sim_disk *disk, uint64_t landed)
{
    struct power_cut pc = {.landed = landed};

    power_cut_begin(&pc, disk, landed);
    sim_disk_unsafe(disk, piece_land, &pc);
    return power_cut_end(&pc);
}
