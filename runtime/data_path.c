#include "runtime/data_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/cache_file.h"

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* "FOLDER/NAME" if that is a file and, where asked, a cache; NULL in *out otherwise. */
static fl_status find_inside(const char *folder, const char *name, bool cache, char **out, fl_diag *dg)
{
    char *path;
    bool fits = false;

    *out = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return fl_out_of_memory(dg);
    fl_status status = FL_OK;
    if (is_file(path)) {
        fits = !cache;
        if (cache)
            status = fl_cache_recognise(path, &fits, dg);
    }
    if (status == FL_OK && fits)
        *out = path;
    else
        free(path);
    return status;
}

fl_status fl_data_path(const char *path, fl_data_part part, char **out, bool *prepared, fl_diag *dg)
{
    char *train = NULL, *valid = NULL;

    if (is_folder(path)) {
        FL_TRY(find_inside(path, "train", true, &train, dg));
        if (train && part == FL_DATA_VALID) {
            fl_status status = find_inside(path, "valid", true, &valid, dg);
            if (status != FL_OK) {
                free(train);
                return status;
            }
        }
    }
    if (prepared)
        *prepared = train != NULL;
    if (valid) {
        free(train);
        train = valid;
    }
    *out = train ? train : strdup(path);
    return *out ? FL_OK : fl_out_of_memory(dg);
}

/* The folder that may hold the vocabulary of the caches at `path`: itself, or the one that the cache stands in. NULL: not prepared. */
static fl_status prepared_folder(const char *path, char **out, fl_diag *dg)
{
    char *train = NULL;
    bool is_cache = false;

    *out = NULL;
    if (is_folder(path)) {
        FL_TRY(find_inside(path, "train", true, &train, dg));
        is_cache = train != NULL;
        free(train);
        *out = is_cache ? strdup(path) : NULL;
    } else if (is_file(path)) {
        FL_TRY(fl_cache_recognise(path, &is_cache, dg));
        const char *slash = strrchr(path, '/');
        if (is_cache)
            *out = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    }
    return is_cache && !*out ? fl_out_of_memory(dg) : FL_OK;
}

fl_status fl_data_vocabulary(const char *path, const fl_schema *schema, uint32_t quirks, uint32_t threads,
                             void (*note)(const char *text), fl_vocabulary **out, fl_diag *dg)
{
    char *folder, *file = NULL;

    FL_TRY(prepared_folder(path, &folder, dg));
    if (folder) {
        fl_status status = find_inside(folder, "vocabulary", false, &file, dg);
        if (status == FL_OK && file) {
            status = fl_vocabulary_load(file, schema, out, dg);
        } else if (status == FL_OK) {
            status = fl_error(dg, FL_E_UNBOUND, FL_FILE(path), "the model has seen no data, and no file `vocabulary` lies beside this cache");
            fl_hint(dg, "`flenrt prepare` writes both, and the model bound to them, into one folder");
        }
        free(file);
        free(folder);
        return status;
    }
    if (strcmp(path, "-") == 0) {
        (void)fl_error(dg, FL_E_UNBOUND, FL_NOWHERE, "the model has seen no data, and a vocabulary cannot be made from standard input, which is read only once");
        fl_hint(dg, "`flenrt prepare model.bin RAW -o DIR` makes vocabulary and cache");
        return FL_BAD_INPUT;
    }
    if (note)
        note("the model has seen no data: counting its values first");
    return fl_vocabulary_build(&path, 1, schema, quirks, threads, false, out, NULL, dg);
}
