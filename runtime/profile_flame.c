/*
 * profile_flame.c -- a profile as one page: a box for the step, under it the segments, under each its parts; widths are time.
 *
 * The tree is written as JSON, a script of the page draws it: a click shows a box and what is in it at full width, typing finds nodes. Nothing is
 * loaded from anywhere.
 */
#include "runtime/profile.h"

#include <stdlib.h>

#include "runtime/json_text.h"

enum { NAMES = 4000 };

static const char *const head[] = {
    "<!DOCTYPE html>",
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>flame view</title><style>",
    "body { font: 13px sans-serif; margin: 16px; color: #222; background: #fff; }",
    "h1 { font-size: 17px; margin: 0 0 4px; } p { margin: 4px 0 10px; color: #555; }",
    "#flame { position: relative; }",
    ".box { position: absolute; box-sizing: border-box; height: 26px; line-height: 24px; padding: 0 5px; overflow: hidden; white-space: nowrap;",
    "  text-overflow: ellipsis; border: 1px solid #fff; border-radius: 3px; cursor: pointer; font-size: 12px; color: #222; }",
    ".box.narrow { padding: 0; } .box:hover, .box:focus { border-color: #222; outline: none; } .above { opacity: 0.55; } .found { border: 2px solid #c00; }",
    "table { border-collapse: collapse; margin-top: 16px; } td { vertical-align: top; padding: 1px 12px 1px 0; overflow-wrap: anywhere; }",
    "td:first-child { color: #555; white-space: nowrap; }",
    ".key { display: inline-block; margin-right: 14px; } .key i { display: inline-block; width: 11px; height: 11px; margin-right: 4px; border-radius: 2px; }",
    "input { width: 220px; }",
    "</style></head><body><h1></h1><p id=\"about\"></p>",
    "<p><input id=\"find\" placeholder=\"find a node or operator\"> <button id=\"all\">show all</button> <span id=\"hits\"></span></p>",
    "<div id=\"flame\"></div><p id=\"keys\"></p><table id=\"detail\"></table>",
    "<script type=\"application/json\" id=\"tree\">",
};

