#include "runtime/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- exact AUC */

void fl_eval_init(fl_eval *e, int64_t exact_rows)
{
    memset(e, 0, sizeof *e);
    e->exact_rows = exact_rows;
}

void fl_eval_deinit(fl_eval *e)
{
    for (int c = 0; c < 2; c++) {
        free(e->scores[c]);
        free(e->bins[c]);
    }
    memset(e, 0, sizeof *e);
}

void fl_eval_clear(fl_eval *e)
{
    for (int c = 0; c < 2; c++) {
        e->n[c] = 0;
        free(e->bins[c]);
        e->bins[c] = NULL;
    }
    e->loss_sum = 0;
    e->not_finite = false;
}

/* Of a logit, with exp(-|logit|), which logloss needs as well. */
static int64_t bin_of(double logit, double power)
{
    double p = (logit >= 0 ? 1 : power) / (1 + power);
    int64_t bin = (int64_t)(p * FL_EVAL_BINS);
    return bin < FL_EVAL_BINS ? bin : FL_EVAL_BINS - 1;
}

/* From here on scores are counted and no longer kept. */
static fl_status start_bins(fl_eval *e)
{
    int64_t *bins[2];

    for (int c = 0; c < 2; c++)
        bins[c] = calloc(FL_EVAL_BINS, sizeof **bins);
    if (!bins[0] || !bins[1]) {
        free(bins[0]);
        free(bins[1]);
        return FL_NO_MEMORY;
    }
    for (int c = 0; c < 2; c++) {
        for (int64_t i = 0; i < e->n[c]; i++)
            bins[c][bin_of((double)e->scores[c][i], exp(-fabs((double)e->scores[c][i])))]++;
        e->bins[c] = bins[c];
        free(e->scores[c]);
        e->scores[c] = NULL;
        e->capacity[c] = 0;
    }
    return FL_OK;
}

static fl_status reserve(fl_eval *e, int class, int64_t more)
{
    int64_t need = e->n[class] + more;
    if (need <= e->capacity[class])
        return FL_OK;
    int64_t capacity = need + need / 2 > 4096 ? need + need / 2 : 4096;
    float *scores = realloc(e->scores[class], (size_t)capacity * sizeof *scores);
    if (!scores)
        return FL_NO_MEMORY;
    e->scores[class] = scores;
    e->capacity[class] = capacity;
    return FL_OK;
}

/* The bins do not fit into the caches: they are asked for while the next logits are looked at. */
enum { AHEAD = 16 };

static void count_later(int64_t *waiting[AHEAD], int64_t row, int64_t *bin)
{
    __builtin_prefetch(bin, 1);
    if (row >= AHEAD)
        ++*waiting[row % AHEAD];
    waiting[row % AHEAD] = bin;
}

static void count_all(int64_t *waiting[AHEAD], int64_t rows)
{
    for (int64_t i = rows > AHEAD ? rows - AHEAD : 0; i < rows; i++)
        ++*waiting[i % AHEAD];
}

/* Factors of logloss that are multiplied before a logarithm is taken: each is at most 2, so that their product is finite. */
enum { FACTORS = 512 };

fl_status fl_eval_add(fl_eval *e, const float *logit, const float *label, int64_t n)
{
    double product = 1;
    int64_t *waiting[AHEAD];

    if (fl_eval_is_exact(e)) {
        int64_t positives = 0;
        for (int64_t i = 0; i < n; i++)
            positives += label[i] != 0;
        if (fl_eval_rows(e) + n > e->exact_rows) {
            FL_TRY(start_bins(e));
        } else {
            FL_TRY(reserve(e, 0, n - positives));
            FL_TRY(reserve(e, 1, positives));
        }
    }
    for (int64_t i = 0; i < n; i++) {
        double z = (double)logit[i], y = (double)label[i];
        int class = label[i] != 0;
        if (!isfinite(z)) {
            e->not_finite = true;
            e->loss_sum = (double)NAN;
            z = 0;
        }
        /* log(1 + a) + log(1 + b) + ... as one logarithm: exact to 1e-16 a row, which is all that a mean needs. */
        double power = exp(-fabs(z));
        product *= 1 + power;
        e->loss_sum += (z > 0 ? z : 0) - z * y;
        if (i % FACTORS == FACTORS - 1) {
            e->loss_sum += log(product);
            product = 1;
        }
        if (e->bins[0])
            count_later(waiting, i, &e->bins[class][bin_of(z, power)]);
        else
            e->scores[class][e->n[class]] = (float)z;
        e->n[class]++;
    }
    if (e->bins[0])
        count_all(waiting, n);
    e->loss_sum += log(product);
    return FL_OK;
}

