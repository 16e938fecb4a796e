/* verb_options.c -- see verb_options.h. Long options are read by getopt, whose tables are put together for each verb. */
#include "runtime/verb_options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "ir/base/bytes.h"
#include "runtime/memory.h"

enum { MAX_OPTIONS = 64, MAX_THREADS = 256, OWN = 1000 };

volatile sig_atomic_t fl_interrupted;
static bool is_quiet;
static fl_value_dump dump; /* of --dump-*: one process, one command line */

/* ---------------------------------------------------------------------------------------------------- words */

static int wrong_v(const char *verb, const char *hint, const char *format, va_list args)
{
    fprintf(stderr, "flenrt: error: %s: ", verb);
    vfprintf(stderr, format, args);
    fprintf(stderr, " [E%04d]\n    hint: ", FL_E_USAGE);
    if (hint)
        fprintf(stderr, "did you mean \"%s\"?\n", hint);
    else
        fprintf(stderr, "`flenrt %s --help` lists what there is\n", verb);
    return fl_status_exit(FL_BAD_USAGE);
}

int fl_verb_wrong(const char *verb, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int status = wrong_v(verb, NULL, format, args);
    va_end(args);
    return status;
}

static int FL_PRINTF(3, 4) wrong_near(const char *verb, const char *hint, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int status = wrong_v(verb, hint, format, args);
    va_end(args);
    return status;
}

