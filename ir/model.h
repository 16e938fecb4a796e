/*
 * model.h -- model.bin: one file, data only, never code.
 *
 * A stored (uncompressed) ZIP whose entries start at multiples of 4 KiB, ZIP64 where needed:
 *   manifest.json     fl_manifest
 *   model.onnx        the predict program before optimisation, with metadata; tables are external data in weights.bin
 *   predict.onnx train.onnx prologue.onnx init.onnx folded.onnx folding.onnx    the optimised programs (absent ones are absent)
 *   weights.bin       variables, each dense and contiguous at a multiple of 64 bytes, in the order of index.json
 *   index.json        name, type, offset of each variable (and a CRC-32C of some), and CRC-32C of each 1 MiB block of weights.bin
 *   forward.onnx      the forward graph that the programs were made from, for people and tools
 *   folds.json        which variables hold folded tables (runtime/folds.h)
 *   vocabulary.bin    once data has been seen (runtime/vocabulary.h); further entries by name
 * What is checked when: DESIGN in ir/README.md, "model.bin".
 */
#ifndef FL_IR_MODEL_H
#define FL_IR_MODEL_H

#include "ir/graph.h"
#include "ir/manifest.h"

typedef enum fl_program {
    FL_PROGRAM_PREDICT,
    FL_PROGRAM_TRAIN,
    FL_PROGRAM_PROLOGUE,
    FL_PROGRAM_INIT,
    FL_PROGRAM_FOLDED,  /* predict with its first product folded into the tables: for sessions that score many rows */
    FL_PROGRAM_FOLDING, /* its prologue */
    FL_N_PROGRAMS
} fl_program;
const char *fl_program_name(fl_program p); /* "predict" ... */

typedef struct fl_model fl_model;

/* ------------------------------------------------------------------------------------------------------ reading */

enum {
    FL_MODEL_VERIFY_ALL = 1, /* check every part and block now, whatever the file's size */
    FL_MODEL_FEW_PAGES = 2   /* little of a large file will be touched: no touch shall map 2 MB (model_open.c) */
};

/*
 * Map the file read-only and check it (container, index, manifest, what is small; files up to 16 MB whole). Errors name the
 * file and the part: not a model.bin, truncated, damaged, of a newer version. The model keeps the mapping until freed.
 */
FL_MUST_USE fl_status fl_model_open(const char *path, unsigned flags, fl_model **out, fl_diag *dg);
void fl_model_free(fl_model *m); /* NULL is fine */

fl_manifest *fl_model_manifest(fl_model *m);
/*
 * The program's graph, parsed on first use; *out NULL if the file has none. Its variables' data point into the mapping (NULL data for
 * those without stored values). Borrowed.
 */
FL_MUST_USE fl_status fl_model_program(fl_model *m, fl_program p, const fl_graph **out, fl_diag *dg);
/* The unoptimised predict program (model.onnx). */
FL_MUST_USE fl_status fl_model_source(fl_model *m, const fl_graph **out, fl_diag *dg);
/* Stored variables by index: name, type, and bytes in the mapping (dense). */
uint32_t fl_model_n_variables(const fl_model *m);
const fl_tensor *fl_model_variable(const fl_model *m, uint32_t i, const char **name);
const fl_tensor *fl_model_find_variable(const fl_model *m, const char *name); /* NULL if absent */
/* CRC-32C of the variable's bytes, as the file's index says; false if it says none (fl_model_content.checksums). */
bool fl_model_variable_checksum(const fl_model *m, const char *name, uint32_t *crc);
/* Check the blocks of bytes [offset, offset + n) of variable `name`'s data that were not checked yet. */
FL_MUST_USE fl_status fl_model_verify(fl_model *m, const char *name, fl_diag *dg);
/* The entry with the forward graph, as ONNX: what all programs were made from. */
#define FL_FORWARD_ENTRY "forward.onnx"
/*
 * A further entry's bytes in the mapping; NULL if absent. Beyond 1 MB they may not have been checked yet: whoever reads them whole, or copies
 * them, calls fl_model_verify_entry first.
 */
const void *fl_model_entry(const fl_model *m, const char *name, size_t *n);
/* Check the entry's bytes if they were not checked yet; FL_OK if it is absent. All of them but the weights. */
FL_MUST_USE fl_status fl_model_verify_entry(fl_model *m, const char *name, fl_diag *dg);
FL_MUST_USE fl_status fl_model_verify_entries(fl_model *m, fl_diag *dg);
/* Names of the further entries, those that fl_model_save was given, by index from 0; NULL behind the last. */
const char *fl_model_further_entry(const fl_model *m, uint32_t i);
/* Size of the file in bytes, and its path. */
uint64_t fl_model_bytes(const fl_model *m);
const char *fl_model_path(const fl_model *m);

