/*
 * config_read.h -- typed reading of configuration trees, shared by the formats. Errors are collected in the sink and not returned:
 * readers go on, so that independent mistakes come out in one run; whoever loads a configuration looks at n_errors at the end.
 */
#ifndef FL_FRONTEND_CONFIG_READ_H
#define FL_FRONTEND_CONFIG_READ_H

#include "frontend/config.h"
#include "frontend/config_yaml.h"

typedef struct fl_reader {
    fl_arena *arena;
    fl_diag *dg;
    const char *folder;    /* of the configuration file; "." if it has none */
    const char *workspace; /* what {workspace} in strings stands for */
    fl_config *config;
} fl_reader;

/* Every key of `map` must be one of keys; false if `map` is no map at all (reported, unless NULL). */
bool fl_read_map(fl_reader *r, const fl_yaml *map, const char *what, const char *const *keys, size_t n);
#define FL_READ_MAP(r, map, what, keys) fl_read_map((r), (map), (what), (keys), FL_COUNT(keys))

/*
 * Value of a key, converted. True if it is there and right; false if it is absent or null (*out keeps its default) or wrong
 * (reported). Strings have {workspace} replaced.
 */
bool fl_read_text(fl_reader *r, const fl_yaml *map, const char *key, const char **out);
bool fl_read_int(fl_reader *r, const fl_yaml *map, const char *key, int64_t min, int64_t max, int64_t *out);
bool fl_read_real(fl_reader *r, const fl_yaml *map, const char *key, double min, double max, double *out);
bool fl_read_bool(fl_reader *r, const fl_yaml *map, const char *key, bool *out);
/* One of n words, in any case of letters; *out its index. */
bool fl_read_word(fl_reader *r, const fl_yaml *map, const char *key, const char *const *words, size_t n, int *out);
#define FL_READ_WORD(r, map, key, words, out) fl_read_word((r), (map), (key), (words), FL_COUNT(words), (out))
/* A list of strings; a single one counts as a list of one. */
bool fl_read_texts(fl_reader *r, const fl_yaml *map, const char *key, const char ***out, uint32_t *n);
/* A list; NULL if absent, reported and NULL if it is none. */
const fl_yaml *fl_read_list(fl_reader *r, const fl_yaml *map, const char *key);
/* A required key: reported if absent. */
bool fl_require(fl_reader *r, const fl_yaml *map, const char *what, const char *key);
/* Place of a key (of its value if there is one), else of the map. */
fl_loc fl_place(const fl_yaml *map, const char *key);
/* "a, b, c" for hints. */
const char *fl_word_list(fl_reader *r, const char *const *words, size_t n);
/* Report a word that is none of `words`, with the nearest as hint. */
void fl_unknown_word(fl_reader *r, fl_loc loc, const char *what, const char *word, const char *const *words, size_t n);
/* Text of a node that is a string scalar, with {workspace} replaced; NULL and reported otherwise. `what` names it. */
const char *fl_node_text(fl_reader *r, const fl_yaml *node, const char *what);
bool fl_is_null(const fl_yaml *node);

/* -- parts that formats share (config_network.c, config_inputs.c) -- */
/* `network: NAME`, else `name`. False if it is no network (reported). */
bool fl_config_network(fl_reader *r, const fl_yaml *root, const char *name);
/* An `optimizer` map into all classes of the network; absent keys keep the network's own rule. */
void fl_config_optimizer(fl_reader *r, const fl_yaml *map);
/* Our own keys for the network's blocks. */
void fl_config_blocks(fl_reader *r, const fl_yaml *root);
/* `seed`, `quirks`, `log`. */
void fl_config_common(fl_reader *r, const fl_yaml *root);
/* `inputs` of our own format: slots in the order of their listing, without fields. */
void fl_config_inputs(fl_reader *r, const fl_yaml *root);
/*
 * Put slots into fields: `fields` of the root, else consecutive slots by `sizes` (named names; the last takes the rest), else one
 * field "all" where the network does not interact by fields. Sorts the slots by field and places them in the table: side by side, or if `shared` all in the same rows.
 */
void fl_config_fields(fl_reader *r, const fl_yaml *root, const char *const *names, const uint32_t *sizes, uint32_t n, bool shared);

/* -- the formats -- */
void fl_config_read_flen(fl_reader *r, const fl_yaml *root);
void fl_config_read_paddlerec18(fl_reader *r, const fl_yaml *root);
void fl_config_read_paddlerec2(fl_reader *r, const fl_yaml *root);

#endif
