/* verb_info.c -- `flenrt info`: what a model file is and holds. Nothing is run and no table is read, but for --verify. */
#include "runtime/verbs_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/schedule.h"
#include "ir/shape.h"
#include "runtime/folds.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt info model.bin [--verify] [--json] [--slots]\n"
    "\n"
    "Says what the model is: network, parameters, inputs and outputs as names that other tools see, fields and their slots,\n"
    "tables and their sizes, folded tables, how far it was trained and how good it was, and every node of its programs that has no\n"
    "generated code (`fallback`; none for models of a configuration).\n"
    "\n"
    "  --slots                   a line for each slot: field, column, transform, vocabulary, rows\n"
    "  --verify                  check every block of the weights against its checksum; without it, only those of\n"
    "                            files up to 16 MB and small tensors of larger ones are, and all other parts\n" FL_HELP_COMMON
    "\n"
    "example: flenrt info trained.bin --verify\n";

enum { TYPE_BYTES = 200 };

typedef struct information {
    fl_model *m;
    const fl_manifest *manifest;
    const fl_graph *source;
    const fl_graph *programs[FL_N_PROGRAMS];
    int64_t parameters; /* 0: not known yet */
    uint64_t weight_bytes, fold_bytes;
    fl_folds_state folds;
    fl_arena arena;
    bool slots, verified;
} information;

static const char *const transforms[] = {"none", "hour_of_day", "weekday", "day", "log_bucket"};
static const char *const vocabularies[] = {"range", "dict", "hash"};
static const char *const poolings[] = {"none", "sum", "mean"};
_Static_assert(FL_TRANSFORM_LOG_BUCKET + 1 == FL_COUNT(transforms) && FL_VOCAB_HASH + 1 == FL_COUNT(vocabularies) &&
                   FL_POOL_MEAN + 1 == FL_COUNT(poolings),
               "words in the order of the enums");

/* A dimension that is the table's rows has their number where that is known. */
static fl_type bound_type(const information *n, const fl_graph *g, fl_id value)
{
    fl_type t = *fl_value_type(g, value);
    const fl_tensor *stored = fl_model_find_variable(n->m, g->values[value].name);

    if (stored)
        return stored->type;
    for (int d = 0; d < t.rank; d++)
        if (FL_DIM_IS_SYM(t.dims[d]) && n->manifest->schema.table_rows > 0)
            t.dims[d] = n->manifest->schema.table_rows;
    return t;
}

/* What rows are looked up in. */
static bool is_table(const fl_graph *g, fl_id value)
{
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; fl_op_has(g->nodes[i].op, FL_GATHERING) && k < fl_look_ups(&g->nodes[i]); k++)
            if (g->nodes[i].in[2 * k] == value)
                return true;
    return false;
}

static int64_t count_parameters(const information *n)
{
    const fl_graph *g = n->programs[FL_PROGRAM_TRAIN];
    int64_t total = 0;

    if (n->manifest->parameters > 0 || !g)
        return n->manifest->parameters;
    for (uint32_t i = 0; i < g->n_params; i++) {
        fl_type t = bound_type(n, g, g->params[i].variable);
        if (g->params[i].rule.kind == FL_RULE_NONE)
            continue;
        if (!fl_type_is_static(&t))
            return 0;
        total += fl_type_elements(&t);
    }
    return total;
}

/* The next node behind (*p, *i) that the code generator has no code for; false: none is left. */
static bool next_fallback(const information *n, int *p, uint32_t *i)
{
    for (; *p < FL_N_PROGRAMS; ++*p, *i = 0) {
        const fl_graph *g = n->programs[*p];
        if (*p == FL_PROGRAM_INIT || !g)
            continue; /* first weights are the runtime's */
        for (; *i < g->n_nodes; ++*i)
            if (g->nodes[*i].op != FL_OP_NOP && !fl_op_has(g->nodes[*i].op, FL_EMITTED))
                return true;
    }
    return false;
}

static const char *node_name(const fl_graph *g, uint32_t i)
{
    const fl_node *node = &g->nodes[i];

    for (uint32_t k = 0; k < node->n_out; k++)
        if (node->out[k] != FL_NONE)
            return g->values[node->out[k]].name;
    return node->name ? node->name : "?";
}

/* ---------------------------------------------------------------------------------------------------- JSON */

static void json_values(const information *n, const char *key, const fl_id *values, uint32_t count)
{
    printf(",\"%s\":[", key);
    for (uint32_t i = 0; i < count; i++) {
        char type[TYPE_BYTES];
        fl_type_print(n->source, fl_value_type(n->source, values[i]), type, sizeof type);
        fputs(i ? ",{\"name\":" : "{\"name\":", stdout);
        fl_json_string(stdout, n->source->values[values[i]].name);
        fputs(",\"type\":", stdout);
        fl_json_string(stdout, type);
        putchar('}');
    }
    putchar(']');
}

