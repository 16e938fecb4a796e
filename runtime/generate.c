/*
 * generate.c -- rows whose best reachable AUC is known.
 *
 * A row's logit is bias + sum of its values' weights + sum over pairs of fields of <F_i, F_j>, where F_i is the sum
 * of its values' latent vectors in field i (user, item, context, as in PaddleRec's FLEN). Two latent dimensions,
 * centred, so that the pairs have no linear part that a linear model could learn. Effects of rare values are damped by
 * p / (p + 0.01), p the value's share: what two million rows cannot teach is not planted either.
 * Both parts are scaled on a sample to standard deviations of 0.6 (linear) and 1.0 (pairs), the bias to 17 % clicks.
 *
 * Values follow Zipf's law (alias method); all randomness is counter-based on (seed, row, column).
 */
#include "runtime/generate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ir/base/rng.h"
#include "runtime/aside_file.h"

enum { N_COLUMNS = 22, N_FIELDS = 3, LATENT = 2, TEXT_BYTES = 12, SAMPLE = 20000, N_BINS = 1 << 16, BUFFER = 1 << 20, ROW_BYTES = 1024 };

typedef enum text_kind { TEXT_HOUR, TEXT_HEX, TEXT_NUMBER, TEXT_C20 } text_kind;

/* Avazu's columns behind id and click, in its order. */
static const struct column_kind {
    const char *name, *slot; /* slot NULL: not in slot text */
    int field;               /* 0 user, 1 item, 2 context */
    int fixed;               /* number of values; 0: a share of the rest */
    double share;
    text_kind text;
    int base;
} kinds[N_COLUMNS] = {
    {"hour", "contex_5", 2, 24, 0, TEXT_HOUR, 0},
    {"C1", "user_8", 0, 7, 0, TEXT_NUMBER, 1001},
    {"banner_pos", "contex_0", 2, 7, 0, TEXT_NUMBER, 0},
    {"site_id", "contex_1", 2, 0, 0.10, TEXT_HEX, 0},
    {"site_domain", "contex_2", 2, 0, 0.06, TEXT_HEX, 0},
    {"site_category", "contex_3", 2, 20, 0, TEXT_HEX, 0},
    {"app_id", "item_0", 1, 0, 0.10, TEXT_HEX, 0},
    {"app_domain", "item_1", 1, 0, 0.03, TEXT_HEX, 0},
    {"app_category", "item_2", 1, 20, 0, TEXT_HEX, 0},
    {"device_id", "user_11", 0, 0, 0.16, TEXT_HEX, 0},
    {"device_ip", NULL, 0, 0, 0.30, TEXT_HEX, 0},
    {"device_model", "user_9", 0, 0, 0.12, TEXT_HEX, 0},
    {"device_type", "user_10", 0, 5, 0, TEXT_NUMBER, 0},
    {"device_conn_type", "contex_4", 2, 4, 0, TEXT_NUMBER, 0},
    {"C14", "user_0", 0, 0, 0.08, TEXT_NUMBER, 15700},
    {"C15", "user_1", 0, 8, 0, TEXT_NUMBER, 320},
    {"C16", "user_2", 0, 8, 0, TEXT_NUMBER, 50},
    {"C17", "user_3", 0, 0, 0.03, TEXT_NUMBER, 1722},
    {"C18", "user_4", 0, 4, 0, TEXT_NUMBER, 0},
    {"C19", "user_5", 0, 30, 0, TEXT_NUMBER, 35},
    {"C20", "user_6", 0, 0, 0.01, TEXT_C20, 100000},
    {"C21", "user_7", 0, 0, 0.01, TEXT_NUMBER, 16},
};

/* Slot text names its slots in this order. */
static const int slot_order[] = {14, 15, 16, 17, 18, 19, 20, 21, 1, 11, 12, 9, 6, 7, 8, 2, 3, 4, 5, 13, 0};

