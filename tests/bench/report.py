"""report.py RESULTS.json OUT.md OUT.html -- the table with ratios as Markdown, and as a page of its own with plots."""
import html
import json
import math
import statistics
import sys

COLOURS = {"flenrt": "#1b6ca8", "flenrt, folding off": "#6fa8d6", "flenrt, 256-bit vectors": "#3f8f8f", "PyTorch": "#d1495b", "ONNX Runtime": "#e08e1b",
           "PaddlePaddle": "#7a5ac8", "TensorFlow": "#b5651d"}
OTHER = "#666666"  # programs that were named on the command line


def colour(program):
    return COLOURS.get(program, OTHER)


def by_colour(program):
    return list(COLOURS).index(program) if program in COLOURS else len(COLOURS)


def number(x):
    if x >= 1e6:
        return f"{x / 1e6:.2f}M"
    return f"{x / 1e3:.1f}k" if x >= 1e4 else f"{x / 1e3:.2f}k" if x >= 1e3 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


def duration(us):
    return f"{us / 1e3:.3g} ms" if us >= 1e3 else f"{us:.3g} µs"


def spread(values, show):
    """Median, and [least .. most] of the rounds where there are several."""
    text = show(statistics.median(values))
    return text if len(values) == 1 else f"{text} [{show(min(values))} .. {show(max(values))}]"


def settings_of(result):
    """{(bench, threads, batch): {program: {round: measurement}}}, training first, in the order measured."""
    found = {}
    for r in result["results"]:
        found.setdefault((r["bench"], r["threads"], r["batch"]), {}).setdefault(r["program"], {})[r["round"]] = r
    return dict(sorted(found.items(), key=lambda item: (item[0][0] == "infer", item[0][1], item[0][2])))


def ratios(programs, name):
    """How many times as fast as program `name` flenrt is, round by round."""
    return [mine["samples_per_second"] / programs[name][i]["samples_per_second"] for i, mine in programs["flenrt"].items() if i in programs[name]]


def overloaded(result):
    """Others wanted more CPUs than there are: threads of a program then wait for one another, and ratios would compare the waiting."""
    return result["load"][0] > result["machine"]["cpus"]


def rows_of(result):
    for (bench, threads, batch), programs in settings_of(result).items():
        for name in sorted(programs, key=by_colour):
            runs = list(programs[name].values())
            if name == "flenrt":
                ratio = ""
            elif threads > 1 and overloaded(result):
                ratio = "overloaded"
            else:
                ratio = spread(ratios(programs, name), lambda x: f"{x:.1f}x")
            yield [f"{'train' if bench == 'train' else 'predict'}, batch {batch}", str(threads), name,
                   spread([r["samples_per_second"] for r in runs], number),
                   duration(statistics.median(r["p50_us"] for r in runs)), duration(statistics.median(r["p99_us"] for r in runs)),
                   ratio,
                   f"{100 * statistics.median(r['share_of_limit'] for r in runs):.0f} %, {runs[-1]['limit']}" if "share_of_limit" in runs[0] else ""]


HEAD = ["", "threads", "program", "samples/s", "p50", "p99", "flenrt is faster by", "of the machine's limit"]


def own_ratios(result):
    """Of our own code: threads, width of vectors and size of batches against each other, each beside what the machine's multiply-adds do."""
    settings = settings_of(result)

    def compare(what, of, over, key=lambda r: r["samples_per_second"]):
        both = [key(r) / key(over[i]) for i, r in of.items() if i in over]
        return [f"{what} {spread(both, lambda x: f'{x:.2f}x')}"] if both else []

    def runs(bench, threads, batch, program="flenrt"):
        return settings.get((bench, threads, batch), {}).get(program, {})

    def flops(r):
        return r["machine_flops"]

    lines = []
    for what, bench in (("training", "train"), ("prediction", "infer")):
        one, two, narrow = runs(bench, 1, 512), runs(bench, 2, 512), runs(bench, 1, 512, "flenrt, 256-bit vectors")
        lines += [", ".join(compare(f"Two threads against one, {what}, batch 512:", two, one) + compare("multiply-adds of the machine", two, one, flops))]
        lines += [", ".join(compare(f"256-bit vectors against 512-bit ones, {what}, batch 512:", narrow, one) + compare("multiply-adds of the machine", narrow, one, flops))]
    return [line + "." for line in lines if line]


