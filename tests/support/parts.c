/*
 * parts.c: boots the lower floors of the core one by one, in fl_vm_boot's order.
 */
#include "support/parts.h"
#include "support/boot.h"
#include "lib/zone.h"
#include "vm/kmap.h"
#include "vm/vm_object.h"
#include "vm/vm_pageout.h"
#include "vm/vm_pager.h"
#include "vm/vm_radix.h"
#include "vm/vm_reserv.h"
#include <stdlib.h>

static struct {
    uint8_t *meta;
    uint32_t fail_nth;
    uint32_t asked;
    const char *what;
} parts;

static bool parts_fail_alloc(const char *what)
{
    parts.asked++;
    parts.what = what;
    return parts.fail_nth != 0 && --parts.fail_nth == 0;
}

void parts_fail_nth(uint32_t nth)
{
    parts.fail_nth = nth;
}

uint32_t parts_asked(void)
{
    return parts.asked;
}

const char *parts_asked_what(void)
{
    return parts.what;
}

static void boot_machine(uint32_t nframes, size_t meta_bytes)
{
    struct sim_params params = test_params(1);

    params.nframes = nframes;
    sim_machine_init(&params);
    parts.meta = aligned_alloc(VM_PAGE_SIZE, round_page(meta_bytes));
    if (parts.meta == NULL)
        abort();
    __builtin_memset(parts.meta, 0, round_page(meta_bytes));
    parts.fail_nth = 0;
    parts.asked = 0;
    parts.what = NULL;
    vm_meta_init(parts.meta, meta_bytes, NULL, parts_fail_alloc);
}

uint8_t *parts_boot_meta(size_t meta_bytes)
{
    boot_machine(16, meta_bytes);
    return parts.meta;
}

void parts_boot(uint32_t nframes, bool superpages)
{
    boot_machine(nframes, ((size_t)1 << 20) + (size_t)nframes * 256);
    vm_pageout = (struct vm_pageout_params){0};
    if (vm_page_startup(nframes, superpages) != 0 || kmap_startup(sim_kmap()) != 0)
        abort();
    vm_radix_startup();
    vm_object_startup();
    vm_pager_startup();
}

void parts_halt(void)
{
    free(parts.meta);
    parts.meta = NULL;
    sim_machine_fini();
}