static void json_schema(const fl_schema *s)
{
    fputs(",\"fields\":[", stdout);
    for (uint32_t f = 0; f < s->n_fields; f++) {
        fputs(f ? ",{\"name\":" : "{\"name\":", stdout);
        fl_json_string(stdout, s->fields[f].name);
        fputs(",\"slots\":[", stdout);
        for (uint32_t k = 0; k < s->fields[f].n_slots; k++) {
            fputs(k ? "," : "", stdout);
            fl_json_string(stdout, s->slots[s->fields[f].slots[k]].name);
        }
        fputs("]}", stdout);
    }
    fputs("],\"slots\":[", stdout);
    for (uint32_t k = 0; k < s->n_slots; k++) {
        const fl_slot *slot = &s->slots[k];
        fputs(k ? ",{\"name\":" : "{\"name\":", stdout);
        fl_json_string(stdout, slot->name);
        fputs(",\"field\":", stdout);
        fl_json_string(stdout, slot->field < s->n_fields ? s->fields[slot->field].name : "");
        fputs(",\"column\":", stdout);
        fl_json_string(stdout, slot->column ? slot->column : slot->name);
        printf(",\"transform\":\"%s\",\"vocabulary\":\"%s\",\"pooling\":\"%s\",\"rows\":%lld,\"first_row\":%lld}", transforms[slot->transform],
               vocabularies[slot->vocab], poolings[slot->pooling], (long long)slot->rows, (long long)slot->first_row);
    }
    putchar(']');
}

static void json_tables(const information *n)
{
    bool first = true;

    fputs(",\"tables\":[", stdout);
    for (uint32_t i = 0; n->source && i < n->source->n_variables; i++) {
        fl_id v = n->source->variables[i];
        if (!n->source->values[v].name || !is_table(n->source, v))
            continue;
        fl_type t = bound_type(n, n->source, v);
        int64_t rows = t.rank > 0 && t.dims[0] > 0 ? t.dims[0] : 0;
        int64_t width = t.rank > 1 ? t.dims[1] : 1;
        fputs(first ? "{\"name\":" : ",{\"name\":", stdout);
        fl_json_string(stdout, n->source->values[v].name);
        printf(",\"rows\":%lld,\"width\":%lld,\"bytes\":%lld}", (long long)rows, (long long)width,
               (long long)(rows * width * (int64_t)fl_dtype_size(t.dtype)));
        first = false;
    }
    putchar(']');
}

static void json_metric(const char *key, double x)
{
    printf(",\"%s\":", key);
    fl_json_number(stdout, x);
}

static void json_progress(const fl_progress *p, uint64_t seed)
{
    printf(",\"trained\":{\"epochs\":%lld,\"steps\":%lld,\"rows\":%lld,\"seed\":%llu", (long long)p->epochs, (long long)p->steps, (long long)p->rows,
           (unsigned long long)seed);
    json_metric("rate_factor", p->rate_factor);
    json_metric("best_auc", p->best_auc);
    json_metric("train_auc", p->train_auc);
    json_metric("train_logloss", p->train_logloss);
    json_metric("valid_auc", p->valid_auc);
    json_metric("valid_logloss", p->valid_logloss);
    putchar('}');
}

static void json_programs(const information *n)
{
    bool first = true;

    fputs(",\"programs\":{", stdout);
    for (int p = 0; p < FL_N_PROGRAMS; p++) {
        const fl_graph *g = n->programs[p];
        if (!g)
            continue;
        printf("%s\"%s\":{\"nodes\":%u", first ? "" : ",", fl_program_name((fl_program)p), g->n_nodes);
        if (g->schedule)
            printf(",\"segments\":%u,\"phases\":%u", g->schedule->n_segments, g->schedule->n_phases);
        putchar('}');
        first = false;
    }
    fputs("},\"fallback\":[", stdout);
    int p = 0;
    uint32_t i = 0;
    for (first = true; next_fallback(n, &p, &i); i++, first = false) {
        printf("%s{\"program\":\"%s\",\"op\":\"%s\",\"node\":", first ? "" : ",", fl_program_name((fl_program)p), fl_op_get(n->programs[p]->nodes[i].op)->name);
        fl_json_string(stdout, node_name(n->programs[p], i));
        putchar('}');
    }
    putchar(']');
}

static const char *const fold_states[] = {"none", "outdated", "usable"};
_Static_assert(FL_FOLDS_USABLE + 1 == FL_COUNT(fold_states), "words in the order of the enum");

