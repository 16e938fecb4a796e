/*
 * flenrt.h -- predictions of a trained model from C: the public interface of libflenrt. Link with `pkg-config --cflags --libs flenrt`.
 *
 *     #include <flenrt.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         char why[FLENRT_ERROR_SIZE];
 *         flenrt_model *model;
 *         const char *row[] = {"1005", "0", "1fbe01fe"};   // one value a slot, in the order of flenrt_slot_name
 *         float probability;
 *
 *         if (flenrt_open("trained.bin", NULL, &model, why, sizeof why) != FLENRT_OK) {
 *             fprintf(stderr, "%s\n", why);
 *             return 1;
 *         }
 *         if (flenrt_n_slots(model) == 3 && flenrt_predict_rows(model, 1, row, &probability, NULL) == FLENRT_OK)
 *             printf("%.9g\n", probability);
 *         else
 *             fprintf(stderr, "%s\n", flenrt_error(model));
 *         flenrt_close(model);
 *         return 0;
 *     }
 *
 * Numbers are those of `flenrt predict` for the same values, bit for bit, for any number of rows a call and of threads.
 *
 * Threads: a model belongs to one thread at a time; several models, also of one file, may be used at once, and share the file's pages. A process
 * that forks opens its models in the child.
 * Nothing here prints, exits or aborts, and the locale of the process does not matter. The file must stay as it is while it is open: to
 * replace a model, rename a new file over the old one (as flenrt does) and open it again.
 */
#ifndef FLENRT_H
#define FLENRT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define FLENRT_API __attribute__((visibility("default")))
#else
#define FLENRT_API
#endif

/* What a call that can fail returns. The words for a person are in the buffer of flenrt_open or in flenrt_error. */
typedef enum flenrt_status {
    FLENRT_OK = 0,
    FLENRT_BAD_INPUT = 1,   /* the model file or a value is wrong */
    FLENRT_IO = 2,          /* the operating system refused a file operation */
    FLENRT_UNSUPPORTED = 3, /* valid, but not something this version or machine can do */
    FLENRT_NO_MEMORY = 4,
    FLENRT_FAILED = 5,      /* such as predictions that are not finite */
    FLENRT_BAD_USAGE = 6    /* an argument of the call is wrong */
} flenrt_status;

/* Room for any text of an error, its final NUL included; longer ones are cut. */
#define FLENRT_ERROR_SIZE 512

enum {
    FLENRT_INTERPRET = 1 << 0, /* flags: the interpreter, every operator in double precision, in place of native code: slow, needs no code generator */
    FLENRT_UNFOLDED = 1 << 1   /* leave folded tables that the file holds (`flenrt fold`) alone */
};

/* All zero but `size` is the default. Later versions add members at the end; 0 in them will mean what this version does. */
typedef struct flenrt_options {
    size_t size;         /* sizeof(flenrt_options), by which the library knows what the caller was compiled with; 0: the members below */
    uint32_t threads;    /* that compute one call, the caller's included, at most 256; 0: 1 */
    uint32_t flags;      /* FLENRT_INTERPRET, FLENRT_UNFOLDED */
    const char *cpu;     /* native code for "x86-64-v2", "x86-64-v3" or "x86-64-v4"; NULL: the best that this machine has */
    uint64_t fold_bytes; /* where the file holds no folded tables: multiply the first layer into the tables now, if that takes at most so many bytes; 0: never */
    uint64_t max_memory; /* bytes that variables and values may take together, else FLENRT_BAD_INPUT before they are taken; 0: what is free at opening */
} flenrt_options;

typedef struct flenrt_model flenrt_model;

/*
 * Open a trained model file (what `flenrt train -o` wrote) and make it ready: the first prediction is as fast as the next ones. Native code comes from the
 * user's code cache ($FLEN_CACHE_DIR, $XDG_CACHE_HOME/flen, ~/.cache/flen), or is made once, in a child process, by flen_codegen.so: $FLEN_CODEGEN, or else
 * beside the library or in ../lib/flen seen from there, or so from the running program.
 *
 * options: NULL is the default. error: text of a failure, cut to `size` bytes and NUL-terminated; NULL with size 0: not wanted.
 * *out is the caller's, for flenrt_close; NULL on failure.
 */
FLENRT_API flenrt_status flenrt_open(const char *path, const flenrt_options *options, flenrt_model **out, char *error, size_t size);
FLENRT_API void flenrt_close(flenrt_model *model); /* NULL is fine */

/* The model's slots, in the order of its configuration: what a row has values for. */
FLENRT_API uint32_t flenrt_n_slots(const flenrt_model *model);
/* Name of slot i; NULL if there is none. Valid until the model is closed. */
FLENRT_API const char *flenrt_slot_name(const flenrt_model *model, uint32_t i);
/* The column that slot i reads, by whose name CSV files give it: what its value in flenrt_predict_rows is the text of. Slots may share a column. */
FLENRT_API const char *flenrt_slot_column(const flenrt_model *model, uint32_t i);

/*
 * Predict n rows of raw values. values[r * n_slots + i] is the text of slot i's column in row r, unquoted, as a CSV cell has it (a slot of several values has them
 * in one text, between the configuration's separators). NULL: absent, as in slot text: no value for a slot of several, else the slot's padding or, for slots of text, "".
 * Text never seen in training is fine; a number outside its slot's range is an error.
 *
 * probability[n], logit[n]: results, either may be NULL. On failure both hold nothing of use; flenrt_error names row and slot.
 * Native code: a call with no more rows and values than an earlier one takes no memory, unless it fails.
 */
FLENRT_API flenrt_status flenrt_predict_rows(flenrt_model *model, size_t n, const char *const *values, float *probability, float *logit);

/*
 * The same for models whose slots are all ranges of integers: ids[r * n_slots + i] is the number itself (what is left of it after the slot's transform, if it has one); a slot
 * of several values gets exactly one. FLENRT_UNSUPPORTED if a slot is of text.
 */
FLENRT_API flenrt_status flenrt_predict_ids(flenrt_model *model, size_t n, const int64_t *ids, float *probability, float *logit);

/* Text of the model's last failure, "" if there was none. Valid until the next call with this model. */
FLENRT_API const char *flenrt_error(const flenrt_model *model);
/* Of the library, such as "0.1.0". */
FLENRT_API const char *flenrt_version(void);

#ifdef __cplusplus
}
#endif

#endif
