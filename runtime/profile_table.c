/* profile_table.c -- a profile for people in a terminal, and for programs as lines of JSON. */
#include "runtime/profile.h"

#include <stdlib.h>

#include "ir/cost.h"
#include "runtime/json_text.h"

enum { TEXT = 400, NAMES = 100 };

typedef struct row {
    const fl_profile_part *part;
    uint32_t segment;
} row;

static int by_time(const void *a, const void *b)
{
    const row *x = a, *y = b;

    if (x->part->ns != y->part->ns)
        return x->part->ns < y->part->ns ? 1 : -1;
    if (x->segment != y->segment)
        return x->segment < y->segment ? -1 : 1;
    return x->part->first < y->part->first ? -1 : 1;
}

/* All parts, longest first; malloc'ed, NULL if out of memory. */
static row *sorted_parts(const fl_profile *p, size_t *n)
{
    *n = 0;
    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++)
        *n += p->segments[i].n_parts;
    row *rows = malloc((*n + 1) * sizeof *rows), *at = rows;
    if (!rows)
        return NULL;
    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++)
        for (uint32_t k = 0; k < p->segments[i].n_parts; k++)
            *at++ = (row){&p->segments[i].parts[k], i};
    qsort(rows, *n, sizeof *rows, by_time);
    return rows;
}

/* Arithmetic of a step in a part; 0 over slots, where it depends on how many rows were distinct. */
static double flops_of(const fl_profile *p, const int64_t *extents, const row *r)
{
    const fl_segment *s = &p->g->schedule->segments[r->segment];
    double flops = 0;

    for (uint32_t i = 0; s->domain != FL_DOMAIN_SLOTS && extents && i < r->part->n_nodes; i++)
        flops += fl_node_cost(p->g, s->nodes[r->part->first + i], extents).flops;
    return flops;
}

static int64_t *extents_of(const fl_profile *p)
{
    int64_t *extents = calloc((size_t)p->g->n_symbols + 1, sizeof *extents);

    if (extents)
        fl_cost_bind(p->g, p->batch, extents);
    return extents;
}

static double microseconds(const fl_profile *p, double ns)
{
    return ns / 1000 / (double)p->steps;
}

static double share(const fl_profile *p, double ns)
{
    return p->worker_ns > 0 ? 100 * ns / p->worker_ns : 0;
}

static double own_ns(const fl_profile *p)
{
    double ns = 0;

    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++)
        ns += p->segments[i].ns - fl_profile_parts_ns(&p->segments[i]);
    return ns;
}

static double rest_ns(const fl_profile *p)
{
    double ns = p->worker_ns - p->wait_ns;

    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++)
        ns -= p->segments[i].ns;
    return ns;
}

/* ------------------------------------------------------------------------------------------------------ the table */

static void print_parts(const fl_profile *p, FILE *f)
{
    int64_t *extents = extents_of(p);
    size_t n;
    row *rows = sorted_parts(p, &n);
    char names[NAMES], operators[TEXT];

    fputs("   us/step  share   calls   us/call  GFLOP/s  segment       operators: nodes\n", f);
    for (size_t i = 0; rows && i < n; i++) {
        const row *r = &rows[i];
        double us = microseconds(p, r->part->ns), calls = (double)r->part->calls / (double)p->steps;
        double flops = flops_of(p, extents, r);
        fl_profile_part_text(p, r->segment, r->part->first, r->part->n_nodes, true, names, sizeof names);
        fl_profile_part_text(p, r->segment, r->part->first, r->part->n_nodes, false, operators, sizeof operators);
        fprintf(f, "%10.2f %5.1f%% %7.4g %9.3f ", us, share(p, r->part->ns), calls, us / calls);
        if (flops > 0 && us > 0)
            fprintf(f, "%8.2f", flops / us / 1000);
        else
            fprintf(f, "%8s", "");
        fprintf(f, "  %-12s  %s: %s\n", p->g->schedule->segments[r->segment].symbol, operators, names);
    }
    fprintf(f, "%10.2f %5.1f%%  calls' own: entry, and what is computed once a call\n", microseconds(p, own_ns(p)), share(p, own_ns(p)));
    if (p->wait_ns > 0)
        fprintf(f, "%10.2f %5.1f%%  waiting for other threads at barriers\n", microseconds(p, p->wait_ns), share(p, p->wait_ns));
    fprintf(f, "%10.2f %5.1f%%  between calls: drawing tasks, noting times, copying results\n", microseconds(p, rest_ns(p)), share(p, rest_ns(p)));
    fprintf(f, "%10.2f 100.0%%  all\n", microseconds(p, p->worker_ns));
    free(rows);
    free(extents);
}

