/*
 * status.h -- what every function that can fail returns, and the few macros that all rooms share.
 *
 * A status says which kind of failure; the words for a person are in the fl_diag that was passed along.
 * Results are written only on success.
 */
#ifndef FL_IR_BASE_STATUS_H
#define FL_IR_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fl_status {
#define FL_STATUS(id, exit_status, text) FL_##id,
#include "ir/base/status.def"
#undef FL_STATUS
} fl_status;

/* Goes before every declaration that returns a status: dropping one is a warning. */
#define FL_MUST_USE __attribute__((warn_unused_result))

/* Exit status of a program that ends with `s` (0, 1, 2, 130). */
int fl_status_exit(fl_status s);
/* A few words, such as "out of memory"; static storage. */
const char *fl_status_text(fl_status s);

/* Return at once, with the same status, if `call` failed. */
#define FL_TRY(call)                                                                                         \
    do {                                                                                                     \
        fl_status fl_try_status_ = (call);                                                                   \
        if (fl_try_status_ != FL_OK)                                                                         \
            return fl_try_status_;                                                                           \
    } while (0)

/* A bug of ours, never bad input. Off in release builds. */
#ifdef NDEBUG
#define FL_ASSERT(cond) ((void)sizeof(cond))
#else
void fl_assert_failed(const char *file, int line, const char *cond) __attribute__((noreturn));
#define FL_ASSERT(cond) ((cond) ? (void)0 : fl_assert_failed(__FILE__, __LINE__, #cond))
#endif

#define FL_COUNT(array)     (sizeof(array) / sizeof((array)[0]))
#define FL_PRINTF(at, rest) __attribute__((format(printf, at, rest)))

#endif
