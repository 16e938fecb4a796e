/* verb_eval.c -- `flenrt eval`: a graph on tensors, numpy's files in and out. */
#include "runtime/verbs_model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "backend/backend.h"
#include "ir/shape.h"
#include "runtime/npy_file.h"
#include "runtime/tensor_run.h"
#include "runtime/verb_options.h"

static const char help[] =
    "usage: flenrt eval model.bin --in DIR --out DIR [options]\n"
    "\n"
    "Runs the model's predict program once on tensors: reads DIR/NAME.npy for each input, writes DIR/NAME.npy for each output.\n"
    "Works for any graph that `flenc compile` takes, ONNX files of others included. `flenrt info` lists inputs and outputs; a `/` in a\n"
    "name is written `_`. Arrays have the input's element type exactly, are row-major and little-endian. Inputs that are looked up in a\n"
    "table hold its rows, from 0. `flenrt predict` writes a line a row instead, `flenrt bench` measures.\n"
    "\n"
    "  --in DIR                  where the inputs' files are\n"
    "  --out DIR                 where the outputs' files go; made if it is not there\n" FL_HELP_THREADS FL_HELP_ENGINE FL_HELP_COMMON
    "\n"
    "example: flenc compile net.onnx -o net.bin && flenrt eval net.bin --in inputs --out outputs\n";

enum { TYPE_BYTES = 200 };

typedef struct folders {
    const char *in, *out;
} folders;

static fl_status read_inputs(const fl_graph *g, const char *folder, fl_array *inputs, fl_diag *dg)
{
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        fl_npy a;
        char *path = fl_npy_path(folder, g->values[g->inputs[i]].name);
        fl_status status = path ? fl_npy_read(path, &a, dg) : fl_out_of_memory(dg);
        free(path);
        if (status != FL_OK) {
            char type[TYPE_BYTES];
            fl_type_print(g, fl_value_type(g, g->inputs[i]), type, sizeof type);
            fl_hint(dg, "input \"%s\" is %s", g->values[g->inputs[i]].name, type);
            return status;
        }
        inputs[i] = (fl_array){a.type, a.bytes, a.n_bytes};
    }
    return FL_OK;
}

static fl_status write_outputs(const fl_graph *g, const char *folder, const fl_array *outputs, fl_diag *dg)
{
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fl_error(dg, FL_E_OPEN, FL_FILE(folder), "cannot make the folder: %s", strerror(errno));
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        char *path = fl_npy_path(folder, g->values[g->outputs[i]].name);
        fl_status status = path ? fl_npy_write(path, &outputs[i].type, outputs[i].bytes, dg) : fl_out_of_memory(dg);
        free(path);
        if (status != FL_OK)
            return status;
    }
    return FL_OK;
}

static void print_outputs(const fl_verb_options *o, const fl_graph *g, const char *folder, const fl_array *outputs, double seconds)
{
    if (o->json)
        printf("{\"event\":\"done\",\"seconds\":%.6f,\"outputs\":[", seconds);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const char *name = g->values[g->outputs[i]].name;
        char type[TYPE_BYTES], *path = fl_npy_path(folder, name);
        fl_type_print(g, &outputs[i].type, type, sizeof type);
        if (o->json) {
            fputs(i ? ",{\"name\":" : "{\"name\":", stdout);
            fl_json_string(stdout, name);
            fputs(",\"type\":", stdout);
            fl_json_string(stdout, type);
            fputs(",\"path\":", stdout);
            fl_json_string(stdout, path ? path : "");
            putchar('}');
        } else if (!o->quiet) {
            printf("%s %s: %s\n", type, name, path ? path : "");
        }
        free(path);
    }
    if (o->json)
        puts("]}");
}

static fl_status eval_session(const fl_verb_options *o, const folders *f, fl_session *s, fl_diag *dg)
{
    const fl_graph *g = s->programs[FL_PROGRAM_PREDICT];
    struct timespec begin, end;

    if (!g)
        return fl_error(dg, FL_E_NO_PROGRAM, FL_FILE(o->model), "the model has no predict program");
    fl_array *inputs = calloc((size_t)g->n_inputs + 1, sizeof *inputs), *outputs = calloc((size_t)g->n_outputs + 1, sizeof *outputs);
    fl_status status = inputs && outputs ? read_inputs(g, f->in, inputs, dg) : fl_out_of_memory(dg);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    if (status == FL_OK)
        status = fl_tensor_run(s, FL_PROGRAM_PREDICT, fl_interp_engine_new, inputs, outputs, dg);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (status == FL_UNSUPPORTED && !o->interpret)
        fl_hint(dg, "`--backend=interp` runs what has no generated code");
    if (status == FL_OK)
        status = write_outputs(g, f->out, outputs, dg);
    if (status == FL_OK)
        print_outputs(o, g, f->out, outputs, (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec));
    for (uint32_t i = 0; inputs && i < g->n_inputs; i++)
        free(inputs[i].bytes);
    for (uint32_t i = 0; outputs && i < g->n_outputs; i++)
        free(outputs[i].bytes);
    free(inputs);
    free(outputs);
    return status;
}

static bool take(void *arg, const char *name, char *value)
{
    folders *f = arg;

    if (strcmp(name, "in") == 0)
        f->in = value;
    else
        f->out = value;
    return *value != 0;
}

int fl_verb_eval(int argc, char **argv)
{
    static const fl_verb_option own[] = {{"in", true}, {"out", true}};
    folders f = {NULL, NULL};
    fl_verb verb = {"eval", help, FL_TAKES_THREADS | FL_TAKES_ENGINE, own, FL_COUNT(own), take, &f};
    fl_verb_options o;
    fl_session s;
    fl_diag dg;
    int wrong = fl_verb_parse(&verb, argc, argv, &o);

    if (wrong >= 0)
        return wrong;
    if (!f.in || !f.out)
        return fl_verb_wrong(verb.name, "--in DIR and --out DIR are needed: the tensors' folders");
    fl_verb_exit_on_interrupts();
    fl_diag_init(&dg);
    fl_status status = fl_verb_session(&o, false, &s, &dg);
    if (status == FL_OK) {
        status = eval_session(&o, &f, &s, &dg);
        fl_session_close(&s);
    }
    return fl_verb_end(status, &dg);
}
