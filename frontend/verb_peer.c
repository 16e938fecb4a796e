/* verb_peer.c -- a graph in ONNX Runtime, in a child that speaks Python: our own programs need neither. */
#include "frontend/verb_peer.h"

#include "ir/model.h"
#include "runtime/npy_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_PYTHON = 127, NO_RUNTIME = 3 }; /* exit statuses of the child */

/* Inputs and outputs go by their order: names may hold anything. */
static const char script[] =
    "import sys\n"
    "try:\n"
    "    import numpy, onnxruntime\n"
    "except ImportError as missing:\n"
    "    print(missing, file=sys.stderr)\n"
    "    sys.exit(3)\n"
    "options = onnxruntime.SessionOptions()\n"
    "options.log_severity_level = 3\n"
    "session = onnxruntime.InferenceSession('model.onnx', options, providers=['CPUExecutionProvider'])\n"
    "inputs = {value.name: numpy.load('in.%d.npy' % i) for i, value in enumerate(session.get_inputs())}\n"
    "for i, result in enumerate(session.run(None, inputs)):\n"
    "    numpy.save('out.%d.npy' % i, numpy.ascontiguousarray(result))\n";

static fl_status cannot(fl_diag *dg, const char *path, const char *what)
{
    return fl_error(dg, FL_E_WRITE, FL_FILE(path), "%s: %s", what, strerror(errno));
}

static fl_status file_path(char *path, size_t size, const char *folder, const char *kind, uint32_t i, fl_diag *dg)
{
    int n = kind ? snprintf(path, size, "%s/%s.%u.npy", folder, kind, i) : snprintf(path, size, "%s/model.onnx", folder);
    return n > 0 && (size_t)n < size ? FL_OK : fl_error(dg, FL_E_WRITE, FL_FILE(folder), "its name is too long");
}

/* The graph with all that the trial has drawn as stored data, and the inputs' values. */
static fl_status write_files(const fl_graph *g, const fl_trial *t, const char *folder, fl_diag *dg)
{
    char path[512];
    void *bytes = NULL;
    size_t n = 0;
    fl_graph *copy = fl_graph_clone(g);
    fl_status s = fl_graph_ok(copy, dg);
    for (uint32_t i = 0; s == FL_OK && i < copy->n_variables; i++) {
        fl_value *v = &copy->values[copy->variables[i]];
        if (v->kind == FL_VALUE_VARIABLE && v->name)
            v->data = fl_trial_leaf(t, g->variables[i]);
    }
    if (s == FL_OK)
        s = fl_onnx_encode(copy, &(fl_onnx_options){.opset = FL_ONNX_LOWEST, .functions = true}, &bytes, &n, dg);
    if (s == FL_OK)
        s = file_path(path, sizeof path, folder, NULL, 0, dg);
    FILE *f = s == FL_OK ? fopen(path, "wb") : NULL;
    if (s == FL_OK && (!f || fwrite(bytes, 1, n, f) != n))
        s = cannot(dg, path, "cannot be written");
    if (f && fclose(f) != 0 && s == FL_OK)
        s = cannot(dg, path, "cannot be written");
    free(bytes);
    for (uint32_t i = 0; s == FL_OK && i < g->n_inputs; i++) {
        const fl_tensor *leaf = fl_trial_leaf(t, g->inputs[i]);
        s = file_path(path, sizeof path, folder, "in", i, dg);
        if (s == FL_OK)
            s = fl_npy_write(path, &leaf->type, leaf->bytes, dg);
    }
    fl_graph_free(copy);
    return s;
}

/* The last line of what the child said. */
static void last_words(const char *folder, char *words, size_t size)
{
    char path[512], line[512];
    FILE *f = snprintf(path, sizeof path, "%s/log", folder) < (int)sizeof path ? fopen(path, "r") : NULL;
    words[0] = '\0';
    while (f && fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0])
            snprintf(words, size, "%s", line);
    }
    if (f)
        fclose(f);
}

