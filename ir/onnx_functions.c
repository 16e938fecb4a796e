/*
 * onnx_functions.c -- model-local functions of a file that is read: which one a node calls, whether it is a body that we wrote, and its nodes in
 * the place of the call.
 *
 * A body that is not byte for byte what we write for the call's attributes is inlined like anybody's: the file means what its functions say.
 * Functions may call functions, so a small file can ask for many nodes; each is charged to the budget that the scan left.
 */
#include "ir/bodies.h"
#include "ir/onnx_parts.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ATTRIBUTES = 256 }; /* of a call */
enum { NODE_COST = 1024 }; /* of an inlined node: its copy here, node, value and name in the graph */

static const char *or_empty(const char *s)
{
    return s ? s : "";
}

static bool same_domain(const char *a, const char *b)
{
    a = strcmp(or_empty(a), "ai.onnx") == 0 ? "" : or_empty(a);
    b = strcmp(or_empty(b), "ai.onnx") == 0 ? "" : or_empty(b);
    return strcmp(a, b) == 0;
}

static fl_status refuse(const fl_onnx_functions *f, const Onnx__FunctionProto *p, const char *why)
{
    return fl_error(f->dg, FL_E_ONNX_FUNCTION, FL_FILE(f->file), "function \"%.100s\" of domain \"%.100s\" %s", or_empty(p->name), or_empty(p->domain), why);
}

static fl_status charge(fl_onnx_functions *f, uint64_t bytes)
{
    if (bytes > f->left)
        return fl_error(f->dg, FL_E_ONNX_LIMIT, FL_FILE(f->file), "its functions ask for more memory than the file's size allows");
    f->left -= bytes;
    return FL_OK;
}

static int compare_keys(const char *name_a, const char *domain_a, const char *name_b, const char *domain_b)
{
    int order = strcmp(or_empty(name_a), or_empty(name_b));
    if (order)
        return order;
    return same_domain(domain_a, domain_b) ? 0 : strcmp(or_empty(domain_a), or_empty(domain_b));
}

static int compare_functions(const void *a, const void *b)
{
    const Onnx__FunctionProto *p = *(Onnx__FunctionProto *const *)a, *q = *(Onnx__FunctionProto *const *)b;
    return compare_keys(p->name, p->domain, q->name, q->domain);
}

fl_status fl_onnx_functions_init(fl_onnx_functions *f)
{
    size_t n = f->model->n_functions;
    f->sorted = fl_arena_new(f->arena, Onnx__FunctionProto *, n + 1);
    f->bytes = fl_arena_new(f->arena, fl_onnx_bytes, n + 1);
    if (!f->sorted || !f->bytes)
        return fl_out_of_memory(f->dg);
    if (n > 0)
        memcpy(f->sorted, f->model->functions, n * sizeof *f->sorted);
    qsort(f->sorted, n, sizeof *f->sorted, compare_functions);
    for (size_t i = 1; i < n; i++)
        if (compare_functions(&f->sorted[i - 1], &f->sorted[i]) == 0)
            return refuse(f, f->sorted[i], "stands twice: overloads are not supported");
    return FL_OK;
}

static int compare_call(const void *key, const void *element)
{
    const Onnx__NodeProto *call = key;
    const Onnx__FunctionProto *p = *(Onnx__FunctionProto *const *)element;
    return compare_keys(call->op_type, call->domain, p->name, p->domain);
}

const Onnx__FunctionProto *fl_onnx_function_of(const fl_onnx_functions *f, const Onnx__NodeProto *call)
{
    Onnx__FunctionProto **found = bsearch(call, f->sorted, f->model->n_functions, sizeof *f->sorted, compare_call);
    return found ? *found : NULL;
}

/* The file's own bytes of a function, packed once. */
static fl_status packed(fl_onnx_functions *f, const Onnx__FunctionProto *p, fl_onnx_bytes **out)
{
    Onnx__FunctionProto *const key = (Onnx__FunctionProto *)(uintptr_t)p;
    Onnx__FunctionProto **at = bsearch(&key, f->sorted, f->model->n_functions, sizeof *f->sorted, compare_functions);
    FL_ASSERT(at);
    *out = &f->bytes[at - f->sorted];
    if ((*out)->bytes)
        return FL_OK;
    (*out)->n = onnx__function_proto__get_packed_size(p);
    FL_TRY(charge(f, (*out)->n));
    (*out)->bytes = fl_arena_alloc(f->arena, (*out)->n + 1);
    if (!(*out)->bytes)
        return fl_out_of_memory(f->dg);
    onnx__function_proto__pack(p, (*out)->bytes);
    return FL_OK;
}

