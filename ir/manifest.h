/*
 * manifest.h -- what a model.bin says of itself besides graphs and weights: how raw data becomes inputs, what the
 * configuration asked to be run, how far training has come. The frontend fills it, the runtime obeys it, and
 * it travels as manifest.json. All strings and arrays live in one arena.
 */
#ifndef FL_IR_MANIFEST_H
#define FL_IR_MANIFEST_H

#include "ir/base/arena.h"
#include "ir/base/diag.h"

#define FL_MANIFEST_FORMAT 1

typedef enum fl_config_style { FL_STYLE_FLEN, FL_STYLE_PADDLEREC_18, FL_STYLE_PADDLEREC_2 } fl_config_style;

/* Behaviours of other systems that are wrong by our defaults (ask for them by name: `quirks`). */
enum {
    FL_QUIRK_DROPOUT_IN_INFER = 1 << 0,   /* masks stay on outside training */
    FL_QUIRK_MISSING_LABEL_IS_0 = 1 << 1, /* a row without a label is a negative one */
    FL_QUIRK_DROP_LAST = 1 << 2,          /* only whole steps of thread_num * batch_size rows */
    FL_QUIRK_SKIP_SHORT_ROWS = 1 << 3     /* comma text with a wrong number of values is skipped in silence */
};

/* ------------------------------------------------------------------------------------------ raw data to rows */

/* How the text of a raw column becomes the text (or number) that the vocabulary sees. */
typedef enum fl_transform {
    FL_TRANSFORM_NONE,
    FL_TRANSFORM_HOUR_OF_DAY, /* YYMMDDHH or HH: the last two digits */
    FL_TRANSFORM_WEEKDAY,     /* YYMMDDHH: 0 Monday ... 6 Sunday */
    FL_TRANSFORM_DAY,         /* YYMMDDHH: YYMMDD */
    FL_TRANSFORM_LOG_BUCKET,  /* a number x: floor(log(x)^2) for x > 2, else "x" as it is: Criteo's usual binning */
} fl_transform;

typedef enum fl_vocab_kind {
    FL_VOCAB_RANGE, /* integers first_id .. first_id + rows - 1, as they are; others are errors */
    FL_VOCAB_DICT,  /* any text; ids by decreasing count, then by text; values seen less than min_count times, and unseen ones,
                       have the slot's out-of-vocabulary row, which is its row 0 */
    FL_VOCAB_HASH   /* any text; row = hash mod rows */
} fl_vocab_kind;

typedef enum fl_pooling { FL_POOL_NONE, FL_POOL_SUM, FL_POOL_MEAN } fl_pooling;

typedef struct fl_slot {
    const char *name;
    uint32_t field;       /* index into fields */
    const char *column;   /* column of raw CSV; by default the slot's name */
    bool optional;        /* the column may be missing: every row then has the empty text */
    fl_transform transform;
    fl_vocab_kind vocab;
    int64_t rows;         /* of the slot's part of the table; 0: from the vocabulary, once data has been seen (auto) */
    int64_t first_id;     /* RANGE */
    int64_t first_row;    /* of the slot's part in its table; slots with the same range share rows. -1 while unknown (auto) */
    int64_t min_count;    /* DICT */
    fl_pooling pooling;   /* NONE: exactly one value; SUM, MEAN: any number, none gives 0 */
    const char *separator; /* of several values in one CSV cell; NULL: none */
    int64_t padding;      /* slot text: id of a slot that is absent from a line (single-valued slots) */
} fl_slot;

typedef struct fl_field {
    const char *name;
    uint32_t *slots; /* in order */
    uint32_t n_slots;
} fl_field;

/*
 * Slots in the order of the graph's inputs: input "ids" int64[batch, n] holds the table rows of the single-valued slots,
 * in order; each multi-valued slot has inputs "NAME.values" int64[count] and "NAME.offsets" int64[batch + 1]. Both hold
 * rows of the packed table (id - first_id + first_row): readers make them, the graph only looks up. "label" is float[batch, 1].
 */
