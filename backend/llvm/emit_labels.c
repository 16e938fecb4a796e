/*
 * emit_labels.c -- LabelEncoder of ai.onnx.ml: keys, sorted when code is made, and the values that belong to them, as constants of the code.
 *
 *     low = 0; high = number of keys
 *     while low < high: middle = (low + high) / 2;  key[middle] <= x ? low = middle + 1 : high = middle
 *     out = low > 0 and key[low - 1] == x ? value[low - 1] : default
 *
 * Texts are compared byte by byte. Their keys lie one behind the other, each found by its offset: an address in constants would be a relocation.
 */
#include "backend/llvm/emit_walk.h"

#include <stdlib.h>
#include <string.h>

/* A key, and its place in the list. */
typedef struct key {
    fl_attr_kind kind;
    const char *s;
    int64_t i;
    float f;
    uint32_t place;
} key;

typedef struct encoder {
    const fl_attr *keys, *values;
    key *sorted; /* [n] */
    uint32_t n;
    LLVMValueRef v_keys, v_text; /* numbers, or offsets of texts in v_text */
    LLVMValueRef v_values;
    LLVMTypeRef key_type, value_type;
} encoder;

static int order(const key *a, const key *b)
{
    if (a->kind == FL_ATTR_STRINGS)
        return strcmp(a->s, b->s);
    if (a->kind == FL_ATTR_INTS)
        return (a->i > b->i) - (a->i < b->i);
    return (a->f > b->f) - (a->f < b->f);
}

static int by_key(const void *a, const void *b)
{
    const key *x = a, *y = b;
    int way = order(x, y);
    return way ? way : (x->place > y->place) - (x->place < y->place);
}

static const fl_attr *list_of(const fl_gen *gen, fl_id node, const char *const names[3])
{
    for (int k = 0; k < 3; k++)
        if (fl_node_attr(gen->g, node, names[k]))
            return fl_node_attr(gen->g, node, names[k]);
    return NULL;
}

/* Sorted keys; of equal ones the last is kept, as in a dictionary that is filled in order. False if memory is out. */
static bool sort_keys(fl_gen *gen, encoder *x)
{
    uint32_t n = 0;

    x->sorted = fl_arena_new(&gen->arena, key, x->keys->n + 1u);
    if (!x->sorted)
        return false;
    for (uint32_t k = 0; k < x->keys->n; k++) {
        x->sorted[k] = (key){.kind = x->keys->kind, .place = k};
        if (x->keys->kind == FL_ATTR_STRINGS)
            x->sorted[k].s = x->keys->as.strings[k];
        else if (x->keys->kind == FL_ATTR_INTS)
            x->sorted[k].i = x->keys->as.ints[k];
        else
            x->sorted[k].f = (float)x->keys->as.floats[k];
    }
    qsort(x->sorted, x->keys->n, sizeof *x->sorted, by_key);
    for (uint32_t k = 0; k < x->keys->n; k++) {
        if (k + 1 < x->keys->n && order(&x->sorted[k], &x->sorted[k + 1]) == 0)
            continue;
        x->sorted[n++] = x->sorted[k];
    }
    x->n = n;
    return true;
}

static LLVMValueRef constant_array(fl_gen *gen, LLVMTypeRef t, LLVMValueRef *elements, uint32_t n)
{
    LLVMValueRef v = LLVMAddGlobal(gen->module, LLVMArrayType2(t, n), "labels");

    LLVMSetInitializer(v, LLVMConstArray2(t, elements, n));
    LLVMSetGlobalConstant(v, true);
    LLVMSetLinkage(v, LLVMPrivateLinkage);
    return v;
}

/* All texts of the keys, each with its 0, and the offset of each. False if memory is out. */
static bool place_texts(fl_gen *gen, encoder *x, LLVMValueRef *offsets)
{
    size_t size = 0;

    for (uint32_t k = 0; k < x->n; k++) {
        offsets[k] = l_i64(gen, (int64_t)size);
        size += strlen(x->sorted[k].s) + 1;
    }
    LLVMValueRef *bytes = fl_arena_new(&gen->arena, LLVMValueRef, size + 1);
    size = 0;
    for (uint32_t k = 0; bytes && k < x->n; k++)
        for (const char *c = x->sorted[k].s;; c++) {
            bytes[size++] = LLVMConstInt(gen->i8, (unsigned char)*c, false);
            if (*c == 0)
                break;
        }
    if (!bytes)
        return false;
    x->v_text = constant_array(gen, gen->i8, bytes, (uint32_t)size);
    return true;
}

