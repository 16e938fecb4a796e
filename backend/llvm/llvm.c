/*
 * llvm.c -- a scheduled program to modules, one function a segment; llvm_target.c makes objects of them, and an image.
 *
 *     void seg(const fl_ctx *ctx, void *scratch, int64_t begin, int64_t end)
 *     {
 *         ONE:    nodes, over all of their elements
 *         ROWS:   nodes, over rows [begin, end)
 *         SLOTS:  for each slot of [begin, end): nodes, over the slot's distinct rows
 *     }
 *
 * Timed code is the same with a stamp before the nodes and behind each part: a loop nest of group.c, or a node's own code. Stamps stand in
 * blocks of their own, which the instruction scheduler does not cross.
 *
 * No LLVM pass runs: what the emitters write goes to the instruction selector as it is (level Less), for one of three CPU
 * levels by name; other names make LLVM abort.
 */
#include "backend/llvm/emit.h"
#include "backend/llvm/llvm_names.h"
#include "backend/llvm/llvm_target.h"
#include "ir/rows.h"
#include "ir/shape.h"
#include "runtime/abi.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------------------ the emitters */

l_element_fn *l_element_of(fl_op op)
{
    static l_element_fn *const functions[FL_N_OPS] = {
#define FL_ELEMENT(id, fn) [FL_OP_##id] = fl_element_##fn,
#define FL_EMIT(id, fn)
#define FL_MOVE(id)
#include "backend/llvm/emitters.def"
#undef FL_ELEMENT
#undef FL_EMIT
#undef FL_MOVE
    };
    return functions[op];
}

l_node_fn *l_node_of(fl_op op)
{
    static l_node_fn *const functions[FL_N_OPS] = {
#define FL_ELEMENT(id, fn)
#define FL_EMIT(id, fn) [FL_OP_##id] = fl_emit_##fn,
#define FL_MOVE(id)
#include "backend/llvm/emitters.def"
#undef FL_ELEMENT
#undef FL_EMIT
#undef FL_MOVE
    };
    return functions[op];
}

bool l_is_group_member(fl_op op)
{
    return l_element_of(op) != NULL || op == FL_OP_GATHER || op == FL_OP_SCATTER_ND;
}

bool l_is_emitted(fl_op op)
{
    return l_is_group_member(op) || l_node_of(op) != NULL;
}

void l_unsupported(fl_gen *gen, fl_id node, const char *reason)
{
    const fl_node *n = &gen->g->nodes[node];
    const char *name = n->n_out && n->out[0] != FL_NONE ? gen->g->values[n->out[0]].name : "";

    gen->status = fl_error(gen->dg, FL_E_NO_EMITTER, n->origin.loc, "node \"%s\" (%s) cannot be compiled: %s", name,
                           fl_op_get(n->op)->name, reason);
}

/* Texts are addresses: what moves elements moves them, LabelEncoder reads them, and nobody else does. 16-bit floats are moved, and become floats (passes/widen_halves.c). */
static bool has_code_for_types(const fl_graph *g, const fl_node *n)
{
    bool moves = fl_op_has(n->op, FL_VIEW) || n->op == FL_OP_GATHER || n->op == FL_OP_TRANSPOSE || n->op == FL_OP_LABEL_ENCODER || n->op == FL_OP_EXPAND;

    for (uint32_t k = 0; k < n->n_in + n->n_out; k++) {
        fl_id v = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
        fl_dtype t = v == FL_NONE ? FL_FLOAT : fl_value_type(g, v)->dtype;
        bool half = t == FL_FLOAT16 || t == FL_BFLOAT16;
        if ((half && !moves && n->op != FL_OP_CAST && n->op != FL_OP_CONSTANT_OF_SHAPE) || (t == FL_STRING && !moves))
            return false;
    }
    return true;
}

/* Layers of ours compute on rows whose length is known now; what ONNX has goes by strides. */
static bool has_code_for_shapes(const fl_graph *g, const fl_node *n)
{
    if (strcmp(fl_op_get(n->op)->domain, "ai.flen") != 0 || n->op == FL_OP_LINEAR || l_is_group_member(n->op))
        return true;
    for (uint32_t k = 0; k < n->n_in + n->n_out; k++) {
        fl_id v = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
        if (v != FL_NONE && fl_type_has_row_of_run(fl_value_type(g, v)))
            return false;
    }
    return true;
}