int64_t fl_eval_rows(const fl_eval *e)
{
    return e->n[0] + e->n[1];
}

double fl_eval_logloss(const fl_eval *e)
{
    return fl_eval_rows(e) > 0 ? e->loss_sum / (double)fl_eval_rows(e) : (double)NAN;
}

/* Finite floats and unsigned numbers in the same order. -0 and 0 are one score. */
static uint32_t key_of(float f)
{
    uint32_t bits;
    f += 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &f, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* In-place radix sort by the byte at `shift` and those below: no second array of 80 MB. */
static void sort_keys(uint32_t *keys, int64_t n, int shift)
{
    int64_t begin[257] = {0}, at[256];

    if (n < 48) {
        for (int64_t i = 1; i < n; i++) {
            uint32_t k = keys[i];
            int64_t j = i;
            for (; j > 0 && keys[j - 1] > k; j--)
                keys[j] = keys[j - 1];
            keys[j] = k;
        }
        return;
    }
    for (int64_t i = 0; i < n; i++)
        begin[(keys[i] >> shift & 255) + 1]++;
    for (int b = 0; b < 256; b++) {
        begin[b + 1] += begin[b];
        at[b] = begin[b];
    }
    for (int b = 0; b < 256; b++)
        while (at[b] < begin[b + 1]) {
            uint32_t k = keys[at[b]];
            int to = (int)(k >> shift & 255);
            if (to == b) {
                at[b]++;
            } else {
                keys[at[b]] = keys[at[to]];
                keys[at[to]++] = k;
            }
        }
    for (int b = 0; shift > 0 && b < 256; b++)
        sort_keys(keys + begin[b], begin[b + 1] - begin[b], shift - 8);
}

static double auc_of_bins(const fl_eval *e)
{
    double good = 0, negatives = 0;

    for (int b = 0; b < FL_EVAL_BINS; b++) {
        good += (double)e->bins[1][b] * (negatives + 0.5 * (double)e->bins[0][b]);
        negatives += (double)e->bins[0][b];
    }
    return good / (double)e->n[0] / (double)e->n[1];
}

double fl_eval_auc(fl_eval *e)
{
    if (e->n[0] == 0 || e->n[1] == 0 || e->not_finite)
        return (double)NAN;
    if (e->bins[0])
        return auc_of_bins(e);
    /* Keys lie where the scores lay; they become scores again so that more rows can follow. */
    uint32_t *keys[2];
    for (int c = 0; c < 2; c++) {
        keys[c] = (uint32_t *)(void *)e->scores[c];
        for (int64_t i = 0; i < e->n[c]; i++) {
            uint32_t k = key_of(e->scores[c][i]);
            memcpy(&keys[c][i], &k, sizeof k);
        }
        sort_keys(keys[c], e->n[c], 24);
    }
    uint64_t twice_good = 0; /* at most 2 * (10 million)^2 */
    for (int64_t i = 0, below = 0, upto = 0; i < e->n[1]; i++) {
        while (below < e->n[0] && keys[0][below] < keys[1][i])
            below++;
        if (upto < below)
            upto = below;
        while (upto < e->n[0] && keys[0][upto] == keys[1][i])
            upto++;
        twice_good += (uint64_t)(below + upto);
    }
    for (int c = 0; c < 2; c++)
        for (int64_t i = 0; i < e->n[c]; i++) {
            uint32_t k = keys[c][i], bits = k & 0x80000000u ? k & 0x7fffffffu : ~k;
            memcpy(&e->scores[c][i], &bits, sizeof bits);
        }
    return (double)twice_good / 2 / ((double)e->n[0] * (double)e->n[1]);
}

/* ------------------------------------------------------------------------------------------- Paddle's AUC */

enum { GLOBAL = 0, SUM = 1, RING = 2 };

/*
 * The rows of a ring slot: bucket << 1 | class. A slot has a few hundred rows and 8,194 counters, and between two batches a training step throws counters out of the near caches: so a batch's rows
 * are only listed, a whole window's are added to GLOBAL together, and SUM and the ring's counters are made from the lists where somebody asks. After a load the rows are not known: the slot's counters have them.
 */
struct fl_bucket_list {
    uint32_t *entries;
    int64_t n, capacity; /* n -1: not known */
    bool waits;          /* GLOBAL has not counted them */
};

static int64_t *counter(const fl_bucket_auc *a, uint64_t which, int class)
{
    return a->counts + (which * 2 + (uint64_t)class) * (a->thresholds + 1);
}

static size_t n_counts(const fl_bucket_auc *a)
{
    return (size_t)(RING + a->window) * 2 * (a->thresholds + 1);
}

fl_status fl_bucket_auc_init(fl_bucket_auc *a, uint32_t thresholds, uint32_t window)
{
    *a = (fl_bucket_auc){thresholds, window, 0, NULL, NULL};
    a->counts = calloc(n_counts(a), sizeof *a->counts);
    a->lists = calloc(window, sizeof *a->lists);
    if (a->counts && a->lists)
        return FL_OK;
    fl_bucket_auc_deinit(a);
    return FL_NO_MEMORY;
}

void fl_bucket_auc_deinit(fl_bucket_auc *a)
{
    for (uint32_t i = 0; a->lists && i < a->window; i++)
        free(a->lists[i].entries);
    free(a->lists);
    free(a->counts);
    *a = (fl_bucket_auc){0, 0, 0, NULL, NULL};
}

void fl_bucket_auc_clear(fl_bucket_auc *a)
{
    a->runs = 0;
    memset(a->counts, 0, n_counts(a) * sizeof *a->counts);
    for (uint32_t i = 0; i < a->window; i++) {
        a->lists[i].n = 0;
        a->lists[i].waits = false;
    }
}

/* GLOBAL counts what waits. The lists' memory says so, which a reader of counters may change. */
static void count_globally(const fl_bucket_auc *a)
{
    for (uint32_t k = 0; k < a->window; k++) {
        struct fl_bucket_list *list = &a->lists[k];
        for (int64_t i = 0; list->waits && i < list->n; i++)
            counter(a, GLOBAL, (int)(list->entries[i] & 1))[list->entries[i] >> 1]++;
        list->waits = false;
    }
}

/* SUM: of the window's rows, listed or not. */
static void sum_window(const fl_bucket_auc *a)
{
    size_t side = 2 * ((size_t)a->thresholds + 1);
    int64_t *sum = counter(a, SUM, 0);

    memset(sum, 0, side * sizeof *sum);
    for (uint32_t k = 0; k < a->window; k++) {
        const struct fl_bucket_list *list = &a->lists[k];
        for (int64_t i = 0; i < list->n; i++)
            counter(a, SUM, (int)(list->entries[i] & 1))[list->entries[i] >> 1]++;
        for (size_t i = 0; list->n < 0 && i < side; i++)
            sum[i] += counter(a, RING + k, 0)[i];
    }
}

/* Room for n rows; without memory for it the slot's rows stay unknown, and its counters have them. */
static uint32_t *list_rows(struct fl_bucket_list *list, int64_t n)
{
    if (n > list->capacity) {
        uint32_t *grown = realloc(list->entries, (size_t)n * sizeof *grown);
        list->entries = grown ? grown : list->entries;
        list->capacity = grown ? n : list->capacity;
    }
    list->n = n <= list->capacity ? n : -1;
    return list->n < 0 ? NULL : list->entries;
}

void fl_bucket_auc_add(fl_bucket_auc *a, const float *probability, const float *label, int64_t n)
{
    uint64_t slot = RING + a->runs % a->window;
    struct fl_bucket_list *place = &a->lists[slot - RING];

    if (place->waits)
        count_globally(a);
    if (place->n < 0)
        memset(counter(a, slot, 0), 0, 2 * ((size_t)a->thresholds + 1) * sizeof(int64_t));
    uint32_t *list = list_rows(place, n);
    for (int64_t i = 0; i < n; i++) {
        float p = probability[i] > 0 ? probability[i] < 1 ? probability[i] : 1.0f : 0.0f; /* NaN: 0 */
        uint32_t bucket = (uint32_t)(p * (float)a->thresholds);
        int class = label[i] != 0;
        if (list) {
            list[i] = bucket << 1 | (uint32_t)class;
            continue;
        }
        counter(a, GLOBAL, class)[bucket]++;
        counter(a, slot, class)[bucket]++;
    }
    place->waits = list != NULL;
    a->runs++;
}

static double area_of(const fl_bucket_auc *a, uint64_t which)
{
    const int64_t *neg = counter(a, which, 0), *pos = counter(a, which, 1);
    double area = 0, p = 0, n = 0;

    for (uint32_t i = a->thresholds + 1; i-- > 0;) {
        double before = p;
        p += (double)pos[i];
        n += (double)neg[i];
        area += (double)neg[i] * (before + p) / 2;
    }
    return p > 0 && n > 0 ? area / p / n : 0;
}

double fl_bucket_auc_global(const fl_bucket_auc *a)
{
    count_globally(a);
    return area_of(a, GLOBAL);
}

double fl_bucket_auc_batch(const fl_bucket_auc *a)
{
    sum_window(a);
    return area_of(a, SUM);
}

static const char magic[8] = {'f', 'l', 'e', 'n', 'a', 'u', 'c', '1'};

void *fl_bucket_auc_save(const fl_bucket_auc *a, size_t *n)
{
    uint64_t head[3] = {a->thresholds, a->window, a->runs};
    size_t body = n_counts(a) * sizeof *a->counts;
    uint8_t *bytes = malloc(sizeof magic + sizeof head + body);

    if (!bytes)
        return NULL;
    count_globally(a);
    sum_window(a);
    memcpy(bytes, magic, sizeof magic);
    memcpy(bytes + sizeof magic, head, sizeof head);
    memcpy(bytes + sizeof magic + sizeof head, a->counts, body);
    fl_bucket_auc saved = *a;
    saved.counts = (int64_t *)(void *)(bytes + sizeof magic + sizeof head);
    for (uint32_t k = 0; k < a->window; k++)
        for (int64_t i = 0; i < a->lists[k].n; i++)
            counter(&saved, RING + k, (int)(a->lists[k].entries[i] & 1))[a->lists[k].entries[i] >> 1]++;
    *n = sizeof magic + sizeof head + body;
    return bytes;
}

/* Counters as counting makes them: SUM is that of the window's slots, GLOBAL has counted these rows too. So nothing that is later added or taken away overflows. */
static bool are_counts(const fl_bucket_auc *a, const uint8_t *counts)
{
    const uint64_t most = (uint64_t)1 << 60; /* negative ones are beyond it */
    size_t side = 2 * ((size_t)a->thresholds + 1);

    for (size_t i = 0; i < side; i++) {
        uint64_t global, sum, one, total = 0;
        memcpy(&global, counts + 8 * (GLOBAL * side + i), sizeof global);
        memcpy(&sum, counts + 8 * (SUM * side + i), sizeof sum);
        for (size_t k = 0; k < a->window; k++) {
            memcpy(&one, counts + 8 * ((RING + k) * side + i), sizeof one);
            if (one > most || (total += one) > most)
                return false;
        }
        if (sum != total || global < sum || global > most)
            return false;
    }
    return true;
}

bool fl_bucket_auc_load(fl_bucket_auc *a, const void *bytes, size_t n)
{
    uint64_t head[3];
    size_t body = n_counts(a) * sizeof *a->counts;

    if (n != sizeof magic + sizeof head + body || memcmp(bytes, magic, sizeof magic) != 0)
        return false;
    memcpy(head, (const uint8_t *)bytes + sizeof magic, sizeof head);
    if (head[0] != a->thresholds || head[1] != a->window || !are_counts(a, (const uint8_t *)bytes + sizeof magic + sizeof head))
        return false;
    a->runs = head[2];
    memcpy(a->counts, (const uint8_t *)bytes + sizeof magic + sizeof head, body);
    for (uint32_t i = 0; i < a->window; i++) {
        a->lists[i].n = -1;
        a->lists[i].waits = false;
    }
    return true;
}