static void json_folds(const information *n)
{
    printf(",\"folds\":{\"state\":\"%s\",\"bytes\":%llu,\"can_be_folded\":%s,\"after_training\":%s}", fold_states[n->folds], (unsigned long long)n->fold_bytes,
           n->programs[FL_PROGRAM_FOLDING] ? "true" : "false", n->manifest->store_folds ? "true" : "false");
}

static void print_json(const information *n)
{
    const fl_manifest *m = n->manifest;

    fputs("{\"network\":", stdout);
    fl_json_string(stdout, m->network ? m->network : "");
    printf(",\"parameters\":%lld", (long long)n->parameters);
    json_values(n, "inputs", n->source ? n->source->inputs : NULL, n->source ? n->source->n_inputs : 0);
    json_values(n, "outputs", n->source ? n->source->outputs : NULL, n->source ? n->source->n_outputs : 0);
    json_schema(&m->schema);
    json_tables(n);
    printf(",\"table_rows\":%lld,\"file_bytes\":%llu,\"weight_bytes\":%llu,\"version\":", (long long)m->schema.table_rows,
           (unsigned long long)fl_model_bytes(n->m), (unsigned long long)n->weight_bytes);
    fl_json_string(stdout, m->version ? m->version : "");
    fputs(",\"configuration\":", stdout);
    fl_json_string(stdout, m->source_name ? m->source_name : "");
    json_progress(&m->progress, m->seed);
    json_folds(n);
    json_programs(n);
    printf(",\"verified\":%s}\n", n->verified ? "true" : "false");
}

/* -------------------------------------------------------------------------------------------------- for people */

static void plain_values(const information *n, const char *what, const fl_id *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char type[TYPE_BYTES];
        fl_type_print(n->source, fl_value_type(n->source, values[i]), type, sizeof type);
        printf("%-12s %s %s\n", i ? "" : what, type, n->source->values[values[i]].name);
    }
}

static void plain_schema(const information *n)
{
    const fl_schema *s = &n->manifest->schema;

    for (uint32_t f = 0; f < s->n_fields; f++) {
        printf("%-12s %s:", f ? "" : "fields", s->fields[f].name);
        for (uint32_t k = 0; k < s->fields[f].n_slots; k++)
            printf(" %s", s->slots[s->fields[f].slots[k]].name);
        putchar('\n');
    }
    if (!n->slots)
        return;
    for (uint32_t k = 0; k < s->n_slots; k++) {
        const fl_slot *slot = &s->slots[k];
        printf("%-12s %s: field %s, column %s, transform %s, vocabulary %s, pooling %s, ", k ? "" : "slots", slot->name,
               slot->field < s->n_fields ? s->fields[slot->field].name : "none", slot->column ? slot->column : slot->name,
               transforms[slot->transform], vocabularies[slot->vocab], poolings[slot->pooling]);
        if (slot->rows > 0 && slot->first_row >= 0)
            printf("rows %lld to %lld\n", (long long)slot->first_row, (long long)(slot->first_row + slot->rows - 1));
        else
            puts("rows not known yet");
    }
}

static void plain_tables(const information *n)
{
    const char *what = "tables";

    for (uint32_t i = 0; n->source && i < n->source->n_variables; i++) {
        fl_id v = n->source->variables[i];
        char type[TYPE_BYTES];
        if (!n->source->values[v].name || !is_table(n->source, v))
            continue;
        fl_type t = bound_type(n, n->source, v);
        fl_type_print(n->source, &t, type, sizeof type);
        printf("%-12s %s %s", what, type, n->source->values[v].name);
        if (fl_type_is_static(&t))
            printf(", %lld bytes\n", (long long)(fl_type_elements(&t) * (int64_t)fl_dtype_size(t.dtype)));
        else
            puts(", its rows are known once data has been seen");
        what = "";
    }
}

static void plain_folds(const information *n)
{
    static const char *const words[] = {"none stored", "stored, but of other weights: not used (`flenrt fold` makes new ones)", "stored, of these weights"};

    printf("folds        %s", n->programs[FL_PROGRAM_FOLDING] || n->fold_bytes ? words[n->folds] : "none: the model has nothing to fold");
    if (n->fold_bytes)
        printf(", %llu bytes", (unsigned long long)n->fold_bytes);
    puts(n->manifest->store_folds ? "; made anew after training" : "");
}