/* Memory is planned before values are known. */
static void check_extents(fl_gen *gen, fl_id node)
{
    const fl_node *n = &gen->g->nodes[node];

    for (uint32_t k = 0; k < n->n_out; k++)
        for (int d = 0; n->out[k] != FL_NONE && d < fl_value_type(gen->g, n->out[k])->rank; d++)
            if (FL_DIM_IS_SYM(fl_value_type(gen->g, n->out[k])->dims[d]) && fl_shape_depends_on_values(gen->g, node, fl_value_type(gen->g, n->out[k])->dims[d])) {
                gen->status = fl_error(gen->dg, FL_E_RUN_TIME_SHAPE, n->origin.loc, "dimension %d of \"%s\" (%s) depends on values, and is known only at run time", d,
                                       gen->g->values[n->out[k]].name, fl_op_get(n->op)->name);
                return;
            }
}

/* Every node that has no emitter, at once; values that have no memory though somebody needs it. */
static fl_status check_program(fl_gen *gen)
{
    for (uint32_t i = 0; i < gen->schedule->n_segments; i++) {
        const fl_segment *s = &gen->schedule->segments[i];
        for (uint32_t k = 0; k < s->n_nodes; k++) {
            const fl_node *n = &gen->g->nodes[s->nodes[k]];
            if (!l_is_emitted(n->op))
                l_unsupported(gen, s->nodes[k], "there is no emitter for this operator");
            else if (!has_code_for_types(gen->g, n))
                l_unsupported(gen, s->nodes[k], "there is code for strings and 16-bit floats to move and to convert them only");
            else if (!has_code_for_shapes(gen->g, n))
                l_unsupported(gen, s->nodes[k], "it has code for rows of known length only");
            check_extents(gen, s->nodes[k]);
            for (uint32_t o = 0; o < n->n_out; o++)
                if (n->out[o] != FL_NONE && gen->schedule->storage[n->out[o]].kind == FL_STORAGE_NONE)
                    l_unsupported(gen, s->nodes[k], "a result has no place in memory");
        }
    }
    return gen->status;
}

/* ---------------------------------------------------------------------------------------------------- functions */

/* Nothing was written behind `last` of block b: a view, or what the entry block holds. */
static bool is_silent(const fl_gen *gen, LLVMBasicBlockRef b, LLVMValueRef last)
{
    return LLVMGetInsertBlock(gen->b) == b && LLVMGetLastInstruction(b) == last;
}

/* The product at `place` of the segment and, in its company, the group behind it, if that need not wait; returns the place behind both. */
static uint32_t emit_product_of_slots(fl_gen *gen, uint32_t place)
{
    const fl_segment *s = gen->segment;
    l_company *company = NULL;
    uint32_t next = place + 1;

    if (next < s->n_nodes && l_is_group_member(gen->g->nodes[s->nodes[next]].op))
        company = l_company_of(gen, s->nodes[place], s->nodes + next, s->n_nodes - next);
    if (gen->g->nodes[s->nodes[place]].op == FL_OP_SLOT_LINEAR)
        l_emit_slot_linear(gen, s->nodes[place], company);
    else
        l_emit_slot_linear_weight_grad(gen, s->nodes[place], company);
    return company == NULL ? next : next + l_company_size(company);
}