void fl_verb_notef(const char *format, ...)
{
    va_list args;
    if (is_quiet)
        return;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void fl_verb_note(const char *text)
{
    fl_verb_notef("%s", text);
}

/* -------------------------------------------------------------------------------------------------- numbers */

bool fl_parse_sizes(const char *text, int64_t least, int64_t *out, uint32_t max, uint32_t *n)
{
    char word[32];

    for (*n = 0; *n < max;) {
        size_t length = strcspn(text, ",");
        if (length >= sizeof word)
            return false;
        memcpy(word, text, length);
        word[length] = 0;
        if (!fl_parse_size(word, least, &out[*n]))
            return false;
        ++*n;
        if (!text[length])
            return true;
        text += length + 1;
    }
    return false;
}

/* -------------------------------------------------------------------------------------------------- options */

typedef struct common_option {
    const char *name;
    int letter;
    unsigned when; /* 0: always */
    bool has_value;
} common_option;

static const common_option common[] = {
    {"data", 'd', FL_TAKES_DATA, true},       {"batch", 'b', FL_TAKES_BATCH, true},      {"threads", 't', FL_TAKES_THREADS, true},
    {"seed", 'e', FL_TAKES_SEED, true},       {"backend", 'k', FL_TAKES_ENGINE, true},   {"cpu", 'c', FL_TAKES_ENGINE | FL_TAKES_CPU, true},
    {"max-memory", 'm', FL_TAKES_ENGINE, true},
    {"log", 'l', FL_TAKES_LOG, true},         {"strict", 's', FL_TAKES_STRICT, false},   {"verify", 'v', FL_TAKES_VERIFY, false},
    {"fold-tables", 'f', FL_TAKES_FOLD, true},
    {"dump-values", 'V', FL_TAKES_DUMP, true}, {"dump-steps", 'S', FL_TAKES_DUMP, true}, {"dump-dir", 'D', FL_TAKES_DUMP, true},
    {"output", 'o', FL_TAKES_OUTPUT, true},   {"json", 'j', 0, false},                   {"quiet", 'q', 0, false},
    {"help", 'h', 0, false},
};

static bool is_one_of(const char *value, const char *const *words, const char **out)
{
    for (; *words; words++)
        if (strcmp(value, *words) == 0) {
            *out = *words;
            return true;
        }
    return false;
}

static bool take_cpu(const char *value, const char **out)
{
    static const char *const levels[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4", NULL}, *const letters[] = {"v2", "v3", "v4", NULL};
    if (is_one_of(value, levels, out))
        return true;
    for (int i = 0; letters[i]; i++)
        if (strcmp(value, letters[i]) == 0) {
            *out = levels[i];
            return true;
        }
    return false;
}

static bool take_fold(const char *value, fl_verb_options *o)
{
    int64_t size = 0;

    o->stored_folds = FL_STORED_FOLDS_USED;
    if (strcmp(value, "auto") == 0)
        size = (int64_t)(fl_memory_available() / 2);
    else if (strcmp(value, "off") == 0)
        o->stored_folds = FL_STORED_FOLDS_IGNORED;
    else if (strcmp(value, "stored") == 0)
        o->stored_folds = FL_STORED_FOLDS_NEEDED;
    else if (!fl_parse_size(value, 1, &size))
        return false;
    o->fold_bytes = (uint64_t)size;
    return true;
}

/* "3" or "3-5". */
static bool take_steps(const char *value, fl_value_dump *d)
{
    char first[24];
    size_t n = strcspn(value, "-");

    if (n >= sizeof first)
        return false;
    memcpy(first, value, n);
    first[n] = 0;
    if (!fl_parse_size(first, 1, &d->first))
        return false;
    d->last = d->first;
    return !value[n] || (fl_parse_size(value + n + 1, 1, &d->last) && d->last >= d->first);
}

/* Wrong usage, told, or -1. */
static int finish_dump(const fl_verb *verb, fl_verb_options *o)
{
    static char beside[PATH_MAX];

    if (!dump.pattern)
        return dump.first || dump.folder ? fl_verb_wrong(verb->name, "--dump-steps and --dump-dir belong to --dump-values=PATTERN") : -1;
    if (dump.first == 0)
        dump.first = dump.last = 1;
    if (!dump.folder && o->output && strcmp(o->output, "-") != 0 && (size_t)snprintf(beside, sizeof beside, "%s.values", o->output) < sizeof beside)
        dump.folder = beside;
    else if (!dump.folder)
        dump.folder = "values";
    dump.note = fl_verb_note;
    o->dump = &dump;
    return -1;
}

/* False: the value cannot be read. */
static bool take_common(fl_verb_options *o, int letter, char *value)
{
    static const char *const logs[] = {"plain", "paddlerec", NULL}, *const backends[] = {"native", "interp", NULL};
    const char *word;
    int64_t n;
    char *end;

    switch (letter) {
    case 'd':
        o->data = value;
        return *value != 0;
    case 'b':
        return fl_parse_size(value, 1, &o->batch);
    case 't':
        if (!fl_parse_size(value, 1, &n) || n > MAX_THREADS)
            return false;
        o->threads = (uint32_t)n;
        return true;
    case 'e':
        errno = 0;
        o->seed = strtoull(value, &end, 10);
        o->has_seed = true;
        return *value >= '0' && *value <= '9' && !*end && !errno;
    case 'k':
        if (!is_one_of(value, backends, &word))
            return false;
        o->interpret = strcmp(word, "interp") == 0;
        return true;
    case 'c':
        return take_cpu(value, &o->cpu);
    case 'm':
        if (!fl_parse_size(value, 1, &n))
            return false;
        o->max_memory = (uint64_t)n;
        return true;
    case 'l':
        return is_one_of(value, logs, &o->log);
    case 's':
        return o->strict = true;
    case 'v':
        return o->verify = true;
    case 'f':
        return take_fold(value, o);
    case 'o':
        o->output = value;
        return *value != 0;
    case 'V':
        dump.pattern = value;
        return *value != 0;
    case 'S':
        return take_steps(value, &dump);
    case 'D':
        dump.folder = value;
        return *value != 0;
    case 'j':
        return o->json = true;
    case 'q':
        return o->quiet = is_quiet = true;
    }
    return false;
}

/* getopt's table of a verb: common options that it takes, then its own. Returns the short options. */
static const char *build_table(const fl_verb *verb, struct option *table, uint32_t *n)
{
    *n = 0;
    for (size_t i = 0; i < FL_COUNT(common); i++)
        if (!common[i].when || (verb->takes & common[i].when))
            table[(*n)++] = (struct option){common[i].name, common[i].has_value ? required_argument : no_argument, NULL, common[i].letter};
    for (uint32_t i = 0; i < verb->n_own; i++) {
        FL_ASSERT(*n + 1 < MAX_OPTIONS);
        table[(*n)++] = (struct option){verb->own[i].name, verb->own[i].has_value ? required_argument : no_argument, NULL, OWN + (int)i};
    }
    table[*n] = (struct option){0};
    return verb->takes & FL_TAKES_OUTPUT ? ":o:h" : ":h";
}

static int unknown_option(const fl_verb *verb, const char *word, const struct option *table, uint32_t n)
{
    const char *names[MAX_OPTIONS];
    char name[64], dashed[72];

    for (uint32_t i = 0; i < n; i++)
        names[i] = table[i].name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word + strspn(word, "-"));
    name[strcspn(name, "=")] = 0;
    const char *near = strncmp(word, "--", 2) == 0 ? fl_nearest(name, names, n) : NULL;
    if (near && strcmp(near, name) != 0) {
        snprintf(dashed, sizeof dashed, "--%s", near);
        return wrong_near(verb->name, dashed, "there is no option \"%s\"", word);
    }
    return fl_verb_wrong(verb->name, "there is no option \"%s\", or it takes no value", word);
}

static int take_operands(const fl_verb *verb, int argc, char **argv, fl_verb_options *o)
{
    if (verb->takes & FL_TAKES_NO_MODEL)
        return optind < argc ? fl_verb_wrong(verb->name, "nothing is expected behind the options: \"%s\"", argv[optind]) : -1;
    if (optind >= argc)
        return fl_verb_wrong(verb->name, "a model is needed");
    o->model = argv[optind];
    o->more = argv + optind + 1;
    o->n_more = argc - optind - 1;
    if (o->n_more > 0 && !(verb->takes & FL_TAKES_MORE))
        return fl_verb_wrong(verb->name, "one model is enough: \"%s\"", o->more[0]);
    return -1;
}

int fl_verb_parse(const fl_verb *verb, int argc, char **argv, fl_verb_options *o)
{
    struct option table[MAX_OPTIONS];
    uint32_t n;
    const char *letters = build_table(verb, table, &n);

    *o = (fl_verb_options){.verb = verb->name};
    optind = 1;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, letters, table, NULL)) != -1;) {
        if (c == 'h') {
            fputs(verb->help, stdout);
            return 0;
        }
        if (c == ':')
            return fl_verb_wrong(verb->name, "option \"%s\" needs a value", argv[optind - 1]);
        if (c == '?')
            return unknown_option(verb, argv[optind - 1], table, n);
        bool good = c >= OWN ? verb->take(verb->arg, verb->own[c - OWN].name, optarg) : take_common(o, c, optarg);
        if (!good) {
            const char *name = "";
            for (uint32_t i = 0; i < n; i++)
                if (table[i].val == c)
                    name = table[i].name;
            return fl_verb_wrong(verb->name, "--%s cannot be \"%s\"", name, optarg ? optarg : "");
        }
    }
    int wrong = finish_dump(verb, o);
    return wrong >= 0 ? wrong : take_operands(verb, argc, argv, o);
}

