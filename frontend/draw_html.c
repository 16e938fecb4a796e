/*
 * draw_html.c -- one page that needs no network and no other program: the graph as JSON, and a script that lays it out and draws it.
 *
 * Groups (fields, layers, segments) fold into one box and unfold by a click; a node shows its types, attributes, origin and cost. The
 * layout is the plain one in layers: longest path, order by the mean of the neighbours. Graphviz does it better (--format=svg), but does
 * not fold.
 */
#include "frontend/draw.h"

#include <stdlib.h>

static const char *const head[] = {
    "<!DOCTYPE html>",
    "<html lang=\"en\"><head><meta charset=\"utf-8\"><title>graph</title><style>",
    "body { font: 13px sans-serif; margin: 0; display: grid; grid-template-columns: 300px 1fr; height: 100vh; }",
    "aside { padding: 12px; overflow: auto; border-right: 1px solid #ccc; } main { overflow: auto; }",
    "h1 { font-size: 16px; } label { display: block; } #detail td { vertical-align: top; padding: 1px 6px 1px 0; overflow-wrap: anywhere; }",
    ".edge { fill: none; stroke: #777; } .unit { cursor: pointer; } .title { font-weight: bold; text-anchor: middle; font-size: 12px; }",
    ".line { text-anchor: middle; font-size: 10.5px; } .type { font-size: 9.5px; fill: #555; }",
    "</style></head><body><aside><h1></h1>",
    "<p><input id=\"find\" placeholder=\"find a value\"></p>",
    "<p><button id=\"fold\">fold all</button> <button id=\"unfold\">unfold all</button></p>",
    "<label><input type=\"checkbox\" id=\"weights\" checked> weights</label><label><input type=\"checkbox\" id=\"cost\"> cost</label>",
    "<h2>Parts</h2><div id=\"parts\"></div><h2>Node</h2><table id=\"detail\"></table></aside>",
    "<main><svg id=\"picture\" xmlns=\"http://www.w3.org/2000/svg\"></svg></main>",
    "<script type=\"application/json\" id=\"graph\">",
};