static void emit_nodes(fl_gen *gen)
{
    const fl_segment *s = gen->segment;

    if (gen->timed) {
        l_stamp(gen, 0, 0);
        l_break_block(gen);
    }

    for (uint32_t i = 0; i < s->n_nodes;) {
        if (gen->emitted[s->nodes[i]] || (gen->part && fl_windows_pool(&gen->windows, s->nodes[i]) == FL_NONE)) {
            i++;
            continue;
        }
        fl_op op = gen->g->nodes[s->nodes[i]].op;
        LLVMBasicBlockRef b_first = LLVMGetInsertBlock(gen->b);
        LLVMValueRef v_last = LLVMGetLastInstruction(b_first);
        uint32_t first = i;
        if (gen->names)
            l_names_node(gen->names, s->nodes[i]);
        if (op == FL_OP_SCATTER_ND && !l_scatters_rows(gen, s->nodes[i])) {
            l_emit_scatter_nd(gen, s->nodes[i++]);
        } else if (l_is_group_member(op)) {
            i += l_emit_group(gen, s->nodes + i, s->n_nodes - i);
        } else if (op == FL_OP_FIELD_POOL) {
            i += l_emit_pools(gen, s->nodes + i, s->n_nodes - i);
        } else if (op == FL_OP_SLOT_LINEAR || op == FL_OP_SLOT_LINEAR_WEIGHT_GRAD) {
            i = emit_product_of_slots(gen, i);
        } else {
            l_node_of(op)(gen, s->nodes[i]);
            i++;
        }
        if (gen->names)
            l_names_label(gen->names, b_first, s->nodes + first, i - first);
        if (gen->timed && !is_silent(gen, b_first, v_last)) {
            l_break_block(gen);
            l_stamp(gen, first, i);
        }
        l_break_block(gen);
    }
}

/*
 *     if (window_to < slots) sums of the window's slots, else all nodes
 *
 * where the segment has pools that go window by window.
 */
static void emit_batch_rows(fl_gen *gen)
{
    bool pools = false;
    l_if part, whole;

    for (uint32_t i = 0; i < gen->segment->n_nodes; i++)
        pools = pools || (gen->windows.segment != FL_NONE && fl_windows_pool(&gen->windows, gen->segment->nodes[i]) != FL_NONE);
    if (!pools) {
        emit_nodes(gen);
        return;
    }
    LLVMValueRef v_part = LLVMBuildICmp(gen->b, LLVMIntSLT, l_context_i64(gen, offsetof(fl_ctx, window_to)), l_i64(gen, gen->windows.slots), "");
    gen->part = true;
    l_if_begin(gen, &part, v_part);
    emit_nodes(gen);
    l_if_end(gen, &part);
    gen->part = false;
    l_if_begin(gen, &whole, LLVMBuildNot(gen->b, v_part, ""));
    emit_nodes(gen);
    l_if_end(gen, &whole);
}

static void emit_body(fl_gen *gen)
{
    LLVMBasicBlockRef b_nodes;
    l_loop slots;
    bool few;

    switch (gen->segment->domain) {
    case FL_DOMAIN_ONE:
        emit_nodes(gen);
        return;
    case FL_DOMAIN_ROWS:
        few = !FL_DIM_IS_SYM(gen->segment->dim) && gen->segment->dim <= FL_TILE_ROWS; /* in one call, whose bounds are known now */
        gen->v_row_from = few ? l_i64(gen, 0) : gen->v_begin;
        gen->v_row_to = few ? l_i64(gen, gen->segment->dim) : gen->v_end;
        emit_batch_rows(gen);
        return;
    case FL_DOMAIN_SLOTS:
        l_loop_begin(gen, &slots, gen->v_begin, gen->v_end, 1);
        l_slot_rows(gen, slots.v_i);
        b_nodes = l_block(gen, "nodes");
        LLVMPositionBuilderAtEnd(gen->slot, LLVMGetInsertBlock(gen->b));
        LLVMPositionBuilderAtEnd(gen->b, b_nodes);
        emit_nodes(gen);
        LLVMBuildBr(gen->slot, b_nodes);
        l_loop_end(gen, &slots);
        return;
    }
}

/* The symbol of the distinct rows that a SLOTS segment goes over: the leading dimension of what it makes. */
static fl_dim rows_of_slots(const fl_gen *gen)
{
    const fl_segment *s = gen->segment;

    for (fl_id i = 0; i < gen->g->n_nodes; i++) {
        const fl_node *n = &gen->g->nodes[i];
        if ((n->op == FL_OP_UNIQUE_ROWS || n->op == FL_OP_MERGE_ROWS) && n->out[2] == s->count)
            return fl_value_type(gen->g, n->out[0])->dims[0];
    }
    return 0;
}

