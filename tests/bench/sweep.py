"""sweep.py BIN WORK_FOLDER OUT_STEM [--quick] [--rounds=N] [--axis=A,B] -- cost of a sample against the shape of model and data, one axis at a time.

Everything but the axis is as in models/bench/flen.yaml: 22 slots in three fields, 2.5 million rows of K 32, MLP 64-32, batch 512, one thread, ids by Zipf 1.1.
Of the slots only the two largest grow and shrink with the table, as in click logs, where devices are many and the rest stays; tables that are smaller than the
rest shrink all slots alike. For slots in any number the 22 repeat, with at most 40,000 rows each. Rounds go over all points; a point is the median of its
rounds. Writes OUT_STEM.json, .md and .svg. A point that memory does not hold is left out and named. With --axis these alone are measured, and the points of the
others are those that OUT_STEM.json has; with an empty list nothing is measured, and what the file says is drawn again.
"""
import json
import math
import os
import statistics
import subprocess
import sys

SIZES = [689544, 1776904, 8251, 5, 4, 2626, 8, 9, 435, 4, 68, 172, 60, 240, 7, 7, 4737, 7745, 26, 8552, 559, 36]
BASE = {"rows": 2500000, "batch": 512, "slots": 22, "K": 32, "widths": (64, 32), "threads": 1, "skew": 1.1}
CPUS = len(os.sched_getaffinity(0))
AXES = {  # what stands under the plot, values
    "rows": ("rows of the table", [1000, 10000, 100000, 200000, 1000000, 2500000, 10000000, 50000000]),
    "batch": ("samples in a batch", [1, 2, 8, 64, 512, 2048, 8192, 65536]),
    "slots": ("slots of a sample", [5, 11, 22, 50, 100, 200, 500]),
    "K": ("K, floats in a row of the table", [4, 8, 16, 32, 64, 128]),
    "widths": ("units of the two hidden layers", [(16, 8), (32, 16), (64, 32), (128, 64), (256, 128), (512, 256)]),
    "threads": ("threads", sorted({1, 2, CPUS} & set(range(1, CPUS + 1)))),
    "skew": ("exponent of Zipf's law, by which ids are drawn", [0.5, 0.8, 1.0, 1.1, 1.3, 1.6, 2.0]),
}
QUICK = {"rows": [1000, 200000, 2500000], "batch": [1, 64, 512, 8192], "slots": [5, 22, 100], "K": [8, 32, 128], "widths": [(32, 16), (64, 32), (256, 128)], "skew": [0.8, 1.1, 1.6]}
PROGRAMS = {"train": "t", "predict": "p", "predict, folded": "f"}  # and their class in the picture
RECORD = {"train": 2, "predict": 1, "predict, folded": 1}  # rows of K floats in memory for each row of the table; folding adds the first layer's units


def sizes_of(point):
    if point["slots"] != 22 or point.get("axis") == "slots":
        return [min(SIZES[i % 22], 40000) for i in range(point["slots"])]
    rest = sum(SIZES[2:])
    if point["rows"] < 2 * rest:
        return [max(2, round(s * point["rows"] / sum(SIZES))) for s in SIZES]
    two = point["rows"] - rest
    return [two - round(two * 0.72), round(two * 0.72)] + SIZES[2:]


def configuration(point):
    sizes = sizes_of(point)
    n = len(sizes)
    ends = [0, max(1, round(n * 13 / 22)), max(2, round(n * 16 / 22)), n]
    lines = ["network: flen", "seed: 1", f"embedding_size: {point['K']}", "linear: none", "hidden_layer: false", "init: {table: {uniform: 0.01}}",
             f"mlp: {{input: slots, widths: [{point['widths'][0]}, {point['widths'][1]}], order: [relu, dropout]}}", "dropout: 0.2", "output: {bias: true}",
             "optimizer: {class: adagrad, learning_rate: 0.04, epsilon: 1.0e-10}", "inputs:", "  label: label", "  defaults: {vocabulary: range}", "  slots:"]
    first = 0
    for i, rows in enumerate(sizes):
        lines.append(f"    - {{name: s{i}, first_id: {first}, rows: {rows}}}")
        first += rows
    lines.append("fields:")
    for k in range(3):
        lines.append(f"  f{k}: [{', '.join(f's{i}' for i in range(ends[k], ends[k + 1]))}]")
    return "\n".join(lines + ["train:", f"  batch_size: {point['batch']}", ""]), first


def free_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))


