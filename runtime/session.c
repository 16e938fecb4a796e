#include "runtime/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/data_path.h"
#include "runtime/folds.h"
#include "runtime/native.h"

enum { MAX_ENTRIES = 32 };

static uint32_t threads_of(const fl_session *s)
{
    return s->options.threads ? s->options.threads : fl_cpu_count();
}

uint32_t fl_session_threads(const fl_session *s)
{
    return s->pool ? fl_pool_size(s->pool) : 1;
}

uint64_t fl_session_memory_left(const fl_session *s)
{
    uint64_t taken = s->variables.pages.size;

    for (int p = 0; p < FL_N_PROGRAMS; p++)
        if (s->engines[p] && !s->options.interpret)
            taken += fl_native_engine_bytes(s->engines[p]);
    return taken < s->options.max_memory ? s->options.max_memory - taken : 1; /* 0 would be no limit */
}

static fl_status open_vocabulary(fl_session *s, fl_diag *dg)
{
    fl_schema *schema = &s->manifest->schema;
    size_t n = 0;
    const void *bytes = fl_model_entry(s->model, FL_VOCABULARY_ENTRY, &n);

    fl_model *owner = s->model;
    if (!bytes && s->options.vocabulary_of) {
        owner = s->options.vocabulary_of;
        bytes = fl_model_entry(owner, FL_VOCABULARY_ENTRY, &n);
    }
    if (bytes && (s->options.train || owner != s->model)) /* read by many rows, or soon copied; `save` and fl_infer check it elsewhere */
        FL_TRY(fl_model_verify_entry(owner, FL_VOCABULARY_ENTRY, dg));
    if (bytes)
        FL_TRY(fl_vocabulary_open(bytes, n, schema, fl_model_path(owner), &s->vocabulary, dg));
    else if (s->options.data && fl_schema_needs_vocabulary(schema))
        FL_TRY(fl_data_vocabulary(s->options.data, schema, s->manifest->quirks, threads_of(s), s->options.note, &s->vocabulary, dg));
    return s->vocabulary && !fl_schema_is_bound(schema) ? fl_vocabulary_bind(s->vocabulary, schema, dg) : FL_OK;
}

/* Trainable numbers: known once tables are bound. */
static int64_t count_parameters(const fl_session *s)
{
    const fl_graph *g = s->programs[FL_PROGRAM_TRAIN];
    int64_t total = 0;

    for (uint32_t i = 0; g && i < g->n_params; i++) {
        fl_type t = *fl_value_type(g, g->params[i].variable);
        for (int d = 0; d < t.rank; d++)
            if (FL_DIM_IS_SYM(t.dims[d]))
                t.dims[d] = s->manifest->schema.table_rows;
        if (g->params[i].rule.kind != FL_RULE_NONE)
            total += fl_type_elements(&t);
    }
    return total;
}

/* Damage in large tables is looked for when they are copied; fl_model_open has checked small files whole. */
static fl_status verify_tables(fl_session *s, fl_diag *dg)
{
    for (uint32_t i = 0; i < fl_model_n_variables(s->model); i++) {
        const char *name;
        (void)fl_model_variable(s->model, i, &name);
        FL_TRY(fl_model_verify(s->model, name, dg));
    }
    return FL_OK;
}

/* Bytes of the variables that a program has and `without` lacks. */
static uint64_t bytes_beyond(const fl_session *s, const fl_graph *g, const fl_graph *without)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < g->n_variables; i++) {
        const fl_value *v = &g->values[g->variables[i]];
        fl_type t = v->type;
        if (v->kind != FL_VALUE_VARIABLE || fl_graph_find(without, v->name) != FL_NONE)
            continue;
        for (int d = 0; d < t.rank; d++)
            if (FL_DIM_IS_SYM(t.dims[d]))
                t.dims[d] = s->manifest->schema.table_rows;
        int64_t n = fl_type_elements(&t);
        total += n < 0 ? UINT64_MAX / 4 : (uint64_t)n * fl_dtype_size(t.dtype);
    }
    return total;
}

