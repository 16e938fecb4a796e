/*
 * flenrt_library.c -- the public C interface: a session, a block of rows and the predict program behind one handle.
 *
 * Values go through the same encoder as a reader's, into the reader's own block of rows, so that both mean the same and say the same where
 * they refuse. Rows are predicted in chunks: memory is bounded for any n, and arrays that grew once are kept.
 */
#include "runtime/flenrt.h"

#include "backend/backend.h"
#include "runtime/inference.h"
#include "runtime/row_decoder.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1024, MAX_THREADS = 256 };

_Static_assert((int)FLENRT_OK == FL_OK && (int)FLENRT_BAD_INPUT == FL_BAD_INPUT && (int)FLENRT_IO == FL_IO && (int)FLENRT_UNSUPPORTED == FL_UNSUPPORTED &&
                   (int)FLENRT_NO_MEMORY == FL_NO_MEMORY && (int)FLENRT_FAILED == FL_FAILED && (int)FLENRT_BAD_USAGE == FL_BAD_USAGE,
               "a status keeps its number on the way out");

struct flenrt_model {
    fl_session session;
    fl_predictor predictor;
    fl_decoder decoder;
    fl_row_block block;
    fl_value_encoder encoder;
    fl_diag dg;
    locale_t c_locale; /* numbers have a point, whatever the process speaks */
    float logit[CHUNK], probability[CHUNK];
    char error[FLENRT_ERROR_SIZE];
};

/* ---------------------------------------------------------------------------------------------------- errors */

/* The first error of dg in one line, as the command lines print it. */
static void write_error(const fl_diag *dg, fl_status status, char *to, size_t size)
{
    const fl_diag_entry *e = NULL;
    char place[32] = "";

    for (uint32_t i = 0; i < dg->n_entries && !e; i++)
        if (dg->entries[i].severity == FL_SEVERITY_ERROR)
            e = &dg->entries[i];
    if (size == 0)
        return;
    if (!e) {
        snprintf(to, size, "%s", fl_status_text(status));
        return;
    }
    if (e->file && e->line)
        snprintf(place, sizeof place, ":%u", e->line);
    snprintf(to, size, "%s%s%s%s [E%04d]", e->file ? e->file : "", place, e->file ? ": " : "", e->text ? e->text : "out of memory", (int)e->code);
}

/* Forget the last failure, and count as the C locale does; returns the thread's own. */
static locale_t begin(flenrt_model *m)
{
    fl_diag_clear(&m->dg);
    m->error[0] = 0;
    return uselocale(m->c_locale);
}

static flenrt_status end(flenrt_model *m, locale_t before, fl_status status)
{
    if (status != FL_OK)
        write_error(&m->dg, status, m->error, sizeof m->error);
    uselocale(before);
    return (flenrt_status)status;
}

static fl_status usage(fl_diag *dg, const char *text)
{
    return fl_error(dg, FL_E_USAGE, FL_NOWHERE, "%s", text);
}

/* --------------------------------------------------------------------------------------------------- opening */

/* Members that the caller does not know are 0; those that this version does not know must be. */
static fl_status take_options(const flenrt_options *given, fl_session_options *so, fl_diag *dg)
{
    flenrt_options o = {0};
    size_t size = given && given->size ? given->size : sizeof o;

    if (given) {
        for (size_t i = sizeof o; i < size; i++)
            if (((const unsigned char *)given)[i]) {
                (void)fl_error(dg, FL_E_USAGE, FL_NOWHERE, "flenrt_open: an option is set that version %s does not know", FLEN_VERSION);
                return FL_UNSUPPORTED;
            }
        memcpy(&o, given, size < sizeof o ? size : sizeof o);
    }
    if (o.threads > MAX_THREADS)
        return usage(dg, "flenrt_open: there may be at most 256 threads");
    if (o.flags & ~(uint32_t)(FLENRT_INTERPRET | FLENRT_UNFOLDED))
        return usage(dg, "flenrt_open: an unknown flag is set");
    *so = (fl_session_options){.threads = o.threads ? o.threads : 1, .cpu = o.cpu, .fold_bytes = o.fold_bytes,
                                .stored_folds = o.flags & FLENRT_UNFOLDED ? FL_STORED_FOLDS_IGNORED : FL_STORED_FOLDS_USED, .max_memory = o.max_memory, .compile = fl_compile_as};
    if (o.flags & FLENRT_INTERPRET)
        so->interpret = fl_interp_engine_new;
    return FL_OK;
}