typedef struct value {
    uint32_t alias, keep; /* of 2^32 */
    float weight, latent[LATENT];
    uint8_t bytes;
    char text[TEXT_BYTES];
} value;

typedef struct generator {
    const fl_generate_options *o;
    uint32_t n[N_COLUMNS];
    value *values[N_COLUMNS];
    double bias, linear_scale, pair_scale;
    double positive[N_BINS], negative[N_BINS]; /* expected mass by probability */
    double entropy;
} generator;

/* Walker's alias table for shares p (destroyed). False: out of memory. */
static bool make_alias(value *v, double *p, uint32_t n)
{
    uint32_t *small = malloc(2 * (size_t)n * sizeof *small), *large = small ? small + n : NULL, n_small = 0, n_large = 0;
    if (!small)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        p[i] *= n;
        v[i].alias = i;
        v[i].keep = UINT32_MAX;
        if (p[i] < 1)
            small[n_small++] = i;
        else
            large[n_large++] = i;
    }
    while (n_small && n_large) {
        uint32_t s = small[--n_small], l = large[n_large - 1];
        v[s].keep = (uint32_t)(p[s] * 4294967295.0);
        v[s].alias = l;
        p[l] -= 1 - p[s];
        if (p[l] < 1) {
            n_large--;
            small[n_small++] = l;
        }
    }
    free(small);
    return true;
}

static void write_value(value *v, const struct column_kind *kind, uint32_t i, uint64_t seed, int column)
{
    char text[32];
    int n = 0;
    switch (kind->text) {
    case TEXT_HOUR: /* the day comes from the row */
        n = snprintf(text, sizeof text, "%02u", i);
        break;
    case TEXT_HEX: /* an odd factor permutes 32 bits: values stay distinct */
        n = snprintf(text, sizeof text, "%08x", i * 2654435761u + (uint32_t)fl_mix64(seed + (uint64_t)column));
        break;
    case TEXT_NUMBER:
        n = snprintf(text, sizeof text, "%lld", (long long)kind->base + i);
        break;
    case TEXT_C20:
        n = i ? snprintf(text, sizeof text, "%lld", (long long)kind->base + i) : snprintf(text, sizeof text, "-1");
        break;
    }
    v->bytes = (uint8_t)(n < TEXT_BYTES ? n : TEXT_BYTES);
    memcpy(v->text, text, v->bytes);
}

static bool make_column(generator *g, int c)
{
    uint32_t n = g->n[c];
    value *v = g->values[c] = calloc(n, sizeof *v);
    double *p = malloc(n * sizeof *p), total = 0, mean[LATENT + 1] = {0};
    bool good = v && p;
    for (uint32_t i = 0; good && i < n; i++)
        total += p[i] = c == 0 ? 1 : pow(i + 1.0, -g->o->skew);
    for (uint32_t i = 0; good && i < n; i++) {
        p[i] /= total;
        double damp = p[i] / (p[i] + 1e-2);
        uint64_t stream = 0x67656e00u + (uint64_t)c;
        v[i].weight = (float)(damp * fl_random_normal(g->o->seed, stream, 3 * (uint64_t)i));
        mean[LATENT] += p[i] * v[i].weight;
        for (int d = 0; d < LATENT; d++) {
            v[i].latent[d] = (float)(damp * fl_random_normal(g->o->seed, stream, 3 * (uint64_t)i + 1 + (uint64_t)d));
            mean[d] += p[i] * v[i].latent[d];
        }
        write_value(&v[i], &kinds[c], i, g->o->seed, c);
    }
    for (uint32_t i = 0; good && i < n; i++) {
        v[i].weight -= (float)mean[LATENT];
        for (int d = 0; d < LATENT; d++)
            v[i].latent[d] -= (float)mean[d];
    }
    good = good && make_alias(v, p, n);
    free(p);
    return good;
}