/* Are the file's folded tables there, wanted, and of its weights? */
static fl_status find_stored_folds(fl_session *s, const fl_graph *folding, fl_diag *dg)
{
    fl_folds_state state = FL_FOLDS_NONE;
    const char *path = fl_model_path(s->model);

    if (folding && s->options.stored_folds != FL_STORED_FOLDS_IGNORED)
        FL_TRY(fl_folds_find(s->model, folding, s->manifest->schema.table_rows, &s->arena, &s->stored_folds, &state, dg));
    s->folds_are_stored = state == FL_FOLDS_USABLE;
    if (s->folds_are_stored || s->options.stored_folds != FL_STORED_FOLDS_NEEDED)
        return FL_OK;
    if (state == FL_FOLDS_OUTDATED)
        (void)fl_error(dg, FL_E_NO_FOLDS, FL_FILE(path), "the folded tables in the file are of other weights than the file has");
    else
        (void)fl_error(dg, FL_E_NO_FOLDS, FL_FILE(path), folding ? "the file holds no folded tables" : "the model has nothing to fold");
    if (folding)
        fl_hint(dg, "`flenrt fold MODEL -o OUT` writes them");
    return FL_BAD_INPUT;
}

/* Folded programs take the place of predict and prologue where the file has their tables, or they are asked for and fit. */
static fl_status choose_folded(fl_session *s, fl_diag *dg)
{
    const fl_graph *folded = NULL, *folding = NULL;
    const fl_session_options *o = &s->options;
    size_t n;

    if (o->interpret && o->stored_folds == FL_STORED_FOLDS_NEEDED)
        return fl_error(dg, FL_E_NO_FOLDS, FL_FILE(fl_model_path(s->model)), "the interpreter does not predict from folded tables");
    if (o->train || o->interpret)
        return FL_OK;
    if (o->fold_bytes == 0 && o->stored_folds != FL_STORED_FOLDS_NEEDED && !fl_model_entry(s->model, FL_FOLDS_ENTRY, &n))
        return FL_OK;
    FL_TRY(fl_model_program(s->model, FL_PROGRAM_FOLDED, &folded, dg));
    FL_TRY(fl_model_program(s->model, FL_PROGRAM_FOLDING, &folding, dg));
    FL_TRY(find_stored_folds(s, folded ? folding : NULL, dg));
    uint64_t limit = o->fold_bytes < o->max_memory ? o->fold_bytes : o->max_memory;
    bool fits = folded && folding && limit > 0 && bytes_beyond(s, folded, s->programs[FL_PROGRAM_PREDICT]) <= limit;
    if (!s->folds_are_stored && !fits)
        return FL_OK;
    s->programs[FL_PROGRAM_PREDICT] = folded;
    s->programs[FL_PROGRAM_PROLOGUE] = folding;
    s->folded = true;
    return FL_OK;
}

/* Does the input `name`[0, n) read slot s: "ids" all that have one value, "SLOT.values" its own? */
static bool reads_slot(const char *name, size_t n, const fl_slot *s)
{
    size_t slot = strlen(s->name);

    if (s->pooling == FL_POOL_NONE)
        return n == 3 && memcmp(name, "ids", 3) == 0;
    return n == slot + 7 && memcmp(name, s->name, slot) == 0 && memcmp(name + slot, ".values", 7) == 0;
}

/* Variables "bound.INPUT.first_row": the first row of each column of an input. */
static void bind_first_rows(fl_session *s)
{
    static const char begin[] = "bound.", end[] = ".first_row";
    const fl_schema *schema = &s->manifest->schema;

    for (uint32_t i = 0; i < s->variables.store.n_vars; i++) {
        fl_var *v = &s->variables.store.vars[i];
        size_t n = strlen(v->name), most = sizeof begin + sizeof end - 2;
        if (n <= most || strncmp(v->name, begin, sizeof begin - 1) != 0 || strcmp(v->name + n - (sizeof end - 1), end) != 0)
            continue;
        int64_t *to = v->data, column = 0;
        for (uint32_t k = 0; to && k < schema->n_slots && column < v->type.dims[0]; k++)
            if (reads_slot(v->name + sizeof begin - 1, n - most, &schema->slots[k]))
                to[column++ * v->stride] = schema->slots[k].first_row;
        s->variables.has_values[i] = true;
    }
}

