/*
 * llvm_object.h -- from a relocatable object to the image that is cached and mapped.
 */
#ifndef FL_BACKEND_LLVM_OBJECT_H
#define FL_BACKEND_LLVM_OBJECT_H

#include "ir/base/diag.h"

typedef struct fl_object {
    const void *bytes;
    size_t size;
} fl_object;

enum { FL_MAX_OBJECTS = 4 };

/*
 * Lays out the allocated sections of n ELF64 x86-64 objects, which know nothing of each other, applies their relocations and wraps them as a shared
 * object with dynamic symbols for every global function: one segment, readable and executable, addresses equal file
 * offsets. *image is malloc'ed. FL_FAILED (reported) for what our emitters never make: writable data, undefined symbols,
 * relocations other than PC-relative ones.
 */
FL_MUST_USE fl_status fl_objects_link(const fl_object *objects, unsigned n, void **image, size_t *size, fl_diag *dg);

#endif
