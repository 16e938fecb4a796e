/*
 * flen-onnx-tests DIR... [--backend=interp|native] [--quiet | --table] [--wrong=NAME]... [--tolerance=R] -- runs backend tests in ONNX's own form.
 *
 * DIR is one test (a folder with model.onnx) or a folder of tests. Each has test_data_set_*<N>*, with input_<i>.pb and output_<i>.pb, each a
 * serialised TensorProto. Each test gives one line: PASS name; FAIL name: what, where, got, want; or UNSUPPORTED name: why. Numbers are
 * compared as ONNX does: |got - want| <= 1e-7 + R |want|, R = 1e-3, after rounding to the output's type. --wrong names a test whose data is known to be
 * wrong: it must fail, and counts as unsupported. The last line counts.
 *
 * Native code needs static shapes: operands that hold shapes (axes, sizes, pads) and are inputs of the model become constants with the test's
 * values first. Each native test has a process of its own, so that a crash is that test's failure. What passes without a
 * node left to run (its outputs were constant) is counted apart.
 *
 * --table runs both backends and prints, instead of lines, a table in Markdown: operators that are read, how, and how many tests of a model
 * that has the operator pass.
 */
#include "backend/backend.h"
#include "backend/interp/interp.h"
#include "ir/model.h"
#include "ir/shape.h"
#include "ir/verify.h"
#include "passes/pass.h"
#include "runtime/code_cache.h"
#include "runtime/native.h"
#include "runtime/variables.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum outcome { PASS, FAIL, UNSUPPORTED, CONSTANT, N_OUTCOMES } outcome; /* CONSTANT: passed, but no code was needed */

typedef struct run {
    bool native, quiet, table;
    struct row *rows; /* of the table */
    uint32_t n_rows;
    uint32_t count[N_OUTCOMES];
    const char **wrong; /* names of tests whose data is known to be wrong */
    int n_wrong;
} run;

/* One test while it runs. */
typedef struct test {
    const char *folder;
    fl_graph *g;
    fl_diag diag;
    fl_arena arena;
    bool native;
    char why[700];
} test;

/* ------------------------------------------------------------------------------------------------------- files */

static bool exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

static void *read_file(fl_arena *arena, const char *path, size_t *n)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    char *bytes = f && fstat(fileno(f), &st) == 0 ? fl_arena_alloc(arena, (size_t)st.st_size + 1) : NULL;
    *n = bytes ? fread(bytes, 1, (size_t)st.st_size, f) : 0;
    if (f)
        fclose(f);
    return bytes;
}

static fl_status read_tensor(test *t, uint32_t set, const char *what, uint32_t i, fl_tensor **out)
{
    const char *name;
    char *path = fl_arena_printf(&t->arena, "%s/test_data_set_%u/%s_%u.pb", t->folder, set, what, i);
    size_t n;
    void *bytes = path ? read_file(&t->arena, path, &n) : NULL;
    if (!bytes) {
        snprintf(t->why, sizeof t->why, "there is no %s_%u.pb in data set %u", what, i, set);
        return FL_IO;
    }
    return fl_onnx_decode_tensor(bytes, n, path, &t->arena, out, &name, &t->diag);
}

/* ------------------------------------------------------------------------------------------------- comparisons */

static double tolerance = 1e-3;

static bool is_close(double got, double want)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    return fabs(got - want) <= 1e-7 + tolerance * fabs(want);
}

static bool fail(test *t, const char *output, const char *what, double got, double want)
{
    snprintf(t->why, sizeof t->why, "%s, %s, got %.9g, want %.9g", output, what, got, want);
    return false;
}

/* An output: doubles or integers of the interpreter, or a tensor of native code. */
typedef struct result {
    int rank;
    const int64_t *dims;
    const double *f;  /* or */
    const int64_t *i; /* or */
    const fl_tensor *t;
} result;