typedef struct fl_schema {
    fl_slot *slots;
    uint32_t n_slots;
    fl_field *fields;
    uint32_t n_fields;
    int64_t table_rows;       /* of the packed table; 0 while unknown (auto) */
    const char *label;        /* slot of slot text, column of CSV; NULL: the last column of PaddleRec 2.x's comma text */
    const char **csv_columns; /* header of CSV files without one; n 0: files have a header */
    uint32_t n_csv_columns;
    const char *delimiter;    /* of CSV; default "," */
    const char **comma_columns; /* PaddleRec 2.x comma text: slot name, "label" or "" (ignored) for each position */
    uint32_t n_comma_columns;
} fl_schema;

/* --------------------------------------------------------------------------------------- what is to be run */

typedef struct fl_dataset {
    const char *name, *type;  /* type: "DataLoader", "QueueDataset" or "" */
    const char *data_path;    /* file or folder */
    int64_t batch_size;
} fl_dataset;

typedef struct fl_phase {
    const char *name;
    uint32_t dataset;        /* index into datasets */
    int64_t thread_num;      /* copies in PaddleRec's sense: a step has thread_num * batch_size rows */
    bool shuffle_filelist;
    int gradient_scale;      /* 0 mean over copies, 1 sum */
} fl_phase;

typedef struct fl_runner {
    const char *name;
    bool train;                /* else infer */
    int64_t epochs, print_interval;
    const char *init_model_path;
    int64_t save_checkpoint_interval, save_inference_interval, save_step_interval; /* -1: not given; 0 is refused */
    const char *save_checkpoint_path, *save_inference_path, *save_step_path; /* NULL: none */
    const char **feed_names, **fetch_names;
    uint32_t n_feed_names, n_fetch_names;
    const char *result_dump_path;
    fl_phase *phases; /* in order of the configuration's phase list */
    uint32_t n_phases;
    int64_t infer_start_epoch, infer_end_epoch; /* PaddleRec 2.x */
    bool use_auc;                               /* PaddleRec 2.x */
    /* ours */
    const char *valid_path;                /* NULL: none */
    int64_t patience;                      /* epochs without a better validation AUC before it stops; 0: never */
    double plateau_factor;                 /* the rate is multiplied by it after an epoch without improvement; 1: never */
    double min_rate_factor;                /* ... but not below */
    bool keep_best;                        /* the saved model is the best epoch's */
} fl_runner;

/* ------------------------------------------------------------------------------------------- how far it came */

typedef struct fl_progress {
    int64_t steps, epochs;         /* complete ones */
    int64_t epoch_step;            /* steps done in the epoch under way */
    int64_t rows;                  /* trained rows in all */
    double rate_factor;
    double best_auc;               /* of validation; NaN: none yet */
    int64_t epochs_without_gain;
    double train_auc, train_logloss, valid_auc, valid_logloss; /* newest; NaN: none */
} fl_progress;

typedef struct fl_manifest {
    fl_arena arena;
    const char *version;        /* of the flen that wrote it */
    const char *network;        /* "flen", "lr", ... */
    fl_config_style style;
    uint32_t quirks;
    uint64_t seed;
    const char *log;            /* "plain" or "paddlerec" */
    const char *source_name, *source_text; /* the configuration as it was read; NULL for imported graphs */
    fl_schema schema;
    fl_dataset *datasets;
    uint32_t n_datasets;
    fl_runner *runners;         /* those that `mode` names, in its order */
    uint32_t n_runners;
    bool store_folds;           /* after training the model is written with folded tables (`--fold-tables=stored`); false in older files */
    int64_t parameters;         /* trainable numbers; 0 while an auto vocabulary is unknown */
    fl_progress progress;
} fl_manifest;

/* Zeroed, with an empty arena and a fresh progress (rate_factor 1, NaN metrics). */
void fl_manifest_init(fl_manifest *m);
void fl_manifest_deinit(fl_manifest *m);
/* The metadata entry of an ONNX file that holds one, beside training information: what rows a step is for. */
#define FL_MANIFEST_META "ai.flen.manifest"
/* JSON text, malloc'ed; NULL if out of memory. Keys are the members' names; enums are words. */
char *fl_manifest_print(const fl_manifest *m);
/* Into an initialised manifest. Every wrong key, type or index is reported against `loc`. */
FL_MUST_USE fl_status fl_manifest_parse(fl_manifest *m, const char *json, size_t n, fl_loc loc, fl_diag *dg);

#endif