static fl_status open_parts(flenrt_model *m, const char *path, const flenrt_options *options)
{
    fl_session_options so;

    if (!path)
        return usage(&m->dg, "flenrt_open: the path is NULL");
    FL_TRY(take_options(options, &so, &m->dg));
    FL_TRY(fl_session_open(&m->session, path, &so, &m->dg));
    const fl_schema *schema = &m->session.manifest->schema;
    if (!fl_schema_is_bound(schema) || (!m->session.vocabulary && fl_schema_needs_vocabulary(schema)))
        return fl_error(&m->dg, FL_E_UNBOUND, FL_FILE(path), "the model has not seen data yet: its vocabulary is not known");
    m->encoder = (fl_value_encoder){schema, m->session.vocabulary, NULL};
    FL_TRY(fl_decoder_init(&m->decoder, schema, &m->dg));
    fl_decoder_bind(&m->decoder, &m->encoder);
    if (fl_row_block_init(&m->block, &m->decoder) != FL_OK)
        return fl_out_of_memory(&m->dg);
    return fl_predictor_init(&m->predictor, &m->session, 1, &m->dg);
}

flenrt_status flenrt_open(const char *path, const flenrt_options *options, flenrt_model **out, char *error, size_t size)
{
    if (!error)
        size = 0;
    if (size > 0)
        error[0] = 0;
    if (out)
        *out = NULL;
    flenrt_model *m = out ? calloc(1, sizeof *m) : NULL;
    locale_t c_locale = m ? newlocale(LC_ALL_MASK, "C", (locale_t)0) : (locale_t)0;
    if (!out || !m || !c_locale) {
        if (size > 0)
            snprintf(error, size, "%s", out ? fl_status_text(FL_NO_MEMORY) : "flenrt_open: there is no place for the model");
        free(m);
        return out ? FLENRT_NO_MEMORY : FLENRT_BAD_USAGE;
    }
    m->c_locale = c_locale;
    fl_diag_init(&m->dg);
    locale_t before = begin(m);
    flenrt_status status = end(m, before, open_parts(m, path, options));
    if (status == FLENRT_OK) {
        *out = m;
        return status;
    }
    if (size > 0)
        snprintf(error, size, "%s", m->error);
    flenrt_close(m);
    return status;
}

void flenrt_close(flenrt_model *m)
{
    if (!m)
        return;
    fl_predictor_deinit(&m->predictor);
    fl_row_block_deinit(&m->block);
    fl_decoder_deinit(&m->decoder);
    fl_session_close(&m->session);
    fl_diag_deinit(&m->dg);
    freelocale(m->c_locale);
    free(m);
}

uint32_t flenrt_n_slots(const flenrt_model *m)
{
    return m ? m->decoder.schema->n_slots : 0;
}

const char *flenrt_slot_name(const flenrt_model *m, uint32_t i)
{
    return i < flenrt_n_slots(m) ? m->decoder.schema->slots[i].name : NULL;
}

const char *flenrt_slot_column(const flenrt_model *m, uint32_t i)
{
    const char *name = flenrt_slot_name(m, i);
    return name && m->decoder.schema->slots[i].column ? m->decoder.schema->slots[i].column : name;
}

const char *flenrt_error(const flenrt_model *m)
{
    return m ? m->error : "";
}

const char *flenrt_version(void)
{
    return FLEN_VERSION;
}

/* ------------------------------------------------------------------------------------------------ predicting */

/* One slot's value into the row under way. What is wrong with it lands in the block's first bad place. */
static bool put_text(flenrt_model *m, uint32_t slot, const char *text, int64_t *id)
{
    fl_row_block *b = &m->block;
    const fl_slot *s = &m->decoder.schema->slots[slot];
    fl_value_status status = FL_VALUE_OK;
    size_t n = text ? strlen(text) : 0;

    if (!text && s->pooling == FL_POOL_NONE) {
        *id = m->decoder.padding[slot];
        if (*id < 0)
            fl_row_fail(&m->decoder, b, 0, 0, FL_E_NO_PADDING, "slot \"%s\" is absent, and its padding %lld is no id of it", s->name,
                        (long long)s->padding);
        return *id >= 0;
    }
    if (s->pooling == FL_POOL_NONE)
        status = fl_encode_value(&m->encoder, slot, text, n, id);
    else
        status = fl_row_add_values(&m->decoder, &m->encoder, b, slot, &text, &n);
    if (status != FL_VALUE_OK)
        fl_row_fail_value(&m->decoder, b, 0, 0, status, slot, text, n);
    return status == FL_VALUE_OK;
}

