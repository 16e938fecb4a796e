/*
 * rng.h -- counter-based randomness: every number is a function of (seed, what, where), so that it depends neither on
 * threads nor on tiles nor on order. The interpreter calls these functions; generated code repeats fl_random_mask bit for bit.
 */
#ifndef FL_IR_BASE_RNG_H
#define FL_IR_BASE_RNG_H

#include <stdint.h>

/* splitmix64's finaliser. */
static inline uint64_t fl_mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The key of one mask in one step: key = mix(seed + mix(step * golden + mask key)). */
static inline uint64_t fl_mask_key(uint64_t seed, uint64_t step, uint64_t key)
{
    return fl_mix64(seed + fl_mix64(step * 0x9e3779b97f4a7c15u + key));
}

/* Units are dropped if their 16 bits are below this; rate in [0, 1). */
static inline uint32_t fl_mask_threshold(double rate)
{
    return (uint32_t)(rate * 65536.0 + 0.5);
}

/* The two words of a row: k = mix(mask key + row * golden), k0 its low, k1 its high half. */
static inline uint64_t fl_mask_row_key(uint64_t mask_key, uint64_t row)
{
    return fl_mix64(mask_key + row * 0x9e3779b97f4a7c15u);
}

/*
 * 32 random bits for two units of a row of width n, with
 * half = (n + 1) / 2: unit u < half takes the low 16 bits of pair u, unit u >= half the high 16 bits of pair u - half.
 */
static inline uint32_t fl_mask_word(uint64_t row_key, uint32_t pair)
{
    uint32_t h = pair * 0x9e3779b9u + (uint32_t)row_key;
    h ^= h >> 16;
    h *= 0x7feb352du;
    h ^= h >> 15;
    h ^= (uint32_t)(row_key >> 32);
    h *= 0x846ca68bu;
    return h ^ (h >> 16);
}

/* 1 if unit `unit` of a row of `width` units is kept, 0 if dropped. */
static inline uint32_t fl_random_mask(uint64_t row_key, uint32_t unit, uint32_t width, uint32_t threshold)
{
    uint32_t half = (width + 1) / 2;
    uint32_t word = fl_mask_word(row_key, unit < half ? unit : unit - half);
    uint32_t bits = unit < half ? word & 0xffffu : word >> 16;
    return bits >= threshold;
}

/* Uniform in [0, 1) with 53 bits: element i of the stream `stream`. */
static inline double fl_random_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    return (double)(fl_mix64(fl_mix64(seed ^ fl_mix64(stream)) + i * 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
}

/* Standard normal by Box and Muller: element i of the stream. */
double fl_random_normal(uint64_t seed, uint64_t stream, uint64_t i);

#endif
