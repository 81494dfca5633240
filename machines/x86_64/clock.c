/*
 * clock.c: time: the processor's time stamp counter, whose speed the old interval timer (8254) tells at boot,
 * and the date of the real time clock.
 *
 *   machine_time_ns() = (rdtsc() - at boot) * multiplier >> 32
 *
 * The counters of all CPUs run together, as those of today's processors do.
 */
#include "apic.h"
#include "machdep.h"

#define PIT_HZ          1193182
#define PIT_CHANNEL2    0x42
#define PIT_MODE        0x43
#define PIT_GATE        0x61
#define CALIBRATE_PER_S 200 /* the measurement takes 5 ms */

#define RTC_INDEX 0x70
#define RTC_DATA  0x71

int64_t boot_time_ns;
uint64_t apic_timer_hz;

static uint64_t tsc_at_boot;
static uint64_t ns_per_tick; /* times 2^32 */

/* The TSC and the APIC's timer over a time that the interval timer counts. */
static void calibrate(uint64_t *tsc_ticks, uint64_t *apic_ticks)
{
    const uint32_t count = PIT_HZ / CALIBRATE_PER_S;

    outb(PIT_GATE, (inb(PIT_GATE) & 0xfc) | 1); /* the gate is open, the loudspeaker off */
    outb(PIT_MODE, 0xb0);                       /* channel 2, both bytes, mode 0: output rises at 0 */
    outb(PIT_CHANNEL2, count & 0xff);
    outb(PIT_CHANNEL2, count >> 8);
    apic_timer_free_run();
    const uint64_t tsc = rdtsc();
    const uint32_t apic = apic_timer_count();
    while (!(inb(PIT_GATE) & 0x20)) /* 5 ms */
        cpu_pause();
    *tsc_ticks = rdtsc() - tsc;
    *apic_ticks = apic - apic_timer_count();
    apic_timer_once(0);
}

static uint8_t rtc_read(uint8_t reg)
{
    outb(RTC_INDEX, reg);
    return inb(RTC_DATA);
}

static unsigned from_bcd(uint8_t value)
{
    return (value >> 4) * 10u + (value & 15);
}

/* Days from 1970-01-01 to the date, of the Gregorian calendar. */
static int64_t days_since_1970(int64_t year, unsigned month, unsigned day)
{
    /* years begin in March, so that the leap day is their last */
    const int64_t y = month <= 2 ? year - 1 : year;
    const unsigned m = month <= 2 ? month + 9 : month - 3;

    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static void rtc_init(void)
{
    unsigned now[6]; /* s, min, h, day, month, year */
    static const uint8_t regs[6] = {0x00, 0x02, 0x04, 0x07, 0x08, 0x09};

    while (rtc_read(0x0a) & 0x80) /* an update takes 2 ms */
        cpu_pause();
    for (unsigned i = 0; i < 6; i++)
        now[i] = (rtc_read(0x0b) & 4) ? rtc_read(regs[i]) : from_bcd(rtc_read(regs[i]));
    const int64_t days = days_since_1970(2000 + (int64_t)now[5], now[4], now[3]);
    boot_time_ns = (((days * 24 + now[2]) * 60 + now[1]) * 60 + now[0]) * INT64_C(1000000000);
}

void clock_init(void)
{
    uint64_t tsc_ticks, apic_ticks;

    calibrate(&tsc_ticks, &apic_ticks);
    if (tsc_ticks == 0 || apic_ticks == 0)
        panic("the time stamp counter does not run");
    ns_per_tick = (UINT64_C(1000000000) << 32) / (tsc_ticks * CALIBRATE_PER_S);
    apic_timer_hz = apic_ticks * CALIBRATE_PER_S;
    tsc_at_boot = rdtsc();
    rtc_init();
}

uint64_t machine_time_ns(void)
{
    return (uint64_t)(((unsigned __int128)(rdtsc() - tsc_at_boot) * ns_per_tick) >> 32);
}