static bool place_lists(fl_gen *gen, encoder *x)
{
    LLVMValueRef *keys = fl_arena_new(&gen->arena, LLVMValueRef, x->n + 1u), *values = fl_arena_new(&gen->arena, LLVMValueRef, x->n + 1u);

    if (!keys || !values)
        return false;
    x->key_type = x->keys->kind == FL_ATTR_FLOATS ? gen->f32 : gen->i64;
    x->value_type = x->values->kind == FL_ATTR_FLOATS ? gen->f32 : gen->i64;
    if (x->keys->kind == FL_ATTR_STRINGS && !place_texts(gen, x, keys))
        return false;
    for (uint32_t k = 0; k < x->n; k++) {
        uint32_t place = x->sorted[k].place;
        if (x->keys->kind == FL_ATTR_FLOATS)
            keys[k] = l_f32(gen, (double)x->sorted[k].f);
        else if (x->keys->kind == FL_ATTR_INTS)
            keys[k] = l_i64(gen, x->sorted[k].i);
        values[k] = x->values->kind == FL_ATTR_FLOATS ? l_f32(gen, (double)(float)x->values->as.floats[place]) : l_i64(gen, x->values->as.ints[place]);
    }
    x->v_keys = constant_array(gen, x->key_type, keys, x->n);
    x->v_values = constant_array(gen, x->value_type, values, x->n);
    return true;
}

static LLVMValueRef element_of(fl_gen *gen, LLVMTypeRef t, LLVMValueRef v_array, LLVMValueRef v_at)
{
    return LLVMBuildLoad2(gen->b, t, LLVMBuildGEP2(gen->b, t, v_array, &v_at, 1, ""), "");
}

/* *v_way < 0, 0 or > 0: the key's text against the text at v_x. Bytes are compared up to the first that differs, or that ends both. */
static LLVMValueRef compare_texts(fl_gen *gen, LLVMValueRef v_key, LLVMValueRef v_x)
{
    LLVMBasicBlockRef b_before = LLVMGetInsertBlock(gen->b), b_loop = l_block(gen, "text"), b_end = l_block(gen, "told");
    LLVMValueRef v_i, v_a, v_b, v_stop, v_next, v_zero = l_i64(gen, 0);

    LLVMBuildBr(gen->b, b_loop);
    LLVMPositionBuilderAtEnd(gen->b, b_loop);
    v_i = LLVMBuildPhi(gen->b, gen->i64, "");
    v_a = LLVMBuildZExt(gen->b, element_of(gen, gen->i8, v_key, v_i), gen->i32, "");
    v_b = LLVMBuildZExt(gen->b, element_of(gen, gen->i8, v_x, v_i), gen->i32, "");
    v_stop = LLVMBuildICmp(gen->b, LLVMIntNE, v_a, v_b, "");
    v_stop = LLVMBuildOr(gen->b, v_stop, LLVMBuildICmp(gen->b, LLVMIntEQ, v_a, l_i32(gen, 0), ""), "");
    v_next = LLVMBuildAdd(gen->b, v_i, l_i64(gen, 1), "");
    LLVMAddIncoming(v_i, (LLVMValueRef[]){v_zero, v_next}, (LLVMBasicBlockRef[]){b_before, b_loop}, 2);
    LLVMBuildCondBr(gen->b, v_stop, b_end, b_loop);
    LLVMPositionBuilderAtEnd(gen->b, b_end);
    return LLVMBuildSub(gen->b, v_a, v_b, "");
}

/* Is key v_at no more than x (or: equal to it)? */
static LLVMValueRef compare_key(fl_gen *gen, const encoder *x, LLVMValueRef v_at, LLVMValueRef v_x, bool equal)
{
    LLVMValueRef v = element_of(gen, x->key_type, x->v_keys, v_at);

    if (x->keys->kind == FL_ATTR_FLOATS)
        return LLVMBuildFCmp(gen->b, equal ? LLVMRealOEQ : LLVMRealOLE, v, v_x, "");
    if (x->keys->kind == FL_ATTR_INTS)
        return LLVMBuildICmp(gen->b, equal ? LLVMIntEQ : LLVMIntSLE, v, v_x, "");
    v = compare_texts(gen, LLVMBuildGEP2(gen->b, gen->i8, x->v_text, &v, 1, ""), v_x);
    return LLVMBuildICmp(gen->b, equal ? LLVMIntEQ : LLVMIntSLE, v, l_i32(gen, 0), "");
}