static fl_status check_dump(const fl_session *s, fl_diag *dg)
{
    const fl_value_dump *dump = s->options.dump;
    const fl_graph *graphs[] = {s->programs[FL_PROGRAM_TRAIN], s->programs[FL_PROGRAM_PREDICT], NULL};

    if (!dump)
        return FL_OK;
    FL_TRY(fl_model_source(s->model, &graphs[2], dg));
    for (size_t i = 0; i < FL_COUNT(graphs); i++)
        if (graphs[i] && fl_value_dump_matches(dump, graphs[i]))
            return FL_OK;
    (void)fl_error(dg, FL_E_DUMP_PATTERN, FL_FILE(fl_model_path(s->model)), "no value of a training or predict program matches \"%s\"", dump->pattern);
    fl_hint(dg, "`flenc dump %s --program=predict` lists them", fl_model_path(s->model));
    return FL_BAD_INPUT;
}

static fl_status open_parts(fl_session *s, const char *path, fl_diag *dg)
{
    FL_TRY(fl_model_open(path, s->options.train ? 0 : FL_MODEL_FEW_PAGES, &s->model, dg));
    s->manifest = fl_model_manifest(s->model);
    if (s->options.has_seed)
        s->manifest->seed = s->options.seed;
    FL_TRY(open_vocabulary(s, dg));
    if (threads_of(s) > 1)
        FL_TRY(fl_pool_new(threads_of(s), &s->pool, dg));
    for (int p = 0; p <= FL_PROGRAM_INIT; p++)
        FL_TRY(fl_model_program(s->model, (fl_program)p, &s->programs[p], dg));
    FL_TRY(choose_folded(s, dg));
    FL_TRY(check_dump(s, dg));
    const fl_graph *train = s->options.train ? s->programs[FL_PROGRAM_TRAIN] : NULL;
    if (s->options.train && !train)
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(path), "the model has no train program");
    if (train)
        FL_TRY(verify_tables(s, dg));
    /* init has no variables of its own; predict and prologue may have derived ones that train lacks. */
    const fl_graph *programs[] = {s->programs[FL_PROGRAM_TRAIN], s->programs[FL_PROGRAM_PREDICT], s->programs[FL_PROGRAM_PROLOGUE]};
    if (!train)
        programs[0] = NULL; /* optimiser state takes no memory where nobody trains */
    FL_TRY(fl_variables_open(&s->variables, programs, FL_COUNT(programs), train, s->manifest->schema.table_rows,
                             s->folds_are_stored ? &s->stored_folds : NULL, s->options.max_memory, s->pool, dg));
    bind_first_rows(s);
    if (s->manifest->parameters == 0)
        s->manifest->parameters = count_parameters(s);
    if ((train || s->options.first_weights) && s->programs[FL_PROGRAM_INIT])
        FL_TRY(fl_variables_first(&s->variables, s->programs[FL_PROGRAM_INIT], s->manifest->seed, false, s->pool, dg));
    return FL_OK;
}

fl_status fl_session_open(fl_session *s, const char *path, const fl_session_options *options, fl_diag *dg)
{
    memset(s, 0, sizeof *s);
    s->options = *options;
    if (s->options.max_memory == 0)
        s->options.max_memory = fl_memory_available();
    if (s->options.max_memory == 0) /* the system does not say */
        s->options.max_memory = INT64_MAX;
    fl_arena_init(&s->arena);
    fl_status status = open_parts(s, path, dg);
    if (status != FL_OK)
        fl_session_close(s);
    return status;
}

void fl_session_close(fl_session *s)
{
    for (int p = 0; p < FL_N_PROGRAMS; p++) {
        if (s->engines[p])
            s->engines[p]->free(s->engines[p]);
        if (s->timed[p])
            s->timed[p]->free(s->timed[p]);
    }
    fl_variables_close(&s->variables);
    fl_pool_free(s->pool);
    fl_vocabulary_free(s->vocabulary);
    fl_model_free(s->model);
    fl_arena_deinit(&s->arena);
    memset(s, 0, sizeof *s);
}

/*
 * What code is made from: the program with its schedule, without the values of variables. The file's own bytes would not do: they hold small
 * variables and the places of large ones, so that every training run would have code of its own.
 */
