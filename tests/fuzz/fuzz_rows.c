/*
 * fuzz_rows.c -- any bytes as slot text, comma text and CSV: decoded as one chunk, every row must lie in its slot's part of the table.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/row_decoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const fl_decoder *d, const fl_value_encoder *e, const char *text, size_t n)
{
    fl_layout l;
    fl_row_block b;
    size_t used;
    bool known;
    fl_diag dg;
    fl_diag_init(&dg);
    fl_status status = fl_layout_recognise(d, "fuzz", text, n, &l, &used, &known, &dg);
    if (status == FL_OK && known && fl_row_block_init(&b, d) == FL_OK) {
        fl_row_block_clear(&b, d);
        if (l.format == FL_FORMAT_SLOTS)
            fl_decode_slots(d, e, text + used, n - used, &b);
        else if (l.format == FL_FORMAT_COMMA)
            fl_decode_comma(d, e, &l, text + used, n - used, &b);
        else
            fl_decode_csv(d, e, &l, text + used, n - used, &b);
        for (int64_t i = 0; i < b.rows.n * b.rows.n_columns; i++)
            if (b.rows.ids[i] < 0 || b.rows.ids[i] >= d->schema->table_rows)
                abort();
        fl_row_block_deinit(&b);
    }
    fl_layout_deinit(&l);
    fl_diag_deinit(&dg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *columns[] = {"", "a", "b", "label"};
    fl_slot slots[] = {{.name = "a", .rows = 10}, {.name = "b", .rows = 10, .first_row = 10},
                       {.name = "tags", .rows = 10, .first_row = 20, .pooling = FL_POOL_SUM, .separator = "|", .optional = true},
                       {.name = "hour", .rows = 30, .first_row = 30, .vocab = FL_VOCAB_HASH, .transform = FL_TRANSFORM_WEEKDAY, .optional = true}};
    fl_schema schema = {.slots = slots, .n_slots = 4, .table_rows = 60, .label = "click", .delimiter = ",", .comma_columns = columns, .n_comma_columns = 4};
    fl_decoder d;
    char *text = calloc(1, size + 1 + FL_TEXT_SLACK);
    if (text && fl_decoder_init(&d, &schema, NULL) == FL_OK) {
        fl_value_encoder e = {.schema = &schema};
        memcpy(text, data, size);
        text[size] = '\n';
        fl_decoder_bind(&d, &e);
        d.keep_bad_rows = size & 1;
        d.need_label = size & 2;
        decode(&d, &e, text, size + 1);
        fl_decoder_deinit(&d);
    }
    free(text);
    return 0;
}
