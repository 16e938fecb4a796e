/*
 * network.c -- the networks that have a name, as data.
 *
 *   lr, fm (Rendle 2010), fwfm (Pan et al. 2018)
 *   flen                 Chen et al., arXiv 1911.04690
 *   flen-official        the authors' TensorFlow code
 *   flen-paddlerec-1.8, flen-paddlerec-2   PaddleRec's models of that name
 */
#include "frontend/network.h"

#include <string.h>

static const char *const names[] = {"lr", "fm", "fwfm", "flen", "flen-official", "flen-paddlerec-1.8", "flen-paddlerec-2"};

const char *const *fl_network_names(uint32_t *n)
{
    *n = FL_COUNT(names);
    return names;
}

const char *fl_class_name(fl_class c)
{
    static const char *const words[] = {"table", "linear", "linear_bias", "field_bias", "mf",   "fm",
                                        "weight", "out",   "bias",        "gamma",      "beta"};
    _Static_assert(FL_COUNT(words) == FL_N_CLASSES, "one word a class");
    return words[c];
}

void fl_network_set_rule(fl_network_spec *spec, fl_rule rule)
{
    for (int c = 0; c < FL_N_CLASSES; c++)
        spec->classes[c].rule = rule;
}

static void fill(fl_network_spec *s, fl_class c, fl_fill kind, double a)
{
    s->classes[c].fill = kind;
    s->classes[c].a = a;
}

/* What all networks start from: no block at all, small embeddings, Glorot matrices, biases 0. */
static void base(fl_network_spec *s, const char *name)
{
    *s = (fl_network_spec){.name = name, .k = 8, .dicefactor = 1, .dropout_style = "upscale_in_train", .bn_epsilon = 1e-3,
                           .bn_momentum = 0.9, .bn_single_row = "normalise", .loss = "bce"};
    for (int c = 0; c < FL_N_CLASSES; c++)
        s->classes[c] = (fl_class_spec){.lr_scale = 1, .fill = FL_FILL_CONSTANT};
    s->classes[FL_CLASS_TABLE].row_sparse = s->classes[FL_CLASS_LINEAR].row_sparse = true;
    fill(s, FL_CLASS_TABLE, FL_FILL_NORMAL, 0.01);
    fill(s, FL_CLASS_MF, FL_FILL_CONSTANT, 1);
    fill(s, FL_CLASS_FM, FL_FILL_CONSTANT, 0.5);
    fill(s, FL_CLASS_WEIGHT, FL_FILL_GLOROT_UNIFORM, 0);
    fill(s, FL_CLASS_OUT, FL_FILL_GLOROT_UNIFORM, 0);
    fill(s, FL_CLASS_GAMMA, FL_FILL_CONSTANT, 1);
    fl_network_set_rule(s, (fl_rule){.kind = FL_RULE_ADAM, .lr = 0.001, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8});
}

static void widths(fl_network_spec *s, fl_mlp_input input)
{
    s->mlp = input;
    s->widths[0] = 64;
    s->widths[1] = 32;
    s->n_widths = 2;
}

static void flen(fl_network_spec *s)
{
    s->linear = FL_LINEAR_CONCAT;
    s->groups = FL_GROUPS_FIELDS;
    s->mf = s->fm = FL_TERM_SCALAR;
    s->hidden = true;
    s->hidden_steps = s->mlp_steps = (fl_steps){{FL_STEP_RELU, FL_STEP_BATCH_NORM, FL_STEP_DROPOUT}, 3};
    widths(s, FL_MLP_FIELDS);
}

