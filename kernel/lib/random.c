/*
 * random.c: random bytes (random.h). The state is one word, which calls on several CPUs may change at the
 * same time: each adds to it, so none goes back.
 */
#include "lib/random.h"

#include <stdatomic.h>

#include "kernel.h"
#include "string.h"

#define CPUID_1_ECX_RDRAND (1u << 30)

static _Atomic uint64_t state;

static bool has_rdrand(void)
{
    static _Atomic uint32_t known; /* 0: not asked yet; 1: no; 2: yes */
    uint32_t regs[4];

    if (known == 0) {
        cpuid(1, 0, regs);
        known = (regs[2] & CPUID_1_ECX_RDRAND) != 0 ? 2 : 1;
    }
    return known == 2;
}

static uint64_t random_word(void)
{
    uint64_t word = 0, x;
    bool ok = false;

    if (has_rdrand())
        __asm__ volatile("rdrand %0" : "=r"(word), "=@ccc"(ok));
    word = UINT64_C(0x9e3779b97f4a7c15) + rdtsc() + (ok ? word : 0);
    x = atomic_fetch_add(&state, word) + word;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

void random_bytes(void *to, size_t len_bytes)
{
    unsigned char *at = to;

    while (len_bytes > 0) {
        uint64_t word = random_word();
        size_t n = len_bytes < sizeof(word) ? len_bytes : sizeof(word);

        memcpy(at, &word, n);
        at += n;
        len_bytes -= n;
    }
}
