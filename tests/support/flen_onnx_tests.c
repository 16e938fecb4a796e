/*
 * flen-onnx-tests DIR... [--backend=interp] [--quiet] [--wrong=NAME]... -- runs backend tests in ONNX's own form.
 *
 * DIR is one test (a folder with model.onnx) or a folder of tests. Each has test_data_set_*<N>*, with input_<i>.pb and output_<i>.pb, each a
 * serialised TensorProto. Each test gives one line: PASS name; FAIL name: what, where, got, want; or UNSUPPORTED name: why. Numbers are
 * compared as ONNX does: |got - want| <= 1e-7 + 1e-3 |want|, after rounding to the output's type. --wrong names a test whose data is known to be
 * wrong: it must fail, and counts as unsupported. The last line counts.
 */
#include "backend/interp/interp.h"
#include "ir/model.h"
#include "ir/shape.h"
#include "ir/verify.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef enum outcome { PASS, FAIL, UNSUPPORTED } outcome;

typedef struct run {
    bool quiet;
    uint32_t count[3];
    const char **wrong; /* names of tests whose data is known to be wrong */
    int n_wrong;
} run;

/* One test while it runs. */
typedef struct test {
    const char *folder;
    fl_graph *g;
    fl_diag diag;
    fl_arena arena;
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

static bool is_close(double got, double want)
{
    if (isnan(want) || isinf(want))
        return isnan(want) ? isnan(got) : got == want;
    return fabs(got - want) <= 1e-7 + 1e-3 * fabs(want);
}

static bool fail(test *t, const char *output, const char *what, double got, double want)
{
    snprintf(t->why, sizeof t->why, "%s, %s, got %.9g, want %.9g", output, what, got, want);
    return false;
}

static bool same(test *t, const char *output, const fl_array *got, const fl_tensor *want)
{
    char what[64];
    if (got->rank != want->type.rank)
        return fail(t, output, "rank", got->rank, want->type.rank);
    for (int d = 0; d < got->rank; d++) {
        snprintf(what, sizeof what, "dimension %d", d);
        if (got->dims[d] != want->type.dims[d])
            return fail(t, output, what, (double)got->dims[d], (double)want->type.dims[d]);
    }
    if (fl_dtype_is_real(want->type.dtype) != (got->f != NULL))
        return fail(t, output, "kind of number", got->f != NULL, fl_dtype_is_real(want->type.dtype));
    for (int64_t k = 0; k < got->n; k++) {
        char rounded[8];
        fl_tensor one = {.type = fl_type_make(want->type.dtype, 0, NULL), .bytes = rounded};
        if (got->f)
            fl_tensor_set_double(rounded, want->type.dtype, 0, got->f[k]);
        else
            fl_tensor_set_int(rounded, want->type.dtype, 0, got->i[k]);
        snprintf(what, sizeof what, "element %lld", (long long)k);
        if (got->f ? !is_close(fl_tensor_get_double(&one, 0), fl_tensor_get_double(want, k)) : got->i[k] != fl_tensor_get_int(want, k))
            return fail(t, output, what, fl_tensor_get_double(&one, 0), fl_tensor_get_double(want, k));
    }
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

static outcome run_set(test *t, fl_interp *in, uint32_t set)
{
    for (uint32_t i = 0; i < t->g->n_inputs; i++) {
        fl_tensor *x = NULL;
        fl_status status = read_tensor(t, set, "input", i, &x);
        if (status == FL_OK)
            status = fl_interp_set(in, t->g->inputs[i], x, &t->diag);
        if (status != FL_OK)
            return by_status(t, status);
    }
    fl_status status = fl_interp_run(in, &t->diag);
    if (status != FL_OK)
        return by_status(t, status);
    for (uint32_t i = 0; i < t->g->n_outputs; i++) {
        fl_tensor *want = NULL;
        const fl_array *got = fl_interp_get(in, t->g->outputs[i]);
        status = got ? read_tensor(t, set, "output", i, &want) : FL_FAILED;
        if (status != FL_OK)
            return by_status(t, status);
        if (!same(t, t->g->values[t->g->outputs[i]].name, got, want))
            return FAIL;
    }
    return PASS;
}

static outcome run_test(test *t)
{
    char *path = fl_arena_printf(&t->arena, "%s/model.onnx", t->folder);
    size_t n;
    void *bytes = path ? read_file(&t->arena, path, &n) : NULL;
    fl_status status = bytes ? fl_onnx_decode(bytes, n, path, t->folder, &t->g, &t->diag) : FL_IO;
    if (status == FL_OK)
        status = fl_graph_verify(t->g, &t->diag);
    if (status != FL_OK)
        return by_status(t, status);
    if (draws(t->g)) {
        snprintf(t->why, sizeof t->why, "its outputs are random");
        return UNSUPPORTED;
    }
    fl_interp *in = NULL;
    status = fl_interp_new(t->g, &in, &t->diag);
    outcome found = status == FL_OK ? PASS : by_status(t, status);
    char *set_path = fl_arena_printf(&t->arena, "%s/test_data_set_0", t->folder);
    if (found == PASS && (!set_path || !exists(set_path))) {
        snprintf(t->why, sizeof t->why, "there is no test_data_set_0");
        found = FAIL;
    }
    for (uint32_t set = 0; found == PASS && set_path && exists(set_path); set++) {
        found = run_set(t, in, set);
        set_path = fl_arena_printf(&t->arena, "%s/test_data_set_%u", t->folder, set + 1);
    }
    fl_interp_free(in);
    return found;
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

static void run_one(run *r, const char *folder)
{
    static const char *const words[] = {"PASS", "FAIL", "UNSUPPORTED"};
    test t = {.folder = folder};
    fl_diag_init(&t.diag);
    fl_arena_init(&t.arena);
    outcome found = run_test(&t);
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    for (int i = 0; i < r->n_wrong; i++)
        if (strcmp(r->wrong[i], name) == 0)
            found = judge_wrong(&t, found);
    r->count[found]++;
    if (found != PASS)
        printf("%s %s: %s\n", words[found], name, t.why);
    else if (!r->quiet)
        printf("PASS %s\n", name);
    fl_graph_free(t.g);
    fl_diag_deinit(&t.diag);
    fl_arena_deinit(&t.arena);
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
        fprintf(stderr, "usage: flen-onnx-tests DIR... [--backend=interp] [--quiet] [--wrong=NAME]...\n");
        return 2;
    }
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-')
            ok = run_folder(&r, argv[i]) && ok;
    free(wrong);
    printf("%u passed, %u failed, %u skipped\n", r.count[PASS], r.count[FAIL], r.count[UNSUPPORTED]);
    return ok && r.count[FAIL] == 0 && r.count[PASS] > 0 ? 0 : 1;
}