/* Values of row `row` and the two parts of its logit. */
static void draw_row(const generator *g, uint64_t row, uint32_t *pick, double *linear, double *pairs)
{
    float f[N_FIELDS][LATENT] = {{0}}, w = 0;
    uint64_t key = fl_mix64(g->o->seed + fl_mix64(row + 0x726f7773u));
    pick[0] = (uint32_t)(row * 240 / (uint64_t)g->o->rows % 24); /* ten days, in the order of time */
    for (int c = 0; c < N_COLUMNS; c++) {
        if (c > 0) {
            uint64_t h = fl_mix64(key + (uint64_t)c * 0x9e3779b97f4a7c15u);
            uint32_t i = (uint32_t)((h >> 32) * g->n[c] >> 32);
            pick[c] = (uint32_t)h <= g->values[c][i].keep ? i : g->values[c][i].alias;
        }
        const value *v = &g->values[c][pick[c]];
        w += v->weight;
        for (int d = 0; d < LATENT; d++)
            f[kinds[c].field][d] += v->latent[d];
    }
    *linear = w;
    *pairs = 0;
    for (int d = 0; d < LATENT; d++)
        *pairs += f[0][d] * f[1][d] + f[0][d] * f[2][d] + f[1][d] * f[2][d];
}

static double sigmoid(double z)
{
    return 1 / (1 + exp(-z));
}

/* Scales and bias, from rows that are spread over the whole input. */
static bool calibrate(generator *g)
{
    double (*part)[2] = malloc(SAMPLE * sizeof *part), mean[2] = {0}, square[2] = {0};
    uint32_t pick[N_COLUMNS];
    if (!part)
        return false;
    for (int i = 0; i < SAMPLE; i++) {
        draw_row(g, (uint64_t)(i * (double)g->o->rows / SAMPLE) + ((uint64_t)i << 40), pick, &part[i][0], &part[i][1]);
        for (int k = 0; k < 2; k++) {
            mean[k] += part[i][k] / SAMPLE;
            square[k] += part[i][k] * part[i][k] / SAMPLE;
        }
    }
    double deviation[2];
    for (int k = 0; k < 2; k++)
        deviation[k] = sqrt(fmax(square[k] - mean[k] * mean[k], 1e-12));
    g->linear_scale = 0.6 / deviation[0];
    g->pair_scale = 1.0 / deviation[1];
    double low = -20, high = 20;
    for (int step = 0; step < 60; step++) {
        double sum = 0;
        g->bias = (low + high) / 2;
        for (int i = 0; i < SAMPLE; i++)
            sum += sigmoid(g->bias + g->linear_scale * part[i][0] + g->pair_scale * part[i][1]);
        if (sum > 0.17 * SAMPLE)
            high = g->bias;
        else
            low = g->bias;
    }
    free(part);
    return true;
}