static const char *const tail[] = {
    "</script><script>",
    "'use strict';",
    "const G = JSON.parse(document.getElementById('graph').textContent);",
    "const NS = 'http://www.w3.org/2000/svg';",
    "const COLOUR = {'look-up': '#b7e1cd', product: '#fcd5a5', sum: '#cfe2f3', elementwise: '#fff2cc', shape: '#eeeeee',",
    "  layer: '#ead1dc', optimiser: '#d9d2e9', other: '#d0e0e3', input: '#ffffff', variable: '#dce9f7', output: '#ffffff', group: '#e4e9ee'};",
    "const open = new Set();",
    "const option = id => document.getElementById(id).checked;",
    "const short = x => { let u = 0; while (x >= 1000 && u < 4) { x /= 1000; u++; } return (u && x < 100 ? x.toFixed(1) : x.toFixed(0)) + [' ', ' k', ' M', ' G', ' T'][u]; };",
    "const shape = t => t.replace(/^float(?=\\[)/, '');",
    "const producer = new Map();",
    "G.nodes.forEach(n => n.outputs.forEach((o, i) => { if (o) producer.set(o, {node: n, type: n.types[i]}); }));",
    "const leaf = new Map();",
    "G.inputs.forEach(v => leaf.set(v.name, {kind: 'input', ...v}));",
    "G.variables.forEach(v => leaf.set(v.name, {kind: 'variable', ...v}));",
    "const inlined = n => n.op === 'Constant';",
    "",
    "// What is drawn now: a unit a node, or a unit a folded group; leaves and outputs; edges between them.",
    "function units() {",
    "  const list = [], of = new Map(), edges = new Map();",
    "  const unit = (key, make) => { if (!of.has(key)) { of.set(key, make()); list.push(of.get(key)); } return of.get(key); };",
    "  const ofNode = n => n.group !== undefined && !open.has(n.group)",
    "    ? unit('g' + n.group, () => ({kind: 'group', group: n.group, title: G.groups[n.group].label, lines: [], nodes: []}))",
    "    : unit(n, () => ({kind: n.kind, node: n, group: n.group, title: n.op, lines: [n.outputs.filter(o => o).slice(0, 3).join(', ')], nodes: []}));",
    "  const link = (name, to) => {",
    "    const p = producer.get(name), v = leaf.get(name);",
    "    if (p && inlined(p.node)) { if (to.node) to.lines.push(name + ' = ' + Object.values(p.node.attributes).join(', ')); return; }",
    "    if (v && v.kind === 'variable' && !option('weights')) return;",
    "    const from = p ? ofNode(p.node) : v ? unit('v' + name, () => ({kind: v.kind, title: name, lines: [shape(v.type)], leaf: v, nodes: []})) : null;",
    "    if (!from || from === to) return;",
    "    const key = list.indexOf(from) + ' ' + list.indexOf(to), e = edges.get(key) || {from, to, labels: []};",
    "    if (p && !e.labels.includes(shape(p.type))) e.labels.push(shape(p.type));",
    "    edges.set(key, e);",
    "  };",
    "  G.nodes.forEach(n => { if (!inlined(n)) { const u = ofNode(n); u.nodes.push(n); n.inputs.forEach(i => { if (i) link(i, u); }); } });",
    "  G.outputs.forEach(o => link(o.name, unit('o' + o.name, () => ({kind: 'output', title: o.name, lines: [shape(o.type)], nodes: []}))));",
    "  list.forEach(u => {",
    "    if (u.kind === 'group') u.lines.push(u.nodes.length + ' nodes');",
    "    if (option('cost') && u.nodes.length) u.lines.push(short(u.nodes.reduce((s, n) => s + n.flops, 0)) + 'FLOP, ' + short(u.nodes.reduce((s, n) => s + n.bytes, 0)) + 'B');",
    "  });",
    "  return {list, edges: [...edges.values()]};",
    "}",
    "",
    "// Layers by longest path (edges back into a folded group are passed over), order by the mean of the neighbours, then room for each.",
    "function place(u) {",
    "  u.list.forEach(x => { x.in = []; x.out = []; x.layer = undefined; });",
    "  u.edges.forEach(e => { e.to.in.push(e.from); e.from.out.push(e.to); });",
    "  const busy = new Set();",
    "  for (const start of u.list) {",
    "    const stack = [start];",
    "    while (stack.length) {",
    "      const x = stack[stack.length - 1];",
    "      if (x.layer !== undefined) { stack.pop(); continue; }",
    "      const next = busy.has(x) ? null : x.in.filter(y => y.layer === undefined && !busy.has(y));",
    "      busy.add(x);",
    "      if (next && next.length) { stack.push(...next); continue; }",
    "      x.layer = x.in.reduce((m, y) => y.layer === undefined ? m : Math.max(m, y.layer + 1), 0);",
    "      stack.pop();",
    "    }",
    "  }",
    "  u.list.forEach(x => { if (x.leaf && x.out.length) x.layer = Math.max(0, Math.min(...x.out.map(y => y.layer)) - 1); });",
    "  const layers = [];",
    "  u.list.forEach(x => { (layers[x.layer] = layers[x.layer] || []).push(x); x.w = 16 + 6.4 * Math.max(x.title.length * 1.1, ...x.lines.map(l => l.length)); x.h = 20 + 13 * x.lines.length; });",
    "  for (let i = 0; i < layers.length; i++) layers[i] = layers[i] || [];",
    "  layers.forEach(l => { let at = 0; l.forEach(x => { x.x = at + x.w / 2; at += x.w + 24; }); });",
    "  for (let sweep = 0; sweep < 12; sweep++) {",
    "    const down = sweep % 2 === 0;",
    "    (down ? layers : [...layers].reverse()).forEach(l => {",
    "      l.forEach(x => { const near = down ? x.in : x.out; x.want = near.length ? near.reduce((s, y) => s + y.x, 0) / near.length : x.x; });",
    "      l.sort((a, b) => a.want - b.want);",
    "      let right = -Infinity;",
    "      l.forEach(x => { x.x = Math.max(x.want, right + x.w / 2 + 24); right = x.x + x.w / 2; });",
    "      const shift = l.reduce((s, x) => s + x.want - x.x, 0) / (l.length || 1);",
    "      l.forEach(x => { x.x += shift; });",
    "    });",
    "  }",
    "  const left = Math.min(...u.list.map(x => x.x - x.w / 2)) - 20;",
    "  let y = 20;",
    "  layers.forEach(l => { const h = Math.max(0, ...l.map(x => x.h)); l.forEach(x => { x.x -= left; x.y = y + h / 2; }); y += h + 46; });",
    "  return {width: Math.max(...u.list.map(x => x.x + x.w / 2)) + 20, height: y};",
    "}",
    "",
    "function svg(parent, tag, attributes, words) {",
    "  const e = parent.appendChild(document.createElementNS(NS, tag));",
    "  for (const k in attributes) e.setAttribute(k, attributes[k]);",
    "  if (words !== undefined) e.textContent = words;",
    "  return e;",
    "}",
    "",
    "function draw() {",
    "  const u = units(), picture = document.getElementById('picture'), word = document.getElementById('find').value;",
    "  picture.textContent = '';",
    "  if (!u.list.length) return;",
    "  const size = place(u);",
    "  picture.setAttribute('width', size.width); picture.setAttribute('height', size.height);",
    "  u.edges.forEach(e => {",
    "    const x1 = e.from.x, y1 = e.from.y + e.from.h / 2, x2 = e.to.x, y2 = e.to.y - e.to.h / 2, m = (y1 + y2) / 2;",
    "    svg(picture, 'path', {d: `M${x1},${y1}C${x1},${m} ${x2},${m} ${x2},${y2}`, class: 'edge', 'marker-end': 'url(#tip)'});",
    "    svg(picture, 'text', {x: (x1 + x2) / 2 + 4, y: m, class: 'type'}, e.labels.slice(0, 2).join(' '));",
    "  });",
    "  u.list.forEach(x => {",
    "    const box = svg(picture, 'g', {class: 'unit', tabindex: 0});",
    "    const round = x.kind === 'input' || x.kind === 'output' ? x.h / 2 : 5;",
    "    const found = word && (x.title + ' ' + x.lines.join(' ') + x.nodes.map(n => n.outputs.join(' ')).join(' ')).includes(word);",
    "    svg(box, 'rect', {x: x.x - x.w / 2, y: x.y - x.h / 2, width: x.w, height: x.h, rx: round, fill: COLOUR[x.kind] || '#fff',",
    "      stroke: found ? '#d00' : x.kind === 'group' || x.group !== undefined ? '#456' : '#888', 'stroke-width': found ? 3 : x.kind === 'output' ? 2.5 : 1});",
    "    svg(box, 'text', {x: x.x, y: x.y - x.h / 2 + 14, class: 'title'}, (x.kind === 'group' ? '\\u25b8 ' : '') + x.title);",
    "    x.lines.forEach((l, i) => svg(box, 'text', {x: x.x, y: x.y - x.h / 2 + 27 + 13 * i, class: 'line'}, l));",
    "    const act = () => { if (x.kind === 'group') { open.add(x.group); refresh(); } else show(x); };",
    "    box.addEventListener('click', act);",
    "    box.addEventListener('keydown', e => { if (e.key === 'Enter') act(); });",
    "  });",
    "  svg(picture, 'defs', {}).innerHTML = '<marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0,0L8,4L0,8z\" fill=\"#666\"/></marker>';",
    "}",
    "",
    "function show(x) {",
    "  const rows = [], n = x.node;",
    "  if (n) {",
    "    rows.push(['operator', (n.domain ? n.domain + '.' : '') + n.op]);",
    "    n.outputs.forEach((o, i) => { if (o) rows.push(['makes', o + ' : ' + n.types[i]]); });",
    "    n.inputs.forEach(i => { if (i) rows.push(['reads', i + (producer.has(i) ? ' : ' + producer.get(i).type : leaf.has(i) ? ' : ' + leaf.get(i).type : '')]); });",
    "    for (const k in n.attributes) rows.push([k, JSON.stringify(n.attributes[k])]);",
    "    if (n.origin) rows.push(['from', [n.origin.file ? n.origin.file + ':' + n.origin.line + ':' + n.origin.column : '', n.origin.pass ? 'pass ' + n.origin.pass : '', n.origin.from || ''].filter(s => s).join(', ')]);",
    "    rows.push(['cost', short(n.flops) + 'FLOP, ' + short(n.bytes) + 'B']);",
    "    if (n.group !== undefined) rows.push(['part of', G.groups[n.group].label]);",
    "  } else rows.push([x.kind, x.title + ' ' + x.lines.join(' ')]);",
    "  const table = document.getElementById('detail');",
    "  table.textContent = '';",
    "  rows.forEach(r => { const tr = table.insertRow(); r.forEach(c => { tr.insertCell().textContent = c; }); });",
    "  if (n && n.group !== undefined) {",
    "    const fold = table.insertRow().insertCell().appendChild(document.createElement('button'));",
    "    fold.textContent = 'fold'; fold.addEventListener('click', () => { open.delete(n.group); table.textContent = ''; refresh(); });",
    "  }",
    "}",
    "",
    "function refresh() {",
    "  const parts = document.getElementById('parts');",
    "  parts.textContent = '';",
    "  G.groups.forEach((g, i) => {",
    "    if (!G.nodes.some(n => n.group === i && !inlined(n))) return;",
    "    const label = parts.appendChild(document.createElement('label')), box = label.appendChild(document.createElement('input'));",
    "    box.type = 'checkbox'; box.checked = open.has(i);",
    "    box.addEventListener('change', () => { if (box.checked) open.add(i); else open.delete(i); draw(); });",
    "    label.append(' ' + g.label);",
    "  });",
    "  draw();",
    "}",
    "const all = yes => { open.clear(); if (yes) G.groups.forEach((g, i) => open.add(i)); refresh(); };",
    "document.getElementById('unfold').addEventListener('click', () => all(true));",
    "document.getElementById('fold').addEventListener('click', () => all(false));",
    "['cost', 'weights'].forEach(id => document.getElementById(id).addEventListener('change', draw));",
    "document.getElementById('find').addEventListener('input', draw);",
    "document.title = G.graph;",
    "document.querySelector('h1').textContent = G.graph;",
    "all(G.nodes.length <= 150);",
    "</script>",
};

static void put_lines(FILE *out, const char *const *lines, size_t n)
{
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s\n", lines[i]);
}

fl_status fl_draw_html(const fl_graph *g, const fl_draw_options *options, FILE *out, fl_diag *dg)
{
    char *json = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&json, &n);
    if (!memory)
        return fl_out_of_memory(dg);
    fl_status status = fl_draw_json(g, options, memory, dg);
    if (fclose(memory) != 0 && status == FL_OK)
        status = fl_out_of_memory(dg);
    if (status == FL_OK) {
        put_lines(out, head, FL_COUNT(head));
        for (size_t i = 0; i < n; i++) /* no name may end the script: '<' stands only inside JSON's strings */
            if (json[i] == '<')
                fputs("\\u003c", out);
            else
                fputc(json[i], out);
        put_lines(out, tail, FL_COUNT(tail));
        if (options->cost)
            fputs("<script>document.getElementById('cost').checked = true; draw();</script>\n", out);
        fputs("</body></html>\n", out);
        if (ferror(out))
            status = fl_error(dg, FL_E_WRITE, FL_NOWHERE, "the page of graph \"%s\" could not be written", g->name);
    }
    free(json);
    return status;
}
