#include "runtime/measured_rows.h"

#include <stdlib.h>

#include "runtime/data_path.h"
#include "runtime/reader.h"
#include "runtime/synthetic.h"

enum { READ_ROWS = 8192 };

static fl_status read_rows(fl_session *s, const char *data, fl_batch *rows, fl_diag *dg)
{
    fl_reader_options ro = {.batch = READ_ROWS, .threads = fl_session_threads(s), .need_label = s->options.train, .quirks = s->manifest->quirks};
    fl_reader *reader;
    fl_batch b;
    char *path;

    FL_TRY(fl_data_path(data, FL_DATA_TRAIN, &path, NULL, dg));
    fl_status status = fl_batch_init(&b, &s->manifest->schema) == FL_OK ? FL_OK : fl_out_of_memory(dg);
    if (status == FL_OK && (status = fl_reader_open(path, &s->manifest->schema, s->vocabulary, &ro, &reader, dg)) == FL_OK) {
        do {
            status = fl_reader_next(reader, &b, dg);
            if (status == FL_OK && fl_batch_append(rows, &b, 0, b.n, 0) != FL_OK)
                status = fl_out_of_memory(dg);
        } while (status == FL_OK && b.n > 0 && rows->n < FL_MEASURED_MOST);
        fl_reader_close(reader);
    }
    fl_batch_deinit(&b);
    free(path);
    return status;
}

fl_status fl_measured_rows(fl_session *s, const fl_measured_from *from, fl_batch *rows, fl_diag *dg)
{
    const fl_schema *schema = &s->manifest->schema;

    if (fl_batch_init(rows, schema) != FL_OK)
        return fl_out_of_memory(dg);
    fl_status status;
    if (from->path)
        status = read_rows(s, from->path, rows, dg);
    else
        status = fl_synthetic_rows(rows, schema, from->skew, 0.17, s->manifest->seed, from->n) == FL_OK ? FL_OK : fl_out_of_memory(dg);
    if (status != FL_OK)
        fl_batch_deinit(rows);
    return status;
}
