/*
 * planted.h -- mistakes that can be made on purpose, one at a time, to see whether `flenc verify` finds them and `flenc reduce` makes them small.
 *
 * FL_PLANTED("name") stands in the rule that it breaks and is true if the environment has FLEN_PLANT=name. It exists only in builds with
 * the option FLEN_PLANTS (presets dev and asan); in all others it is the constant false. tests/cli/run_planted.sh has the list.
 */
#ifndef FL_IR_BASE_PLANTED_H
#define FL_IR_BASE_PLANTED_H

#include <stdbool.h>

#ifdef FLEN_PLANTS
#include <stdlib.h>
#include <string.h>

/* The mistake that is asked for; "" if none. */
static inline const char *fl_planted_name(void)
{
    const char *name = getenv("FLEN_PLANT");
    return name ? name : "";
}

#define FL_PLANTED(name) (strcmp(fl_planted_name(), (name)) == 0)
#else
static inline const char *fl_planted_name(void)
{
    return "";
}

#define FL_PLANTED(name) false
#endif

#endif
