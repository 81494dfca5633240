/*
 * mp.c: starting the other processors.
 *
 *   INIT, SIPI ─▶ the trampoline of locore.S, copied to MP_PAGE ─▶ init_secondary on the CPU's idle stack
 *
 * They start one by one. (Intel SDM volume 3A, chapter 9.4: the MP initialization protocol.)
 */
#include "apic.h"
#include "machdep.h"
#include "sched.h"

#define MP_PAGE    0x8000 /* below what boot_alloc has */
#define INIT_NS    UINT64_C(1000000)
#define STARTED_NS UINT64_C(1000000000)

extern const char mptramp_start[], mptramp_end[], mptramp_far[], mptramp_gdtr_base[], mptramp_stack[];

_Noreturn void init_secondary(void);

static struct cpu *starting;
static uint32_t running; /* atomic: CPUs that have come up */

static void *in_page(const char *mark)
{
    return (char *)phys_to_virt(MP_PAGE) + (mark - mptramp_start);
}

static void copy_trampoline(void)
{
    char *page = phys_to_virt(MP_PAGE);

    for (const char *at = mptramp_start; at < mptramp_end; at++)
        *page++ = *at;
    *(uint32_t *)in_page(mptramp_far) += MP_PAGE;
    *(uint32_t *)in_page(mptramp_gdtr_base) += MP_PAGE;
}

static void delay(uint64_t ns)
{
    const uint64_t end = machine_time_ns() + ns;

    while (machine_time_ns() < end)
        cpu_pause();
}

static bool start_cpu(uint32_t id, uint32_t apic_id)
{
    struct cpu *cpu = &cpus[id];
    const uint32_t before = __atomic_load_n(&running, __ATOMIC_ACQUIRE);

    cpu->id = id;
    cpu->apic_id = apic_id;
    cpu->idle = sched_idle_thread();
    cpu->thread = cpu->idle;
    cpu->idle->td_state = TD_RUNNING;
    cpu->idle->td_oncpu = true;
    cpu->kstack = (uint64_t)cpu->idle->td_kstack + KSTACK_BYTES;
    cpu->tss.rsp0 = cpu->kstack;
    *(uint64_t *)in_page(mptramp_stack) = cpu->kstack;
    __atomic_store_n(&starting, cpu, __ATOMIC_RELEASE);
    apic_send_init(apic_id);
    delay(INIT_NS);
    apic_send_sipi(apic_id, MP_PAGE >> 12);
    const uint64_t give_up = machine_time_ns() + STARTED_NS;
    while (__atomic_load_n(&running, __ATOMIC_ACQUIRE) == before) {
        if (machine_time_ns() > give_up)
            return false;
        cpu_pause();
    }
    return true;
}

void mp_start(void)
{
    copy_trampoline();
    for (uint32_t i = 0; i < acpi.ncpus; i++) {
        if (acpi.apic_id[i] == cpus[0].apic_id)
            continue;
        if (start_cpu(ncpus, acpi.apic_id[i]))
            ncpus++;
        else
            printf("the processor with APIC %u does not start\n", acpi.apic_id[i]);
    }
}

/* On the CPU that starts, with the tables of locore.S. */
void init_secondary(void)
{
    struct cpu *cpu = __atomic_load_n(&starting, __ATOMIC_ACQUIRE);

    load_cr3(kernel_pml4_pa);
    cpu_init(cpu->id, cpu->apic_id);
    apic_init_secondary();
    sched_start();
    __atomic_fetch_add(&running, 1, __ATOMIC_RELEASE);
    sched_idle();
}
