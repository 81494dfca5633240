/*
 * chaos_test.c: random operations while allocations, mappings and
 * transfers fail at random, those of swap too, in too little memory.
 *
 * The effect of each operation is unknown then, so nothing is compared. But every result is a success or an
 * error that the operation may have, every structure passes its check, every dirty page can be written once
 * the disk works again, and in the end nothing is left over.
 */
#include "model/outcome.h"
#include "model/seeds.h"
#include "model/sim_driver.h"
#include "support/boot.h"
#include <errno.h>
#include <faultline/vm.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SEEDS       700
#define OPS         300
#define FIRST_SEED  1
#define SECONDS_MAX 120 /* under ASan, on a busy machine */
#define CHECK_EACH  16

static bool is_an_error(int64_t result)
{
    static const int errors[] = {EIO,    ENXIO,  EBADF,     EAGAIN,     ENOMEM, EACCES, EFAULT, EBUSY,
                                 EEXIST, EINVAL, EOVERFLOW, EOPNOTSUPP, ENOSPC, EFBIG,  ESRCH};
    unsigned i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (result == -errors[i])
            return true;
    return false;
}

static void set_weather(struct driver *d, struct prng *r, bool bad)
{
    struct sim_torture *torture = sim_torture();
    int f;

    for (f = 0; f <= DRIVER_FILES; f++) {
        struct sim_disk *disk = f < DRIVER_FILES ? sim_driver_disk(d, f) : sim_swap_disk();
        struct sim_disk_faults *faults = disk == NULL ? NULL : sim_disk_faults(disk);

        if (faults == NULL)
            continue;
        faults->fail_read_permille = bad ? (uint32_t)prng_below(r, 100) : 0;
        faults->fail_write_permille = bad ? (uint32_t)prng_below(r, 100) : 0;
        faults->torn = bad && prng_chance(r, 500);
        faults->room_pages =
            bad && f < DRIVER_FILES && prng_chance(r, 500) ? prng_below(r, 8) : SIM_FILES_ROOM;
    }
    torture->fail_alloc_permille = bad ? (uint32_t)prng_below(r, 60) : 0;
    torture->fail_map_permille = bad ? (uint32_t)prng_below(r, 60) : 0;
}

/* What a sequence is made of, and the swap: none, tiny, or ample. */
static enum op_mix draw_mix(struct sim_params *params, uint64_t seed)
{
    static const uint32_t swaps[] = {0, 40, 4096};

    if (seed % 4 != 0)
        return seed % 4 == 1 ? OP_MIX_MAPS : OP_MIX_FILES;
    params->swap_pages = swaps[seed / 4 % 3];
    return OP_MIX_FORKS;
}

static void end_other_spaces(struct driver *d)
{
    for (unsigned space = 0; space < DRIVER_SPACES; space++)
        if (d->lives[space] && space != d->space && driver_exit(d, space) != 0)
            abort();
}

/*
 * The disks work again: dirty pages can be written, and an error that no descriptor was told of is told once.
 */
static bool write_all(struct driver *d)
{
    static const int writers[] = {0, 1};
    unsigned i;

    if (d->munmap(d, 0, DRIVER_WINDOW_BYTES) != 0)
        return false;
    for (i = 0; i < 2; i++) {
        uint64_t len = DRIVER_FILE_PAGES * DRIVER_PAGE;
        int64_t at = d->mmap(d, DRIVER_ANY, len, VM_PROT_READ, FL_MAP_SHARED, writers[i], 0);
        int first;

        if (at < 0)
            return false;
        first = d->msync(d, (uint64_t)at, len, FL_MS_SYNC);
        if ((first != 0 && first != -EIO && first != -ENOMEM && first != -ENOSPC) ||
            d->msync(d, (uint64_t)at, len, FL_MS_SYNC) != 0)
            return false;
    }
    return d->munmap(d, 0, DRIVER_WINDOW_BYTES) == 0;
}

static bool run(uint64_t seed)
{
    struct sim_params params = test_params_hostile(seed);
    static struct outcome out;
    struct driver *d;
    struct prng r;
    struct op op;
    enum op_mix mix = draw_mix(&params, seed);
    int i;

    params.nframes = seed % 2 == 0 ? 64 : 512;
    prng_init(&r, seed);
    struct sim_files files = sim_files_draw(seed);
    files.anonymous = seed % 5 == 0;
    if (files.anonymous) /* the files have no disks, only that for swap */
        params.swap_pages = 4096;
    d = sim_driver_create_on(&params, files);
    set_weather(d, &r, true);
    for (i = 0; i < OPS; i++) {
        op_draw(&op, &r, d, mix);
        outcome_of(d, &op, &out);
        if (out.result < 0 && !is_an_error(out.result)) {
            fprintf(stderr, "result %" PRId64 " of ", out.result);
            op_print(&op, stderr);
            return false;
        }
        if (i % CHECK_EACH == 0)
            d->check(d);
    }
    set_weather(d, &r, false);
    d->check(d);
    end_other_spaces(d);
    if (!write_all(d)) {
        fprintf(stderr, "what was dirty cannot be written\n");
        return false;
    }
    d->destroy(d);
    return true;
}

int main(void)
{
    return seeds_run("chaos_test", FIRST_SEED, SEEDS, SECONDS_MAX, run);
}
