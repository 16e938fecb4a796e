/*
 * store.c -- finding a variable of a session by name.
 */
#include "runtime/engine.h"

#include <string.h>

fl_var *fl_store_find(const fl_store *store, const char *name)
{
    for (uint32_t i = 0; store && i < store->n_vars; i++)
        if (strcmp(store->vars[i].name, name) == 0)
            return &store->vars[i];
    return NULL;
}
