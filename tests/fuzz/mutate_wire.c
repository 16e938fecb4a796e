#include "tests/fuzz/mutate_wire.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 4096, MAX_DEPTH = 40 };

/* Words that mean something to the reader. */
static const char *const words[] = {
#define FL_OP(id, domain, name, min_in, max_in, min_out, max_out, fn, traits) name,
#include "ir/ops.def"
#undef FL_OP
#define FL_EXPANSION(domain, name, min_in, max_in, max_out, fn) name,
#include "ir/expansions.def"
#undef FL_EXPANSION
    "", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "ai.flen", "axis", "axes", "keepdims", "value", "perm", "to", "fields", "squares", "equation",
    "reduction", "mode", "xs", "zs", "y", "batch", "loss", "location", "offset", "length", "../x", "/etc/passwd", "ai.flen.variables", "ai.flen.updates",
    "ai.flen.schedule", "ai.flen.params", "ai.flen.shapes", "i,j->ij", "...", "data.bin"};

typedef struct field {
    size_t start, end;  /* with its key */
    size_t body, n;     /* of a length-delimited field */
    uint32_t number;
    uint8_t type;
} field;

static bool get_varint(const uint8_t *b, size_t n, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < n; shift += 7) {
        uint8_t byte = b[(*at)++];
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static size_t put_varint(uint8_t *out, uint64_t value)
{
    size_t n = 0;
    for (; value > 0x7f; value >>= 7)
        out[n++] = (uint8_t)(value | 0x80);
    out[n++] = (uint8_t)value;
    return n;
}

/* The fields of a message; 0 if the bytes are none. */
static size_t split(const uint8_t *b, size_t n, field *out)
{
    size_t count = 0, at = 0;
    while (at < n) {
        field f = {.start = at};
        uint64_t key, value;
        if (count == MAX_FIELDS || !get_varint(b, n, &at, &key) || key >> 3 == 0 || key >> 3 > 100)
            return 0;
        f.number = (uint32_t)(key >> 3);
        f.type = key & 7;
        if (f.type == 0) {
            if (!get_varint(b, n, &at, &value))
                return 0;
        } else if (f.type == 1 || f.type == 5) {
            at += f.type == 1 ? 8 : 4;
        } else if (f.type == 2) {
            if (!get_varint(b, n, &at, &value) || value > n - at)
                return 0;
            f.body = at;
            f.n = (size_t)value;
            at += f.n;
        } else {
            return 0;
        }
        if (at > n)
            return 0;
        f.end = at;
        out[count++] = f;
    }
    return count;
}

/* bytes[at, at + old) become `with`; 0 if that does not fit. */
static size_t replace(uint8_t *bytes, size_t n, size_t most, size_t at, size_t old, const uint8_t *with, size_t n_with)
{
    if (n - old + n_with > most)
        return 0;
    memmove(bytes + at + n_with, bytes + at + old, n - at - old);
    if (n_with)
        memcpy(bytes + at, with, n_with);
    return n - old + n_with;
}

static size_t put_field(uint8_t *out, uint32_t number, const uint8_t *body, size_t n)
{
    size_t at = put_varint(out, (uint64_t)number << 3 | 2);
    at += put_varint(out + at, n);
    if (n)
        memcpy(out + at, body, n);
    return at + n;
}

/* A number that lies at some edge. */
static uint64_t edge(uint64_t *random)
{
    static const uint64_t edges[] = {0, 1, 2, 3, 7, 8, 11, 20, 100, 127, 128, 255, 256, 65535, 1u << 20, INT32_MAX, 1ull << 31, UINT32_MAX, 1ull << 32,
                                     1ull << 40, 1ull << 61, 1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 7};
    uint64_t pick = mutate_random(random);
    return pick % 4 == 0 ? mutate_random(random) % 64 : edges[pick / 4 % (sizeof edges / sizeof *edges)];
}

static size_t change_leaf(uint8_t *bytes, size_t n, size_t most, const field *f, uint64_t *random)
{
    uint8_t *room = malloc(f->n + 4096), *out = malloc(f->n + 4096 + 32);
    size_t got = 0;
    if (room && out && f->type == 2) {
        size_t length = 0;
        if (mutate_random(random) % 3 == 0) {
            const char *word = words[mutate_random(random) % (sizeof words / sizeof *words)];
            length = strlen(word);
            memcpy(room, word, length);
        } else {
            if (f->n)
                memcpy(room, bytes + f->body, f->n);
            length = LLVMFuzzerMutate(room, f->n, f->n + 4000);
        }
        got = replace(bytes, n, most, f->start, f->end - f->start, out, put_field(out, f->number, room, length));
    } else if (out && f->type == 0) {
        size_t at = put_varint(out, (uint64_t)f->number << 3);
        at += put_varint(out + at, edge(random));
        got = replace(bytes, n, most, f->start, f->end - f->start, out, at);
    } else if (f->end - f->start >= 5) {
        for (size_t i = f->start + 1; i < f->end; i++)
            bytes[i] = (uint8_t)mutate_random(random);
        got = n;
    }
    free(room);
    free(out);
    return got;
}

static size_t mutate_at(uint8_t *bytes, size_t n, size_t most, uint64_t *random, unsigned depth, field *fields)
{
    size_t count = split(bytes, n, fields);
    if (count == 0)
        return 0;
    field f = fields[mutate_random(random) % count], g = fields[mutate_random(random) % count];
    bool deeper = f.type == 2 && f.n > 0 && depth < MAX_DEPTH && mutate_random(random) % 8 != 0;
    if (deeper) { /* what was a message may as well be a text: then it is changed as a leaf */
        uint8_t *inner = malloc(f.n + 4096), *out = malloc(f.n + 4096 + 32);
        size_t length = 0;
        if (inner && out) {
            memcpy(inner, bytes + f.body, f.n);
            length = mutate_at(inner, f.n, f.n + 4096, random, depth + 1, fields);
            if (length)
                length = replace(bytes, n, most, f.start, f.end - f.start, out, put_field(out, f.number, inner, length));
        }
        free(inner);
        free(out);
        if (length)
            return length;
    }
    uint8_t *copy = malloc(n + 1);
    size_t got = 0;
    if (!copy)
        return 0;
    memcpy(copy, bytes, n);
    switch (mutate_random(random) % 6) {
    case 0:
        got = replace(bytes, n, most, f.start, f.end - f.start, NULL, 0);
        break;
    case 1:
        got = replace(bytes, n, most, g.start, 0, copy + f.start, f.end - f.start);
        break;
    case 2:
        got = replace(bytes, n, most, g.start, g.end - g.start, copy + f.start, f.end - f.start);
        break;
    default:
        got = change_leaf(bytes, n, most, &f, random);
        break;
    }
    free(copy);
    return got;
}

size_t mutate_wire(uint8_t *bytes, size_t n, size_t most, uint64_t *random)
{
    field *fields = malloc(MAX_FIELDS * sizeof *fields);
    size_t got = fields ? mutate_at(bytes, n, most, random, 0, fields) : 0;
    free(fields);
    return got ? got : LLVMFuzzerMutate(bytes, n, most);
}

/* A random field of the message or of what lies in it. */
static bool pick_field(const uint8_t **bytes, size_t n, field *out, uint64_t *random, field *fields)
{
    for (unsigned depth = 0; depth < MAX_DEPTH; depth++) {
        size_t count = split(*bytes, n, fields);
        if (count == 0)
            return depth > 0;
        *out = fields[mutate_random(random) % count];
        if (out->type != 2 || out->n == 0 || mutate_random(random) % 3 == 0 || split(*bytes + out->body, out->n, fields) == 0)
            return true;
        *bytes += out->body;
        n = out->n;
    }
    return true;
}

static size_t graft_at(uint8_t *bytes, size_t n, size_t most, const uint8_t *with, const field *f, uint64_t *random, unsigned depth, field *fields)
{
    size_t count = split(bytes, n, fields), start = count ? mutate_random(random) % count : 0;
    for (size_t k = 0; k < count; k++) {
        field at = fields[(start + k) % count];
        if (at.number == f->number && at.type == f->type && mutate_random(random) % 2 == 0)
            return replace(bytes, n, most, at.start, mutate_random(random) % 2 ? at.end - at.start : 0, with + f->start, f->end - f->start);
        if (at.type != 2 || at.n == 0 || depth == MAX_DEPTH)
            continue;
        size_t room = at.n + (f->end - f->start);
        uint8_t *inner = malloc(room), *out = malloc(room + 32);
        size_t length = 0;
        if (inner && out) {
            memcpy(inner, bytes + at.body, at.n);
            length = graft_at(inner, at.n, room, with, f, random, depth + 1, fields);
            if (length)
                length = replace(bytes, n, most, at.start, at.end - at.start, out, put_field(out, at.number, inner, length));
        }
        free(inner);
        free(out);
        if (length)
            return length;
        count = split(bytes, n, fields); /* the call inside used the array */
    }
    return 0;
}

size_t mutate_graft(const uint8_t *bytes, size_t n, const uint8_t *donor, size_t n_donor, uint8_t *out, size_t most, uint64_t *random)
{
    field f, *fields = malloc(MAX_FIELDS * sizeof *fields);
    size_t got = 0;
    if (fields && n <= most && pick_field(&donor, n_donor, &f, random, fields)) {
        memcpy(out, bytes, n);
        got = graft_at(out, n, most, donor, &f, random, 0, fields);
    }
    free(fields);
    return got;
}