def conditions(result):
    m = result["machine"]
    load = result["load"]
    lines = [f"{m['cpu']} (family {m['family']}, model {m['model']}), {m['cpus']} CPUs, hypervisor: {m['hypervisor']}; {m['kernel']}; {m['date']}.",
             f"{result['rounds']} round{'s' if result['rounds'] > 1 else ''} in alternation, {result['seconds']} s a setting{', --quick' if result['quick'] else ''}; median [least .. most] of the rounds, ratios taken inside a round. "
             f"Load average before the rounds {min(load)} to {max(load)}: " + ("other work ran on the machine. It interrupts long calls and rarely short ones, which flatters the faster program; with two threads ratios are left out." if overloaded(result) else "little else ran.")
             + (f" Niceness {m['nice']}." if m["nice"] else ""),
             "Programs: " + "; ".join(f"{name} {about['version'].removeprefix('flenrt ')}" for name, about in result["versions"].items()) + "."]
    lines += [f"Absent: {name}, {reason}." for name, reason in result["absent"].items()]
    for c in result["checks"]:
        lines.append(f"Check: {c['what']} of {c['program']} differs by {c['difference']:.1e} from flenrt's without folding, {'within' if c['holds'] else 'OUTSIDE'} {c['tolerance']:.0e}.")
    lines += [f"Not checked: {name}, {reason}." for name, reason in result["unchecked"].items()]
    lines += own_ratios(result)
    lines.append("The machine's limit is measured beside each setting: the slowest of its arithmetic at the speed of bare multiply-adds, its rows at the speed of bare look-ups, its weights at the speed of reading.")
    forms = {}
    for r in result["results"]:
        if "form" in r:
            forms.setdefault((r["program"], r["form"]), []).append(f"{r['bench']} {r['batch']}/{r['threads']}")
    for (program, form), where in forms.items():
        lines.append(f"{program}'s fastest form was \"{form}\" at (batch/threads): {', '.join(dict.fromkeys(where))}.")
    return lines


def markdown(result):
    table = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    before = None
    for row in rows_of(result):
        shown = row if row[:2] != before else ["", ""] + row[2:]
        before = row[:2]
        table.append("| " + " | ".join(shown) + " |")
    return "\n".join(table) + "\n\n" + "\n".join("* " + line for line in conditions(result)) + "\n"


def plot(title, programs_of):
    """Points of every round on a logarithmic axis, a bar at the median; programs_of: [(label, program, values)]."""
    left, width, step, top = 230, 620, 22, 34
    values = [v for _, _, vs in programs_of for v in vs]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    high += high == low
    height = top + step * len(programs_of) + 26

    def x(v):
        return left + (math.log10(v) - low) / (high - low) * width

    out = [f'<svg viewBox="0 0 {left + width + 40} {height}" role="img" aria-label="{html.escape(title)}"><text x="4" y="18" class="t">{html.escape(title)}</text>']
    for e in range(low, high + 1):
        out.append(f'<line x1="{x(10 ** e):.1f}" x2="{x(10 ** e):.1f}" y1="{top - 6}" y2="{height - 22}" class="g"/><text x="{x(10 ** e):.1f}" y="{height - 6}" text-anchor="middle">{number(10 ** e)}</text>')
    for i, (label, program, vs) in enumerate(programs_of):
        y = top + step * i + 8
        out.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{html.escape(label)}</text>')
        out += [f'<circle cx="{x(v):.1f}" cy="{y}" r="4" fill="{colour(program)}" fill-opacity="0.55"><title>{number(v)} samples/s</title></circle>' for v in vs]
        middle = x(statistics.median(vs))
        out.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 8}" y2="{y + 8}" stroke="{colour(program)}" stroke-width="3"/>')
    return "".join(out) + "</svg>"


STYLE = """body{font:15px/1.5 sans-serif;max-width:62em;margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;font-size:14px}
td,th{border-bottom:1px solid #ccc;padding:.25em .7em;text-align:left}td:nth-child(n+4){font-variant-numeric:tabular-nums}
svg{width:100%;font:12px sans-serif;margin:1em 0}.g{stroke:#ddd}.t{font-weight:bold;font-size:14px}"""


def page(result):
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows_of(result))
    plots, settings = [], settings_of(result)
    for bench, batch in dict.fromkeys((b, n) for b, _, n in settings):
        lines = [(f"{name}, {t} thread{'s' if t > 1 else ''}", name, [r["samples_per_second"] for r in runs.values()])
                 for (b, t, n), programs in settings.items() if (b, n) == (bench, batch) for name, runs in programs.items()]
        plots.append(plot(f"{'Training' if bench == 'train' else 'Prediction'}, batch {batch}: samples/s (points: rounds, bar: median)", lines))
    notes = "".join(f"<li>{html.escape(line)}</li>" for line in conditions(result))
    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>flen beside its peers</title><style>{STYLE}</style></head><body><h1>flen beside its peers</h1>'
            f"<ul>{notes}</ul><table><tr>{''.join(f'<th>{h}</th>' for h in HEAD)}</tr>{cells}</table>{''.join(plots)}</body></html>\n")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        result = json.load(file)
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(markdown(result))
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        file.write(page(result))


if __name__ == "__main__":
    main()
