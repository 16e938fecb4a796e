/*
 * code_cache.h -- generated code by content: the same program, CPU level and version are compiled once for a user.
 *
 * A file is named by the SHA-256 of what it was made from, holds an image and the image's own SHA-256, and is used only if it
 * belongs to this user, nobody else may write it, and the sum is right. Anything else counts as absent and is made anew.
 */
#ifndef FL_RUNTIME_CODE_CACHE_H
#define FL_RUNTIME_CODE_CACHE_H

#include "runtime/native.h"

/* backend.h's fl_compile_as, handed in by the command line: this room does not see the backend. `emit` is "image" or "timed". The image is malloc'ed. */
typedef fl_status fl_compile_fn(const fl_graph *g, const char *cpu, const char *emit, void **image, size_t *size, fl_diag *dg);

typedef struct fl_code_cache_options {
    const char *cpu;        /* "x86-64-v2", "-v3", "-v4"; NULL: the best that this machine has */
    const char *folder;     /* NULL: $FLEN_CACHE_DIR, $XDG_CACHE_HOME/flen or ~/.cache/flen */
    const void *program;    /* bytes that say all of the program, schedule included */
    size_t program_bytes;
    fl_compile_fn *compile; /* called in a forked child */
    bool timed;             /* code that leaves stamps (abi.h) */
} fl_code_cache_options;

/* The best level that this machine's CPUID reports. */
const char *fl_cpu_level(void);
/* The level that `cpu` names (NULL: the best). FL_BAD_INPUT if there is none of that name, FL_UNSUPPORTED if this machine lacks it. */
FL_MUST_USE fl_status fl_cpu_check(const char *cpu, const char **level, fl_diag *dg);
/* The same on a machine whose best level is number `best`: 0 is x86-64-v2, 2 is x86-64-v4. */
FL_MUST_USE fl_status fl_cpu_check_on(const char *cpu, size_t best, const char **level, fl_diag *dg);

/*
 * The code of g. *hit tells whether it was cached. A cache that cannot be written is no error. Reports what the compiler reported, or that it died.
 */
FL_MUST_USE fl_status fl_code_cache_get(const fl_graph *g, const fl_code_cache_options *options, fl_image **out, bool *hit, fl_diag *dg);

#endif
