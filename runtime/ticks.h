/*
 * ticks.h -- the clock of stamps in generated code (abi.h), for those who time it.
 */
#ifndef FL_RUNTIME_TICKS_H
#define FL_RUNTIME_TICKS_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

/* Nanoseconds of the monotonic clock. */
static inline uint64_t fl_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Of the processor's time stamp counter, which runs evenly on all cores of a machine; its rate is measured (profile.h). */
static inline uint64_t fl_ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return fl_clock_ns();
#endif
}

#endif