/* ------------------------------------------------------------------------------------------------------ writing */

/* A variable to store: row i (dimension 0) starts at bytes + i * stride * element size; dense if stride is the row's size. */
typedef struct fl_model_variable_source {
    const char *name;
    fl_type type; /* static */
    const void *bytes; /* NULL: the variable has no values yet and is left out */
    int64_t stride;    /* in elements */
} fl_model_variable_source;

typedef struct fl_model_entry_source {
    const char *name;
    const void *bytes;
    size_t n;
} fl_model_entry_source;

typedef struct fl_model_content {
    const fl_manifest *manifest;
    const fl_graph *source;                  /* model.onnx; NULL: none */
    const fl_graph *programs[FL_N_PROGRAMS]; /* NULL: absent */
    const fl_model_variable_source *variables;
    uint32_t n_variables;
    const bool *checksums; /* [n_variables]: the index has a CRC-32C of this variable alone, by which what was computed from it can be recognised; NULL: of none */
    const fl_model_entry_source *entries;
    uint32_t n_entries;
} fl_model_content;

/*
 * Write aside (PATH.tmp.PID in the same folder), fsync, rename, fsync the folder: after a crash at any moment PATH is the
 * old file or the new one. Memory: a few MiB. Failures remove the temporary file and are reported with the system's reason.
 */
FL_MUST_USE fl_status fl_model_save(const char *path, const fl_model_content *content, fl_diag *dg);

/* -------------------------------------------------------------------------------------------- ONNX files (onnx.c) */

enum { FL_ONNX_LOWEST = -1 };

typedef struct fl_onnx_options {
    int64_t opset;              /* of domain ""; 0: 20; FL_ONNX_LOWEST: the lowest that holds the graph */
    bool functions;             /* operators of ours become calls of model-local functions (ir/bodies.h), so that other tools run the file */
    const char *external_location; /* variables' data go by reference to this name ... */
    const uint64_t *external_offsets; /* ... at these offsets, by g->variables index; UINT64_MAX: inline */
    const fl_type *external_types;    /* ... with these static types; NULL: the variables' own */
    /*
     * NULL, or the training program, which becomes the file's TrainingInfoProto: a step as `algorithm`, whose operators of ours that have no body stay plain nodes,
     * and its updates as bindings. Variables that g has with data are g's initialisers; others, with their data, are the algorithm's.
     */
    const fl_graph *training;
} fl_onnx_options;

/*
 * A ModelProto in malloc'ed memory. With `functions`, an operator of ours that has no body is refused by name (FL_UNSUPPORTED);
 * without, ours are plain nodes of domain ai.flen.
 */
FL_MUST_USE fl_status fl_onnx_encode(const fl_graph *g, const fl_onnx_options *options, void **bytes, size_t *n, fl_diag *dg);
/*
 * Read a ModelProto. `folder` is where external data may lie (NULL: none may). Functions that fl_onnx_encode wrote are our operators again; all others are inlined.
 * The bytes may be freed afterwards. Bounded: an iterative scan of depth and counts comes before protobuf-c.
 */
FL_MUST_USE fl_status fl_onnx_decode(const void *bytes, size_t n, const char *file, const char *folder, fl_graph **out, fl_diag *dg);
/*
 * The file's first training information as a graph of its own, one step: its algorithm, with the graph's initialisers that it reads or updates, as variables where it updates them; update bindings are
 * updates. *out NULL: the file has none. What of it is not read (a graph of first values, further informations) is told by a warning. Bounded as fl_onnx_decode.
 */
FL_MUST_USE fl_status fl_onnx_decode_training(const void *bytes, size_t n, const char *file, const char *folder, fl_graph **out, fl_diag *dg);
/* Distinct operators of the file's graph in order, "MatMul" or "ai.onnx.ml.LabelEncoder", whether we have them or not; in `arena`. */
FL_MUST_USE fl_status fl_onnx_operators(const void *bytes, size_t n, const char *file, fl_arena *arena, const char *const **names,
                                        uint32_t *n_names, fl_diag *dg);
/* Read a TensorProto (a file of its own, as ONNX's tests have them): tensor and name live in `arena`. The same bounds. */
FL_MUST_USE fl_status fl_onnx_decode_tensor(const void *bytes, size_t n, const char *file, fl_arena *arena, fl_tensor **out,
                                            const char **name, fl_diag *dg);

#endif