/* How many keys are no more than x: steps halve what is left, so there are as many as the number of keys has bits. */
static LLVMValueRef count_below(fl_gen *gen, const encoder *x, LLVMValueRef v_x)
{
    uint32_t steps = 0;
    LLVMValueRef v_low, v_high, v_middle, v_open, v_over, v_last = l_i64(gen, (int64_t)x->n - 1);
    l_loop loop;

    while (x->n >> steps)
        steps++;
    l_loop_begin(gen, &loop, l_i64(gen, 0), l_i64(gen, steps), 1);
    v_low = l_carry(gen, &loop, l_i64(gen, 0));
    v_high = l_carry(gen, &loop, l_i64(gen, x->n));
    v_open = LLVMBuildICmp(gen->b, LLVMIntULT, v_low, v_high, "");
    v_middle = LLVMBuildLShr(gen->b, LLVMBuildAdd(gen->b, v_low, v_high, ""), l_i64(gen, 1), "");
    v_over = compare_key(gen, x, l_min_i64(gen, v_middle, v_last), v_x, false);
    v_over = LLVMBuildAnd(gen->b, v_over, v_open, "");
    l_next(&loop, 0, LLVMBuildSelect(gen->b, v_over, LLVMBuildAdd(gen->b, v_middle, l_i64(gen, 1), ""), v_low, ""));
    l_next(&loop, 1, LLVMBuildSelect(gen->b, LLVMBuildAnd(gen->b, v_open, LLVMBuildNot(gen->b, v_over, ""), ""), v_middle, v_high, ""));
    l_loop_end(gen, &loop);
    return loop.v_result[0];
}

/* One search after another, for each element. */
static void encode(fl_gen *gen, fl_id node, const encoder *x, int d, LLVMValueRef *v_at)
{
    const fl_node *n = &gen->g->nodes[node];
    const fl_type *t = fl_value_type(gen->g, n->out[0]);
    l_walk e = {.gen = gen, .node = node, .out = t};
    LLVMValueRef v_from = l_i64(gen, 0), v_to, v, v_x, v_low, v_found, v_default;
    l_loop loop;

    if (d < t->rank) {
        v_to = l_extent(gen, t->dims[d]);
        if (d == 0)
            l_rows(gen, t->dims[0], &v_from, &v_to);
        l_loop_begin(gen, &loop, v_from, v_to, 1);
        v_at[d] = loop.v_i;
        encode(gen, node, x, d + 1, v_at);
        l_loop_end(gen, &loop);
        return;
    }
    v_x = l_walk_load(&e, n->in[0], v_at);
    if (x->keys->kind == FL_ATTR_STRINGS)
        v_x = LLVMBuildIntToPtr(gen->b, v_x, gen->ptr, "");
    v_low = count_below(gen, x, v_x);
    v_low = LLVMBuildSub(gen->b, v_low, l_i64(gen, 1), "");
    v_low = LLVMBuildSelect(gen->b, LLVMBuildICmp(gen->b, LLVMIntSLT, v_low, l_i64(gen, 0), ""), l_i64(gen, 0), v_low, "");
    v_found = compare_key(gen, x, v_low, v_x, true);
    v_default = x->values->kind == FL_ATTR_FLOATS ? l_f32(gen, fl_node_float(gen->g, node, "default_float", -0.0))
                                                  : l_i64(gen, fl_node_int(gen->g, node, "default_int64", -1));
    v = LLVMBuildSelect(gen->b, v_found, element_of(gen, x->value_type, x->v_values, v_low), v_default, "");
    for (int k = 0; k < t->rank; k++)
        e.v_at[k] = v_at[k];
    l_walk_store(&e, v);
}

void fl_emit_label_encoder(fl_gen *gen, fl_id node)
{
    static const char *const keys[] = {"keys_strings", "keys_int64s", "keys_floats"}, *const values[] = {"values_strings", "values_int64s", "values_floats"};
    encoder x = {.keys = list_of(gen, node, keys), .values = list_of(gen, node, values)};
    LLVMValueRef v_at[FL_MAX_RANK];

    if (!x.keys || !x.values || x.keys->n == 0 || x.values->kind == FL_ATTR_STRINGS) {
        l_unsupported(gen, node, "it has code for lists of keys that lead to numbers");
        return;
    }
    if (!sort_keys(gen, &x) || !place_lists(gen, &x)) {
        gen->status = fl_out_of_memory(gen->dg);
        return;
    }
    encode(gen, node, &x, 0, v_at);
}