static bool same_element(test *t, const char *output, const result *got, const fl_tensor *want, int64_t k)
{
    char rounded[8], what[64];
    fl_dtype type = want->type.dtype;
    fl_tensor one = {.type = fl_type_make(type, 0, NULL), .bytes = rounded};
    const fl_tensor *from = got->t ? got->t : &one;
    int64_t at = got->t ? k : 0;
    if (type == FL_STRING) {
        const char *a = (const char *)(intptr_t)(got->i ? got->i[k] : 0), *b = (const char *)(intptr_t)fl_tensor_get_int(want, k);
        if (a && strcmp(a, b) == 0)
            return true;
        snprintf(t->why, sizeof t->why, "%s, element %lld, got \"%.100s\", want \"%.100s\"", output, (long long)k, a ? a : "", b);
        return false;
    }
    if (got->f)
        fl_tensor_set_double(rounded, type, 0, got->f[k]);
    if (got->i)
        fl_tensor_set_int(rounded, type, 0, got->i[k]);
    if (fl_dtype_is_real(type) ? is_close(fl_tensor_get_double(from, at), fl_tensor_get_double(want, k))
                               : fl_tensor_get_int(from, at) == fl_tensor_get_int(want, k))
        return true;
    snprintf(what, sizeof what, "element %lld", (long long)k);
    return fail(t, output, what, fl_tensor_get_double(from, at), fl_tensor_get_double(want, k));
}

static bool same(test *t, const char *output, const result *got, const fl_tensor *want)
{
    char what[64];
    if (got->rank != want->type.rank)
        return fail(t, output, "rank", got->rank, want->type.rank);
    for (int d = 0; d < got->rank; d++) {
        snprintf(what, sizeof what, "dimension %d", d);
        if (got->dims[d] != want->type.dims[d])
            return fail(t, output, what, (double)got->dims[d], (double)want->type.dims[d]);
    }
    if (!got->t && fl_dtype_is_real(want->type.dtype) != (got->f != NULL))
        return fail(t, output, "kind of number", got->f != NULL, fl_dtype_is_real(want->type.dtype));
    if (got->t && got->t->type.dtype != want->type.dtype)
        return fail(t, output, "element type", got->t->type.dtype, want->type.dtype);
    for (int64_t k = 0; k < fl_type_elements(&want->type); k++)
        if (!same_element(t, output, got, want, k))
            return false;
    return true;
}

/* -------------------------------------------------------------------------------------------------------- a test */

/* The first report of the test's sink, as its reason. */
static outcome by_status(test *t, fl_status status)
{
    if (!*t->why)
        snprintf(t->why, sizeof t->why, "%s", t->diag.n_entries ? t->diag.entries[0].text : fl_status_text(status));
    return status == FL_UNSUPPORTED ? UNSUPPORTED : FAIL;
}

static bool draws(const fl_graph *g)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op == FL_OP_UNIFORM_LIKE)
            return true;
    return false;
}

static outcome interpret_set(test *t, uint32_t set)
{
    fl_interp *in = NULL;
    fl_status status = fl_interp_new(t->g, &in, &t->diag);
    for (uint32_t i = 0; i < t->g->n_inputs && status == FL_OK; i++) {
        fl_tensor *x = NULL;
        status = read_tensor(t, set, "input", i, &x);
        if (status == FL_OK)
            status = fl_interp_set(in, t->g->inputs[i], x, &t->diag);
    }
    if (status == FL_OK)
        status = fl_interp_run(in, &t->diag);
    bool equal = true;
    for (uint32_t i = 0; i < t->g->n_outputs && status == FL_OK && equal; i++) {
        fl_tensor *want = NULL;
        const fl_array *got = fl_interp_get(in, t->g->outputs[i]);
        status = got ? read_tensor(t, set, "output", i, &want) : FL_FAILED;
        if (status == FL_OK)
            equal = same(t, t->g->values[t->g->outputs[i]].name, &(result){got->rank, got->dims, got->f, got->i, NULL}, want);
    }
    fl_interp_free(in);
    return status != FL_OK ? by_status(t, status) : equal ? PASS : FAIL;
}

/* -------------------------------------------------------------------------------------------------- native code */

