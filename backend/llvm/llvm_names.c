#include "backend/llvm/llvm_names.h"

#include "ir/print.h"

#include <llvm-c/DebugInfo.h>

#include <stdlib.h>
#include <string.h>

struct l_names {
    fl_gen *gen;
    LLVMDIBuilderRef di;
    LLVMMetadataRef file, scope; /* scope: the segment's function */
    uint32_t *line;              /* of each node */
    uint32_t lines;
};

/* Each node has a line of its own, and the text ends with a line for the brace: counted from the end, whatever the head of the text holds. */
static bool number_lines(l_names *names)
{
    const fl_graph *g = names->gen->g;
    char *text = NULL;
    size_t n = 0;
    uint32_t lines = 0, nodes = 0;
    FILE *out = open_memstream(&text, &n);
    bool ok = out && fl_graph_print(g, &(fl_print_options){.types = true}, out, NULL) == FL_OK;
    ok = out && fclose(out) == 0 && ok;
    for (size_t i = 0; ok && i < n; i++)
        lines += text[i] == '\n';
    free(text);
    for (fl_id i = 0; i < g->n_nodes; i++)
        nodes += g->nodes[i].op != FL_OP_NOP;
    uint32_t line = lines - nodes;
    names->lines = lines;
    for (fl_id i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op != FL_OP_NOP)
            names->line[i] = line++;
    return ok;
}

l_names *l_names_new(fl_gen *gen)
{
    l_names *names = fl_arena_new(&gen->arena, l_names, 1);
    uint32_t *line = fl_arena_new(&gen->arena, uint32_t, gen->g->n_nodes);
    const char *file = fl_arena_printf(&gen->arena, "%s.onnxtxt", gen->g->name);
    if (!names || !line || !file)
        return NULL;
    *names = (l_names){.gen = gen, .line = line};
    if (!number_lines(names))
        return NULL;
    names->di = LLVMCreateDIBuilder(gen->module);
    names->file = LLVMDIBuilderCreateFile(names->di, file, strlen(file), ".", 1);
    LLVMDIBuilderCreateCompileUnit(names->di, LLVMDWARFSourceLanguageC11, names->file, "flenc", 5, 0, "", 0, 0, "", 0,
                                   LLVMDWARFEmissionLineTablesOnly, 0, 0, 0, "", 0, "", 0);
    LLVMValueRef version = LLVMConstInt(gen->i32, LLVMDebugMetadataVersion(), 0);
    LLVMAddModuleFlag(gen->module, LLVMModuleFlagBehaviorWarning, "Debug Info Version", 18, LLVMValueAsMetadata(version));
    return names;
}

void l_names_segment(l_names *names)
{
    fl_gen *gen = names->gen;
    const char *symbol = gen->segment->symbol;
    LLVMMetadataRef type = LLVMDIBuilderCreateSubroutineType(names->di, names->file, NULL, 0, LLVMDIFlagZero);
    uint32_t line = gen->segment->n_nodes ? names->line[gen->segment->nodes[0]] : names->lines;

    names->scope = LLVMDIBuilderCreateFunction(names->di, names->file, symbol, strlen(symbol), symbol, strlen(symbol), names->file, line,
                                               type, 0, 1, line, LLVMDIFlagZero, 0);
    LLVMSetSubprogram(gen->v_fn, names->scope);
    LLVMMetadataRef start = LLVMDIBuilderCreateDebugLocation(gen->context, line, 1, names->scope, NULL);
    LLVMSetCurrentDebugLocation2(gen->entry, start);
    LLVMSetCurrentDebugLocation2(gen->b, start);
}

void l_names_node(l_names *names, fl_id node)
{
    LLVMSetCurrentDebugLocation2(names->gen->b, LLVMDIBuilderCreateDebugLocation(names->gen->context, names->line[node], 1, names->scope, NULL));
}

void l_names_label(l_names *names, LLVMBasicBlockRef b, const fl_id *nodes, uint32_t n)
{
    const fl_graph *g = names->gen->g;
    char label[200];
    size_t at = 0;

    for (uint32_t i = 0; i < n && at < sizeof label; i++) {
        const fl_node *node = &g->nodes[nodes[i]];
        const char *name = node->n_out && node->out[0] != FL_NONE ? g->values[node->out[0]].name : fl_op_get(node->op)->name;
        at += (size_t)snprintf(label + at, sizeof label - at, "%s%s", i ? "," : "", name);
    }
    LLVMSetValueName2(LLVMBasicBlockAsValue(b), label, strlen(label));
    while ((b = LLVMGetNextBasicBlock(b)) != NULL) { /* blocks are appended: what comes after b was made for these nodes */
        char whole[256];
        snprintf(whole, sizeof whole, "%s.%s", label, LLVMGetBasicBlockName(b));
        LLVMSetValueName2(LLVMBasicBlockAsValue(b), whole, strlen(whole));
    }
}

void l_names_finish(l_names *names)
{
    LLVMDIBuilderFinalize(names->di);
    LLVMDisposeDIBuilder(names->di);
}
