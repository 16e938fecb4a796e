/* test_folds.c -- folded tables in a model file: found as they were written; never used beside other weights; wrong entries are refused. */
#include "runtime/folds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { ROWS = 4, K = 2, H = 3, STRIDE = 6 };

static char path[] = "/tmp/flen-folds-XXXXXX";
static float table[ROWS * K], weight[K * H], record[ROWS * STRIDE], shift[H];

/* derived.p [ROWS,H] = table weight and derived.t [ROWS,K], a copy, share records; derived.shift [H] stands alone. */
static fl_graph *folding(void)
{
    fl_graph *g = fl_graph_new("folding");
    fl_id t = fl_graph_variable(g, "t", fl_type_make(FL_FLOAT, 2, (fl_dim[]){fl_graph_symbol(g, "rows"), K}));
    fl_id w = fl_graph_variable(g, "w", fl_type_make(FL_FLOAT, 2, (fl_dim[]){K, H}));
    fl_id p = fl_graph_variable(g, "derived.p", fl_type_make(FL_FLOAT, 2, (fl_dim[]){fl_graph_symbol(g, "rows"), H}));
    fl_id copy = fl_graph_variable(g, "derived.t", fl_type_make(FL_FLOAT, 2, (fl_dim[]){fl_graph_symbol(g, "rows"), K}));
    fl_id s = fl_graph_variable(g, "derived.shift", fl_type_make(FL_FLOAT, 1, (fl_dim[]){H}));
    (void)fl_graph_variable(g, "bound.ids.first_row", fl_type_make(FL_INT64, 1, (fl_dim[]){1}));
    fl_graph_update(g, p, fl_build_2(g, FL_OP_MATMUL, "p", t, w));
    fl_graph_update(g, copy, fl_build_2(g, FL_OP_ADD, "copy", t, fl_build_scalar(g, "zero", 0)));
    fl_graph_update(g, s, fl_build_reduce_sum(g, "shift", w, (int64_t[]){0}, 1, false));
    return g;
}

static fl_store store_of(fl_var vars[5])
{
    vars[0] = (fl_var){"derived.t", fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, K}), record + H, STRIDE};
    vars[1] = (fl_var){"t", fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, K}), table, K};
    vars[2] = (fl_var){"derived.shift", fl_type_make(FL_FLOAT, 1, (fl_dim[]){H}), shift, 1};
    vars[3] = (fl_var){"w", fl_type_make(FL_FLOAT, 2, (fl_dim[]){K, H}), weight, H};
    vars[4] = (fl_var){"derived.p", fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, H}), record, STRIDE};
    return (fl_store){vars, 5};
}

static void fill(void)
{
    for (int i = 0; i < ROWS * K; i++)
        table[i] = (float)i;
    for (int i = 0; i < K * H; i++)
        weight[i] = (float)(i * i);
    for (int i = 0; i < ROWS * STRIDE; i++)
        record[i] = (float)i / 8;
    for (int i = 0; i < H; i++)
        shift[i] = (float)-i;
}

/* A model file with the weights as they are now, `folds` (NULL: none), and checksums where asked for. */
static void save(const fl_folds_content *folds, bool with_checksums)
{
    fl_model_variable_source v[8] = {{"t", fl_type_make(FL_FLOAT, 2, (fl_dim[]){ROWS, K}), table, K},
                                     {"w", fl_type_make(FL_FLOAT, 2, (fl_dim[]){K, H}), weight, H}};
    const bool checksums[8] = {true, true};
    fl_manifest m;
    uint32_t n = 2;

    for (uint32_t i = 0; folds && i < folds->n_variables; i++)
        v[n++] = folds->variables[i];
    fl_manifest_init(&m);
    m.version = FLEN_VERSION;
    m.network = "test";
    m.log = "plain";
    fl_model_content content = {.manifest = &m, .variables = v, .n_variables = n, .checksums = with_checksums ? checksums : NULL};
    content.entries = folds ? &folds->entry : NULL;
    content.n_entries = folds != NULL;
    assert_int_equal(fl_model_save(path, &content, NULL), FL_OK);
    fl_manifest_deinit(&m);
}

typedef struct found {
    fl_arena arena;
    fl_graph *g;
    fl_model *m;
    fl_store store;
    fl_folds_state state;
    fl_folds_content folds;
    fl_diag dg;
} found;

static void begin(found *f)
{
    static fl_var vars[5];

    fl_arena_init(&f->arena);
    fl_diag_init(&f->dg);
    f->g = folding();
    f->m = NULL;
    fill();
    fl_store store = store_of(vars);
    assert_int_equal(fl_folds_describe(&store, f->g, &f->arena, &f->folds, NULL), FL_OK);
}

