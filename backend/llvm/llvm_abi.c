/*
 * llvm_abi.c -- the context structure and the schedule's storage as addresses.
 *
 * Everything here is computed once a call, in the entry block, or once a slot, on first use.
 */
#include "backend/llvm/llvm_build.h"
#include "ir/schedule.h"
#include "runtime/abi.h"

#include <stddef.h>

static LLVMValueRef load_member(fl_gen *gen, size_t field, LLVMTypeRef t)
{
    LLVMValueRef v_offset = l_i64(gen, (int64_t)field);

    return LLVMBuildLoad2(gen->entry, t, LLVMBuildGEP2(gen->entry, gen->i8, gen->v_ctx, &v_offset, 1, ""), "");
}

LLVMValueRef l_context_i64(fl_gen *gen, size_t field)
{
    return load_member(gen, field, gen->i64);
}

LLVMValueRef l_context_address(fl_gen *gen, size_t field)
{
    return load_member(gen, field, gen->ptr);
}

static LLVMValueRef load_from_array(fl_gen *gen, size_t field, LLVMTypeRef t, uint32_t i)
{
    LLVMValueRef v_array = load_member(gen, field, gen->ptr);
    LLVMValueRef v_index = l_i64(gen, (int64_t)i);

    return LLVMBuildLoad2(gen->entry, t, LLVMBuildGEP2(gen->entry, t, v_array, &v_index, 1, ""), "");
}

static LLVMValueRef buffer(fl_gen *gen, uint32_t i)
{
    if (gen->v_buffers[i] == NULL)
        gen->v_buffers[i] = load_from_array(gen, offsetof(fl_ctx, buffer), gen->ptr, i);
    return gen->v_buffers[i];
}

LLVMValueRef l_extent(fl_gen *gen, fl_dim dim)
{
    uint32_t symbol;

    if (!FL_DIM_IS_SYM(dim))
        return l_i64(gen, dim);
    symbol = FL_SYM_OF_DIM(dim);
    if (gen->v_dims[symbol] == NULL)
        gen->v_dims[symbol] = load_from_array(gen, offsetof(fl_ctx, dim), gen->i64, symbol);
    return gen->v_dims[symbol];
}

int64_t l_row_elements(const fl_type *t)
{
    int64_t n = 1;

    for (int d = 1; d < t->rank; d++) {
        if (FL_DIM_IS_SYM(t->dims[d]))
            return -1;
        n *= t->dims[d];
    }
    return n;
}

/* Product of the dimensions behind `d`, i64; in the entry block. */
static LLVMValueRef elements_behind(fl_gen *gen, const fl_type *t, int d)
{
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v = l_i64(gen, 1);

    gen->b = gen->entry;
    for (int k = d + 1; k < t->rank; k++)
        v = l_mul(gen, v, l_extent(gen, t->dims[k]));
    gen->b = b;
    return v;
}

LLVMValueRef l_elements(fl_gen *gen, const fl_type *t)
{
    LLVMValueRef v = l_i64(gen, 1);

    for (int d = 0; d < t->rank; d++)
        v = l_mul(gen, v, l_extent(gen, t->dims[d]));
    return v;
}

/* The static stride between rows of a value, or -1. */
static int64_t row_stride(const fl_gen *gen, fl_id value)
{
    const fl_storage *st = &gen->schedule->storage[value];
    const fl_type *t = fl_value_type(gen->g, value);

    if (st->row_stride == FL_STRIDE_OF_BUFFER || st->row_stride == FL_STRIDE_DENSE)
        return -1;
    if (st->row_stride == FL_STRIDE_COLUMNS)
        return 1;
    if (t->rank == 0)
        return 0;
    if (t->rank == 1 && !FL_DIM_IS_SYM(t->dims[0]))
        return 1;
    return st->row_stride;
}

/* Scalars of Constant nodes have no memory; where one is needed (a view or an operand of Concat) it is on the stack. */
static LLVMValueRef constant_place(fl_gen *gen, fl_id value, LLVMTypeRef t)
{
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v_base = LLVMBuildAlloca(gen->entry, t, "constant");

    gen->b = gen->entry;
    l_store(gen, fl_value_type(gen->g, value)->dtype, l_scalar(gen, value), v_base);
    gen->b = b;
    return v_base;
}

