#include "runtime/synthetic.h"

#include <math.h>

#include "ir/base/rng.h"

/*
 * Rejection-inversion after Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions" (1996):
 * H is the integral of x^-s, whose inverse is known; a uniform u of H's range gives x, and k = round(x) is accepted if x lies in the part of
 * k's unit interval that has the mass k^-s. At least 0.7 of the draws are.
 */

/* (x^(1-s) - 1) / (1 - s), log x for s = 1: without cancellation near s = 1. */
static double integral(double x, double s)
{
    double l = log(x), t = (1 - s) * l;
    return fabs(t) > 1e-8 ? expm1(t) / t * l : l * (1 + t / 2);
}

static double inverse(double y, double s)
{
    double t = y * (1 - s);
    if (t < -1)
        t = -1;
    double l = fabs(t) > 1e-8 ? log1p(t) / t * y : y * (1 - t / 2);
    return exp(l);
}

fl_zipf fl_zipf_make(int64_t n, double exponent)
{
    fl_zipf z = {.n = n, .exponent = exponent};
    z.left = integral(1.5, exponent) - 1;
    z.span = integral((double)n + 0.5, exponent) - z.left;
    z.shift = 2 - inverse(integral(2.5, exponent) - pow(2, -exponent), exponent);
    return z;
}

int64_t fl_zipf_draw(const fl_zipf *z, uint64_t seed, uint64_t stream, uint64_t i)
{
    for (uint64_t attempt = 0;; attempt++) {
        double u = z->left + z->span * fl_random_uniform(seed + attempt * 0x632be59bd9b4e019u, stream, i);
        double x = inverse(u, z->exponent), k = floor(x + 0.5);
        k = k < 1 ? 1 : k > (double)z->n ? (double)z->n : k;
        if (k - x <= z->shift || u >= integral(k + 0.5, z->exponent) - pow(k, -z->exponent))
            return (int64_t)k;
    }
}

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

fl_scatter fl_scatter_make(int64_t first, int64_t n, double exponent)
{
    fl_scatter d = {fl_zipf_make(n, exponent), (int64_t)((double)n * 0.6180339887498949), first};
    if (d.step < 1)
        d.step = 1;
    while (greatest_divisor(d.step, n) != 1)
        d.step++;
    return d;
}

int64_t fl_scatter_draw(const fl_scatter *d, uint64_t seed, uint64_t stream, uint64_t i)
{
    __extension__ typedef unsigned __int128 wide;
    int64_t rank = fl_zipf_draw(&d->zipf, seed, stream, i) - 1;
    return d->first + (int64_t)((wide)(uint64_t)rank * (uint64_t)d->step % (uint64_t)d->zipf.n);
}

enum { MOST_VALUES = 4, LABELS = 1 << 20, COUNTS };

static fl_status fill_bag(fl_batch *b, uint32_t bag, const fl_scatter *d, uint64_t seed, uint32_t slot, int64_t from)
{
    fl_bag *to = &b->bags[bag];

    for (int64_t i = from; i < b->n; i++) {
        int64_t count = (int64_t)(fl_random_uniform(seed, COUNTS + slot, (uint64_t)i) * (MOST_VALUES + 1));
        FL_TRY(fl_batch_reserve_values(b, bag, count));
        for (int64_t k = 0; k < count; k++)
            to->values[to->n_values++] = fl_scatter_draw(d, seed, slot, (uint64_t)(i * MOST_VALUES + k));
        to->offsets[i + 1] = to->n_values;
    }
    return FL_OK;
}

fl_status fl_synthetic_rows(fl_batch *b, const fl_schema *schema, double skew, double positives, uint64_t seed, int64_t n)
{
    uint32_t column = 0, bag = 0;
    int64_t from = b->n;

    FL_TRY(fl_batch_reserve(b, b->n + n));
    b->n += n;
    for (int64_t i = from; i < b->n; i++) {
        b->label[i] = fl_random_uniform(seed, LABELS, (uint64_t)i) < positives ? 1.0f : 0.0f;
        b->row[i] = i;
        b->bad[i] = b->part[i] = 0;
    }
    for (uint32_t k = 0; k < schema->n_slots; k++) {
        fl_scatter d = fl_scatter_make(schema->slots[k].first_row, schema->slots[k].rows, skew);
        if (schema->slots[k].pooling != FL_POOL_NONE) {
            FL_TRY(fill_bag(b, bag++, &d, seed, k, from));
            continue;
        }
        for (int64_t i = from; i < b->n; i++)
            b->ids[i * b->n_columns + column] = fl_scatter_draw(&d, seed, k, (uint64_t)i);
        column++;
    }
    return FL_OK;
}