static fl_status program_without_values(const fl_graph *g, void **bytes, size_t *n, fl_diag *dg)
{
    fl_graph bare = *g; /* only read */

    bare.values = malloc(((size_t)g->n_values + 1) * sizeof *bare.values);
    if (!bare.values)
        return fl_out_of_memory(dg);
    memcpy(bare.values, g->values, g->n_values * sizeof *bare.values);
    for (uint32_t i = 0; i < bare.n_values; i++)
        if (bare.values[i].kind == FL_VALUE_VARIABLE)
            bare.values[i].data = NULL;
    fl_status status = fl_onnx_encode(&bare, &(fl_onnx_options){0}, bytes, n, dg);
    free(bare.values);
    return status;
}

static fl_status native_engine(fl_session *s, fl_program p, int64_t batch, bool timed, fl_engine **out, fl_diag *dg)
{
    const fl_graph *g = s->programs[p];
    fl_code_cache_options cache = {.cpu = s->options.cpu, .compile = s->options.compile, .timed = timed};
    fl_image *image = NULL;
    void *program;
    bool hit = false;

    if (!g->schedule)
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(fl_model_path(s->model)), "the %s program has no schedule", fl_program_name(p));
    int64_t *dims = calloc(g->n_symbols + 1, sizeof *dims);
    if (!dims)
        return fl_out_of_memory(dg);
    for (uint32_t i = 0; i < g->n_symbols; i++)
        if (strcmp(g->symbols[i], "batch") == 0)
            dims[i] = batch;
    fl_status status = program_without_values(g, &program, &cache.program_bytes, dg);
    if (status == FL_OK) {
        cache.program = program;
        status = fl_code_cache_get(g, &cache, &image, &hit, dg);
        free(program);
    }
    if (status == FL_OK)
        status = fl_native_engine_new(g, &s->variables.store, image,
                                      &(fl_native_options){.pool = s->pool, .max_dims = dims, .timed = timed, .max_bytes = fl_session_memory_left(s)}, out, dg);
    free(dims);
    return status;
}

/* Put a dump around the program's engine. */
static fl_status dump_values(fl_session *s, fl_program p, int64_t batch, fl_diag *dg)
{
    fl_engine *plain = s->engines[p];
    const fl_graph *source;

    FL_TRY(fl_model_source(s->model, &source, dg));
    if (!s->options.interpret && !s->timed[p])
        FL_TRY(native_engine(s, p, batch, true, &s->timed[p], dg));
    s->engines[p] = NULL;
    return fl_value_dump_engine_new(s->options.dump, p, s->programs[p], plain, s->timed[p], source, fl_model_path(s->model), &s->engines[p], dg);
}

static fl_status make_engine(fl_session *s, fl_program p, int64_t batch, fl_diag *dg)
{
    if (!s->programs[p])
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(fl_model_path(s->model)), "the model has no %s program", fl_program_name(p));
    if (s->engines[p])
        return FL_OK;
    if (s->options.interpret)
        FL_TRY(s->options.interpret(s->programs[p], &s->variables.store, fl_session_memory_left(s), &s->engines[p], dg));
    else
        FL_TRY(native_engine(s, p, batch, false, &s->engines[p], dg));
    return s->options.dump && (p == FL_PROGRAM_TRAIN || p == FL_PROGRAM_PREDICT) ? dump_values(s, p, batch, dg) : FL_OK;
}

/* Derived variables are the prologue's updates. */
static bool is_derived(const fl_session *s, const char *name)
{
    const fl_graph *g = s->programs[FL_PROGRAM_PROLOGUE];

    for (uint32_t i = 0; g && i < g->n_updates; i++)
        if (strcmp(g->values[g->updates[i].variable].name, name) == 0)
            return true;
    return false;
}

fl_status fl_session_derive(fl_session *s, fl_diag *dg)
{
    const fl_graph *g = s->programs[FL_PROGRAM_PROLOGUE];
    fl_engine *train = s->engines[FL_PROGRAM_TRAIN], *predict = s->engines[FL_PROGRAM_PREDICT];

    if (train)
        FL_TRY(train->flush(train, dg));
    if (g && !s->folds_are_stored) {
        int64_t no_dims[1] = {0};
        for (uint32_t i = 0; i < s->variables.store.n_vars; i++)
            s->variables.has_values[i] |= is_derived(s, s->variables.store.vars[i].name);
        FL_TRY(fl_variables_check(&s->variables, g, dg));
        FL_TRY(make_engine(s, FL_PROGRAM_PROLOGUE, 0, dg));
        fl_engine *e = s->engines[FL_PROGRAM_PROLOGUE];
        FL_TRY(e->refresh(e, dg));
        FL_TRY(e->run(e, &(fl_run){no_dims, NULL, NULL}, dg));
        FL_TRY(e->flush(e, dg));
    }
    return predict ? predict->refresh(predict, dg) : FL_OK;
}