static const char *const tail[] = {
    "</script><script>",
    "'use strict';",
    "const T = JSON.parse(document.getElementById('tree').textContent);",
    "const COLOUR = {step: '#d9d9d9', segment: '#c9d7e8', 'look-up': '#b7e1cd', product: '#fcd5a5', sum: '#cfe2f3', elementwise: '#fff2cc', move: '#e6e6e6',",
    "  layer: '#ead1dc', optimiser: '#d9d2e9', other: '#d0e0e3', rest: '#f0f0f0', wait: '#f4cccc'};",
    "const HEIGHT = 27, NARROW = 0.0015;",
    "const flame = document.getElementById('flame');",
    "const time = us => us >= 1000 ? (us / 1000).toPrecision(4) + ' ms' : us >= 1 ? us.toPrecision(4) + ' us' : (us * 1000).toPrecision(3) + ' ns';",
    "const link = (box, above) => { box.above = above; (box.boxes || []).forEach(b => link(b, box)); };",
    "link(T.root, null);",
    "let shown = T.root;",
    "",
    "// Boxes are put to the left of what holds them, which is at least as long as all of them.",
    "function put(box, left, width, level, list) {",
    "  list.push({box, left, width, level});",
    "  let at = left;",
    "  (box.boxes || []).forEach(b => { const w = box.us > 0 ? width * b.us / box.us : 0; if (w >= NARROW) put(b, at, w, level + 1, list); at += w; });",
    "}",
    "",
    "function matches(box, word) { return word && [box.name, box.operators || ''].join(' ').toLowerCase().includes(word); }",
    "",
    "function draw() {",
    "  const list = [], chain = [], word = document.getElementById('find').value.trim().toLowerCase();",
    "  for (let b = shown.above; b; b = b.above) chain.unshift(b);",
    "  chain.forEach((box, level) => list.push({box, left: 0, width: 1, level, above: true}));",
    "  put(shown, 0, 1, chain.length, list);",
    "  flame.textContent = '';",
    "  let hits = 0;",
    "  list.forEach(x => {",
    "    const e = flame.appendChild(document.createElement('div')), found = matches(x.box, word);",
    "    hits += found && !x.above ? x.box.us : 0;",
    "    e.className = 'box' + (x.above ? ' above' : '') + (x.width < 0.012 ? ' narrow' : '') + (found ? ' found' : '');",
    "    e.tabIndex = 0;",
    "    e.style.left = 100 * x.left + '%'; e.style.width = 100 * x.width + '%'; e.style.top = HEIGHT * x.level + 'px'; e.style.background = COLOUR[x.box.kind] || '#eee';",
    "    e.textContent = x.width < 0.012 ? '' : x.box.name + ' \\u00b7 ' + time(x.box.us);",
    "    e.title = x.box.name + '\\n' + time(x.box.us) + ' a step, ' + (100 * x.box.us / T.root.us).toFixed(1) + ' % of all';",
    "    e.addEventListener('mouseenter', () => show(x.box));",
    "    e.addEventListener('focus', () => show(x.box));",
    "    const act = () => { shown = x.box; draw(); show(shown); };",
    "    e.addEventListener('click', act);",
    "    e.addEventListener('keydown', k => { if (k.key === 'Enter') act(); });",
    "  });",
    "  flame.style.height = HEIGHT * (1 + Math.max(...list.map(x => x.level))) + 'px';",
    "  document.getElementById('hits').textContent = word ? 'found: ' + time(hits) + ', ' + (100 * hits / T.root.us).toFixed(1) + ' %' : '';",
    "}",
    "",
    "function show(box) {",
    "  const table = document.getElementById('detail'), rows = [[box.kind === 'segment' ? 'segment' : box.operators ? 'nodes' : 'what', box.name]];",
    "  if (box.operators) rows.push(['operators', box.operators]);",
    "  if (box.cut) rows.push(['cut by', box.cut + ', phase ' + box.phase]);",
    "  rows.push(['a step', time(box.us) + ', ' + (100 * box.us / T.root.us).toFixed(2) + ' % of all' + (box.above ? ', ' + (100 * box.us / box.above.us).toFixed(1) + ' % of ' + box.above.name : '')]);",
    "  if (box.calls) rows.push(['calls', +box.calls.toPrecision(4) + ' a step, ' + time(box.us / box.calls) + ' each']);",
    "  table.textContent = '';",
    "  rows.forEach(r => { const tr = table.insertRow(); r.forEach(c => { tr.insertCell().textContent = c; }); });",
    "}",
    "",
    "const kinds = new Set();",
    "const collect = b => { kinds.add(b.kind); (b.boxes || []).forEach(collect); };",
    "collect(T.root);",
    "Object.keys(COLOUR).filter(k => kinds.has(k)).forEach(k => {",
    "  const e = document.getElementById('keys').appendChild(document.createElement('span'));",
    "  e.className = 'key'; e.appendChild(document.createElement('i')).style.background = COLOUR[k]; e.append(k);",
    "});",
    "document.title = T.title;",
    "document.querySelector('h1').textContent = T.title;",
    "document.getElementById('about').textContent = T.about;",
    "document.getElementById('find').addEventListener('input', draw);",
    "document.getElementById('all').addEventListener('click', () => { shown = T.root; document.getElementById('find').value = ''; draw(); show(shown); });",
    "draw();",
    "show(shown);",
    "</script></body></html>",
};

/* As the pictures of graphs colour operators (frontend/draw.c). */
static const char *kind_of(fl_op op)
{
    static const struct {
        uint32_t trait;
        const char *kind;
    } kinds[] = {{FL_OPTIMISER, "optimiser"}, {FL_GATHERING, "look-up"},       {FL_PRODUCT, "product"}, {FL_REDUCTION, "sum"},
                 {FL_VIEW, "move"},           {FL_ELEMENTWISE, "elementwise"}, {FL_MODE, "layer"},      {FL_ROWWISE, "layer"}};

    for (size_t i = 0; i < FL_COUNT(kinds); i++)
        if (fl_op_has(op, kinds[i].trait))
            return kinds[i].kind;
    return "other";
}