static void flen_official(fl_network_spec *s)
{
    s->field_bias = true;
    s->groups = FL_GROUPS_FIELDS;
    s->mf = FL_TERM_SCALAR;
    s->hidden = s->hidden_bias = true;
    s->hidden_steps = s->mlp_steps = (fl_steps){{FL_STEP_RELU, FL_STEP_BATCH_NORM, FL_STEP_DROPOUT}, 3};
    widths(s, FL_MLP_FIELDS);
    s->k = s->hidden_units = 32;
    s->mlp_first = s->out_bias = true;
    s->batch_norm = true;
    s->dropout = 0.2;
    fill(s, FL_CLASS_TABLE, FL_FILL_GLOROT_UNIFORM, 0);
    fill(s, FL_CLASS_MF, FL_FILL_GLOROT_UNIFORM, 0);
    fl_network_set_rule(s, (fl_rule){.kind = FL_RULE_ADAGRAD, .lr = 0.04, .initial_accumulator = 1e-3, .epsilon = 1e-7});
}

static void flen_paddlerec18(fl_network_spec *s)
{
    s->groups = FL_GROUPS_FIELDS;
    s->mf = s->fm = FL_TERM_MATRIX;
    s->mlp_steps = (fl_steps){{FL_STEP_RELU, FL_STEP_DROPOUT}, 2};
    widths(s, FL_MLP_SLOTS);
    s->out_bias = true;
    s->dropout = 0.5;
    s->dropout_style = "downscale_in_infer";
    s->loss = "paddle_log_loss";
    s->loss_epsilon = 1e-4;
    s->classes[FL_CLASS_TABLE].lr_scale = 5;
    fill(s, FL_CLASS_TABLE, FL_FILL_GLOROT_UNIFORM, -1);
    fill(s, FL_CLASS_WEIGHT, FL_FILL_GLOROT_NORMAL, 0);
    fill(s, FL_CLASS_OUT, FL_FILL_GLOROT_NORMAL, 0);
}

static void flen_paddlerec2(fl_network_spec *s)
{
    s->groups = FL_GROUPS_FIELDS;
    s->mf = FL_TERM_SCALAR;
    s->hidden = s->hidden_bias = true;
    s->hidden_steps = (fl_steps){{FL_STEP_RELU, FL_STEP_BATCH_NORM, FL_STEP_DROPOUT}, 3};
    s->mlp_steps = (fl_steps){
        {FL_STEP_DROPOUT, FL_STEP_RELU, FL_STEP_DROPOUT, FL_STEP_BATCH_NORM, FL_STEP_DROPOUT}, 5};
    widths(s, FL_MLP_SLOTS);
    s->k = 32;
    s->out_bias = true;
    s->batch_norm = true;
    s->dropout = 0.2;
    s->bn_epsilon = 1e-5;
    s->bn_single_row = "pass";
    s->loss = "bce_clamped";
    fill(s, FL_CLASS_TABLE, FL_FILL_GLOROT_UNIFORM, 0);
    fill(s, FL_CLASS_MF, FL_FILL_GLOROT_UNIFORM, 0);
    fl_network_set_rule(s, (fl_rule){.kind = FL_RULE_ADAGRAD, .lr = 0.04, .initial_accumulator = 1e-3, .epsilon = 1e-6});
}

bool fl_network_preset(fl_network_spec *spec, const char *name)
{
    uint32_t i = 0;
    while (i < FL_COUNT(names) && strcmp(names[i], name) != 0)
        i++;
    if (i == FL_COUNT(names))
        return false;
    base(spec, names[i]);
    if (i <= 2) /* the linear models and their second-order terms */
        spec->linear = FL_LINEAR_LOGIT;
    if (strcmp(name, "fm") == 0) {
        spec->groups = FL_GROUPS_ALL;
        spec->fm = FL_TERM_FIXED;
        spec->interaction_to_logit = true;
    } else if (strcmp(name, "fwfm") == 0) {
        spec->groups = FL_GROUPS_SLOTS;
        spec->mf = FL_TERM_SCALAR;
        spec->interaction_to_logit = true;
    } else if (strcmp(name, "flen") == 0) {
        flen(spec);
    } else if (strcmp(name, "flen-official") == 0) {
        flen_official(spec);
    } else if (strcmp(name, "flen-paddlerec-1.8") == 0) {
        flen_paddlerec18(spec);
    } else if (strcmp(name, "flen-paddlerec-2") == 0) {
        flen_paddlerec2(spec);
    }
    return true;
}
