/* test_manifest.c -- a manifest reads back as it was written; every kind of damage is refused with its place. */
#include "ir/manifest.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint32_t first_slots[] = {0, 1}, second_slots[] = {2};
static fl_slot slots[] = {
    {.name = "hour", .column = "hour", .transform = FL_TRANSFORM_HOUR_OF_DAY, .vocab = FL_VOCAB_DICT, .rows = 10, .min_count = 2},
    {.name = "tags", .column = "t", .vocab = FL_VOCAB_HASH, .rows = 20, .first_row = 10, .pooling = FL_POOL_MEAN, .separator = "|"},
    {.name = "user", .field = 1, .rows = 5, .first_id = -1, .first_row = 30, .padding = -1, .optional = true},
};
static fl_field fields[] = {{"context", first_slots, 2}, {"user", second_slots, 1}};
static const char *columns[] = {"hour", "", "t"};
static const char *feeds[] = {"label"};
static fl_dataset datasets[] = {{"train", "DataLoader", "a \"quoted\" path", 512}};
static fl_phase phases[] = {{"phase1", 0, 2, true, 1}};
static fl_runner runners[] = {{.name = "r", .train = true, .epochs = 3, .print_interval = 20, .save_checkpoint_interval = -1,
                               .save_checkpoint_path = "out", .feed_names = feeds, .n_feed_names = 1, .phases = phases,
                               .n_phases = 1, .plateau_factor = 0.1, .min_rate_factor = 1e-4, .keep_best = true, .patience = 2}};

static void fill(fl_manifest *m)
{
    fl_manifest_init(m);
    m->version = "0.1.0";
    m->network = "flen";
    m->style = FL_STYLE_PADDLEREC_18;
    m->quirks = FL_QUIRK_DROP_LAST;
    m->seed = UINT64_MAX;
    m->store_folds = true;
    m->log = "paddlerec";
    m->source_text = "a: 1\n";
    m->schema = (fl_schema){.slots = slots, .n_slots = 3, .fields = fields, .n_fields = 2, .table_rows = 35, .label = "click",
                            .comma_columns = columns, .n_comma_columns = 3};
    m->datasets = datasets;
    m->n_datasets = 1;
    m->runners = runners;
    m->n_runners = 1;
    m->parameters = 1234567890123;
    m->progress.steps = 7;
    m->progress.rate_factor = 0.1;
    m->progress.valid_auc = 0.12345678901234567;
}

static fl_status parse(fl_manifest *m, const char *json, fl_diag *dg)
{
    fl_diag_init(dg);
    fl_manifest_init(m);
    return fl_manifest_parse(m, json, strlen(json), FL_FILE("model.bin"), dg);
}

static void test_round_trip(void **state)
{
    (void)state;
    fl_manifest m, back;
    fl_diag dg;
    fill(&m);
    char *text = fl_manifest_print(&m);
    assert_non_null(text);
    assert_int_equal(parse(&back, text, &dg), FL_OK);
    char *again = fl_manifest_print(&back);
    assert_string_equal(text, again);
    assert_true(back.seed == UINT64_MAX);
    assert_true(back.store_folds);
    assert_int_equal(back.style, FL_STYLE_PADDLEREC_18);
    assert_int_equal(back.schema.slots[1].pooling, FL_POOL_MEAN);
    assert_string_equal(back.schema.slots[1].separator, "|");
    assert_int_equal(back.schema.slots[2].first_id, -1);
    assert_null(back.schema.slots[2].column);
    assert_string_equal(back.schema.comma_columns[1], "");
    assert_int_equal(back.schema.fields[0].slots[1], 1);
    assert_string_equal(back.datasets[0].data_path, "a \"quoted\" path");
    assert_true(back.runners[0].phases[0].shuffle_filelist);
    assert_true(back.runners[0].min_rate_factor == 1e-4);
    assert_string_equal(back.runners[0].feed_names[0], "label");
    assert_true(back.progress.valid_auc == 0.12345678901234567);
    assert_true(isnan(back.progress.best_auc));
    assert_true(back.parameters == 1234567890123);
    free(text);
    free(again);
    fl_manifest_deinit(&m);
    fl_manifest_deinit(&back);
    fl_diag_deinit(&dg);
}