/* True if operand k of this operator holds a shape, axes or the like. */
static bool holds_shape(fl_op op, uint32_t k)
{
    static const struct {
        fl_op op;
        uint32_t first, last;
    } operands[] = {
        {FL_OP_RESHAPE, 1, 1},   {FL_OP_EXPAND, 1, 1},      {FL_OP_SLICE, 1, 4},       {FL_OP_SQUEEZE, 1, 1},    {FL_OP_UNSQUEEZE, 1, 1},
        {FL_OP_TILE, 1, 1},      {FL_OP_PAD, 1, 1},         {FL_OP_PAD, 3, 3},         {FL_OP_SPLIT, 1, 1},      {FL_OP_TOP_K, 1, 1},
        {FL_OP_RANGE, 0, 2},     {FL_OP_ONE_HOT, 1, 1},     {FL_OP_CUM_SUM, 1, 1},     {FL_OP_TRILU, 1, 1},      {FL_OP_REDUCE_SUM, 1, 1},
        {FL_OP_REDUCE_MAX, 1, 1}, {FL_OP_REDUCE_MEAN, 1, 1}, {FL_OP_REDUCE_MIN, 1, 1},  {FL_OP_REDUCE_PROD, 1, 1}, {FL_OP_CONSTANT_OF_SHAPE, 0, 0},
    };
    for (size_t i = 0; i < FL_COUNT(operands); i++)
        if (operands[i].op == op && k >= operands[i].first && k <= operands[i].last)
            return true;
    return false;
}

static void bind_shapes(fl_graph *g, fl_tensor *const *inputs)
{
    for (fl_id i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in; k++) {
            fl_id v = g->nodes[i].in[k];
            if (v == FL_NONE || g->values[v].kind != FL_VALUE_INPUT || !holds_shape(g->nodes[i].op, k))
                continue;
            uint32_t input = 0;
            while (g->inputs[input] != v)
                input++;
            const fl_tensor *t = inputs[input];
            fl_graph_replace(g, v, fl_graph_constant(g, fl_graph_fresh_name(g, g->values[v].name), t->type, t->bytes));
        }
}

static bool has_code(const fl_graph *g)
{
    for (uint32_t k = 0; k < g->schedule->n_segments; k++)
        if (g->schedule->segments[k].n_nodes > 0)
            return true;
    return false;
}

static fl_status make_engine(const fl_graph *g, const fl_store *store, fl_engine **out, fl_diag *dg)
{
    void *image;
    size_t size;
    fl_image *code = NULL;
    fl_native_options o = {0};
    const char *cpu = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") ? "x86-64-v4" : "x86-64-v3";
    FL_TRY(fl_compile(g, cpu, &image, &size, dg));
    fl_status status = fl_image_load_bytes(image, size, "test", &code, dg);
    free(image);
    return status == FL_OK ? fl_native_engine_new(g, store, code, &o, out, dg) : status;
}

/* Extents of symbols from the inputs' shapes; the outputs' types in them. FL_UNSUPPORTED if an output's shape is known only at run time. */
static fl_status output_types(test *t, const fl_graph *g, fl_tensor *const *inputs, int64_t *dims, fl_type *types)
{
    for (uint32_t s = 0; s < g->n_symbols; s++)
        dims[s] = -1;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        for (int d = 0; d < inputs[i]->type.rank; d++)
            if (FL_DIM_IS_SYM(g->values[g->inputs[i]].type.dims[d]))
                dims[FL_SYM_OF_DIM(g->values[g->inputs[i]].type.dims[d])] = inputs[i]->type.dims[d];
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        types[i] = g->values[g->outputs[i]].type;
        for (int d = 0; d < types[i].rank; d++)
            if (FL_DIM_IS_SYM(types[i].dims[d]))
                types[i].dims[d] = dims[FL_SYM_OF_DIM(types[i].dims[d])];
        if (!fl_type_is_static(&types[i])) {
            snprintf(t->why, sizeof t->why, "the shape of output \"%.100s\" depends on values", g->values[g->outputs[i]].name);
            return FL_UNSUPPORTED;
        }
    }
    return FL_OK;
}