def shown(value):
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    unit, name = (1000000, "M") if value >= 1000000 else (1000, "k") if value >= 10000 and value % 100 == 0 else (1, "")
    return f"{value / unit:g}{name}" if name else f"{value:,}" if value >= 10000 else str(value)


class Sweep:
    def __init__(self, bin_folder, work, seconds):
        self.bin, self.work, self.seconds = bin_folder, work, seconds
        self.points, self.left_out = {}, []  # (axis, value, program): [{us, ...}]

    def call(self, program, *arguments):
        done = subprocess.run([os.path.join(self.bin, program), *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def measure(self, axis, value):
        point = BASE | {axis: value, "axis": axis}
        text, rows = configuration(point)
        config, model = os.path.join(self.work, "sweep.yaml"), os.path.join(self.work, "sweep.bin")
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        self.call("flenc", "compile", config, "--quiet", "-o", model)
        for program in PROGRAMS:
            folded = program.endswith("folded")
            need = 4 * rows * (RECORD[program] * point["K"] + folded * (point["K"] + point["widths"][0])) + point["batch"] * len(sizes_of(point)) * 16 * 40
            if need > 0.8 * free_bytes():
                name = f"{program} with {shown(value)} {AXES[axis][0]}: {need / 1e9:.0f} GB"
                self.left_out += [name] if name not in self.left_out else []
                continue
            out = self.call("flenrt", "bench", model, "--train" if program == "train" else "--infer", "--batch", str(point["batch"]), "--threads", str(point["threads"]),
                            "--skew", str(point["skew"]), "--seconds", str(self.seconds), "--fold-tables=" + (f"{need}" if folded else "off"), "--json", "--quiet")
            r = json.loads(out.splitlines()[-1])
            self.points.setdefault((axis, value, program), []).append({"us": 1e6 / r["samples_per_second"], "share": r["share_of_limit"], "machine_flops": r["machine_flops"], "rows": r["rows_per_sample"]})
        os.unlink(model)

    def median(self, axis, value, program, key="us"):
        runs = self.points.get((axis, value, program))
        return statistics.median(r[key] for r in runs) if runs else None


# ------------------------------------------------------------------------------------------------------------ what is said of it


def findings(sweep, axes):
    """How the cost grows where it should grow little, or by the axis itself."""
    lines = []
    for program in PROGRAMS:
        low, high = sweep.median("rows", 200000, program), sweep.median("rows", 50000000, program)
        if low and high:
            lines.append(f"{program}: from 200 thousand to 50 million rows the cost grows {high / low:.2f}-fold; distinct or looked-up rows of a sample: "
                         f"{sweep.median('rows', 200000, program, 'rows'):.1f} and {sweep.median('rows', 50000000, program, 'rows'):.1f}.")
        for axis in ("slots", "K"):
            known = [(v, sweep.median(axis, v, program)) for v in axes[axis] if sweep.median(axis, v, program)]
            if len(known) < 2:
                continue
            (a, cost_a), (b, cost_b) = next(k for k in known if k[0] >= BASE[axis]), known[-1]
            lines.append(f"{program}: {b / a:.3g} times as many {axis} cost {cost_b / cost_a:.2f} times as much.")
    return lines


def markdown(sweep, axes, rounds):
    lines = [f"Microseconds of a sample (share of the machine's limit), medians of {rounds} round{'s' if rounds > 1 else ''}.", ""]
    for axis, values in axes.items():
        if not any(sweep.median(axis, v, p) for v in values for p in PROGRAMS):
            continue
        lines += [f"| {AXES[axis][0]} | " + " | ".join(PROGRAMS) + " |", "|---" * (1 + len(PROGRAMS)) + "|"]
        for v in values:
            cells = [f"{sweep.median(axis, v, p):.3f} ({100 * sweep.median(axis, v, p, 'share'):.0f} %)" if sweep.median(axis, v, p) else "" for p in PROGRAMS]
            lines.append(f"| {shown(v)} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines + ["* " + line for line in findings(sweep, axes)] + [f"* Left out, more than memory holds: {name}." for name in sweep.left_out]) + "\n"


# ------------------------------------------------------------------------------------------------------------ its picture

WIDTH, HEIGHT, LEFT, RIGHT, BELOW = 330, 200, 62, 96, 62  # of a panel; room for its numbers, names and axis
PROPORTIONAL = {"slots", "K"}  # a line shows what a cost that grows as they do would be
STYLE = """
.b{fill:#fff}.x{fill:#333}.n{fill:#555}.h{fill:#111;font-weight:600;font-size:15px}.g{stroke:#e3e3e3}.a{stroke:#888}.r{stroke:#999;stroke-dasharray:2 4}
.t{--c:#1d5fa8}.p{--c:#b35a00}.f{--c:#0b7a6b}
@media (prefers-color-scheme:dark){.b{fill:#0d1117}.x{fill:#d5d9de}.n{fill:#9aa4af}.h{fill:#f0f3f6}.g{stroke:#262c34}.a{stroke:#6b747e}.r{stroke:#6b747e}
.t{--c:#79b8ff}.p{--c:#f2a654}.f{--c:#4fd0b8}}
.t,.p,.f{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}.m{fill:var(--c);stroke:none}text.t,text.p,text.f{fill:var(--c);stroke:none}
"""


def ticks(low, high):
    """Powers of ten between low and high; more numbers where these are few."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8)):
        found = [s * 10.0 ** e for e in exponents for s in steps if low * 0.999 <= s * 10.0 ** e <= high * 1.001]
        if len(found) > 2:
            break
    return found


def marker(kind, x, y):
    if kind == "t":
        return f'<circle class="m" cx="{x:.1f}" cy="{y:.1f}" r="3.2"/>'
    if kind == "p":
        return f'<rect class="m" x="{x - 2.9:.1f}" y="{y - 2.9:.1f}" width="5.8" height="5.8"/>'
    return f'<path class="m" d="M{x:.1f} {y - 3.8:.1f}l3.6 6.4h-7.2z"/>'


def apart(wanted, least):
    """Heights as near to the wanted ones as is possible with `least` between them; {name: height}."""
    names = sorted(wanted, key=wanted.get)
    at = {}
    for _ in range(20):
        at = at or dict(wanted)
        for a, b in zip(names, names[1:]):
            short = least - (at[b] - at[a])
            if short > 0:
                at[a], at[b] = at[a] - short / 2, at[b] + short / 2
    return at


class Panel:
    """One axis: cost by value, a line for each program with its name at the end."""

    def __init__(self, sweep, axis, values, x0, y0):
        self.axis, self.values, self.x0, self.y0 = axis, values, x0, y0
        self.cost = {p: [(i, c) for i, c in enumerate(sweep.median(axis, v, p) for v in values) if c] for p in PROGRAMS}
        costs = [c for line in self.cost.values() for _, c in line]
        self.low, self.high = min(costs) / 1.25, max(costs) * 1.25
        numbers = [math.prod(v) if isinstance(v, tuple) else v for v in values]
        self.numbers = numbers if axis == "skew" else [math.log(n) for n in numbers]

    def x(self, i):
        first, spread = self.numbers[0], self.numbers[-1] - self.numbers[0]
        return self.x0 + 12 + (WIDTH - 24) * ((self.numbers[i] - first) / spread if spread else 0.5)

    def y(self, cost):
        return self.y0 + HEIGHT - HEIGHT * math.log(cost / self.low) / math.log(self.high / self.low)

    def frame(self):
        x0, y0, out = self.x0, self.y0, []
        for t in ticks(self.low, self.high):
            out.append(f'<path class="g" d="M{x0} {self.y(t):.1f}h{WIDTH}"/><text class="n" text-anchor="end" x="{x0 - 7}" y="{self.y(t) + 4:.1f}">{t:g}</text>')
        last = -1e9
        for i, v in enumerate(self.values):
            out.append(f'<path class="a" d="M{self.x(i):.1f} {y0 + HEIGHT}v4"/>')
            half = 3.4 * len(shown(v)) + 2
            if self.x(i) - half > last:
                out.append(f'<text class="n" text-anchor="middle" x="{self.x(i):.1f}" y="{y0 + HEIGHT + 17}">{shown(v)}</text>')
                last = self.x(i) + half
        out.append(f'<path class="a" fill="none" d="M{x0} {y0}v{HEIGHT}h{WIDTH}"/>')
        out.append(f'<text class="x" text-anchor="middle" x="{x0 + WIDTH / 2:.0f}" y="{y0 + HEIGHT + 36}">{AXES[self.axis][0]}</text>')
        return out + [f'<text class="x" text-anchor="middle" transform="translate({x0 - 44} {y0 + HEIGHT / 2:.0f})rotate(-90)">µs a sample</text>']

    def proportional(self):
        line, base = self.cost["train"], BASE[self.axis]
        known = dict(line).get(self.values.index(base)) if base in self.values else None
        if self.axis not in PROPORTIONAL or not known:
            return []
        ends = [(self.x(i), self.y(known * self.values[i] / base)) for i, _ in line if self.low <= known * self.values[i] / base <= self.high]
        (a, b), (c, d) = ends[0], ends[-1]
        return [f'<path class="r" fill="none" d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}"/>']

    def draw(self):
        out = self.frame() + self.proportional()
        lines = {p: [(self.x(i), self.y(c)) for i, c in line] for p, line in self.cost.items() if line}
        heights = apart({p: line[-1][1] for p, line in lines.items()}, 14)
        for p, line in lines.items():
            kind = PROGRAMS[p]
            out.append(f'<g class="{kind}"><path d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in line)}"/>{"".join(marker(kind, a, b) for a, b in line)}</g>')
            out.append(f'<text class="{kind}" x="{line[-1][0] + 9:.1f}" y="{heights[p] + 4:.1f}">{p}</text>')
        return "\n".join(out)


def svg(sweep, axes, machine):
    drawn = [axis for axis, values in axes.items() if any(sweep.median(axis, v, p) for v in values for p in PROGRAMS)]
    across, down = LEFT + WIDTH + RIGHT, HEIGHT + BELOW
    total = 2 * across, 44 + (len(drawn) + 1) // 2 * down
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" font-family="system-ui,sans-serif" font-size="12">', f"<style>{STYLE}</style>",
           f'<rect class="b" width="{total[0]}" height="{total[1]}"/>', f'<text class="h" x="18" y="25">Cost of a sample, one thing varied at a time</text>',
           f'<text class="n" text-anchor="end" x="{total[0] - 18}" y="25">{machine}; dotted: proportional to the axis</text>']
    for k, axis in enumerate(drawn):
        out.append(Panel(sweep, axis, axes[axis], LEFT + k % 2 * across, 50 + k // 2 * down).draw())
    return "\n".join(out) + "</svg>\n"


# ------------------------------------------------------------------------------------------------------------ command line


def machine_name():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        facts = dict(line.split(":", 1) for line in file if ":" in line)
    facts = {k.strip(): v.strip() for k, v in facts.items()}
    return f"{facts.get('model name', 'unknown CPU')} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def load(sweep, path, but):
    """The points of other axes than `but`, from a file of an earlier run."""
    with open(path, encoding="utf-8") as file:
        stored = json.load(file)
    for point in stored["points"]:
        value = tuple(point["value"]) if isinstance(point["value"], list) else point["value"]
        if point["axis"] not in but:
            sweep.points[point["axis"], value, point["program"]] = point["runs"]
    sweep.left_out = [name for name in stored["left_out"] if not any(AXES[axis][0] in name for axis in but)]
    return stored


def main():
    bin_folder, work, stem = sys.argv[1:4]
    quick = "--quick" in sys.argv
    options = dict(a.split("=", 1) for a in sys.argv[4:] if "=" in a)
    some = options.get("--axis")
    rounds, seconds = int(options.get("--rounds", 1 if quick else 3)), 0.2 if quick else 0.5
    axes = {axis: QUICK.get(axis, values) if quick else values for axis, (_, values) in AXES.items()}
    measured = list(axes) if some is None else [axis for axis in some.split(",") if axis]
    if not set(measured) <= set(axes):
        raise RuntimeError(f"no axis \"{some}\": {', '.join(axes)}")
    sweep, machine = Sweep(bin_folder, work, seconds), machine_name()
    if some is not None and os.path.exists(stem + ".json"):
        stored = load(sweep, stem + ".json", measured)
        if stored["cpu"] != machine and measured:
            raise RuntimeError(f"{stem}.json is of another machine: {stored['cpu']}")
        machine, rounds = stored["cpu"], rounds if measured else stored["rounds"]
    for r in range(rounds if measured else 0):
        for axis in measured:
            for value in axes[axis]:
                sweep.measure(axis, value)
            print(f"sweep: round {r + 1} of {rounds}: {AXES[axis][0]}", file=sys.stderr, flush=True)
    with open(stem + ".json", "w", encoding="utf-8") as file:
        json.dump({"cpu": machine, "rounds": rounds, "seconds": seconds, "left_out": sweep.left_out,
                   "points": [{"axis": a, "value": v, "program": p, "runs": runs} for (a, v, p), runs in sweep.points.items()]}, file, indent=1)
    with open(stem + ".md", "w", encoding="utf-8") as file:
        file.write(markdown(sweep, axes, rounds))
    with open(stem + ".svg", "w", encoding="utf-8") as file:
        file.write(svg(sweep, axes, machine))


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as e:
        sys.exit(f"sweep: {e}")