/* -------------------------------------------------------------------------------------------------- sessions */

static void on_interrupt(int number)
{
    (void)number;
    fl_interrupted = 1;
}

static void exit_now(int number)
{
    static const char text[] = "flenrt: error: interrupted [E0006]\n";
    (void)number;
    ssize_t told = write(STDERR_FILENO, text, sizeof text - 1);
    (void)told; /* there is nobody else to tell */
    _exit(fl_status_exit(FL_INTERRUPTED));
}

static void handle_with(void (*handler)(int), int flags)
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&a.sa_mask);
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

void fl_verb_catch_interrupts(void)
{
    handle_with(on_interrupt, SA_RESTART | (int)SA_RESETHAND);
}

void fl_verb_exit_on_interrupts(void)
{
    handle_with(exit_now, 0);
}

fl_session_options fl_verb_session_options(const fl_verb_options *o, bool train)
{
    fl_session_options so = {.train = train, .threads = o->threads, .has_seed = o->has_seed, .seed = o->seed, .cpu = o->cpu,
                             .data = o->data, .note = fl_verb_note, .dump = o->dump,
                             .stored_folds = o->stored_folds, .fold_bytes = train ? 0 : o->fold_bytes, .max_memory = o->max_memory};
    if (o->interpret)
        so.interpret = fl_interp_engine_new;
    else
        so.compile = fl_compile_as;
    return so;
}

fl_status fl_verb_session(const fl_verb_options *o, bool train, fl_session *s, fl_diag *dg)
{
    fl_session_options so = fl_verb_session_options(o, train);
    return fl_session_open(s, o->model, &so, dg);
}

int fl_verb_end(fl_status status, fl_diag *dg)
{
    fl_diag_print(dg, stderr, "flenrt", NULL, NULL);
    fl_diag_deinit(dg);
    if (fflush(stdout) != 0 && status == FL_OK) {
        fprintf(stderr, "flenrt: error: cannot write to standard output: %s [E%04d]\n", strerror(errno), FL_E_WRITE);
        status = FL_IO;
    }
    return fl_status_exit(status);
}