static fl_status run_engine(test *t, const fl_graph *g, fl_engine *e, fl_tensor *const *inputs, uint32_t set, bool *equal)
{
    int64_t *dims = fl_arena_new(&t->arena, int64_t, g->n_symbols + 1u);
    fl_type *types = fl_arena_new(&t->arena, fl_type, g->n_outputs + 1u);
    const void **from = fl_arena_new(&t->arena, const void *, g->n_inputs + 1u);
    void **to = fl_arena_new(&t->arena, void *, g->n_outputs + 1u);
    if (!dims || !types || !from || !to)
        return FL_NO_MEMORY;
    FL_TRY(output_types(t, g, inputs, dims, types));
    for (uint32_t i = 0; i < g->n_inputs; i++)
        from[i] = inputs[i]->bytes;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (!(to[i] = fl_arena_alloc(&t->arena, (size_t)fl_type_elements(&types[i]) * fl_dtype_size(types[i].dtype) + 64)))
            return FL_NO_MEMORY;
    FL_TRY(e->run(e, &(fl_run){dims, from, to}, &t->diag));
    *equal = true;
    for (uint32_t i = 0; i < g->n_outputs && *equal; i++) {
        fl_tensor *want = NULL, got = {.type = types[i], .bytes = to[i]};
        FL_TRY(read_tensor(t, set, "output", i, &want));
        *equal = same(t, g->values[g->outputs[i]].name, &(result){types[i].rank, types[i].dims, NULL, NULL, &got}, want);
    }
    return FL_OK;
}

static outcome compile_set(test *t, uint32_t set)
{
    fl_graph *g = fl_graph_clone(t->g);
    fl_tensor **inputs = fl_arena_new(&t->arena, fl_tensor *, t->g->n_inputs + 1u);
    fl_engine *e = NULL;
    fl_variables variables = {0};
    bool equal = false, code = false;
    fl_status status = g && inputs ? FL_OK : FL_NO_MEMORY;
    for (uint32_t i = 0; i < t->g->n_inputs && status == FL_OK; i++)
        status = read_tensor(t, set, "input", i, &inputs[i]);
    if (status == FL_OK) {
        bind_shapes(g, inputs);
        status = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_predict, .log = stderr}, &t->diag);
    }
    if (status == FL_OK)
        status = fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_schedule, .log = stderr}, &t->diag);
    if (status == FL_OK)
        status = fl_variables_open(&variables, (const fl_graph *const[]){g}, 1, NULL, 0, NULL, 0, NULL, &t->diag);
    if (status == FL_OK) {
        code = has_code(g);
        status = make_engine(g, &variables.store, &e, &t->diag);
    }
    if (status == FL_OK)
        status = run_engine(t, g, e, inputs, set, &equal);
    if (e)
        e->free(e);
    fl_variables_close(&variables);
    fl_graph_free(g);
    return status != FL_OK ? by_status(t, status) : !equal ? FAIL : code ? PASS : CONSTANT;
}

/* ------------------------------------------------------------------------------------------------------ all sets */

static outcome run_test(test *t)
{
    char *path = fl_arena_printf(&t->arena, "%s/model.onnx", t->folder);
    size_t n;
    void *bytes = path ? read_file(&t->arena, path, &n) : NULL;
    fl_status status = bytes ? fl_onnx_decode(bytes, n, path, t->folder, &t->g, &t->diag) : FL_IO;
    if (status == FL_OK)
        status = fl_graph_verify(t->g, &t->diag);
    if (status == FL_OK)
        status = fl_lower_gradients(t->g, &t->diag);
    if (status != FL_OK)
        return by_status(t, status);
    if (draws(t->g)) {
        snprintf(t->why, sizeof t->why, "its outputs are random");
        return UNSUPPORTED;
    }
    outcome found = FAIL;
    snprintf(t->why, sizeof t->why, "there is no test_data_set_0");
    for (uint32_t set = 0;; set++) {
        char *set_path = fl_arena_printf(&t->arena, "%s/test_data_set_%u", t->folder, set);
        if (!set_path || !exists(set_path))
            return found;
        t->why[0] = '\0';
        found = t->native ? compile_set(t, set) : interpret_set(t, set);
        if (found == FAIL || found == UNSUPPORTED)
            return found;
    }
}

/* The test in a process of its own, whose outcome comes through a pipe; without one, it died. */
static outcome run_apart(test *t)
{
    struct {
        outcome found;
        char why[700];
    } said = {.found = FAIL};
    int ends[2], status = 0;
    if (pipe(ends) != 0)
        return FAIL;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct rlimit memory = {2ull << 30, 2ull << 30};
#ifndef __SANITIZE_ADDRESS__ /* its shadow takes terabytes of addresses */
        setrlimit(RLIMIT_AS, &memory);
#else
        (void)memory;
#endif
        setrlimit(RLIMIT_CPU, &(struct rlimit){20, 20}); /* not by the clock: the machine may be busy */
        said.found = run_test(t);
        memcpy(said.why, t->why, sizeof said.why);
        _exit(write(ends[1], &said, sizeof said) == (ssize_t)sizeof said ? 0 : 1);
    }
    close(ends[1]);
    bool told = child > 0 && read(ends[0], &said, sizeof said) == (ssize_t)sizeof said;
    close(ends[0]);
    waitpid(child, &status, 0);
    memcpy(t->why, said.why, sizeof said.why);
    if (!told)
        snprintf(t->why, sizeof t->why, "it died (signal %d)", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return told ? said.found : FAIL;
}