static char *put(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

static char *write_row(const generator *g, char *to, uint64_t row, const uint32_t *pick, int label)
{
    if (g->o->slots) {
        to += sprintf(to, "click:%d", label);
        for (size_t i = 0; i < FL_COUNT(slot_order); i++)
            to += sprintf(to, " %s:%u", kinds[slot_order[i]].slot, pick[slot_order[i]]);
        *to++ = '\n';
        return to;
    }
    static const char hex[] = "0123456789";
    uint64_t id = 1000000000000000000u + fl_mix64(row ^ g->o->seed) % 9000000000000000000u;
    for (int i = 18; i >= 0; i--, id /= 10)
        to[i] = hex[id % 10];
    to += 19;
    *to++ = ',';
    *to++ = (char)('0' + label);
    unsigned day = 21 + (unsigned)(row * 10 / (uint64_t)g->o->rows);
    to = put(to, ",1410", 5);
    *to++ = (char)('0' + day / 10);
    *to++ = (char)('0' + day % 10);
    for (int c = 0; c < N_COLUMNS; c++) {
        const value *v = &g->values[c][pick[c]];
        if (c > 0)
            *to++ = ',';
        memcpy(to, v->text, TEXT_BYTES); /* a fixed size is one store; the next cell overwrites the rest */
        to += v->bytes;
    }
    *to++ = '\n';
    return to;
}

static fl_status write_failed(const fl_generate_options *o, fl_diag *dg)
{
    return fl_error(dg, FL_E_WRITE, FL_FILE(o->path), "cannot write: %s", strerror(errno));
}

static fl_status write_rows(generator *g, FILE *f, fl_generate_result *out, fl_diag *dg)
{
    char *buffer = malloc(BUFFER + ROW_BYTES), *to = buffer;
    if (!buffer)
        return fl_out_of_memory(dg);
    if (!g->o->slots) {
        to = put(to, "id,click", 8);
        for (int c = 0; c < N_COLUMNS; c++)
            to += sprintf(to, ",%s", kinds[c].name);
        *to++ = '\n';
    }
    fl_status status = FL_OK;
    for (int64_t row = 0; row < g->o->rows && status == FL_OK; row++) {
        uint32_t pick[N_COLUMNS];
        double linear, pairs;
        draw_row(g, (uint64_t)row, pick, &linear, &pairs);
        double p = sigmoid(g->bias + g->linear_scale * linear + g->pair_scale * pairs);
        p = fmin(fmax(p, 1e-9), 1 - 1e-9);
        int label = fl_random_uniform(g->o->seed, 0x6c6162656cu, (uint64_t)row) < p;
        int bin = (int)(p * N_BINS);
        g->positive[bin] += p;
        g->negative[bin] += 1 - p;
        g->entropy -= p * log(p) + (1 - p) * log1p(-p);
        out->positives += label;
        to = write_row(g, to, (uint64_t)row, pick, label);
        if (to - buffer >= BUFFER || row + 1 == g->o->rows) {
            size_t n = (size_t)(to - buffer);
            if (fwrite(buffer, 1, n, f) != n)
                status = write_failed(g->o, dg);
            to = buffer;
        }
    }
    free(buffer);
    return status;
}

static void score(const generator *g, fl_generate_result *out)
{
    double below = 0, area = 0, positives = 0;
    for (int i = 0; i < N_BINS; i++) {
        area += g->positive[i] * (below + g->negative[i] / 2);
        below += g->negative[i];
        positives += g->positive[i];
    }
    out->bayes_auc = area / (positives * below);
    out->bayes_logloss = g->entropy / (double)g->o->rows;
}

static fl_status write_file(generator *g, fl_generate_result *out, fl_diag *dg)
{
    fl_aside file;
    FL_TRY(fl_aside_open(&file, g->o->path, dg));
    fl_status status = write_rows(g, file.f, out, dg);
    if (status == FL_OK)
        return fl_aside_finish(&file, dg);
    fl_aside_abandon(&file);
    return status;
}

fl_status fl_generate(const fl_generate_options *o, fl_generate_result *out, fl_diag *dg)
{
    if (o->rows <= 0 || o->ids < 200 || o->ids > INT32_MAX || !(o->skew >= 0 && o->skew <= 3))
        return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "rows must be positive, ids at least 200, skew from 0 to 3");
    generator *g = calloc(1, sizeof *g);
    if (!g)
        return fl_out_of_memory(dg);
    g->o = o;
    int64_t fixed = 0;
    bool good = true;
    for (int c = 0; c < N_COLUMNS; c++)
        fixed += kinds[c].fixed;
    *out = (fl_generate_result){.rows = o->rows};
    for (int c = 0; c < N_COLUMNS && good; c++) {
        int64_t n = kinds[c].fixed ? kinds[c].fixed : (int64_t)((double)(o->ids - fixed) * kinds[c].share);
        g->n[c] = (uint32_t)(n < 2 ? 2 : n);
        out->ids += g->n[c];
        good = make_column(g, c);
    }
    good = good && calibrate(g);
    fl_status status = good ? write_file(g, out, dg) : fl_out_of_memory(dg);
    if (status == FL_OK)
        score(g, out);
    for (int c = 0; c < N_COLUMNS; c++)
        free(g->values[c]);
    free(g);
    return status;
}