/* Row i of the slot lies at (i - the slot's first row). */
static void slot_scratch(fl_gen *gen, const fl_storage *st, LLVMTypeRef t, l_place *place)
{
    int64_t line = (int64_t)st->buffer * FL_SCRATCH_LINE;
    LLVMValueRef v = LLVMBuildMul(gen->slot, l_extent(gen, gen->segment->scratch_dim), l_i64(gen, line), "");

    v = LLVMBuildAdd(gen->slot, v, l_i64(gen, FL_HASH_BYTES), "");
    place->v_base = LLVMBuildGEP2(gen->slot, gen->i8, gen->v_scratch, &v, 1, "");
    v = LLVMBuildMul(gen->slot, gen->v_first_row, place->v_row_stride, "");
    v = LLVMBuildSub(gen->slot, l_i64(gen, st->offset), v, "");
    place->v_base = LLVMBuildGEP2(gen->slot, t, place->v_base, &v, 1, "");
}

/* Elements that a value reused by each window lies before its place: the rows of the slots before the window. */
static LLVMValueRef elements_of_windows_before(fl_gen *gen, const l_place *place)
{
    LLVMValueRef v = LLVMBuildUDiv(gen->entry, l_extent(gen, gen->windows.rows), l_i64(gen, gen->windows.slots), "");

    v = LLVMBuildMul(gen->entry, v, l_context_i64(gen, offsetof(fl_ctx, window_from)), "");
    return LLVMBuildMul(gen->entry, v, place->v_row_stride, "");
}

const l_place *l_place_of(fl_gen *gen, fl_id value)
{
    l_place *place = &gen->places[value];
    const fl_storage *st = &gen->schedule->storage[value];
    LLVMTypeRef t = l_memory_type(gen, fl_value_type(gen->g, value)->dtype);
    LLVMValueRef v_offset;
    double f;

    if (place->v_base != NULL)
        return place;
    place->row_stride = row_stride(gen, value);
    if (st->row_stride == FL_STRIDE_DENSE)
        place->v_row_stride = elements_behind(gen, fl_value_type(gen->g, value), 0);
    else if (place->row_stride < 0)
        place->v_row_stride = load_from_array(gen, offsetof(fl_ctx, stride), gen->i64, st->buffer);
    else
        place->v_row_stride = l_i64(gen, place->row_stride);
    if (st->row_stride == FL_STRIDE_COLUMNS)
        place->v_column_stride = l_extent(gen, fl_value_type(gen->g, value)->dims[0]);
    v_offset = l_i64(gen, st->offset);
    switch (st->kind) {
    case FL_STORAGE_NONE:
        if (fl_value_scalar(gen->g, value, &f)) {
            place->v_base = constant_place(gen, value, t);
            return place;
        }
        FL_ASSERT(gen->status != FL_OK); /* refused before, by check_storage */
        place->v_base = LLVMConstNull(gen->ptr);
        return place;
    case FL_STORAGE_BUFFER:
        place->v_base = buffer(gen, st->buffer);
        if (gen->windows.segment != FL_NONE && gen->windows.reused[value])
            v_offset = LLVMBuildSub(gen->entry, v_offset, elements_of_windows_before(gen, place), "");
        break;
    case FL_STORAGE_SCRATCH:
        if (gen->segment->domain == FL_DOMAIN_SLOTS) {
            slot_scratch(gen, st, t, place);
            return place;
        }
        /* Row i of the call's part lies at (i - begin). */
        place->v_base = gen->v_scratch;
        v_offset = LLVMBuildSub(gen->entry, v_offset,
                                LLVMBuildMul(gen->entry, gen->v_begin, place->v_row_stride, ""), "");
        break;
    }
    if (!LLVMIsAConstantInt(v_offset) || LLVMConstIntGetSExtValue(v_offset) != 0)
        place->v_base = LLVMBuildGEP2(gen->entry, t, place->v_base, &v_offset, 1, "");
    return place;
}

LLVMValueRef l_stride(fl_gen *gen, fl_id value, int d)
{
    if (d == 0)
        return l_place_of(gen, value)->v_row_stride;
    if (l_place_of(gen, value)->v_column_stride != NULL)
        return l_place_of(gen, value)->v_column_stride;
    return elements_behind(gen, fl_value_type(gen->g, value), d);
}

LLVMValueRef l_element_address(fl_gen *gen, fl_id value, LLVMValueRef v_row, LLVMValueRef v_rest)
{
    const l_place *place = l_place_of(gen, value);
    LLVMValueRef v_index = l_mul(gen, v_row, place->v_row_stride);

    v_index = l_add(gen, v_index, place->v_column_stride != NULL ? l_mul(gen, v_rest, place->v_column_stride) : v_rest);
    return l_at(gen, fl_value_type(gen->g, value)->dtype, place->v_base, v_index);
}