/* Loads the code generator before the first test's process, which would otherwise load it each for itself. */
static void warm_up(void)
{
    fl_graph *g = fl_graph_new("warm");
    void *image = NULL;
    size_t size;
    fl_id x = fl_graph_input(g, "x", fl_type_make(FL_FLOAT, 1, (fl_dim[]){4}));
    fl_graph_output(g, fl_build_1(g, FL_OP_NEG, "y", x));
    if (fl_pipeline_run(g, &(fl_pipeline_options){.passes = fl_pipeline_schedule, .log = stderr}, NULL) != FL_OK ||
        fl_compile(g, "x86-64-v3", &image, &size, NULL) != FL_OK)
        fprintf(stderr, "flen-onnx-tests: the code generator cannot be used\n");
    free(image);
    fl_graph_free(g);
}

/* What the outcome means for a test that must fail. */
static outcome judge_wrong(test *t, outcome found)
{
    char why[600];
    snprintf(why, sizeof why, "%.500s", t->why);
    if (found == FAIL)
        snprintf(t->why, sizeof t->why, "its data is known to be wrong (%s)", why);
    else
        snprintf(t->why, sizeof t->why, "its data was said to be wrong, and is not");
    return found == FAIL ? UNSUPPORTED : FAIL;
}

static void tabulate(run *r, const char *folder);

static void run_one(run *r, const char *folder)
{
    if (r->table) {
        tabulate(r, folder);
        return;
    }
    static const char *const words[] = {"PASS", "FAIL", "UNSUPPORTED", "CONSTANT"};
    test t = {.folder = folder, .native = r->native};
    fl_diag_init(&t.diag);
    fl_arena_init(&t.arena);
    outcome found = r->native ? run_apart(&t) : run_test(&t);
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    for (int i = 0; i < r->n_wrong; i++)
        if (strcmp(r->wrong[i], name) == 0)
            found = judge_wrong(&t, found);
    r->count[found]++;
    if (found == FAIL || found == UNSUPPORTED)
        printf("%s %s: %s\n", words[found], name, t.why);
    else if (!r->quiet)
        printf("%s %s\n", words[found], name);
    fl_graph_free(t.g);
    fl_diag_deinit(&t.diag);
    fl_arena_deinit(&t.arena);
}

/* --------------------------------------------------------------------------------------------------------- table */

/* An operator: how it is read, and the outcomes of tests that use it. */
typedef struct row {
    const char *name, *how;
    uint32_t tests, interpreted, emitted;
} row;

enum { MAX_ROWS = 512 };

static void add_row(run *r, const char *domain, const char *name, const char *how)
{
    static char names[MAX_ROWS][96];
    uint32_t k = 0;
    char full[96];
    snprintf(full, sizeof full, "%s%s%s", domain, *domain ? "." : "", name);
    while (k < r->n_rows && strcmp(r->rows[k].name, full) != 0)
        k++;
    if (k < r->n_rows || k == MAX_ROWS)
        return;
    memcpy(names[k], full, sizeof full);
    r->rows[r->n_rows++] = (row){.name = names[k], .how = how};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const row *)a)->name, ((const row *)b)->name);
}

static bool start_table(run *r)
{
    r->rows = calloc(MAX_ROWS, sizeof *r->rows);
    if (!r->rows)
        return false;
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits)                                \
    if (strncmp(domain, "ai.flen", 7) != 0)                                                                  \
        add_row(r, domain, name, (traits) & FL_EMITTED ? "emitted" : "interpreted");
#include "ir/ops.def"
#undef FL_OP
#define FL_EXPANSION(domain, name, min_in, max_in, max_out, fn) add_row(r, domain, name, "as other operators");
#include "ir/expansions.def"
#undef FL_EXPANSION
    qsort(r->rows, r->n_rows, sizeof *r->rows, by_name);
    return true;
}