static void set_attribute(fl_gen *gen, const char *name, const char *value)
{
    LLVMAttributeRef a;

    if (value != NULL)
        a = LLVMCreateStringAttribute(gen->context, name, (unsigned)strlen(name), value, (unsigned)strlen(value));
    else
        a = LLVMCreateEnumAttribute(gen->context, LLVMGetEnumAttributeKindForName(name, strlen(name)), 0);
    LLVMAddAttributeAtIndex(gen->v_fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static fl_status emit_segment(fl_gen *gen, const fl_segment *s)
{
    LLVMTypeRef parameters[] = {gen->ptr, gen->ptr, gen->i64, gen->i64};
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(gen->context), parameters, 4, 0);
    const fl_graph *g = gen->g;

    gen->segment = s;
    gen->row_dim = s->domain == FL_DOMAIN_ROWS ? s->dim : s->domain == FL_DOMAIN_SLOTS ? rows_of_slots(gen) : 0;
    gen->v_fn = LLVMAddFunction(gen->module, s->symbol, type);
    set_attribute(gen, "nounwind", NULL);
    set_attribute(gen, "no-builtins", "");
    set_attribute(gen, "no-jump-tables", "true");
    gen->v_ctx = LLVMGetParam(gen->v_fn, 0);
    gen->v_scratch = LLVMGetParam(gen->v_fn, 1);
    gen->v_begin = LLVMGetParam(gen->v_fn, 2);
    gen->v_end = LLVMGetParam(gen->v_fn, 3);
    gen->v_slot = gen->v_first_row = gen->v_row_from = gen->v_row_to = gen->v_pack = gen->v_stamps = NULL;
    gen->fetched = gen->part = false;
    gen->places = fl_arena_new(&gen->arena, l_place, g->n_values);
    gen->emitted = fl_arena_new(&gen->arena, bool, g->n_nodes);
    gen->v_buffers = fl_arena_new(&gen->arena, LLVMValueRef, gen->schedule->n_buffers);
    gen->v_dims = fl_arena_new(&gen->arena, LLVMValueRef, g->n_symbols);
    if (gen->arena.failed)
        return fl_out_of_memory(gen->dg);

    LLVMBasicBlockRef b_entry = LLVMAppendBasicBlockInContext(gen->context, gen->v_fn, "entry");
    LLVMBasicBlockRef b_body = LLVMAppendBasicBlockInContext(gen->context, gen->v_fn, "body");
    LLVMPositionBuilderAtEnd(gen->entry, b_entry);
    LLVMPositionBuilderAtEnd(gen->b, b_body);
    if (gen->names)
        l_names_segment(gen->names);
    emit_body(gen);
    LLVMBuildRetVoid(gen->b);
    LLVMBuildBr(gen->entry, b_body);
    return gen->status;
}

/* -------------------------------------------------------------------------------------------------------- target */

static void begin_target(fl_gen *gen, const char *cpu)
{
    bool v4 = strcmp(cpu, "x86-64-v4") == 0, v2 = strcmp(cpu, "x86-64-v2") == 0;

    gen->cpu = cpu;
    gen->has_fma = !v2;
    gen->n_registers = v4 ? 32 : 16;
    gen->register_lanes = v4 ? 16 : v2 ? 4 : 8;
}

static void begin_module(fl_gen *gen)
{
    gen->context = LLVMContextCreate();
    gen->module = LLVMModuleCreateWithNameInContext(gen->g->name, gen->context);
    gen->b = LLVMCreateBuilderInContext(gen->context);
    gen->entry = LLVMCreateBuilderInContext(gen->context);
    gen->slot = LLVMCreateBuilderInContext(gen->context);
    gen->i1 = LLVMInt1TypeInContext(gen->context);
    gen->i8 = LLVMInt8TypeInContext(gen->context);
    gen->i16 = LLVMInt16TypeInContext(gen->context);
    gen->i32 = LLVMInt32TypeInContext(gen->context);
    gen->i64 = LLVMInt64TypeInContext(gen->context);
    gen->f32 = LLVMFloatTypeInContext(gen->context);
    gen->f64 = LLVMDoubleTypeInContext(gen->context);
    gen->ptr = LLVMPointerTypeInContext(gen->context, 0);
    LLVMMetadataRef off = LLVMMDStringInContext2(gen->context, "llvm.loop.unroll.disable", 24);
    LLVMMetadataRef property = LLVMMDNodeInContext2(gen->context, &off, 1);
    gen->loop_metadata = LLVMMetadataAsValue(gen->context, LLVMMDNodeInContext2(gen->context, &property, 1));
}

static void end_module(fl_gen *gen)
{
    LLVMDisposeBuilder(gen->b);
    LLVMDisposeBuilder(gen->entry);
    LLVMDisposeBuilder(gen->slot);
    LLVMDisposeModule(gen->module); /* before its context */
    LLVMContextDispose(gen->context);
}

/* ------------------------------------------------------------------------------------------------------ programs */

/* What all modules of a program read: who uses a value, and how its segments are cut. */
static fl_status begin_program(fl_gen *gen, const fl_graph *g, const char *cpu)
{
    begin_target(gen, cpu);
    gen->uses = fl_graph_count_uses(g, &gen->arena);
    gen->sparse = fl_arena_new(&gen->arena, bool, g->n_values + 1u);
    if (gen->uses == NULL || gen->sparse == NULL || !fl_windows_find(g, &gen->arena, &gen->windows))
        return fl_out_of_memory(gen->dg);
    fl_find_sparse_tiles(g, gen->sparse);
    return check_program(gen);
}

static unsigned count_instructions(LLVMValueRef v_fn)
{
    unsigned n = 0;

    for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(v_fn); b != NULL; b = LLVMGetNextBasicBlock(b))
        for (LLVMValueRef v = LLVMGetFirstInstruction(b); v != NULL; v = LLVMGetNextInstruction(v))
            n++;
    return n;
}