/* The call as a node of `op` in a graph of its own; *out NULL if it is none that we would write. */
static fl_status as_node(const Onnx__NodeProto *call, fl_op op, fl_graph **out)
{
    *out = NULL;
    const fl_op_info *info = fl_op_get(op);
    if (call->n_input < info->min_in || call->n_input > info->max_in || call->n_output < 1 || call->n_output > info->max_out ||
        call->n_attribute > MAX_ATTRIBUTES || call->n_input >= UINT16_MAX || call->n_output >= UINT16_MAX)
        return FL_OK;
    fl_graph *g = fl_graph_new("call");
    fl_id *in = g ? fl_arena_new(&g->arena, fl_id, call->n_input + 1) : NULL;
    for (size_t k = 0; in && k < call->n_input; k++)
        in[k] = *call->input[k] ? fl_graph_input(g, fl_graph_fresh_name(g, "in"), FL_TYPE_UNKNOWN) : FL_NONE;
    fl_id node = in ? fl_node_new(g, op, "out", in, (uint32_t)call->n_input, (uint32_t)call->n_output) : FL_NONE;
    bool known = node != FL_NONE;
    for (size_t i = 0; known && i < call->n_attribute; i++) {
        const Onnx__AttributeProto *a = call->attribute[i];
        const char *name = or_empty(a->name), *text;
        switch ((int)a->type) {
        case FL_ATTR_INT:
            fl_node_set_int(g, node, name, a->i);
            break;
        case FL_ATTR_FLOAT:
            fl_node_set_float(g, node, name, fl_widen(a->f));
            break;
        case FL_ATTR_INTS:
            fl_node_set_ints(g, node, name, a->ints, (uint32_t)a->n_ints);
            break;
        case FL_ATTR_STRING:
            text = fl_arena_strndup(&g->arena, (const char *)a->s.data, a->s.data ? a->s.len : 0);
            if (text)
                fl_node_set_string(g, node, name, text);
            break;
        default:
            known = false;
        }
    }
    fl_status status = fl_graph_ok(g, NULL);
    if (status == FL_OK && known)
        *out = g;
    else
        fl_graph_free(g);
    return status;
}

/* What we would write is no longer than the function claims to be: nothing large is built to be compared with something small. */
static bool may_be_ours(const Onnx__FunctionProto *p, const Onnx__NodeProto *call, fl_op op)
{
    uint64_t m = call->n_input / 2u;
    return op != FL_OP_FIELD_INTERACTION || m < 2 || !*call->input[0] || (m - 1) * (m - 2) / 2 <= p->n_node;
}

fl_status fl_onnx_function_op(fl_onnx_functions *f, const Onnx__FunctionProto *p, const Onnx__NodeProto *call, fl_op *out)
{
    fl_op op = strcmp(or_empty(p->domain), "ai.flen") == 0 ? fl_body_op(or_empty(p->name)) : FL_N_OPS;
    uint64_t for_a_while = NODE_COST * ((uint64_t)p->n_node + call->n_input);
    fl_onnx_bytes *theirs;
    uint8_t *bytes = NULL;
    size_t n = 0;
    *out = FL_N_OPS;
    if (op == FL_N_OPS || !may_be_ours(p, call, op))
        return FL_OK;
    FL_TRY(packed(f, p, &theirs));
    FL_TRY(charge(f, for_a_while));
    fl_graph *g;
    fl_arena arena;
    fl_diag ignored; /* a body that cannot be written is not ours, and no mistake */
    fl_arena_init(&arena);
    fl_diag_init(&ignored);
    fl_status status = as_node(call, op, &g);
    if (status == FL_OK && g) {
        status = fl_onnx_function(g, 0, f->opset, &arena, &bytes, &n, &ignored);
        if (status == FL_OK && n == theirs->n && memcmp(bytes, theirs->bytes, n) == 0)
            *out = op;
    }
    fl_diag_deinit(&ignored);
    fl_arena_deinit(&arena);
    fl_graph_free(g);
    f->left += for_a_while;
    /* Without memory nobody knows whose function it is: taking it for another's would give another graph. */
    return status == FL_NO_MEMORY ? fl_out_of_memory(f->dg) : FL_OK;
}

/* -------------------------------------------------------------------------------------------------- inlining */

typedef struct renaming {
    const char *inside;
    char *outside;
} renaming;

typedef struct inliner {
    fl_onnx_functions *f;
    const Onnx__FunctionProto *p;
    const Onnx__NodeProto *call;
    const char *prefix; /* of names inside */
    renaming *map;      /* of operands and results, sorted */
    size_t n_map;
} inliner;

static int compare_renamings(const void *a, const void *b)
{
    return strcmp(((const renaming *)a)->inside, ((const renaming *)b)->inside);
}