static void tabulate(run *r, const char *folder)
{
    test t = {.folder = folder};
    const char *const *names = NULL;
    uint32_t n_names = 0;
    size_t n;
    fl_diag_init(&t.diag);
    fl_arena_init(&t.arena);
    char *path = fl_arena_printf(&t.arena, "%s/model.onnx", folder);
    void *bytes = path ? read_file(&t.arena, path, &n) : NULL;
    if (bytes && fl_onnx_operators(bytes, n, path, &t.arena, &names, &n_names, &t.diag) == FL_OK) {
        outcome interpreted = run_test(&t);
        fl_graph_free(t.g);
        t.g = NULL;
        t.native = true;
        outcome emitted = interpreted == PASS ? run_apart(&t) : UNSUPPORTED;
        r->count[interpreted]++;
        for (uint32_t k = 0; k < n_names; k++) {
            row *found = bsearch(&(row){.name = names[k]}, r->rows, r->n_rows, sizeof *r->rows, by_name);
            if (!found)
                continue;
            found->tests++;
            found->interpreted += interpreted == PASS;
            found->emitted += emitted == PASS;
        }
    }
    fl_graph_free(t.g);
    fl_diag_deinit(&t.diag);
    fl_arena_deinit(&t.arena);
}

static void print_table(const run *r)
{
    printf("| operator | how | tests | interpreter | emitted code |\n|---|---|--:|--:|--:|\n");
    for (uint32_t k = 0; k < r->n_rows; k++)
        printf("| %s | %s | %u | %u | %u |\n", r->rows[k].name, r->rows[k].how, r->rows[k].tests, r->rows[k].interpreted, r->rows[k].emitted);
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static bool run_folder(run *r, const char *folder)
{
    char path[4096];
    struct dirent **entries;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (exists(path)) {
        run_one(r, folder);
        return true;
    }
    int n = scandir(folder, &entries, is_visible, alphasort);
    if (n < 0) {
        fprintf(stderr, "flen-onnx-tests: %s: cannot be read\n", folder);
        return false;
    }
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s/model.onnx", folder, entries[i]->d_name);
        bool one = exists(path);
        snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
        if (one)
            run_one(r, path);
        free(entries[i]);
    }
    free(entries);
    return true;
}

int main(int argc, char **argv)
{
    const char **wrong = calloc((size_t)argc, sizeof *wrong);
    run r = {.wrong = wrong};
    bool ok = true;
    int folders = 0;
    for (int i = 1; i < argc && wrong; i++) {
        if (strncmp(argv[i], "--wrong=", 8) == 0) {
            wrong[r.n_wrong++] = argv[i] + 8;
        } else if (strncmp(argv[i], "--tolerance=", 12) == 0) {
            tolerance = strtod(argv[i] + 12, NULL);
        } else if (strcmp(argv[i], "--backend=native") == 0) {
            r.native = true;
        } else if (strcmp(argv[i], "--table") == 0) {
            r.table = true;
        } else if (strcmp(argv[i], "--quiet") == 0) {
            r.quiet = true;
        } else if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i], "--backend=interp") != 0) {
            fprintf(stderr, "flen-onnx-tests: unknown option %s\n", argv[i]);
            free(wrong);
            return 2;
        }
        folders += argv[i][0] != '-';
    }
    if (folders == 0 || !wrong) {
        free(wrong);
        fprintf(stderr, "usage: flen-onnx-tests DIR... [--backend=interp|native] [--quiet | --table] [--wrong=NAME]... [--tolerance=R]\n");
        return 2;
    }
    if (r.table)
        ok = start_table(&r);
    if (r.native || r.table)
        warm_up();
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            ok = run_folder(&r, argv[i]) && ok;
    free(wrong);
    if (r.table) {
        print_table(&r);
        free(r.rows);
        return ok ? 0 : 1;
    }
    if (r.native)
        printf("%u through emitted code, %u constant\n", r.count[PASS], r.count[CONSTANT]);
    printf("%u passed, %u failed, %u skipped\n", r.count[PASS] + r.count[CONSTANT], r.count[FAIL], r.count[UNSUPPORTED]);
    return ok && r.count[FAIL] == 0 && r.count[PASS] > 0 ? 0 : 1;
}
