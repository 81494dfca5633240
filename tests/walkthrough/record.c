/*
 * record.c: the scenarios behind docs/walkthroughs: which of them each page shows.
 *
 *   walkthrough_record PAGE TABLE ─▶ its scenarios, one after another, on standard output: each is a piece
 *                                    of the tree of calls of one system call or fault (trace.c), and the
 *                                    counters that it changed (world.c)
 *
 * TABLE: where each function's parameters lie (trace.c).
 */
#include "walkthrough/scenarios.h"
#include "walkthrough/trace.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *page;
    void (*run)(void);
} scenarios[] = {
    {"freebsd11-mmap", scenario_mmap_freebsd},
    {"freebsd11-page-fault", scenario_read},
    {"freebsd11-page-fault", scenario_private_write},
    {"freebsd11-page-fault", scenario_private_write_absent},
    {"freebsd11-page-fault", scenario_zero_fill},
    {"freebsd11-page-fault", scenario_shortage},
    {"freebsd11-page-fault", scenario_shortage_reserved},
    {"freebsd11-page-fault", scenario_busy},
    {"freebsd11-page-fault", scenario_wire_resident},
    {"freebsd21-page-fault", scenario_busy},
    {"freebsd21-page-fault", scenario_busy_read_fails},
    {"freebsd21-page-fault", scenario_busy_private_write},
    {"freebsd21-page-fault", scenario_read},
    {"freebsd21-page-fault", scenario_private_write},
    {"freebsd21-page-fault", scenario_private_write_absent},
    {"freebsd21-page-fault", scenario_zero_fill},
    {"freebsd21-page-fault", scenario_collapse},
    {"freebsd21-page-fault", scenario_reclaim},
    {"freebsd21-page-fault", scenario_wait_for_memory},
    {"freebsd21-page-fault", scenario_stack},
    {"freebsd21-page-fault", scenario_wire},
    {"freebsd21-page-fault", scenario_read_error},
    {"linux-read", scenario_file_read},
    {"linux-read", scenario_file_read_alone},
    {"linux-read", scenario_file_read_around},
    {"linux-read", scenario_file_write_blocks},
    {"linux-write", scenario_file_write},
    {"linux-write", scenario_file_write_blocks},
    {"linux-writeback", scenario_file_sync},
    {"linux-truncate", scenario_file_truncate},
    {"linux-truncate", scenario_file_truncate_read},
    {"linux-truncate", scenario_file_punch_used},
    {"linux-truncate", scenario_file_write_blocks},
    {"linux-lru", scenario_file_read},
    {"linux-lru", scenario_file_punch_used},
    {"linux-lru", scenario_reclaim},
    {"linux-mmap", scenario_mmap},
    {"linux-mmap", scenario_mmap_anonymous},
    {"linux-mmap", scenario_mmap_hint},
    {"linux-mmap", scenario_mmap_bottomup},
    {"linux-mmap", scenario_mmap_fixed},
    {"linux-munmap", scenario_munmap},
    {"linux-mprotect", scenario_mprotect},
    {"linux-brk", scenario_brk},
    {"linux-kmap", scenario_kmap},
    {"linux-kmap", scenario_kmap_direct},
    {"linux-kmap", scenario_kmap_wait},
};

int main(int argc, char **argv)
{
    bool known = false;
    if (argc == 3 && !trace_read_table(argv[2], (void *)main)) {
        fprintf(stderr, "%s: not a table\n", argv[2]);
        return 2;
    }
    for (size_t i = 0; argc == 3 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(argv[1], scenarios[i].page) == 0) {
            scenarios[i].run();
            known = true;
        }
    }
    if (!known) {
        fprintf(stderr,
                "usage: walkthrough_record PAGE TABLE; PAGE: of a file .stages of docs/walkthroughs\n");
        return 2;
    }
    return 0;
}
