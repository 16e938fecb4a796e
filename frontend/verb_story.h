/* verb_story.h -- the story of one value, for `flenc explain X VALUE`. */
#ifndef FL_FRONTEND_VERB_STORY_H
#define FL_FRONTEND_VERB_STORY_H

#include "ir/base/diag.h"

/* Prints where value `value` of X comes from, what passes did to it, and where it lies; program NULL: predict. */
FL_MUST_USE fl_status fl_tell_story(const char *input, const char *value, const char *program, fl_diag *dg);

#endif