static fl_status map_signature(inliner *in)
{
    static char nothing[] = "";
    const Onnx__FunctionProto *p = in->p;
    FL_TRY(charge(in->f, sizeof *in->map * ((uint64_t)p->n_input + p->n_output)));
    in->map = fl_arena_new(in->f->arena, renaming, p->n_input + p->n_output + 1);
    if (!in->map)
        return fl_out_of_memory(in->f->dg);
    for (size_t k = 0; k < p->n_input; k++)
        in->map[in->n_map++] = (renaming){p->input[k], k < in->call->n_input ? in->call->input[k] : nothing};
    for (size_t k = 0; k < p->n_output && k < in->call->n_output; k++)
        if (*in->call->output[k])
            in->map[in->n_map++] = (renaming){p->output[k], in->call->output[k]};
    qsort(in->map, in->n_map, sizeof *in->map, compare_renamings);
    for (size_t k = 1; k < in->n_map; k++)
        if (compare_renamings(&in->map[k - 1], &in->map[k]) == 0)
            return refuse(in->f, p, "has one name for two of its operands and results");
    return FL_OK;
}

/* What a name of the body is called in the graph; NULL if out of memory. */
static char *rename_value(const inliner *in, const char *name)
{
    static char nothing[] = "";
    if (!*name)
        return nothing;
    renaming key = {name, NULL}, *found = bsearch(&key, in->map, in->n_map, sizeof key, compare_renamings);
    return found ? found->outside : fl_arena_printf(in->f->arena, "%s/%s/%s", in->prefix, or_empty(in->p->name), name);
}

static char **rename_all(const inliner *in, char **names, size_t n)
{
    char **out = fl_arena_new(in->f->arena, char *, n + 1);
    for (size_t i = 0; out && i < n; i++)
        if (!(out[i] = rename_value(in, names[i])))
            return NULL;
    return out;
}

/* Attributes that refer to the function's are the call's; one that the call does not have is left out. */
static fl_status put_attributes(const inliner *in, const Onnx__NodeProto *from, Onnx__NodeProto *to)
{
    to->attribute = fl_arena_new(in->f->arena, Onnx__AttributeProto *, from->n_attribute + 1);
    to->n_attribute = 0;
    if (!to->attribute)
        return fl_out_of_memory(in->f->dg);
    for (size_t i = 0; i < from->n_attribute; i++) {
        const Onnx__AttributeProto *a = from->attribute[i];
        const char *refers = or_empty(a->ref_attr_name);
        if (!*refers) {
            to->attribute[to->n_attribute++] = from->attribute[i];
            continue;
        }
        const Onnx__AttributeProto *given = NULL;
        for (size_t k = 0; k < in->call->n_attribute && !given; k++)
            if (strcmp(or_empty(in->call->attribute[k]->name), refers) == 0)
                given = in->call->attribute[k];
        if (!given && in->p->base.n_unknown_fields > 0)
            return refuse(in->f, in->p, "may have defaults of attributes (IR version 9), which are not read: give them in the call");
        if (!given)
            continue;
        Onnx__AttributeProto *copy = fl_arena_new(in->f->arena, Onnx__AttributeProto, 1);
        if (!copy)
            return fl_out_of_memory(in->f->dg);
        *copy = *given;
        copy->name = a->name;
        to->attribute[to->n_attribute++] = copy;
    }
    return FL_OK;
}

/* The function's operators mean what the file's mean. */
static fl_status check_opset(const fl_onnx_functions *f, const Onnx__FunctionProto *p)
{
    for (size_t i = 0; i < p->n_opset_import; i++)
        if (same_domain(p->opset_import[i]->domain, "") && p->opset_import[i]->version != f->opset)
            return refuse(f, p, "has another opset than the file");
    return FL_OK;
}

fl_status fl_onnx_inline(fl_onnx_functions *f, const Onnx__FunctionProto *p, const Onnx__NodeProto *call, Onnx__NodeProto **nodes)
{
    inliner in = {.f = f, .p = p, .call = call, .prefix = or_empty(call->name)};
    for (size_t k = call->n_output; k-- > 0;)
        if (*call->output[k])
            in.prefix = call->output[k];
    FL_TRY(check_opset(f, p));
    if (call->n_input > p->n_input || call->n_output > p->n_output)
        return refuse(f, p, "is called with more operands or results than it has");
    if (call->n_attribute > MAX_ATTRIBUTES)
        return refuse(f, p, "is called with more attributes than we read of a call, 256");
    FL_TRY(map_signature(&in));
    FL_TRY(charge(f, NODE_COST * ((uint64_t)p->n_node + 1)));
    Onnx__NodeProto *copies = fl_arena_new(f->arena, Onnx__NodeProto, p->n_node + 1);
    if (!copies)
        return fl_out_of_memory(f->dg);
    for (size_t i = 0; i < p->n_node; i++) {
        const Onnx__NodeProto *from = p->node[i];
        copies[i] = *from;
        FL_TRY(charge(f, (64 + strlen(in.prefix) + strlen(or_empty(p->name))) * ((uint64_t)from->n_input + from->n_output)));
        copies[i].input = rename_all(&in, from->input, from->n_input);
        copies[i].output = rename_all(&in, from->output, from->n_output);
        if (!copies[i].input || !copies[i].output)
            return fl_out_of_memory(f->dg);
        FL_TRY(put_attributes(&in, from, &copies[i]));
    }
    *nodes = copies;
    return FL_OK;
}