fl_status fl_session_engine(fl_session *s, fl_program p, int64_t batch, fl_engine **out, fl_diag *dg)
{
    if (!s->engines[p]) {
        if (p == FL_PROGRAM_PREDICT)
            FL_TRY(fl_session_derive(s, dg));
        if (s->programs[p])
            FL_TRY(fl_variables_check(&s->variables, s->programs[p], dg));
        FL_TRY(make_engine(s, p, batch, dg));
    }
    *out = s->engines[p];
    return FL_OK;
}

fl_status fl_session_timed_engine(fl_session *s, fl_program p, int64_t batch, fl_engine **out, fl_diag *dg)
{
    fl_engine *plain;

    FL_ASSERT(!s->options.interpret);
    FL_TRY(fl_session_engine(s, p, batch, &plain, dg)); /* which checks, and derives */
    if (!s->timed[p])
        FL_TRY(native_engine(s, p, batch, true, &s->timed[p], dg));
    *out = s->timed[p];
    return FL_OK;
}

/* The given entries, the vocabulary, and the file's further ones that neither replaces, but for folds, whose tables are not kept. An entry without bytes only replaces. */
static void collect_entries(const fl_session *s, const fl_model_entry_source *entries, uint32_t n_entries, fl_model_entry_source *all, uint32_t *n)
{
    const char *name;

    FL_ASSERT(n_entries + 1 <= MAX_ENTRIES);
    *n = 0;
    for (uint32_t i = 0; i < n_entries; i++)
        all[(*n)++] = entries[i];
    if (s->vocabulary) {
        fl_model_entry_source v = {FL_VOCABULARY_ENTRY, NULL, 0};
        v.bytes = fl_vocabulary_bytes(s->vocabulary, &v.n);
        all[(*n)++] = v;
    }
    for (uint32_t i = 0; (name = fl_model_further_entry(s->model, i)) != NULL && *n < MAX_ENTRIES; i++) {
        bool replaced = strcmp(name, FL_FOLDS_ENTRY) == 0;
        for (uint32_t k = 0; k < *n; k++)
            replaced |= strcmp(all[k].name, name) == 0;
        if (replaced)
            continue;
        fl_model_entry_source kept = {name, NULL, 0};
        kept.bytes = fl_model_entry(s->model, name, &kept.n);
        all[(*n)++] = kept;
    }
    uint32_t stored = 0;
    for (uint32_t i = 0; i < *n; i++)
        if (all[i].bytes)
            all[stored++] = all[i];
    *n = stored;
}

/* Variables of the session that have values, those that only the file has (optimiser state where nobody trains), then folds. NULL: out of memory. */
static fl_model_variable_source *collect_variables(const fl_session *s, const fl_folds_content *folds, uint32_t *n)
{
    size_t no_size;
    bool had_folds = fl_model_entry(s->model, FL_FOLDS_ENTRY, &no_size) != NULL;
    const fl_store *store = &s->variables.store;
    uint32_t n_stored = fl_model_n_variables(s->model);
    fl_model_variable_source *list = calloc((size_t)store->n_vars + n_stored + folds->n_variables + 1, sizeof *list);

    *n = 0;
    for (uint32_t i = 0; list && i < store->n_vars; i++)
        if (s->variables.has_values[i] && !is_derived(s, store->vars[i].name) && strncmp(store->vars[i].name, "bound.", 6) != 0)
            list[(*n)++] = (fl_model_variable_source){store->vars[i].name, store->vars[i].type, store->vars[i].data, store->vars[i].stride};
    for (uint32_t i = 0; list && i < n_stored; i++) {
        fl_model_variable_source v = {0};
        const fl_tensor *t = fl_model_variable(s->model, i, &v.name);
        if (fl_store_find(store, v.name) || (had_folds && strncmp(v.name, FL_FOLDS_PREFIX, sizeof FL_FOLDS_PREFIX - 1) == 0))
            continue;
        v.type = t->type;
        v.bytes = t->bytes;
        v.stride = t->type.rank >= 2 ? fl_type_elements(&t->type) / (t->type.dims[0] ? t->type.dims[0] : 1) : 1;
        list[(*n)++] = v;
    }
    for (uint32_t i = 0; list && i < folds->n_variables; i++)
        list[(*n)++] = folds->variables[i];
    return list;
}

