#include "runtime/file_list.h"

#include "ir/base/rng.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 64 }; /* of folders: a bound against cycles of symbolic links */

static fl_status add(fl_file_list *list, const char *path, int depth, fl_diag *dg);

static fl_status add_folder(fl_file_list *list, const char *path, int depth, fl_diag *dg)
{
    if (depth > MAX_DEPTH)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "folders lie more than %d deep here", MAX_DEPTH);
    DIR *dir = opendir(path);
    if (!dir)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open the folder: %s", strerror(errno));
    fl_status status = FL_OK;
    size_t length = strlen(path);
    const char *slash = length && path[length - 1] == '/' ? "" : "/";
    for (struct dirent *e; status == FL_OK && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        const char *name = fl_arena_printf(&list->arena, "%s%s%s", path, slash, e->d_name);
        if (!name)
            status = fl_out_of_memory(dg);
        else if (e->d_name[0] != '.')
            status = add(list, name, depth + 1, dg);
        else if (!FL_PUSH(&list->arena, list->hidden, list->n_hidden, list->hidden_capacity, name))
            status = fl_out_of_memory(dg);
    }
    closedir(dir);
    return status;
}

static fl_status add(fl_file_list *list, const char *path, int depth, fl_diag *dg)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return fl_error(dg, FL_E_OPEN, FL_FILE(path), "cannot open: %s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return add_folder(list, path, depth, dg);
    if (S_ISREG(st.st_mode))
        list->total_bytes += st.st_size;
    if (!FL_PUSH(&list->arena, list->paths, list->n, list->capacity, path))
        return fl_out_of_memory(dg);
    return FL_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

fl_status fl_file_list_init(fl_file_list *list, const char *path, fl_diag *dg)
{
    *list = (fl_file_list){0};
    fl_arena_init(&list->arena);
    path = fl_arena_strndup(&list->arena, path, strlen(path));
    if (!path)
        return fl_out_of_memory(dg);
    if (!strcmp(path, "-"))
        return FL_PUSH(&list->arena, list->paths, list->n, list->capacity, path) ? FL_OK : fl_out_of_memory(dg);
    FL_TRY(add(list, path, 0, dg));
    if (list->n == 0)
        return fl_error(dg, FL_E_EMPTY_INPUT, FL_FILE(path), "the folder has no files%s",
                        list->n_hidden ? " but hidden ones, which are left out" : "");
    qsort(list->paths, list->n, sizeof *list->paths, by_text);
    if (list->n_hidden)
        qsort(list->hidden, list->n_hidden, sizeof *list->hidden, by_text);
    return FL_OK;
}

void fl_file_list_shuffle(fl_file_list *list, uint64_t seed)
{
    for (uint32_t i = list->n; i > 1; i--) {
        uint32_t j = (uint32_t)(fl_random_uniform(seed, 0x66696c6573u, i) * i);
        const char *t = list->paths[i - 1];
        list->paths[i - 1] = list->paths[j];
        list->paths[j] = t;
    }
}

void fl_file_list_deinit(fl_file_list *list)
{
    fl_arena_deinit(&list->arena);
    *list = (fl_file_list){0};
}
