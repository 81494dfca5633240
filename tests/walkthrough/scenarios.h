/* scenarios.h: small programs on the machine sim; each records what runs in one or more of its steps. */
#ifndef TESTS_WALKTHROUGH_SCENARIOS_H
#define TESTS_WALKTHROUGH_SCENARIOS_H

/* ---- faults (fault_scenarios.c) ---- */
void scenario_read(void);
void scenario_private_write(void);
void scenario_private_write_absent(void);
void scenario_zero_fill(void);
void scenario_collapse(void);
void scenario_shortage(void);
void scenario_shortage_reserved(void);
void scenario_reclaim(void);
void scenario_wait_for_memory(void);
void scenario_busy(void);
void scenario_busy_read_fails(void);
void scenario_busy_private_write(void);
void scenario_stack(void);
void scenario_wire(void);
void scenario_wire_resident(void);
void scenario_read_error(void);

/* ---- files (file_scenarios.c) ---- */
void scenario_file_read(void);
void scenario_file_read_alone(void);
void scenario_file_read_around(void);
void scenario_file_write(void);
void scenario_file_write_blocks(void);
void scenario_file_sync(void);
void scenario_file_punch_used(void);
void scenario_file_truncate_read(void);
void scenario_file_truncate(void);

/* ---- address spaces (map_scenarios.c) ---- */
void scenario_mmap(void);
void scenario_mmap_freebsd(void);
void scenario_mmap_anonymous(void);
void scenario_mmap_hint(void);
void scenario_mmap_bottomup(void);
void scenario_mmap_fixed(void);
void scenario_munmap(void);
void scenario_mprotect(void);
void scenario_brk(void);

/* ---- high memory (kmap_scenarios.c) ---- */
void scenario_kmap(void);
void scenario_kmap_direct(void);
void scenario_kmap_wait(void);

#endif
