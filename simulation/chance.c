/* Chance that one number tells: what the system would draw, from the seed in CALBRIDGE_SEED; and a calendar that stands
 * still.
 *
 * Hash maps, ids, the order in which a select looks at its branches: all of it begins with these calls. Every thread has
 * the same sequence, whenever it begins, so that threads which do not meet do not matter. The date of an HTTP answer is
 * the calendar's; what is measured goes on as it does. */

#define _GNU_SOURCE

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* 2026-09-21, when the golden lives are told. */
#define TODAY 1790000000

static __thread uint64_t state;
static __thread int has_begun;

/* SplitMix64. */
static uint64_t next(void)
{
    if (!has_begun) {
        const char *seed = getenv("CALBRIDGE_SEED");
        state = seed ? strtoull(seed, NULL, 10) : 0;
        has_begun = 1;
    }
    state += 0x9E3779B97F4A7C15u;
    uint64_t mixed = state;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return mixed ^ (mixed >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
    (void)flags;
    unsigned char *bytes = buffer;
    for (size_t at = 0; at < length; at++)
        bytes[at] = (unsigned char)(next() >> 56);
    return (ssize_t)length;
}

int getentropy(void *buffer, size_t length)
{
    getrandom(buffer, length, 0);
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        now->tv_sec = TODAY;
        now->tv_nsec = 0;
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, now);
}
