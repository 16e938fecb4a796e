/*
 * generator.c -- finds and loads the code generator, which is a shared object of its own because libLLVM costs every process
 * that links it tens of milliseconds.
 */
#include "backend/backend.h"

#include "backend/codegen.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The generator's handle, never closed: LLVM cannot be unloaded. NULL if it is not there; dlerror() says why. */
static void *open_generator(void)
{
    static const char *const places[] = {"flen_codegen.so", "../lib/flen/flen_codegen.so",
                                         "../lib/x86_64-linux-gnu/flen/flen_codegen.so"};
    char program[PATH_MAX], path[PATH_MAX + 64];
    const char *given = getenv("FLEN_CODEGEN");
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);

    if (given)
        return dlopen(given, RTLD_NOW | RTLD_LOCAL);
    program[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash)
        slash[1] = '\0';
    for (size_t i = 0; slash && i < FL_COUNT(places); i++) {
        snprintf(path, sizeof path, "%s%s", program, places[i]);
        if (access(path, R_OK) == 0)
            return dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    return NULL;
}

fl_status fl_compile_as(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg)
{
    void *library = open_generator();
    fl_codegen_fn *generate = NULL;

    if (library)
        *(void **)&generate = dlsym(library, "fl_codegen"); /* POSIX's way to a function */
    if (!generate) {
        const char *why = dlerror();
        fl_status s = fl_error(dg, FL_E_NO_GENERATOR, FL_NOWHERE, "the code generator cannot be loaded: %s",
                               why ? why : "flen_codegen.so is neither beside the program nor in ../lib/flen");
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
