/*
 * config_yaml.h -- a YAML document as a tree of nodes that know their place. The only part of flen that sees libyaml.
 */
#ifndef FL_FRONTEND_CONFIG_YAML_H
#define FL_FRONTEND_CONFIG_YAML_H

#include "ir/base/arena.h"
#include "ir/base/diag.h"

typedef enum fl_yaml_kind { FL_YAML_SCALAR, FL_YAML_LIST, FL_YAML_MAP } fl_yaml_kind;

typedef struct fl_yaml fl_yaml;

typedef struct fl_yaml_pair {
    const char *key;
    fl_loc loc; /* of the key */
    fl_yaml *value;
} fl_yaml_pair;

struct fl_yaml {
    fl_yaml_kind kind;
    fl_loc loc;
    const char *text; /* SCALAR */
    bool quoted;      /* SCALAR: text whatever it looks like */
    fl_yaml **items;  /* LIST */
    fl_yaml_pair *pairs; /* MAP */
    uint32_t n, capacity;
};

/*
 * Read one document. `file` names it in places and must outlive the tree. An alias is the anchor's node itself, so that nested aliases cost nothing; merge keys (<<)
 * are applied. Refused: more than one document, keys that are no scalars, keys that stand twice, nesting beyond 32.
 */
FL_MUST_USE fl_status fl_yaml_read(const char *text, size_t n, const char *file, fl_arena *arena, fl_yaml **out, fl_diag *dg);

/*
 * Apply "KEY.PATH=VALUE": numbers in the path index lists, a last key that is missing is added. VALUE is read as a YAML scalar or list; what
 * is neither is taken as text as it stands. `set` must outlive the tree. Trees that share nodes by aliases change at both places.
 */
FL_MUST_USE fl_status fl_yaml_set(fl_yaml *root, const char *set, fl_arena *arena, fl_diag *dg);

/* Value of a map's key; NULL if absent, or if the node is no map. */
fl_yaml *fl_yaml_get(const fl_yaml *map, const char *key);
const fl_yaml_pair *fl_yaml_find(const fl_yaml *map, const char *key);

#endif
