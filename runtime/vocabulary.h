/*
 * vocabulary.h -- the dictionaries of a schema's DICT slots (and the sizes of its `auto` ones), as one block of bytes
 * that is used as it lies in the file: model.bin's entry vocabulary.bin, or the file `vocabulary` beside a cache.
 *
 * Ids of a DICT slot: 0 is out of vocabulary; 1, 2, ... are the values seen at least min_count times, by decreasing
 * count, then by text (bytes); if the schema gives `rows`, only the first rows - 1 of them. An `auto` RANGE slot gets as many rows as its largest id needs.
 */
#ifndef FL_RUNTIME_VOCABULARY_H
#define FL_RUNTIME_VOCABULARY_H

#include "ir/base/diag.h"
#include "ir/manifest.h"

#define FL_VOCABULARY_ENTRY "vocabulary.bin"

typedef struct fl_vocabulary fl_vocabulary;

/* The hash of HASH slots and of the dictionaries. Stored data depends on it: it never changes. */
uint64_t fl_text_hash(const char *text, size_t n);

/* Whether a reader of this schema needs a vocabulary: DICT slots, or slots whose rows are not known yet. */
bool fl_schema_needs_vocabulary(const fl_schema *schema);
/* Whether rows and first_row of every slot, and table_rows, are known. */
bool fl_schema_is_bound(const fl_schema *schema);

/* ------------------------------------------------------------------------------------------------------- using */

/*
 * Borrow `n` bytes (8-byte aligned) and check them against the schema (slots by name and order). Any bytes end in a usable vocabulary or in a
 * diagnostic that names `file`. No work per entry: microseconds whatever the size; the checksum is compared up to 1 MB.
 */
FL_MUST_USE fl_status fl_vocabulary_open(const void *bytes, size_t n, const fl_schema *schema, const char *file,
                                         fl_vocabulary **out, fl_diag *dg);
/* Map the file `path`, compare its checksum, and open it; the mapping belongs to the vocabulary. */
FL_MUST_USE fl_status fl_vocabulary_load(const char *path, const fl_schema *schema, fl_vocabulary **out, fl_diag *dg);
void fl_vocabulary_free(fl_vocabulary *v); /* NULL is fine */

/* Id of a value of DICT slot `slot`, from 0; 0 if it is unknown. */
int64_t fl_vocabulary_find(const fl_vocabulary *v, uint32_t slot, const char *text, size_t n);

/* The text of an id (not NUL-terminated); NULL for 0, for ids that do not exist and for slots without dictionary. */
const char *fl_vocabulary_text(const fl_vocabulary *v, uint32_t slot, int64_t id, size_t *n);
/* Rows that slot needs: of its dictionary (1 + values), or of its largest id; 0 if the vocabulary does not know. */
int64_t fl_vocabulary_rows(const fl_vocabulary *v, uint32_t slot);
/* The bytes, for storing. */
const void *fl_vocabulary_bytes(const fl_vocabulary *v, size_t *n);

/*
 * Set what the schema leaves open: rows of `auto` slots, first_row of slots that have none (in order, behind those
 * that have one), table_rows. Error if a dictionary is larger than the rows that the schema gives.
 */
FL_MUST_USE fl_status fl_vocabulary_bind(const fl_vocabulary *v, fl_schema *schema, fl_diag *dg);

/* ----------------------------------------------------------------------------------------------------- building */

typedef struct fl_vocabulary_builder fl_vocabulary_builder;

FL_MUST_USE fl_status fl_vocabulary_builder_new(const fl_schema *schema, fl_vocabulary_builder **out);
void fl_vocabulary_builder_free(fl_vocabulary_builder *b);
/* Count one value of a slot. False: out of memory. */
bool fl_vocabulary_builder_add(fl_vocabulary_builder *b, uint32_t slot, const char *text, size_t n);
/* Note an id of an `auto` RANGE slot. */
void fl_vocabulary_builder_add_id(fl_vocabulary_builder *b, uint32_t slot, int64_t id);
/* The finished vocabulary, which owns its bytes. The builder may be freed. */
FL_MUST_USE fl_status fl_vocabulary_builder_finish(const fl_vocabulary_builder *b, fl_vocabulary **out, fl_diag *dg);

/* Count all rows of the paths (files or folders) with `threads` threads and finish; *rows (may be NULL) is their number, bad ones included. */
FL_MUST_USE fl_status fl_vocabulary_build(const char *const *paths, size_t n_paths, const fl_schema *schema, uint32_t quirks,
                                          uint32_t threads, bool strict, fl_vocabulary **out, int64_t *rows, fl_diag *dg);

#endif
