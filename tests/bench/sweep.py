"""sweep.py BIN WORK_FOLDER OUT_STEM [--quick] [--axis=NAME] -- cost of a sample against the shape of model and data, one axis at a time, or that one.

Everything but the axis is as in models/bench/flen.yaml: 22 slots in three fields, 2.5 million rows of K 32, MLP 64-32, batch 512, one thread, ids by Zipf 1.1.
Of the slots only the two largest grow and shrink with the table, as in click logs, where devices are many and the rest stays; tables that are smaller than the
rest shrink all slots alike. For slots in any number the 22 repeat, with at most 40,000 rows each. Rounds go over all points; a point is the median of its
rounds. Writes OUT_STEM.json, .md and .svg. A point that memory does not hold is left out and named.
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
AXES = {
    "rows": ("rows of the table", [1000, 10000, 100000, 200000, 1000000, 2500000, 10000000, 50000000]),
    "batch": ("batch", [1, 2, 8, 64, 512, 2048, 8192, 65536]),
    "slots": ("slots", [5, 11, 22, 50, 100, 200, 500]),
    "K": ("K", [4, 8, 16, 32, 64, 128]),
    "widths": ("units of the two hidden layers", [(16, 8), (32, 16), (64, 32), (128, 64), (256, 128), (512, 256)]),
    "threads": ("threads", sorted({1, 2, CPUS} & set(range(1, CPUS + 1)))),
    "skew": ("exponent of Zipf's law", [0.5, 0.8, 1.0, 1.1, 1.3, 1.6, 2.0]),
}
QUICK = {"rows": [1000, 200000, 2500000], "batch": [1, 64, 512, 8192], "slots": [5, 22, 100], "K": [8, 32, 128], "widths": [(32, 16), (64, 32), (256, 128)], "skew": [0.8, 1.1, 1.6]}
PROGRAMS = {"train": "#1b6ca8", "predict": "#e08e1b", "predict, folded": "#d1495b"}
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
    return f"{value / 1e6:g}M" if value >= 1000000 else f"{value / 1e3:g}k" if value >= 10000 else str(value)


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
        for axis in [a for a in ("slots", "K") if a in axes]:
            known = [(v, sweep.median(axis, v, program)) for v in axes[axis] if sweep.median(axis, v, program)]
            if len(known) < 2:
                continue
            (a, cost_a), (b, cost_b) = next(k for k in known if k[0] >= BASE[axis]), known[-1]
            lines.append(f"{program}: {b / a:.3g} times as many {axis} cost {cost_b / cost_a:.2f} times as much.")
    return lines


def markdown(sweep, axes, rounds):
    lines = [f"Microseconds of a sample (share of the machine's limit), medians of {rounds} round{'s' if rounds > 1 else ''}.", ""]
    for axis, values in axes.items():
        lines += [f"| {AXES[axis][0]} | " + " | ".join(PROGRAMS) + " |", "|---" * (1 + len(PROGRAMS)) + "|"]
        for v in values:
            cells = [f"{sweep.median(axis, v, p):.3f} ({100 * sweep.median(axis, v, p, 'share'):.0f} %)" if sweep.median(axis, v, p) else "" for p in PROGRAMS]
            lines.append(f"| {shown(v)} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines + ["* " + line for line in findings(sweep, axes)] + [f"* Left out, more than memory holds: {name}." for name in sweep.left_out]) + "\n"


def ticks(low, high):
    """1, 2, 5 times powers of ten between low and high; powers alone where they are many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if math.log10(high / low) < 2.2 else (1,)
    return [s * 10.0 ** e for e in exponents for s in steps if low * 0.999 <= s * 10.0 ** e <= high * 1.001]


def panel(sweep, axis, values, x0, y0, width, height):
    numbers = [math.prod(v) if isinstance(v, tuple) else v for v in values]
    costs = [sweep.median(axis, v, p) for v in values for p in PROGRAMS if sweep.median(axis, v, p)]
    low, high = min(costs) / 1.3, max(costs) * 1.3
    spread = math.log(numbers[-1] / numbers[0]) or 1.0

    def x(i):
        return x0 + 12 + (width - 24) * (math.log(numbers[i] / numbers[0]) / spread if len(numbers) > 1 else 0.5)

    def y(cost):
        return y0 + height - height * math.log(cost / low) / math.log(high / low)

    out = [f'<text class="t" x="{x0}" y="{y0 - 10}">{AXES[axis][0]}</text>', f'<rect x="{x0}" y="{y0}" width="{width}" height="{height}" class="f"/>']
    for t in ticks(low, high):
        out.append(f'<line class="g" x1="{x0}" x2="{x0 + width}" y1="{y(t):.1f}" y2="{y(t):.1f}"/><text text-anchor="end" x="{x0 - 5}" y="{y(t) + 4:.1f}">{t:g}</text>')
    for i, v in enumerate(values):
        out.append(f'<text text-anchor="middle" x="{x(i):.1f}" y="{y0 + height + 15}">{shown(v)}</text>')
    for program, colour in PROGRAMS.items():
        points = [(x(i), y(sweep.median(axis, v, program))) for i, v in enumerate(values) if sweep.median(axis, v, program)]
        out.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
    return "".join(out)


def svg(sweep, axes, machine):
    columns, width, height = 2, 400, 190
    rows = (len(axes) + 1) // columns
    total = (columns * (width + 70) + 20, rows * (height + 70) + 60)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total[0]} {total[1]}" font-family="sans-serif" font-size="11">',
           "<style>.t{font-weight:bold;font-size:13px}.g{stroke:#ddd}.f{fill:none;stroke:#999}</style>", f'<rect width="{total[0]}" height="{total[1]}" fill="#fff"/>',
           f'<text x="50" y="20" class="t">Microseconds of a sample, both axes logarithmic. {machine}</text>']
    for k, (program, colour) in enumerate(PROGRAMS.items()):
        out.append(f'<rect x="{50 + 150 * k}" y="30" width="14" height="4" fill="{colour}"/><text x="{70 + 150 * k}" y="37">{program}</text>')
    for k, (axis, values) in enumerate(axes.items()):
        out.append(panel(sweep, axis, values, 50 + k % columns * (width + 70), 75 + k // columns * (height + 70), width, height))
    return "\n".join(out) + "</svg>\n"


def main():
    bin_folder, work, stem = sys.argv[1:4]
    quick = "--quick" in sys.argv
    rounds, seconds = (1, 0.2) if quick else (3, 0.5)
    wanted = [a.split("=", 1)[1] for a in sys.argv if a.startswith("--axis=")] or list(AXES)
    axes = {axis: QUICK.get(axis, values) if quick else values for axis, (_, values) in AXES.items() if axis in wanted}
    if not axes:
        raise RuntimeError(f"no axis \"{wanted[0]}\": {', '.join(AXES)}")
    sweep = Sweep(bin_folder, work, seconds)
    for r in range(rounds):
        for axis, values in axes.items():
            for value in values:
                sweep.measure(axis, value)
            print(f"sweep: round {r + 1} of {rounds}: {AXES[axis][0]}", file=sys.stderr, flush=True)
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        machine = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
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