static fl_status find(found *f)
{
    fl_model_free(f->m);
    assert_int_equal(fl_model_open(path, 0, &f->m, NULL), FL_OK);
    return fl_folds_find(f->m, f->g, ROWS, &f->arena, &f->store, &f->state, &f->dg);
}

static void end(found *f)
{
    fl_model_free(f->m);
    fl_graph_free(f->g);
    fl_diag_deinit(&f->dg);
    fl_arena_deinit(&f->arena);
}

static void what_was_written_is_found(void **unused)
{
    found f;
    (void)unused;

    begin(&f);
    assert_int_equal(f.folds.n_variables, 2); /* the records, and the shift */
    save(&f.folds, true);
    assert_int_equal(find(&f), FL_OK);
    assert_int_equal(f.state, FL_FOLDS_USABLE);
    assert_int_equal(f.store.n_vars, 3);
    const fl_var *p = fl_store_find(&f.store, "derived.p"), *t = fl_store_find(&f.store, "derived.t"), *s = fl_store_find(&f.store, "derived.shift");
    assert_non_null(p);
    assert_non_null(t);
    assert_non_null(s);
    assert_int_equal(p->stride, STRIDE);
    assert_int_equal(t->stride, STRIDE);
    assert_ptr_equal(t->data, (float *)p->data + H);
    for (int i = 0; i < ROWS; i++) {
        assert_memory_equal((float *)p->data + i * STRIDE, record + i * STRIDE, H * sizeof *record);
        assert_memory_equal((float *)t->data + i * STRIDE, record + i * STRIDE + H, K * sizeof *record);
    }
    assert_memory_equal(s->data, shift, sizeof shift);
    end(&f);
}

static void those_of_other_weights_are_not_used(void **unused)
{
    found f;
    (void)unused;

    begin(&f);
    table[5] += 1;
    save(&f.folds, true);
    assert_int_equal(find(&f), FL_OK);
    assert_int_equal(f.state, FL_FOLDS_OUTDATED);
    fill();
    save(&f.folds, false); /* nothing to recognise the weights by */
    assert_int_equal(find(&f), FL_OK);
    assert_int_equal(f.state, FL_FOLDS_OUTDATED);
    save(NULL, true);
    assert_int_equal(find(&f), FL_OK);
    assert_int_equal(f.state, FL_FOLDS_NONE);
    end(&f);
}

/* The entry with one part of its text replaced. */
static void refused(const char *from, const char *to, const char *report)
{
    found f;

    begin(&f);
    const char *text = f.folds.entry.bytes, *at = strstr(text, from);
    assert_non_null(at);
    f.folds.entry.bytes = fl_arena_printf(&f.arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    f.folds.entry.n = strlen(f.folds.entry.bytes);
    save(&f.folds, true);
    assert_int_not_equal(find(&f), FL_OK);
    assert_int_not_equal(f.state, FL_FOLDS_USABLE);
    assert_non_null(strstr(f.dg.entries[0].text, report));
    assert_int_equal(f.dg.entries[0].code, strstr(report, "reads up to") ? FL_E_MODEL_NEWER : FL_E_MODEL_CONTENT);
    end(&f);
}

static void wrong_entries_are_refused(void **unused)
{
    (void)unused;
    refused("{", "[", "folds.json: not {format, weights, variables}");
    refused("\"format\": 1", "\"format\": 2", "folds.json has format 2; this flen reads up to 1");
    refused("\"variables\"", "\"other\"", "not {format, weights, variables}");
    refused("\"derived.p\"", "\"derived.q\"", "nothing is stored for \"derived.p\"");
    refused("\"offset\": 3", "\"offset\": 5", "another type or place is stored than the program has for \"derived.t\"");
    refused("\"offset\": 3", "\"offset\": -1", "another type or place is stored than the program has for \"derived.t\"");
    refused("\"offset\": 3", "\"offset\": 9223372036854775807", "another type or place is stored than the program has for \"derived.t\"");
    refused("\"offset\": 3", "\"offset\": \"3\"", "no place is given for \"derived.t\"");
    refused("\"in\": \"folds.0\"", "\"in\": \"w\"", "another type or place is stored");
    refused("\"in\": \"folds.0\"", "\"in\": \"folds.7\"", "no place is given for");
}

int main(void)
{
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_written_is_found), cmocka_unit_test(those_of_other_weights_are_not_used),
                                       cmocka_unit_test(wrong_entries_are_refused)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