static void print_segments(const fl_profile *p, FILE *f)
{
    fputs("\n   us/step  share   calls   us/call  phase  cut by  parts  nodes  segment\n", f);
    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++) {
        const fl_segment *s = &p->g->schedule->segments[i];
        const fl_profile_segment *t = &p->segments[i];
        double us = microseconds(p, t->ns), calls = (double)t->calls / (double)p->steps;
        fprintf(f, "%10.2f %5.1f%% %7.4g %9.3f  %5u  %-6s  %5u  %5u  %s\n", us, share(p, t->ns), calls, calls > 0 ? us / calls : 0, s->phase,
                fl_profile_domain(s->domain), t->n_parts, s->n_nodes, s->symbol);
    }
}

void fl_profile_print(const fl_profile *p, FILE *f)
{
    fprintf(f, "%s, batch %lld, %u thread%s, %lld steps: a step takes %.2f us (median), %.2f us with plain code\n", fl_program_name(p->program),
            (long long)p->batch, p->workers, p->workers == 1 ? "" : "s", (long long)p->steps, p->median_ns / 1000, p->plain_ns / 1000);
    if (p->disturbed)
        fprintf(f, "left out as disturbed by others, since they took more than twice as long: %lld more\n", (long long)p->disturbed);
    fputc('\n', f);
    print_parts(p, f);
    print_segments(p, f);
}

/* ----------------------------------------------------------------------------------------------------------- JSON */

static void print_list(const fl_profile *p, const row *r, bool names, FILE *f)
{
    const fl_id *nodes = p->g->schedule->segments[r->segment].nodes + r->part->first;

    for (uint32_t i = 0; i < r->part->n_nodes; i++) {
        fputs(i ? "," : "[", f);
        fl_json_string(f, names ? fl_profile_node_name(p->g, nodes[i]) : fl_op_get(p->g->nodes[nodes[i]].op)->name);
    }
    fputc(']', f);
}

static void print_numbers(const fl_profile *p, double ns, uint64_t calls, FILE *f)
{
    fprintf(f, ",\"us\":%.4f,\"share\":%.3f,\"calls\":%.6g", microseconds(p, ns), share(p, ns), (double)calls / (double)p->steps);
}

void fl_profile_print_json(const fl_profile *p, FILE *f)
{
    const char *program = fl_program_name(p->program);
    int64_t *extents = extents_of(p);
    size_t n;
    row *rows = sorted_parts(p, &n);

    for (size_t i = 0; rows && i < n; i++) {
        fprintf(f, "{\"event\":\"part\",\"program\":\"%s\",\"segment\":\"%s\",\"nodes\":", program, p->g->schedule->segments[rows[i].segment].symbol);
        print_list(p, &rows[i], true, f);
        fputs(",\"operators\":", f);
        print_list(p, &rows[i], false, f);
        print_numbers(p, rows[i].part->ns, rows[i].part->calls, f);
        double flops = flops_of(p, extents, &rows[i]);
        if (flops > 0)
            fprintf(f, ",\"flops\":%.0f", flops);
        fputs("}\n", f);
    }
    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++) {
        const fl_segment *s = &p->g->schedule->segments[i];
        fprintf(f, "{\"event\":\"segment\",\"program\":\"%s\",\"segment\":\"%s\",\"phase\":%u,\"domain\":\"%s\",\"nodes\":%u", program, s->symbol,
                s->phase, fl_profile_domain(s->domain), s->n_nodes);
        print_numbers(p, p->segments[i].ns, p->segments[i].calls, f);
        fputs("}\n", f);
    }
    fprintf(f,
            "{\"event\":\"profile\",\"program\":\"%s\",\"batch\":%lld,\"threads\":%u,\"steps\":%lld,\"us\":%.4f,\"step_us\":%.4f,\"median_us\":%.4f,"
            "\"plain_median_us\":%.4f,\"disturbed\":%lld,\"own_us\":%.4f,\"wait_us\":%.4f,\"between_us\":%.4f}\n",
            program, (long long)p->batch, p->workers, (long long)p->steps, microseconds(p, p->worker_ns), microseconds(p, p->step_ns),
            p->median_ns / 1000, p->plain_ns / 1000, (long long)p->disturbed, microseconds(p, own_ns(p)), microseconds(p, p->wait_ns), microseconds(p, rest_ns(p)));
    free(rows);
    free(extents);
}
