/*
 * onnx_scan.c -- bounds a hostile ONNX file before protobuf-c sees it.
 *
 * protobuf-c recurses without a limit (30 kB of nesting overflow the stack) and allocates a full structure for each
 * empty message (10 MB of empty nodes take 950 MB). The walk follows protobuf-c's own descriptors, so it counts exactly the
 * structures that will be made, and stops at the first byte that is too much.
 */
#include "ir/onnx_parts.h"

#include <inttypes.h>

typedef struct frame {
    const ProtobufCMessageDescriptor *type;
    const uint8_t *end;
} frame;

typedef struct scan {
    const uint8_t *start, *p;
    uint64_t cost, budget;
    const char *file;
    fl_diag *dg;
} scan;

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* An allocation of protobuf-c in our arena: rounded, with the pointer to it. */
enum { ALLOCATION = 32 };

static fl_status malformed(const scan *s, const char *what)
{
    return fl_error(s->dg, FL_E_ONNX_FORMAT, FL_FILE(s->file), "this is no ONNX file, or a damaged one: %s at byte %td", what, s->p - s->start);
}

static fl_status read_varint(scan *s, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (s->p == end)
            return malformed(s, "a number is cut off");
        uint8_t byte = *s->p++;
        *value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (!(byte & 0x80))
            return FL_OK;
    }
    return malformed(s, "a number is too long");
}

/*
 * What the graph takes for a message beside protobuf-c's structure: nodes, values and names of ours, arrays that double. Measured
 * by test_onnx's budget tests, which hold the process to the promise.
 */
static uint64_t graph_cost(const ProtobufCMessageDescriptor *type)
{
    return type == &onnx__node_proto__descriptor          ? 640
           : type == &onnx__tensor_proto__descriptor      ? 640
           : type == &onnx__value_info_proto__descriptor  ? 320
           : type == &onnx__attribute_proto__descriptor   ? 128
                                                          : 0;
}

static fl_status charge(scan *s, uint64_t bytes)
{
    s->cost += bytes;
    if (s->cost <= s->budget)
        return FL_OK;
    return fl_error(s->dg, FL_E_ONNX_LIMIT, FL_FILE(s->file),
                    "the file asks for more memory than its size allows: the limit of %" PRIu64 " MB is reached at byte %td", s->budget >> 20,
                    s->p - s->start);
}

/* Elements of a packed field take their full width in memory. */
static uint64_t unpacked_bytes(const ProtobufCFieldDescriptor *field, const uint8_t *p, uint64_t n)
{
    if (field->type == PROTOBUF_C_TYPE_FLOAT || field->type == PROTOBUF_C_TYPE_DOUBLE)
        return n;
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++)
        count += !(p[i] & 0x80);
    return 8 * count;
}

/* A length-delimited field: a string, packed numbers, or a message to enter. */
static fl_status scan_bytes(scan *s, frame *stack, unsigned *depth, const ProtobufCFieldDescriptor *field)
{
    const uint8_t *end = stack[*depth - 1].end;
    uint64_t n;
    FL_TRY(read_varint(s, end, &n));
    if (n > (uint64_t)(end - s->p))
        return malformed(s, "a field is longer than what holds it");
    if (field && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessageDescriptor *type = field->descriptor;
        if (*depth == FL_ONNX_MAX_DEPTH)
            return fl_error(s->dg, FL_E_ONNX_LIMIT, FL_FILE(s->file), "messages nest deeper than %d at byte %td", FL_ONNX_MAX_DEPTH,
                            s->p - s->start);
        FL_TRY(charge(s, type->sizeof_message + ALLOCATION + graph_cost(type)));
        stack[(*depth)++] = (frame){type, s->p + n};
        return FL_OK;
    }
    bool text = !field || field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES;
    FL_TRY(charge(s, text ? 2 * n + ALLOCATION : 2 * unpacked_bytes(field, s->p, n)));
    s->p += n;
    return FL_OK;
}

static fl_status scan_field(scan *s, frame *stack, unsigned *depth)
{
    const frame *top = &stack[*depth - 1];
    uint64_t key, ignored;
    FL_TRY(read_varint(s, top->end, &key));
    if (key >> 3 == 0 || key >> 3 > 536870911u)
        return malformed(s, "a field has no valid number");
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(top->type, (unsigned)(key >> 3));
    switch (key & 7) {
    case WIRE_BYTES:
        return scan_bytes(s, stack, depth, field);
    case WIRE_VARINT:
        FL_TRY(read_varint(s, top->end, &ignored));
        break;
    case WIRE_64:
    case WIRE_32: {
        ptrdiff_t n = (key & 7) == WIRE_64 ? 8 : 4;
        if (top->end - s->p < n)
            return malformed(s, "a number is cut off");
        s->p += n;
        break;
    }
    default:
        return malformed(s, "a field has no valid kind");
    }
    return charge(s, field && field->label == PROTOBUF_C_LABEL_REPEATED ? 16 : field ? 0 : ALLOCATION);
}

fl_status fl_onnx_scan(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n, const char *file, uint64_t *left,
                       fl_diag *dg)
{
    scan s = {.start = bytes, .p = bytes, .budget = fl_onnx_budget(n), .file = file, .dg = dg};
    frame stack[FL_ONNX_MAX_DEPTH];
    unsigned depth = 0;
    if (n == 0)
        return fl_error(dg, FL_E_ONNX_FORMAT, FL_FILE(file), "the file is empty");
    stack[depth++] = (frame){type, bytes + n};
    while (depth > 0) {
        if (s.p == stack[depth - 1].end) {
            depth--;
            continue;
        }
        FL_TRY(scan_field(&s, stack, &depth));
    }
    if (left)
        *left = s.budget - s.cost;
    return FL_OK;
}
