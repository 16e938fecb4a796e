/*
 * generator.c -- finds and loads the code generator, which is a shared object of its own because libLLVM costs every process
 * that links it tens of milliseconds.
 */
#include "backend/backend.h"

#include "backend/codegen.h"
#include "ir/verify.h"

#include <dlfcn.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Absolute path of the shared library that this code is part of. False in a program: /proc knows that one's better than its argv[0]. */
static bool own_library(char *path)
{
    static const char here;
    struct link_map *map = NULL;
    Dl_info info;

    return dladdr1(&here, &info, (void **)&map, RTLD_DL_LINKMAP) != 0 && map && map->l_name[0] && realpath(map->l_name, path);
}

/* The generator in one of the places seen from the folder of `file`. False: it is in none. */
static bool find_generator(char *file, char *path, size_t size)
{
    static const char *const places[] = {"flen_codegen.so", "flen/flen_codegen.so", "../flen/flen_codegen.so", "../lib/flen/flen_codegen.so",
                                         "../lib/x86_64-linux-gnu/flen/flen_codegen.so"};
    char *slash = strrchr(file, '/');

    if (slash)
        slash[1] = '\0';
    for (size_t i = 0; slash && i < FL_COUNT(places); i++) {
        snprintf(path, size, "%s%s", file, places[i]);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* The generator's handle, never closed: LLVM cannot be unloaded. NULL if it is not there; dlerror() says why. */
static void *open_generator(void)
{
    char file[PATH_MAX], path[PATH_MAX + 64];
    const char *given = getenv("FLEN_CODEGEN");

    if (given)
        return dlopen(given, RTLD_NOW | RTLD_LOCAL);
    if (own_library(file) && find_generator(file, path, sizeof path))
        return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ssize_t n = readlink("/proc/self/exe", file, sizeof file - 1);
    file[n > 0 ? n : 0] = '\0';
    return find_generator(file, path, sizeof path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

fl_status fl_compile_as(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg)
{
    FL_TRY(fl_schedule_verify(g, dg)); /* generated code checks nothing: a file that lies about memory ends here */
    void *library = open_generator();
    fl_codegen_fn *generate = NULL;

    if (library)
        *(void **)&generate = dlsym(library, "fl_codegen"); /* POSIX's way to a function */
    if (!generate) {
        const char *why = dlerror();
        fl_status s = fl_error(dg, FL_E_NO_GENERATOR, FL_NOWHERE, "the code generator cannot be loaded: %s",
                               why ? why : "flen_codegen.so is neither beside the program or library nor in ../lib/flen");
        fl_hint(dg, "$FLEN_CODEGEN may name it");
        return s;
    }
    fl_codegen_options options = {cpu, emit};
    return generate(g, &options, image, size, dg);
}

fl_status fl_compile(const fl_graph *g, const char *cpu, void **image, size_t *size, fl_diag *dg)
{
    return fl_compile_as(g, cpu, "image", image, size, dg);
}