static fl_status save(fl_session *s, const char *path, const fl_model_entry_source *entries, uint32_t n_entries, const fl_folds_content *folds,
                      fl_diag *dg)
{
    fl_engine *train = s->engines[FL_PROGRAM_TRAIN];
    fl_model_entry_source all[MAX_ENTRIES];
    fl_model_content content = {.manifest = s->manifest, .entries = all};

    if (train)
        FL_TRY(train->flush(train, dg));
    if (!s->options.train)
        FL_TRY(verify_tables(s, dg)); /* what is copied from the file gets fresh checksums */
    FL_TRY(fl_model_verify_entries(s->model, dg));
    FL_TRY(fl_model_source(s->model, &content.source, dg));
    for (int p = 0; p < FL_N_PROGRAMS; p++)
        FL_TRY(fl_model_program(s->model, (fl_program)p, &content.programs[p], dg));
    collect_entries(s, entries, n_entries, all, &content.n_entries);
    fl_model_variable_source *variables = collect_variables(s, folds, &content.n_variables);
    if (!variables)
        return fl_out_of_memory(dg);
    bool *checksums = calloc(content.n_variables + 1, sizeof *checksums);
    for (uint32_t i = 0; checksums && folds->n_variables > 0 && i < content.n_variables; i++)
        checksums[i] = fl_folds_reads(s->programs[FL_PROGRAM_PROLOGUE], variables[i].name);
    content.variables = variables;
    content.checksums = checksums;
    fl_status status = checksums ? fl_model_save(path, &content, dg) : fl_out_of_memory(dg);
    free(checksums);
    free(variables);
    return status;
}

fl_status fl_session_save(fl_session *s, const char *path, const fl_model_entry_source *entries, uint32_t n_entries, fl_diag *dg)
{
    return save(s, path, entries, n_entries, &(fl_folds_content){0}, dg);
}

/* Folded tables of an open session, which holds them in memory. */
static fl_status save_folds(fl_session *s, const char *to, uint64_t *bytes, fl_diag *dg)
{
    fl_folds_content folds = {0};
    fl_engine *predict;

    *bytes = 0;
    if (s->folded) {
        FL_TRY(verify_tables(s, dg));
        FL_TRY(fl_session_engine(s, FL_PROGRAM_PREDICT, 1, &predict, dg)); /* and with it the folding */
        FL_TRY(fl_folds_describe(&s->variables.store, s->programs[FL_PROGRAM_PROLOGUE], &s->arena, &folds, dg));
        for (uint32_t i = 0; i < folds.n_variables; i++)
            *bytes += (uint64_t)fl_type_elements(&folds.variables[i].type) * fl_dtype_size(folds.variables[i].type.dtype);
        return save(s, to, &folds.entry, 1, &folds, dg);
    }
    const fl_graph *folded = NULL;
    FL_TRY(fl_model_program(s->model, FL_PROGRAM_FOLDED, &folded, dg));
    if (folded)
        return fl_error(dg, FL_E_NO_MEMORY, FL_FILE(fl_model_path(s->model)), "folded tables would take %llu MB, more than the %llu MB that are free",
                        (unsigned long long)(bytes_beyond(s, folded, s->programs[FL_PROGRAM_PREDICT]) >> 20),
                        (unsigned long long)(s->options.fold_bytes >> 20));
    return save(s, to, NULL, 0, &folds, dg);
}

fl_status fl_session_store_folds(const char *path, const char *to, const fl_session_options *options, uint64_t *bytes, fl_diag *dg)
{
    fl_session_options o = *options;
    fl_session s;
    size_t free_memory = fl_memory_available();

    o.train = o.first_weights = false;
    o.interpret = NULL;
    o.stored_folds = FL_STORED_FOLDS_IGNORED;
    o.fold_bytes = free_memory ? free_memory : UINT64_MAX;
    FL_TRY(fl_session_open(&s, path, &o, dg));
    fl_status status = save_folds(&s, to, bytes, dg);
    fl_session_close(&s);
    return status;
}
