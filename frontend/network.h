/*
 * network.h -- a network as a choice of blocks, and the builder that composes its forward graph from them.
 *
 * Blocks: embedding (Gather, EmbeddingBag), linear term, bi-interaction over groups of slots, hidden layer behind it, MLP, output.
 * Every network that has a name is a preset, a filled-in fl_network_spec: the builder knows blocks only. The formulas are those
 * of the papers named beside the presets in network.c; names of tensors: frontend/README.md, "Tensors".
 */
#ifndef FL_FRONTEND_NETWORK_H
#define FL_FRONTEND_NETWORK_H

#include "ir/graph.h"
#include "ir/manifest.h"

/* What follows a layer's product, in this order. */
typedef enum fl_step { FL_STEP_RELU, FL_STEP_BATCH_NORM, FL_STEP_DROPOUT } fl_step;
enum { FL_MAX_STEPS = 8, FL_MAX_LAYERS = 16 };

typedef struct fl_steps {
    fl_step step[FL_MAX_STEPS];
    uint32_t n;
} fl_steps;

typedef enum fl_linear_kind {
    FL_LINEAR_NONE,
    FL_LINEAR_LOGIT,  /* bias + sum of w_n, added to the logit; tensors "linear", "bias" */
    FL_LINEAR_CONCAT, /* h_S of the FLEN paper, in front of the interaction vector; tensors "linear", "linear_bias" */
} fl_linear_kind;

/* The groups of slots whose sums interact. */
typedef enum fl_groups {
    FL_GROUPS_NONE,   /* no interaction */
    FL_GROUPS_FIELDS, /* FLEN: a group a field; tensors "fwbi...." */
    FL_GROUPS_SLOTS,  /* FwFM: every slot on its own; tensor "fwfm.r" */
    FL_GROUPS_ALL,    /* FM: one group of all slots */
} fl_groups;

/* The factor of a pair's or a group's term. */
typedef enum fl_term {
    FL_TERM_NONE,   /* the term is left out */
    FL_TERM_FIXED,  /* 1 for a pair, 1/2 for a group */
    FL_TERM_SCALAR, /* trainable r */
    FL_TERM_MATRIX, /* trainable K x K matrix and K biases: (x W + b) */
} fl_term;

typedef enum fl_mlp_input { FL_MLP_NONE, FL_MLP_FIELDS, FL_MLP_SLOTS } fl_mlp_input;

/* Classes of parameters that are started and trained alike. */
typedef enum fl_class {
    FL_CLASS_TABLE,
    FL_CLASS_LINEAR,
    FL_CLASS_LINEAR_BIAS,      /* "bias", "linear_bias" */
    FL_CLASS_FIELD_BIAS,
    FL_CLASS_MF,               /* "fwbi.r_mf", "fwfm.r", "fwbi.mf.w" */
    FL_CLASS_FM,               /* "fwbi.r_fm", "fwbi.fm.w" */
    FL_CLASS_WEIGHT,           /* matrices of the hidden layer and the MLP */
    FL_CLASS_OUT,              /* "out.w" */
    FL_CLASS_BIAS,             /* of interaction, hidden layer, MLP, output */
    FL_CLASS_GAMMA,
    FL_CLASS_BETA,
    FL_N_CLASSES
} fl_class;

typedef enum fl_fill {
    FL_FILL_CONSTANT, /* a */
    FL_FILL_NORMAL,   /* deviation a */
    FL_FILL_UNIFORM,  /* in [-a, a) */
    FL_FILL_GLOROT_UNIFORM, /* in +-sqrt(6 / (fan in + fan out)); a < 0: the fan out counts as both (tables of PaddleRec 1.8) */
    FL_FILL_GLOROT_NORMAL,  /* deviation sqrt(2 / (fan in + fan out)) */
} fl_fill;

typedef struct fl_class_spec {
    fl_rule rule;
    double lr_scale, l2;
    bool row_sparse;
    fl_fill fill;
    double a;
} fl_class_spec;

/* What nodes and variables come from, to be named in diagnostics and explanations. */
typedef enum fl_block {
    FL_BLOCK_INPUTS,
    FL_BLOCK_EMBEDDING,
    FL_BLOCK_LINEAR,
    FL_BLOCK_FIELDS,
    FL_BLOCK_INTERACTION,
    FL_BLOCK_HIDDEN,
    FL_BLOCK_MLP,
    FL_BLOCK_OUTPUT,
    FL_BLOCK_LOSS,
    FL_N_BLOCKS
} fl_block;

typedef struct fl_network_spec {
    const char *name; /* of the preset */
    fl_loc place[FL_N_BLOCKS]; /* in the configuration; all FL_NOWHERE: there is none */
    /*
     * Borrowed; slots stand field by field. Used of it: fields, and of slots name, field, pooling, rows and first_row (for
     * `ai.flen.disjoint`), table_rows (0: symbol "table_rows").
     */
    const fl_schema *schema;
    int64_t k; /* width of embeddings */

    fl_linear_kind linear;

    bool field_bias; /* a trainable vector is added to each field's sum; tensors "field_bias.M" */
    fl_groups groups;
    fl_term mf, fm;
    bool interaction_to_logit; /* the interaction vector is summed over K and added to the logit (FM, FwFM) */
    double dicefactor;         /* keep rate of the group terms' masks; 1: none */

    bool hidden;              /* a layer behind (h_S and) the interaction vector; tensors "fwbi.w", "fwbi.b", "fwbi.bn.*" */
    int64_t hidden_units;     /* 0: as wide as its input */
    bool hidden_bias;
    fl_steps hidden_steps;

    fl_mlp_input mlp;
    int64_t widths[FL_MAX_LAYERS];
    uint32_t n_widths; /* 0: no MLP */
    fl_steps mlp_steps;

    bool mlp_first; /* in the output's concat; otherwise the interaction comes first */
    bool out_bias;

    bool batch_norm;           /* off: FL_STEP_BATCH_NORM is passed over */
    double dropout;            /* rate of all dropouts; 0: none */
    const char *dropout_style; /* "upscale_in_train", "downscale_in_infer" */
    double bn_epsilon, bn_momentum;
    const char *bn_single_row; /* "normalise", "pass" */

    const char *loss; /* "bce", "paddle_log_loss", "bce_clamped" */
    double loss_epsilon;

    fl_class_spec classes[FL_N_CLASSES];

    bool given_masks; /* masks are inputs "mask.NAME" and not drawn: for checks against given cases */
} fl_network_spec;

/*
 * Fill `spec` with the blocks and first weights of network `name`; rule Adam at 0.001, embedding width 8. schema stays NULL.
 * False, spec untouched, if there is no such network.
 */
bool fl_network_preset(fl_network_spec *spec, const char *name);
/* Names of all presets. Static storage. */
const char *const *fl_network_names(uint32_t *n);
/* Every class gets `rule`. */
void fl_network_set_rule(fl_network_spec *spec, fl_rule rule);
/* "table", "linear", ...: words of configurations; static storage. */
const char *fl_class_name(fl_class c);

/*
 * Compose the forward graph (ir/README.md, "Four programs"): inputs ids, bags, label, masks; outputs logit, probability, loss;
 * an fl_param for every variable; metadata `ai.flen.disjoint`. Sizes and groupings that do not fit are reported; on success *out is the caller's.
 */
FL_MUST_USE fl_status fl_network_build(const fl_network_spec *spec, fl_graph **out, fl_diag *dg);
/* Trainable numbers of a forward graph; 0 if a dimension is not known yet. */
int64_t fl_network_parameters(const fl_graph *g);

#endif