static void plain_progress(const fl_manifest *m)
{
    const fl_progress *p = &m->progress;

    if (p->steps == 0) {
        puts("trained      no");
        return;
    }
    printf("trained      %lld epochs, %lld steps, %lld rows, seed %llu", (long long)p->epochs, (long long)p->steps, (long long)p->rows,
           (unsigned long long)m->seed);
    if (p->rate_factor != 1)
        printf(", learning rate at %g of its first value", p->rate_factor);
    putchar('\n');
    if (!isnan(p->train_auc) || !isnan(p->train_logloss))
        printf("             training: AUC %.6f, logloss %.6f\n", p->train_auc, p->train_logloss);
    if (!isnan(p->valid_auc) || !isnan(p->valid_logloss))
        printf("             validation: AUC %.6f, logloss %.6f\n", p->valid_auc, p->valid_logloss);
    if (!isnan(p->best_auc))
        printf("             best validation: AUC %.6f\n", p->best_auc);
}

static void plain_programs(const information *n)
{
    const char *what = "programs";

    for (int p = 0; p < FL_N_PROGRAMS; p++) {
        const fl_graph *g = n->programs[p];
        if (!g)
            continue;
        printf("%-12s %s: %u nodes", what, fl_program_name((fl_program)p), g->n_nodes);
        if (g->schedule)
            printf(" in %u segments, %u phases", g->schedule->n_segments, g->schedule->n_phases);
        putchar('\n');
        what = "";
    }
    int p = 0;
    uint32_t i = 0;
    bool any = false;
    for (; next_fallback(n, &p, &i); i++, any = true)
        printf("%-12s %s: node \"%s\" (%s) has no generated code\n", any ? "" : "fallback", fl_program_name((fl_program)p), node_name(n->programs[p], i),
               fl_op_get(n->programs[p]->nodes[i].op)->name);
    if (!any)
        puts("fallback     none: every node runs as generated code");
}

static void print_plain(const information *n)
{
    const fl_manifest *m = n->manifest;

    printf("network      %s", m->network ? m->network : "none");
    if (m->source_name)
        printf(", from %s", m->source_name);
    printf(", by flen %s\n", m->version ? m->version : "?");
    if (n->parameters > 0)
        printf("parameters   %lld\n", (long long)n->parameters);
    else
        puts(m->schema.n_slots ? "parameters   known once data has been seen" : "parameters   none: an imported graph, whose weights are constants");
    printf("file         %llu bytes, %llu of them weights and optimiser state%s\n", (unsigned long long)fl_model_bytes(n->m),
           (unsigned long long)n->weight_bytes, n->verified ? ", every block checked" : "");
    plain_progress(m);
    if (n->source) {
        plain_values(n, "inputs", n->source->inputs, n->source->n_inputs);
        plain_values(n, "outputs", n->source->outputs, n->source->n_outputs);
    }
    plain_schema(n);
    plain_tables(n);
    plain_folds(n);
    plain_programs(n);
}

/* ---------------------------------------------------------------------------------------------------- the verb */

static fl_status info(const fl_verb_options *o, information *n, fl_diag *dg)
{
    FL_TRY(fl_model_open(o->model, o->verify ? FL_MODEL_VERIFY_ALL : 0, &n->m, dg));
    fl_arena_init(&n->arena);
    fl_status status = fl_model_verify_entries(n->m, dg);
    n->manifest = fl_model_manifest(n->m);
    n->verified = o->verify;
    if (status == FL_OK)
        status = fl_model_source(n->m, &n->source, dg);
    for (int p = 0; status == FL_OK && p < FL_N_PROGRAMS; p++)
        status = fl_model_program(n->m, (fl_program)p, &n->programs[p], dg);
    for (uint32_t i = 0; status == FL_OK && i < fl_model_n_variables(n->m); i++) {
        const char *name;
        const fl_tensor *t = fl_model_variable(n->m, i, &name);
        *(strncmp(name, FL_FOLDS_PREFIX, strlen(FL_FOLDS_PREFIX)) ? &n->weight_bytes : &n->fold_bytes) += (uint64_t)fl_type_elements(&t->type) * fl_dtype_size(t->type.dtype);
    }
    fl_store stored;
    if (status == FL_OK && n->programs[FL_PROGRAM_FOLDING])
        status = fl_folds_find(n->m, n->programs[FL_PROGRAM_FOLDING], n->manifest->schema.table_rows, &n->arena, &stored, &n->folds, dg);
    if (status == FL_OK) {
        n->parameters = count_parameters(n);
        if (o->json)
            print_json(n);
        else
            print_plain(n);
    }
    fl_arena_deinit(&n->arena);
    fl_model_free(n->m);
    return status;
}

static bool take(void *arg, const char *name, char *value)
{
    information *n = arg;
    (void)name; /* --slots is the only one */
    (void)value;
    return n->slots = true;
}

int fl_verb_info(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"slots", false}};
    information n = {0};
    fl_verb verb = {"info", help, FL_TAKES_VERIFY, own, FL_COUNT(own), take, &n};
    fl_verb_options o;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    fl_diag_init(&dg);
    return fl_verb_end(info(&o, &n, &dg), &dg);
}
