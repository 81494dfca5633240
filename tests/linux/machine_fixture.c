/* machine_fixture.c: the machine linux by itself, with a handler in the core's place (machine_fixture.h). */
#include "machine_fixture.h"
#include "memfd.h"

#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <ucontext.h>

struct machine_space *space;
void *test_object;
vm_frame_t frame_of[NFRAMES]; /* page i of the object is in frame i */
_Atomic unsigned faults;
static _Atomic bool deny; /* the handler gives up instead of mapping */
static sigjmp_buf denied;

struct machine_run run_of(vm_pindex_t pindex, uint32_t npages)
{
    return (struct machine_run){
        .object = test_object, .pindex = pindex, .npages = npages, .frame = &frame_of[pindex]};
}

void map(vm_offset_t view, vm_pindex_t pindex, uint32_t npages, vm_prot_t prot, unsigned flags)
{
    struct machine_run run = run_of(pindex, npages);
    uint32_t done = 0;

    assert_int_equal(machine_map(space, view + ptoa(pindex), &run, prot, flags, &done), 0);
    assert_int_equal(done, npages);
}

static void on_fault(int signo, siginfo_t *info, void *ucontext)
{
    vm_offset_t va = (vm_offset_t)info->si_addr,
                view = LINUX_WINDOW_START + ((va - LINUX_WINDOW_START) >> 30 << 30);

    faults++;
    if (deny)
        siglongjmp(denied, 1);
    if (signo == SIGSEGV)
        abort();
    struct machine_run run = run_of(atop(va - view), 1);
    uint32_t done;
    bool write = (((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_ERR] & 2) != 0;
    if (machine_map(space, trunc_page(va), &run, write ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ,
                    write ? MACHINE_MAP_DIRTY : 0, &done) != 0)
        abort();
}

static uint32_t nslots;

void start(size_t buffer_len_bytes)
{
    struct linux_machine_params params = {.nframes = NFRAMES, .buffer_len_bytes = buffer_len_bytes};
    nslots = (uint32_t)atop(buffer_len_bytes);
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    void *meta;

    if (linux_machine_init(&params, 1 << 20, &meta) != 0)
        fail_msg("%s", linux_machine_error());
    assert_int_equal(machine_space_create(LINUX_WINDOW_START, LINUX_WINDOW_END, &space), 0);
    assert_int_equal(machine_object_init(&test_object), 0);
    for (vm_frame_t i = 0; i < NFRAMES; i++)
        frame_of[i] = i;
    assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
    assert_int_equal(sigaction(SIGSEGV, &action, NULL), 0);
    faults = 0;
    deny = false;
}

void drain_buffers(void)
{
    void *addr[2][MACHINE_RUN_MAX];
    uint32_t half = nslots / 2;
    struct machine_run run[2] = {run_of(0, half), run_of(0, half - 1 - nslots / 64)};
    for (int i = 0; i < 2; i++)
        assert_int_equal(machine_window_get(&run[i], MACHINE_WINDOW_FILL, false, addr[i]), 0);
    for (int i = 0; i < 2; i++)
        machine_window_put(&run[i], MACHINE_WINDOW_FILL, addr[i], false);
}

static uint64_t memfd_pages(void)
{
    struct stat st;

    assert_int_equal(fstat(linux_memfd_fd(), &st), 0);
    return (uint64_t)st.st_blocks * 512 / VM_PAGE_SIZE;
}

void finish(void)
{
    drain_buffers();
    assert_int_equal(memfd_pages(), 0);
    machine_object_fini(test_object);
    machine_space_destroy(space);
    linux_machine_fini();
}

int teardown(void **state)
{
    (void)state;
    linux_machine_fini();
    return 0;
}

void attach(vm_offset_t view, uint32_t npages, vm_prot_t prot, unsigned flags)
{
    assert_int_equal(machine_attach(space, view, view + ptoa(npages), prot, test_object, 0, flags), 0);
}

void page_bytes(uint8_t *bytes, vm_pindex_t pindex, unsigned value)
{
    for (unsigned i = 0; i < VM_PAGE_SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + pindex * 13 + value * 101 + 1);
}

void assert_page(const void *at, vm_pindex_t pindex, unsigned value)
{
    uint8_t bytes[VM_PAGE_SIZE];

    page_bytes(bytes, pindex, value);
    assert_memory_equal(at, bytes, VM_PAGE_SIZE);
}

void fill(vm_pindex_t pindex, uint32_t npages, unsigned value)
{
    struct machine_run run = run_of(pindex, npages);
    void *addr[MACHINE_RUN_MAX];

    assert_int_equal(machine_window_get(&run, MACHINE_WINDOW_FILL, false, addr), 0);
    for (uint32_t i = 0; i < npages; i++)
        page_bytes(addr[i], pindex + i, value);
    machine_window_put(&run, MACHINE_WINDOW_FILL, addr, true);
}

void release(vm_pindex_t pindex, uint32_t npages)
{
    struct machine_run run = run_of(pindex, npages);

    machine_release(&run);
}

bool load_faults(vm_offset_t va)
{
    deny = true;
    bool faulted = true;
    if (sigsetjmp(denied, 1) == 0) {
        (void)*(volatile uint8_t *)va;
        faulted = false;
    }
    deny = false;
    return faulted;
}

bool store_faults(vm_offset_t va)
{
    deny = true;
    bool faulted = true;
    if (sigsetjmp(denied, 1) == 0) {
        *(volatile uint8_t *)va = *(volatile uint8_t *)va;
        faulted = false;
    }
    deny = false;
    return faulted;
}