static void put_text(const char *text, FILE *f)
{
    char *json = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&json, &n);

    if (memory) {
        fl_json_string(memory, text);
        fclose(memory);
    }
    for (size_t i = 0; i < n; i++) /* no name may end the script */
        if (json[i] == '<')
            fputs("\\u003c", f);
        else
            fputc(json[i], f);
    if (n == 0)
        fputs("\"\"", f);
    free(json);
}

static void open_box(const fl_profile *p, const char *name, const char *kind, double ns, uint64_t calls, FILE *f)
{
    fputs("{\"name\":", f);
    put_text(name, f);
    fprintf(f, ",\"kind\":\"%s\",\"us\":%.6f,\"calls\":%.6g", kind, ns / 1000 / (double)p->steps, (double)calls / (double)p->steps);
}

static void put_segment(const fl_profile *p, uint32_t i, FILE *f)
{
    const fl_segment *s = &p->g->schedule->segments[i];
    const fl_profile_segment *t = &p->segments[i];
    char text[NAMES];

    open_box(p, s->symbol, "segment", t->ns, t->calls, f);
    fprintf(f, ",\"cut\":\"%s\",\"phase\":%u,\"boxes\":[\n", fl_profile_domain(s->domain), s->phase);
    for (uint32_t k = 0; k < t->n_parts; k++) {
        const fl_profile_part *part = &t->parts[k];
        fl_profile_part_text(p, i, part->first, part->n_nodes, true, text, sizeof text);
        open_box(p, text, kind_of(p->g->nodes[s->nodes[part->first]].op), part->ns, part->calls, f);
        fl_profile_part_text(p, i, part->first, part->n_nodes, false, text, sizeof text);
        fputs(",\"operators\":", f);
        put_text(text, f);
        fputs("},\n", f);
    }
    open_box(p, "calls' own", "rest", t->ns - fl_profile_parts_ns(t), 0, f);
    fputs("}]},\n", f);
}

void fl_profile_flame(const fl_profile *p, const char *model, FILE *f)
{
    double rest = p->worker_ns - p->wait_ns;
    char text[300];

    for (size_t i = 0; i < FL_COUNT(head); i++)
        fprintf(f, "%s\n", head[i]);
    fputs("{\"title\":", f);
    snprintf(text, sizeof text, "%s: %s", model, fl_program_name(p->program));
    put_text(text, f);
    snprintf(text, sizeof text, "Batch %lld, %u thread%s, %lld steps; a step takes %.2f us (median), %.2f us with plain code. Times are sums over threads, a step.",
             (long long)p->batch, p->workers, p->workers == 1 ? "" : "s", (long long)p->steps, p->median_ns / 1000, p->plain_ns / 1000);
    fputs(",\"about\":", f);
    put_text(text, f);
    fputs(",\"root\":", f);
    snprintf(text, sizeof text, "%s step", fl_program_name(p->program));
    open_box(p, text, "step", p->worker_ns, (uint64_t)p->steps, f);
    fputs(",\"boxes\":[\n", f);
    for (uint32_t i = 0; i < p->g->schedule->n_segments; i++) {
        put_segment(p, i, f);
        rest -= p->segments[i].ns;
    }
    if (p->wait_ns > 0) {
        open_box(p, "waiting at barriers", "wait", p->wait_ns, 0, f);
        fputs("},\n", f);
    }
    open_box(p, "between calls", "rest", rest, 0, f);
    fputs("}]}}\n", f);
    for (size_t i = 0; i < FL_COUNT(tail); i++)
        fprintf(f, "%s\n", tail[i]);
}