/* Files from before a key was there are read; it is as a new manifest has it. */
static void test_older_file(void **state)
{
    (void)state;
    fl_manifest m, back;
    fl_diag dg;
    fill(&m);
    char *text = fl_manifest_print(&m), *key = strstr(text, "\"store_folds\""), *end = key ? strchr(key, ',') : NULL;
    assert_non_null(end);
    memmove(key, end + 1, strlen(end + 1) + 1);
    assert_int_equal(parse(&back, text, &dg), FL_OK);
    assert_false(back.store_folds);
    free(text);
    fl_manifest_deinit(&m);
    fl_manifest_deinit(&back);
    fl_diag_deinit(&dg);
}

/* Print, replace the first `old` by `with`, parse: the first error's text. */
static void refused(const char *old, const char *with, const char *expected)
{
    fl_manifest m, back;
    fl_diag dg;
    fill(&m);
    char *text = fl_manifest_print(&m);
    char *at = strstr(text, old);
    if (!at)
        fail_msg("no %s in the manifest", old);
    size_t size = strlen(text) + strlen(with) + 1;
    char *changed = malloc(size);
    snprintf(changed, size, "%.*s%s%s", (int)(at - text), text, with, at + strlen(old));
    assert_int_not_equal(parse(&back, changed, &dg), FL_OK);
    assert_string_equal(dg.entries[0].text, expected);
    assert_string_equal(dg.entries[0].file, "model.bin");
    assert_int_equal(dg.entries[0].code, strncmp(expected, "the manifest has format", 23) == 0 ? FL_E_MANIFEST_FORMAT : FL_E_MANIFEST);
    free(text);
    free(changed);
    fl_manifest_deinit(&m);
    fl_manifest_deinit(&back);
    fl_diag_deinit(&dg);
}

static void test_damage(void **state)
{
    (void)state;
    refused("\"format\": 1", "\"format\": 9", "the manifest has format 9, this version reads 1");
    refused("\"format\": 1,", "", "manifest: there is no format number");
    refused("\"seed\"", "\"sead\"", "manifest: \"seed\" is missing");
    refused("\"network\": \"flen\"", "\"network\": 7", "manifest: \"network\" is not text or null");
    refused("\"paddlerec-1.8\"", "\"paddlerec-3\"", "manifest: \"style\" is not one of the words of this version");
    refused("\"train\": true", "\"train\": 1", "manifest: \"runners.0.train\" is not true or false");
    refused("\"batch_size\": 512", "\"batch_size\": 0",
            "manifest: \"datasets.0.batch_size\" is not an integer from 1 to 9223372036854775807");
    refused("\"rate_factor\": 0.10000000000000001", "\"rate_factor\": null", "manifest: \"progress.rate_factor\" is not a number");
    refused("\"dataset\": 0", "\"dataset\": 1", "manifest: \"runners.0.phases.0.dataset\" is 1 of 1 datasets");
    refused("\"field\": 1", "\"field\": 2", "manifest: \"schema.fields.1.slots.0\" is 2, which is no slot of this field");
    refused("\"first_row\": 30", "\"first_row\": 31", "manifest: 5 rows from row 31 of slot \"user\" lie outside the table of 35 rows");
    refused("\"rows\": 5", "\"rows\": 9223372036854775807",
            "manifest: 9223372036854775807 rows from row 30 of slot \"user\" lie outside the table of 35 rows");
    refused("\"phases\": [", "\"phases\": 1, \"x\": [", "manifest: \"runners.0.phases\" is not a list");
}

static void test_no_json(void **state)
{
    (void)state;
    fl_manifest m;
    fl_diag dg;
    assert_int_equal(parse(&m, "{\"format\": 1,", &dg), FL_BAD_INPUT);
    assert_non_null(strstr(dg.entries[0].text, "manifest: no JSON at byte "));
    fl_manifest_deinit(&m);
    fl_diag_deinit(&dg);
    assert_int_equal(parse(&m, "[]", &dg), FL_BAD_INPUT);
    fl_manifest_deinit(&m);
    fl_diag_deinit(&dg);
    assert_int_equal(parse(&m, "{\"format\": 1, \"nothing\": 2}", &dg), FL_BAD_INPUT);
    assert_true(dg.n_errors > 10); /* all that is missing, in one run */
    fl_manifest_deinit(&m);
    fl_diag_deinit(&dg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_older_file),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
