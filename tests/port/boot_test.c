/*
 * boot_test.c: the core boots with the nine functions of words.c: no function of examples/port is called, in
 * which all others are missing. Its daemons run while the host takes all frames, and stop; the checkers find
 * nothing, and it halts.
 */
#include <faultline/vm.h>

#include <pthread.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "port.h"

#define FRAMES 256

static alignas(VM_PAGE_SIZE) char frames[FRAMES * VM_PAGE_SIZE];
static alignas(VM_PAGE_SIZE) char meta[4u << 20];

void port_missing(const char *function)
{
    printf("%s is called, and is not one of those with which the core boots\n", function);
    exit(1);
}

/* The host takes frames until there are none: the page daemon wakes up, and finds no page to free. */
static void take_and_return_all(void)
{
    static vm_frame_t frame[FRAMES];
    uint32_t n = 0;

    while (n < FRAMES && fl_frames_alloc(0, &frame[n]) == 0)
        n++;
    usleep(10000);
    while (n > 0)
        fl_frames_free(frame[--n], 0);
}

static void *daemon_main(void *run)
{
    (*(void (**)(void))run)();
    return NULL;
}

int main(void)
{
    static void (*run[])(void) = {fl_pageout_run, fl_writeback_run, fl_prefault_run};
    const struct fl_vm_params params = {
        .meta = meta, .meta_len_bytes = sizeof(meta), .nframes = FRAMES, .direct_map = frames};
    pthread_t daemon[3];
    struct fl_vm_stats stats;

    if (fl_vm_boot(&params) != 0)
        return 1;
    for (unsigned i = 0; i < 3; i++) {
        if (pthread_create(&daemon[i], NULL, daemon_main, &run[i]) != 0)
            return 1;
    }
    take_and_return_all();
    fl_vm_stats(&stats);
    fl_vm_check();
    fl_vm_stop();
    for (unsigned i = 0; i < 3; i++)
        pthread_join(daemon[i], NULL);
    fl_vm_halt();
    printf("booted and halted; %lu of %u frames are free\n", (unsigned long)stats.free, FRAMES);
    return stats.free == FRAMES ? 0 : 1;
}