static fl_status run_python(const char *folder, fl_diag *dg)
{
    const char *given = getenv("FLEN_PYTHON"), *python = given && *given ? given : "python3";
    char words[512];
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        int log = chdir(folder) == 0 ? open("log", O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
        if (log >= 0 && dup2(log, STDOUT_FILENO) >= 0 && dup2(log, STDERR_FILENO) >= 0)
            execlp(python, python, "-c", script, (char *)NULL);
        _exit(NO_PYTHON);
    }
    if (child < 0)
        return fl_error(dg, FL_E_PEER, FL_NOWHERE, "no process for ONNX Runtime can be started: %s", strerror(errno));
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return fl_error(dg, FL_E_PEER, FL_NOWHERE, "the process of ONNX Runtime is lost: %s", strerror(errno));
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (code == 0)
        return FL_OK;
    last_words(folder, words, sizeof words);
    fl_status s;
    if (code == NO_PYTHON)
        s = fl_error(dg, FL_E_PEER, FL_NOWHERE, "\"%s\", in which ONNX Runtime would run, cannot be started", python);
    else if (code == NO_RUNTIME)
        s = fl_error(dg, FL_E_PEER, FL_NOWHERE, "ONNX Runtime is not installed for \"%s\": %s", python, words);
    else if (code < 0)
        s = fl_error(dg, FL_E_PEER, FL_NOWHERE, "ONNX Runtime died of signal %d", WTERMSIG(status));
    else
        s = fl_error(dg, FL_E_PEER, FL_NOWHERE, "ONNX Runtime does not run the exported program: %s", words);
    if (code == NO_PYTHON || code == NO_RUNTIME)
        fl_hint(dg, "$FLEN_PYTHON may name a python that has the packages onnxruntime and numpy");
    return s;
}

static fl_status compare(const fl_graph *g, const fl_trial *t, const char *folder, double tolerance, fl_id *differs, fl_difference *d, fl_diag *dg)
{
    char path[512];
    *differs = FL_NONE;
    for (uint32_t i = 0; i < g->n_outputs && *differs == FL_NONE; i++) {
        fl_npy got = {0};
        FL_TRY(file_path(path, sizeof path, folder, "out", i, dg));
        FL_TRY(fl_npy_read(path, &got, dg));
        if (fl_trial_differs_from(t, g->outputs[i], &(fl_tensor){.type = got.type, .bytes = got.bytes, .length = got.n_bytes}, tolerance, d))
            *differs = g->outputs[i];
        fl_npy_free(&got);
    }
    return FL_OK;
}

static void remove_files(const fl_graph *g, const char *folder)
{
    char path[512];
    for (uint32_t i = 0; i < g->n_inputs; i++)
        if (file_path(path, sizeof path, folder, "in", i, NULL) == FL_OK)
            (void)unlink(path);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (file_path(path, sizeof path, folder, "out", i, NULL) == FL_OK)
            (void)unlink(path);
    if (file_path(path, sizeof path, folder, NULL, 0, NULL) == FL_OK)
        (void)unlink(path);
    if (snprintf(path, sizeof path, "%s/log", folder) < (int)sizeof path)
        (void)unlink(path);
    (void)rmdir(folder);
}

fl_status fl_peer_run(const fl_graph *g, const fl_trial_options *options, double tolerance, fl_id *differs, fl_difference *d, fl_diag *dg)
{
    const char *place = getenv("TMPDIR");
    char folder[400];
    fl_trial *t = NULL;
    snprintf(folder, sizeof folder, "%.300s/flenc-peer-XXXXXX", place && *place ? place : "/tmp");
    FL_TRY(fl_trial_new(g, options, &t, dg));
    fl_status s = mkdtemp(folder) ? FL_OK : cannot(dg, folder, "cannot be made");
    if (s == FL_OK) {
        s = write_files(g, t, folder, dg);
        if (s == FL_OK)
            s = run_python(folder, dg);
        if (s == FL_OK)
            s = compare(g, t, folder, tolerance, differs, d, dg);
        remove_files(g, folder);
    }
    fl_trial_free(t);
    return s;
}
