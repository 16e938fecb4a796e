/*
 * config.h -- a configuration file as what the compiler needs: the network's blocks, and the manifest of the model to be.
 *
 * Three formats, told apart by their keys: PaddleRec 1.8 (`phase`), PaddleRec 2.x (`runner` is a map), our own (neither). Keys,
 * meanings and defaults: README.md of this folder.
 */
#ifndef FL_FRONTEND_CONFIG_H
#define FL_FRONTEND_CONFIG_H

#include "frontend/network.h"
#include "ir/manifest.h"

typedef struct fl_config {
    fl_manifest manifest;    /* owns all memory */
    fl_network_spec network; /* its schema is the manifest's */
} fl_config;

/*
 * Read the file `path` and apply the overrides "KEY.PATH=VALUE" in order. Every mistake is reported with its place, several in one
 * run. On success the caller ends *out with fl_config_deinit; on failure there is nothing to end.
 */
FL_MUST_USE fl_status fl_config_load(const char *path, const char *const *sets, uint32_t n_sets, fl_config *out, fl_diag *dg);
/* The same from text; `path` names it in places, and its folder is what relative rules refer to. */
FL_MUST_USE fl_status fl_config_parse(const char *text, size_t n, const char *path, const char *const *sets, uint32_t n_sets,
                                      fl_config *out, fl_diag *dg);
void fl_config_deinit(fl_config *c);

#endif
