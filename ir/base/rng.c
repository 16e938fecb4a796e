#include "ir/base/rng.h"

#include <math.h>

double fl_random_normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    double u = 1.0 - fl_random_uniform(seed, stream, 2 * i); /* in (0, 1], so that the logarithm is finite */
    double v = fl_random_uniform(seed, stream, 2 * i + 1);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
