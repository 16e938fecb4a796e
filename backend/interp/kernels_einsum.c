/*
 * kernels_einsum.c -- Einsum: for every element of the output, the sum over all letters that it has not of the product of the operands.
 */
#include "backend/interp/kernels.h"
#include "ir/einsum.h"

/* Extents of all axes, and which have one at all. */
static fl_status extents(fl_call *c, const fl_einsum *e, int64_t *extent)
{
    for (int a = 0; a < FL_EINSUM_AXES; a++)
        extent[a] = 1;
    for (uint32_t k = 0; k < e->n_in; k++)
        for (int d = 0; d < e->rank[k]; d++) {
            int64_t *have = &extent[e->axis[k][d]], found = c->in[k]->dims[d];
            if (*have != 1 && found != 1 && *have != found)
                return fl_call_error(c, FL_E_INTERP_SHAPE, "one letter has extents %lld and %lld", (long long)*have, (long long)found);
            *have = *have == 1 ? found : *have;
        }
    return FL_OK;
}

fl_status fl_kernel_einsum(fl_call *c)
{
    int8_t ranks[FL_EINSUM_MAX_IN];
    fl_einsum e;
    for (uint32_t k = 0; k < c->n_in && k < FL_EINSUM_MAX_IN; k++) {
        FL_TRY(fl_call_real(c, k, -1, "an operand"));
        ranks[k] = c->in[k]->rank;
    }
    const char *wrong = fl_einsum_parse(fl_node_string(c->g, c->node, "equation", ""), ranks, c->n_in, &e);
    if (wrong)
        return fl_call_error(c, FL_E_INTERP_OPERAND, "%s", wrong);
    int64_t extent[FL_EINSUM_AXES], dims[FL_MAX_RANK], stride[FL_EINSUM_MAX_IN][FL_EINSUM_AXES] = {{0}}, to[FL_EINSUM_AXES] = {0};
    FL_TRY(extents(c, &e, extent));
    for (uint32_t k = 0; k < e.n_in; k++)
        for (int d = 0; d < e.rank[k]; d++) /* an axis of extent 1 is broadcast; a letter that stands twice is the diagonal */
            stride[k][e.axis[k][d]] += c->in[k]->dims[d] == 1 ? 0 : fl_array_extent(c->in[k], d + 1, e.rank[k]);
    int64_t step = 1;
    for (int d = e.out_rank; d-- > 0;) {
        dims[d] = extent[e.out[d]];
        to[e.out[d]] = step;
        step *= dims[d];
    }
    FL_TRY(fl_call_new(c, &c->out[0], c->in[0]->dtype, e.out_rank, dims));
    int64_t at[FL_EINSUM_AXES] = {0}, from[FL_EINSUM_MAX_IN] = {0}, place = 0;
    for (int a = 0; a < FL_EINSUM_AXES; a++)
        if (extent[a] == 0)
            return FL_OK;
    for (;;) {
        double product = 1;
        for (uint32_t k = 0; k < e.n_in; k++)
            product *= c->in[k]->f[from[k]];
        c->out[0].f[place] += product;
        int a = FL_EINSUM_AXES - 1;
        for (; a >= 0; a--) {
            int64_t back = ++at[a] < extent[a] ? 0 : extent[a];
            for (uint32_t k = 0; k < e.n_in; k++)
                from[k] += stride[k][a] * (1 - back);
            place += to[a] * (1 - back);
            if (back == 0)
                break;
            at[a] = 0;
        }
        if (a < 0)
            return FL_OK;
    }
}
