/*
 * boot.c: beginnings and ends of tests on the machine sim.
 */
#include "support/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct sim_params test_params(uint64_t seed)
{
    /*
     * An assertion that fails in a fiber must not jump to the main stack, and a failed test leaves its
     * computer on: so cmocka says what failed and stops.
     */
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    return (struct sim_params){
        .seed = seed, .ncpus = 2, .nframes = 256, .highmem = getenv("FAULTLINE_HIGHMEM") != NULL};
}

struct sim_params test_params_hostile(uint64_t seed)
{
    struct sim_params params = test_params(seed);
    struct prng prng;

    prng_init(&prng, seed);
    params.ncpus = (uint32_t)prng_range(&prng, 1, 4);
    params.superpages = prng_chance(&prng, 500);
    params.torture = (struct sim_torture){
        .preempt_permille = (uint32_t)prng_range(&prng, 1, 200),
        .spurious_permille = (uint32_t)prng_range(&prng, 0, 100),
        .stale_tlb = prng_chance(&prng, 800),
        .copy_first = prng_chance(&prng, 300),
        .enters_itself_permille = prng_chance(&prng, 600) ? (uint32_t)prng_range(&prng, 1, 1000) : 0,
        .late_bits = prng_chance(&prng, 600),
        .forgetful_permille = (uint32_t)prng_range(&prng, 0, 20),
        .window_busy_permille = (uint32_t)prng_range(&prng, 0, 100),
    };
    params.swap_pages = prng_chance(&prng, 500) ? (uint32_t)prng_range(&prng, 16, 1024) : 0;
    /* short, as simulated runs are: the flusher is to run beside everything */
    params.dirty_expire_ns = prng_range(&prng, 10000, 1000000);
    params.highmem = params.highmem || prng_chance(&prng, 250);
    return params;
}

void test_boot(const struct sim_params *params)
{
    assert_int_equal(sim_boot(params), 0);
}

struct vm_map *test_space(void)
{
    struct vm_map *map;

    assert_int_equal(fl_space_create(TEST_SPACE_START, TEST_SPACE_END, &map), 0);
    return map;
}

struct fl_file test_file(struct sim_disk *disk, unsigned mode)
{
    struct fl_file file = {.mode = mode};

    assert_int_equal(fl_vnode_open(sim_disk_open(disk, !(mode & FL_FWRITE)), &file.vnode), 0);
    return file;
}

vm_offset_t test_mmap(struct vm_map *map, const struct fl_file *file, int flags, vm_pindex_t npages)
{
    int64_t va = fl_sys_mmap(map, 0, ptoa(npages), VM_PROT_READ | VM_PROT_WRITE, flags, file, 0);
    assert_true(va > 0);
    return (vm_offset_t)va;
}

uint8_t test_byte(uint64_t offset)
{
    return (uint8_t)prng_mix(offset + 1);
}

void test_fill(struct sim_disk *disk)
{
    uint8_t page[VM_PAGE_SIZE];
    uint64_t end = sim_disk_size(disk);

    for (uint64_t offset = 0; offset < end; offset += VM_PAGE_SIZE) {
        size_t len_bytes = end - offset < VM_PAGE_SIZE ? (size_t)(end - offset) : VM_PAGE_SIZE;

        for (size_t i = 0; i < len_bytes; i++)
            page[i] = test_byte(offset + i);
        sim_disk_write(disk, offset, page, len_bytes);
    }
}

struct sim_disk *test_disk(uint64_t len_bytes, uint32_t block_bytes, uint64_t seed)
{
    struct sim_disk *disk = sim_disk_create(len_bytes, seed);

    sim_disk_set_block(disk, block_bytes);
    test_fill(disk);
    return disk;
}

uint8_t test_load8(struct vm_map *map, vm_offset_t va)
{
    uint8_t value;

    assert_int_equal(sim_load(map, va, &value, 1, NULL), 0);
    return value;
}

void test_store8(struct vm_map *map, vm_offset_t va, uint8_t value)
{
    assert_int_equal(sim_store(map, va, &value, 1, NULL), 0);
}

static _Noreturn void panic_child(void (*fn)(void *arg), void *arg, int fd)
{
    const struct rlimit no_core = {0, 0};

    setrlimit(RLIMIT_CORE, &no_core);
    dup2(fd, STDERR_FILENO);
    sim_forked();
    fn(arg);
    _exit(0);
}

bool test_panics(void (*fn)(void *arg), void *arg, const char *expect)
{
    char said[4096];
    size_t len = 0;
    ssize_t got;
    int fd[2], status;

    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        panic_child(fn, arg, fd[1]);
    close(fd[1]);
    while (len < sizeof(said) - 1 && (got = read(fd[0], said + len, sizeof(said) - 1 - len)) > 0)
        len += (size_t)got;
    said[len] = '\0';
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && strstr(said, "panic: ") != NULL && strstr(said, expect) != NULL)
        return true;
    print_message("expected a panic with \"%s\", status %#x, heard: %s\n", expect, (unsigned)status, said);
    return false;
}
