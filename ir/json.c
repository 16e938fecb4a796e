#include "ir/json.h"

#include <string.h>
#include <threads.h>

static json_malloc_t served_by;
static json_free_t freed_by;
static _Thread_local bool refused; /* an allocation, since the load of this thread began */

static void *noted_malloc(size_t size)
{
    void *p = served_by(size);
    refused |= !p;
    return p;
}

static void stand_in_front(void)
{
    json_get_alloc_funcs(&served_by, &freed_by);
    json_set_alloc_funcs(noted_malloc, freed_by);
}

json_t *fl_json_load(const char *text, size_t n, json_error_t *error, bool *no_memory)
{
    static once_flag once = ONCE_FLAG_INIT;
    call_once(&once, stand_in_front);
    refused = false;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, error);
    *no_memory = refused;
    if (refused) {
        json_decref(root);
        return NULL;
    }
    return root;
}