static bool put_id(flenrt_model *m, uint32_t slot, int64_t given, int64_t *id)
{
    fl_row_block *b = &m->block;
    const fl_slot *s = &m->decoder.schema->slots[slot];
    char text[24];

    if (given < s->first_id || (uint64_t)given - (uint64_t)s->first_id >= (uint64_t)s->rows) {
        int n = snprintf(text, sizeof text, "%lld", (long long)given);
        fl_row_fail_value(&m->decoder, b, 0, 0, FL_VALUE_RANGE, slot, text, (size_t)n);
        return false;
    }
    int64_t row = s->first_row + (given - s->first_id);
    if (s->pooling != FL_POOL_NONE)
        return fl_row_add_value(b, m->decoder.place[slot], row);
    *id = row;
    return true;
}

/* Rows [from, from + n) into the block: of values, or of ids where values is NULL. */
static fl_status put_rows(flenrt_model *m, size_t from, size_t n, const char *const *values, const int64_t *ids)
{
    uint32_t n_slots = m->decoder.schema->n_slots;
    fl_row_block *b = &m->block;

    fl_row_block_clear(b, &m->decoder);
    if (fl_batch_reserve(&b->rows, (int64_t)n) != FL_OK)
        return fl_out_of_memory(&m->dg);
    for (size_t r = from; r < from + n; r++) {
        bool good = fl_row_begin(b);
        int64_t *id = b->rows.ids ? b->rows.ids + (size_t)b->rows.n * m->decoder.n_singles : NULL;
        for (uint32_t k = 0; good && k < n_slots; k++) {
            int64_t row = 0;
            good = values ? put_text(m, k, values[r * n_slots + k], &row) : put_id(m, k, ids[r * n_slots + k], &row);
            if (m->decoder.schema->slots[k].pooling == FL_POOL_NONE)
                *id++ = row;
        }
        if (b->status != FL_OK)
            return fl_out_of_memory(&m->dg);
        if (!good)
            return fl_error(&m->dg, b->bad[0].code, FL_NOWHERE, "row %zu: %s", r, b->bad[0].text);
        fl_row_commit(b);
    }
    return FL_OK;
}

static fl_status predict(flenrt_model *m, size_t n, const char *const *values, const int64_t *ids, float *probability, float *logit)
{
    uint32_t n_slots = m->decoder.schema->n_slots;

    if (n > 0 && n_slots > 0 && !values && !ids)
        return usage(&m->dg, "the rows are NULL");
    if (n_slots > 0 && n > SIZE_MAX / sizeof(int64_t) / n_slots)
        return usage(&m->dg, "there are more rows than memory has addresses");
    for (size_t from = 0; from < n; from += CHUNK) {
        size_t rows = n - from < CHUNK ? n - from : CHUNK;
        FL_TRY(put_rows(m, from, rows, values, ids));
        FL_TRY(fl_predictor_run(&m->predictor, &m->block.rows, m->logit, m->probability, &m->dg));
        for (size_t i = 0; i < rows; i++)
            if (!isfinite(m->logit[i]))
                return fl_error(&m->dg, FL_E_NOT_FINITE, FL_NOWHERE, "the prediction of row %zu is not finite: the model has NaN or infinite weights", from + i);
        if (probability)
            memcpy(probability + from, m->probability, rows * sizeof *probability);
        if (logit)
            memcpy(logit + from, m->logit, rows * sizeof *logit);
    }
    return FL_OK;
}

flenrt_status flenrt_predict_rows(flenrt_model *m, size_t n, const char *const *values, float *probability, float *logit)
{
    if (!m)
        return FLENRT_BAD_USAGE;
    locale_t before = begin(m);
    return end(m, before, predict(m, n, values, NULL, probability, logit));
}

static fl_status check_ids(flenrt_model *m)
{
    const fl_schema *schema = m->decoder.schema;

    for (uint32_t k = 0; k < schema->n_slots; k++)
        if (schema->slots[k].vocab != FL_VOCAB_RANGE) {
            (void)fl_error(&m->dg, FL_E_USAGE, FL_NOWHERE, "flenrt_predict_ids: the values of slot \"%s\" are text: flenrt_predict_rows takes them", schema->slots[k].name);
            return FL_UNSUPPORTED;
        }
    return FL_OK;
}

flenrt_status flenrt_predict_ids(flenrt_model *m, size_t n, const int64_t *ids, float *probability, float *logit)
{
    if (!m)
        return FLENRT_BAD_USAGE;
    locale_t before = begin(m);
    fl_status status = check_ids(m);
    if (status == FL_OK)
        status = predict(m, n, NULL, ids, probability, logit);
    return end(m, before, status);
}
