/*
 * verb_options.h -- what verbs that work on a model have in common: options, their errors, opening a session, ending.
 * Command line code: it prints, and knows the backend.
 */
#ifndef FL_RUNTIME_VERB_OPTIONS_H
#define FL_RUNTIME_VERB_OPTIONS_H

#include "runtime/json_text.h"
#include "runtime/session.h"

#include <signal.h>

/* Options that a verb takes besides --json, --quiet and --help, which all take. */
enum {
    FL_TAKES_DATA = 1 << 0,    /* --data PATH */
    FL_TAKES_BATCH = 1 << 1,   /* --batch N */
    FL_TAKES_THREADS = 1 << 2, /* --threads N */
    FL_TAKES_SEED = 1 << 3,    /* --seed N */
    FL_TAKES_ENGINE = 1 << 4,  /* --backend=native|interp --cpu=LEVEL */
    FL_TAKES_LOG = 1 << 5,     /* --log=plain|paddlerec */
    FL_TAKES_STRICT = 1 << 6,  /* --strict */
    FL_TAKES_VERIFY = 1 << 7,  /* --verify */
    FL_TAKES_OUTPUT = 1 << 8,  /* -o PATH */
    FL_TAKES_MORE = 1 << 9,    /* operands behind the model */
    FL_TAKES_NO_MODEL = 1 << 10, /* no operand at all */
    FL_TAKES_FOLD = 1 << 11,   /* --fold-tables=auto|off|stored|SIZE */
    FL_TAKES_CPU = 1 << 12,    /* --cpu=LEVEL alone */
    FL_TAKES_DUMP = 1 << 13    /* --dump-values=PATTERN --dump-steps=N or N-M --dump-dir=DIR */
};

typedef struct fl_verb_options {
    const char *verb;
    const char *model;          /* the first operand; NULL with FL_TAKES_NO_MODEL alone */
    char *const *more;          /* further operands */
    int n_more;
    const char *data, *output;  /* NULL: not given */
    int64_t batch;              /* 0: not given */
    uint32_t threads;           /* 0: not given */
    bool has_seed;
    uint64_t seed;
    bool interpret;
    uint64_t max_memory;        /* 0: not given */
    const char *cpu;            /* NULL: the best */
    const char *log;            /* "plain", "paddlerec"; NULL: as the model says */
    fl_stored_folds stored_folds;
    uint64_t fold_bytes;        /* most that tables folded now may take; 0: none are */
    fl_value_dump *dump;        /* NULL: not given */
    bool json, quiet, strict, verify;
} fl_verb_options;

/* An option of one verb alone. */
typedef struct fl_verb_option {
    const char *name; /* without dashes */
    bool has_value;
} fl_verb_option;

typedef struct fl_verb {
    const char *name;
    const char *help;            /* all of it */
    unsigned takes;              /* FL_TAKES_* */
    const fl_verb_option *own;   /* [n_own] */
    uint32_t n_own;
    /* Option `name` of `own` was given, with a value or NULL. False: the value cannot be read. */
    bool (*take)(void *arg, const char *name, char *value);
    void *arg;
} fl_verb;

/* What stands in every help text of a verb that runs code. */
#define FL_HELP_ENGINE                                                                                                      \
    "  --backend=native|interp   generated code (default), or the interpreter in double precision: slow, the definition\n" \
    "  --cpu=x86-64-v2|v3|v4     code for this level instead of the machine's best\n"                                     \
    "  --max-memory=SIZE         that variables and values may take together (K, M, G); default: what is free now. A graph\n" \
    "                            that asks for more is refused before it gets it\n"
#define FL_HELP_DUMP                                                                                                          \
    "  --dump-values=PATTERN     write intermediate values whose names match (shell wildcards) to DIR/PROGRAM.STEP/NAME.npy; what\n" \
    "                            never lies in memory is told with the reason. Steps are counted from 1 for each program\n"     \
    "  --dump-steps=N|N-M        which steps, default 1\n"                                                                     \
    "  --dump-dir=DIR            default: OUT.values beside -o OUT, else `values`\n"
#define FL_HELP_FOLD                                                                                                         \
    "  --fold-tables=auto|off|stored|SIZE  predict from tables that the first layer is multiplied into, by adding rows up: faster,\n" \
    "                            equal but for rounding. Those that the file holds (`flenrt fold`) are used unless `off`;\n" \
    "                            `stored` insists on them. Else auto makes them when the model is opened, which costs time\n" \
    "                            and up to half of the free memory, or SIZE (K, M, G)\n"
#define FL_HELP_THREADS "  --threads N               default: the CPUs that this process may use. Results do not depend on it\n"
#define FL_HELP_COMMON                                               \
    "  --json                    one JSON object a line, on standard output\n" \
    "  --quiet                   no progress and notes on standard error\n"

/* Fill *o. Result: -1 to go on; else the exit status of the program, which has printed help or what is wrong. */
int fl_verb_parse(const fl_verb *verb, int argc, char **argv, fl_verb_options *o);
/* "flenrt: error: VERB: WHAT [E0002]" with a hint; returns exit status 2. */
int fl_verb_wrong(const char *verb, const char *format, ...) FL_PRINTF(2, 3);

/* "1,8,64": up to `max` sizes; *n of them. */
bool fl_parse_sizes(const char *text, int64_t least, int64_t *out, uint32_t max, uint32_t *n);

/* A line on standard error, unless --quiet. */
void fl_verb_note(const char *text);
void fl_verb_notef(const char *format, ...) FL_PRINTF(1, 2);

/* 1 after Ctrl-C or a termination signal, once fl_verb_catch_interrupts was called; a second one ends the process. */
extern volatile sig_atomic_t fl_interrupted;
void fl_verb_catch_interrupts(void);
/* Ctrl-C ends the process at once, with a line and status 130: for work that leaves nothing to clean up, such as reading. */
void fl_verb_exit_on_interrupts(void);

/* The options of a session: threads, seed, backend, cpu, data, notes. */
fl_session_options fl_verb_session_options(const fl_verb_options *o, bool train);
FL_MUST_USE fl_status fl_verb_session(const fl_verb_options *o, bool train, fl_session *s, fl_diag *dg);
/* Print and drop the diagnostics; the exit status. */
int fl_verb_end(fl_status status, fl_diag *dg);

#endif