void l_rows(fl_gen *gen, fl_dim dim, LLVMValueRef *v_from, LLVMValueRef *v_to)
{
    if (gen->segment->domain != FL_DOMAIN_ONE && dim == gen->row_dim) {
        *v_from = gen->v_row_from;
        *v_to = gen->v_row_to;
    } else {
        *v_from = l_i64(gen, 0);
        *v_to = l_extent(gen, dim);
    }
}

bool l_is_dense(const fl_gen *gen, fl_id value)
{
    const fl_type *t = fl_value_type(gen->g, value);

    if (gen->schedule->storage[value].row_stride == FL_STRIDE_DENSE || t->rank == 0 || t->dims[0] == 1)
        return true;
    return row_stride(gen, value) >= 0 && row_stride(gen, value) == l_row_elements(t);
}

bool l_same_place(const fl_gen *gen, fl_id view, fl_id of, int64_t offset)
{
    const fl_storage *a = &gen->schedule->storage[view], *b = &gen->schedule->storage[of];
    const fl_type *ta = fl_value_type(gen->g, view), *tb = fl_value_type(gen->g, of);
    bool one_row = ta->rank == 0 || tb->rank == 0 || (ta->dims[0] == 1 && tb->dims[0] == 1);

    if (a->kind != b->kind || a->buffer != b->buffer)
        return false;
    if ((a->row_stride == FL_STRIDE_COLUMNS) != (b->row_stride == FL_STRIDE_COLUMNS))
        return false;
    if (a->row_stride == FL_STRIDE_DENSE || b->row_stride == FL_STRIDE_DENSE) /* of one buffer, which both fill */
        return offset == 0 && l_is_dense(gen, view) && l_is_dense(gen, of);
    return a->offset == b->offset + offset && (one_row || row_stride(gen, view) == row_stride(gen, of));
}

LLVMValueRef l_scalar(fl_gen *gen, fl_id value)
{
    const fl_type *t = fl_value_type(gen->g, value);
    LLVMTypeRef type = l_type(gen, t->dtype);
    LLVMBuilderRef b = gen->b;
    LLVMValueRef v;
    double f;

    if (fl_value_scalar(gen->g, value, &f)) {
        if (l_is_real(t->dtype))
            return LLVMConstReal(type, t->dtype != FL_DOUBLE ? (double)(float)f : f);
        return LLVMConstInt(type, (uint64_t)(int64_t)f, true);
    }
    gen->b = gen->entry;
    v = l_load(gen, t->dtype, l_place_of(gen, value)->v_base, 1);
    gen->b = b;
    return v;
}

/* *stamps->next++ = {ticks now, part} */
void l_stamp(fl_gen *gen, uint32_t first, uint32_t end)
{
    static const char name[] = "llvm.readcyclecounter";
    unsigned id = LLVMLookupIntrinsicID(name, sizeof name - 1);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(gen->module, id, NULL, 0);
    LLVMValueRef v_size = l_i64(gen, sizeof(fl_stamp)), v_part = l_i64(gen, offsetof(fl_stamp, part));

    if (gen->v_stamps == NULL)
        gen->v_stamps = load_member(gen, offsetof(fl_ctx, stamps), gen->ptr);
    LLVMValueRef v_next = LLVMBuildLoad2(gen->b, gen->ptr, gen->v_stamps, "");
    LLVMValueRef v_ticks = LLVMBuildCall2(gen->b, LLVMIntrinsicGetType(gen->context, id, NULL, 0), fn, NULL, 0, "");
    LLVMBuildStore(gen->b, v_ticks, v_next);
    LLVMBuildStore(gen->b, l_i64(gen, (int64_t)(first + ((uint64_t)end << 32))), LLVMBuildGEP2(gen->b, gen->i8, v_next, &v_part, 1, ""));
    LLVMBuildStore(gen->b, LLVMBuildGEP2(gen->b, gen->i8, v_next, &v_size, 1, ""), gen->v_stamps);
}

void l_slot_rows(fl_gen *gen, LLVMValueRef v_slot)
{
    const fl_segment *seg = gen->segment;
    LLVMValueRef v_capacity = LLVMBuildUDiv(gen->entry, l_extent(gen, gen->row_dim), l_extent(gen, seg->dim), "");
    LLVMValueRef v_count = l_load(gen, FL_INT32, l_element_address(gen, seg->count, v_slot, l_i64(gen, 0)), 1);

    gen->v_slot = v_slot;
    gen->v_first_row = gen->v_row_from = l_mul(gen, v_slot, v_capacity);
    gen->v_row_to = l_add(gen, gen->v_row_from, LLVMBuildSExt(gen->b, v_count, gen->i64, ""));
}
