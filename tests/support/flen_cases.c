/*
 * flen-cases PATH [--backend=interp|native] -- our networks against numeric reference cases that others computed.
 *
 * PATH is a case folder, a folder of them, or a file of layer cases (fwbi_cases.json). Each case gives a line `PASS id`, `FAIL id: array,
 * index, got, want` (or what else was wrong) or `SKIP id: what is not known`; the last line counts them. Exit status 1 if any failed.
 */
#include "cases/checks.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct totals {
    uint32_t n[3]; /* by outcome */
} totals;

static void report(void *arg, const char *id, const verdict *v)
{
    totals *t = arg;
    t->n[v->outcome]++;
    if (v->outcome == CASE_PASSED)
        printf("PASS %s\n", id);
    else
        printf("%s %s: %s\n", v->outcome == CASE_FAILED ? "FAIL" : "SKIP", id, v->text);
    fflush(stdout);
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void check_folder(const char *folder, run_backend backend, totals *t)
{
    char id[200] = "";
    verdict v = {CASE_PASSED, ""};
    check_reference(folder, backend, id, &v);
    report(t, id[0] ? id : last_part(folder), &v);
}

static bool is_case(const char *folder)
{
    char path[4096];
    struct stat st;
    snprintf(path, sizeof path, "%s/case.json", folder);
    return stat(path, &st) == 0;
}

/* Cases in the order of their names. */
static int check_folders(const char *path, run_backend backend, totals *t)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort), found = 0;
    if (n < 0) {
        fprintf(stderr, "flen-cases: %s cannot be read\n", path);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char folder[4096];
        snprintf(folder, sizeof folder, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && is_case(folder)) {
            check_folder(folder, backend, t);
            found++;
        }
        free(entries[i]);
    }
    free(entries);
    if (found == 0)
        fprintf(stderr, "flen-cases: %s has no case\n", path);
    return found == 0;
}

static int usage(FILE *to)
{
    fputs("usage: flen-cases PATH [--backend=interp|native]\n"
          "PATH is a case folder, a folder of them, or fwbi_cases.json.\n",
          to);
    return to == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    run_backend backend = RUN_INTERP;
    totals t = {{0, 0, 0}};
    struct stat st;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout);
        if (strcmp(argv[i], "--backend=native") == 0)
            backend = RUN_NATIVE;
        else if (strcmp(argv[i], "--backend=interp") == 0)
            backend = RUN_INTERP;
        else if (argv[i][0] == '-' || path)
            return usage(stderr);
        else
            path = argv[i];
    }
    if (!path)
        return usage(stderr);
    if (stat(path, &st) != 0) {
        fprintf(stderr, "flen-cases: %s cannot be opened\n", path);
        return 1;
    }
    int wrong = 0;
    if (!S_ISDIR(st.st_mode)) {
        verdict v = {CASE_PASSED, ""};
        if (!check_layers(path, backend, report, &t, &v)) {
            fprintf(stderr, "flen-cases: %s: %s\n", path, v.text);
            wrong = 1;
        }
    } else if (is_case(path)) {
        check_folder(path, backend, &t);
    } else {
        wrong = check_folders(path, backend, &t);
    }
    printf("%u passed, %u failed, %u skipped\n", t.n[CASE_PASSED], t.n[CASE_FAILED], t.n[CASE_SKIPPED]);
    return wrong || t.n[CASE_FAILED] > 0;
}