/* An image's segments go into two modules, each into the one that is smaller by then, so that LLVM can be at work on both at once. */
static fl_status emit_image(fl_gen *gen, void **image, size_t *size)
{
    fl_gen part[L_MODULES];
    unsigned load[L_MODULES] = {0};
    fl_status s = FL_OK;

    for (unsigned i = 0; i < L_MODULES; i++) {
        part[i] = *gen;
        fl_arena_init(&part[i].arena);
        begin_module(&part[i]);
    }
    for (uint32_t i = 0; i < gen->schedule->n_segments && s == FL_OK; i++) {
        unsigned smaller = load[1] < load[0];
        s = emit_segment(&part[smaller], &gen->schedule->segments[i]);
        load[smaller] += count_instructions(part[smaller].v_fn);
    }
    if (s == FL_OK)
        s = l_write_image(part, image, size);
    for (unsigned i = 0; i < L_MODULES; i++) {
        end_module(&part[i]);
        fl_arena_deinit(&part[i].arena);
    }
    return s;
}

/* For people one module, with names and lines. */
static fl_status emit_text(fl_gen *gen, const char *emit, void **text, size_t *size)
{
    fl_status s = FL_OK;

    begin_module(gen);
    gen->names = l_names_new(gen);
    if (gen->names == NULL)
        s = fl_out_of_memory(gen->dg);
    for (uint32_t i = 0; i < gen->schedule->n_segments && s == FL_OK; i++)
        s = emit_segment(gen, &gen->schedule->segments[i]);
    if (gen->names)
        l_names_finish(gen->names);
    if (s == FL_OK)
        s = l_write_text(gen, emit, text, size);
    end_module(gen);
    return s;
}

fl_status fl_codegen(const fl_graph *g, const fl_codegen_options *options, void **image, size_t *size, fl_diag *dg)
{
    fl_gen gen = {.g = g, .schedule = g->schedule, .dg = dg};

    if (g->schedule == NULL || g->schedule->n_storage != g->n_values)
        return fl_error(dg, FL_E_GENERATED_CODE, FL_NOWHERE, "program \"%s\" has no schedule", g->name);
    fl_arena_init(&gen.arena);
    fl_status s = begin_program(&gen, g, options->cpu);
    gen.timed = strcmp(options->emit, "timed") == 0;
    if (s == FL_OK)
        s = gen.timed || strcmp(options->emit, "image") == 0 ? emit_image(&gen, image, size) : emit_text(&gen, options->emit, image, size);
    fl_arena_deinit(&gen.arena);
    return s;
}
