/* fuzz_vocabulary.c -- any bytes as a vocabulary: refused, or every look-up stays inside (the checksum is made right first). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "runtime/vocabulary_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fl_slot slot = {.name = "a", .vocab = FL_VOCAB_DICT, .first_row = -1};
    fl_schema schema = {.slots = &slot, .n_slots = 1};
    fl_vocabulary *v;
    fl_vocabulary_header h;
    char *bytes = malloc(size + 1);
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (size >= sizeof h) {
        memcpy(&h, bytes, sizeof h);
        h.bytes = size;
        h.crc = (uint32_t)crc32_z(0, (unsigned char *)bytes + sizeof h, size - sizeof h);
        memcpy(bytes, &h, sizeof h);
    }
    if (fl_vocabulary_open(bytes, size, &schema, "fuzz", &v, NULL) == FL_OK) {
        size_t n;
        int64_t id = fl_vocabulary_find(v, 0, "abc", 3);
        if (id < 0 || (id > 0 && id >= fl_vocabulary_rows(v, 0)))
            abort(); /* a row of another slot, or of none */
        const char *text = fl_vocabulary_text(v, 0, id, &n);
        volatile char sum = 0;
        for (size_t i = 0; text && i < n; i++)
            sum = (char)(sum + text[i]);
        if (fl_vocabulary_bind(v, &schema, NULL) == FL_OK && schema.table_rows <= 0)
            abort();
        fl_vocabulary_free(v);
    }
    free(bytes);
    return 0;
}
