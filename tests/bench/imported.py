"""imported.py FLENC FLENRT FOLDER [--quick] [--models NAME,...] [--rounds N] -- models of others, here and in ONNX Runtime, side by side at one thread.

DeepFM (26 fields with a table each, or one table with offsets; width 16; MLP 400-400), DLRM (width 16, bottom 512-256-64-16, top 512-256, 26 tables, the lower half of
the dot products) and FLEN (22 slots in 3 fields, width 32, MLP 64-32), written in PyTorch (tests/conformance/make_torch_models.py) and exported
by torch.onnx.export. Both run the same FILE.onnx on the same 16,384 rows, ids by Zipf's law 1.1, windows of `batch` rows one after the other; what they answer must agree within 1e-5.

A round measures each program once at each batch, who begins alternates, and ratios are taken inside a round. ONNX Runtime is called from Python, by
run() and with bound inputs, of which the better median counts; flenrt by `flenrt bench`, as it loads the model and with the first layer folded into the tables. At batch 1 a call from Python
is a part of what is measured, some microseconds. Where that is allowed, what is measured runs on the last CPU ahead of everything else: with others at work, a run of two milliseconds is interrupted as often
as not, and one of ten microseconds hardly ever.
Needs: pip install torch onnx onnxruntime numpy
"""

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))

ROWS = 16384
CRITEO = (1460, 583, 100000, 100000, 305, 24, 12517, 633, 3, 93145, 5683, 100000, 3194, 27, 14992, 100000, 10, 5652, 2173, 4, 100000, 18, 15, 100000, 105, 100000)
FLEN_FIELDS = (tuple(range(0, 6)), tuple(range(6, 14)), tuple(range(14, 22)))


def zipf(random, n, rows):
    """Ids by Zipf's law, scattered over the rows."""
    rank = np.floor(np.exp(random.random(n) * np.log(rows + 1)) - 1).astype(np.int64) if rows > 1 else np.zeros(n, dtype=np.int64)
    return np.minimum(rank, rows - 1) * 7919 % rows


def models():
    import make_torch_models as m

    flen_rows = (20000,) * 22
    return {
        "deepfm": (lambda: m.DeepFM(16, (400, 400), CRITEO), CRITEO, None),
        "deepfm_separate": (lambda: m.DeepFMStacked(16, (400, 400), CRITEO, norm=None), CRITEO, None),
        "dlrm": (lambda: m.DLRM(16, 13, (512, 256, 64), (512, 256), CRITEO), CRITEO, 13),
        "flen": (lambda: m.FLEN(32, (64, 32), FLEN_FIELDS, flen_rows), flen_rows, None),
        "flen_separate": (lambda: m.FLEN(32, (64, 32), FLEN_FIELDS, flen_rows, separate=True), flen_rows, None),
    }


def make(folder, name, entry):
    """FOLDER/NAME.onnx and FOLDER/NAME.in/*.npy, once."""
    import make_torch_models as m

    path, given = os.path.join(folder, name + ".onnx"), os.path.join(folder, name + ".in")
    if os.path.exists(path) and os.path.isdir(given):
        return
    create, rows, dense = entry
    random = np.random.default_rng(1)
    inputs = {"dense": random.normal(size=(ROWS, dense)).astype(np.float32)} if dense else {}
    inputs["ids" if dense else "x"] = np.stack([zipf(random, ROWS, n) for n in rows], axis=1)
    model = m.prepare(create, 1)
    proto = m.export(model, {k: v[:3] for k, v in inputs.items()}, dynamo=False)
    os.makedirs(given, exist_ok=True)
    for k, v in inputs.items():
        np.save(os.path.join(given, k + ".npy"), v)
    with open(path, "wb") as f:
        f.write(proto.SerializeToString())


def onnx_session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def timed(run, prepare, seconds):
    """Microseconds of single runs, prepared outside of the clock; a third of the time to warm up."""
    i, begun, times = 0, time.perf_counter(), []
    while i < 5 or time.perf_counter() < begun + seconds / 3:
        run(prepare(i))
        i += 1
    begun = time.perf_counter()
    while len(times) < 5 or time.perf_counter() < begun + seconds:
        given = prepare(i)
        start = time.perf_counter_ns()
        run(given)
        times.append((time.perf_counter_ns() - start) / 1000)
        i += 1
    return min(times), statistics.median(times), max(times)


def measure_onnxruntime(session, inputs, batch, seconds):
    def rows(i):
        at = i * batch % (ROWS - batch + 1)
        return {k: v[at : at + batch] for k, v in inputs.items()}

    binding = session.io_binding()
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def bind(i):
        for k, v in rows(i).items():
            binding.bind_cpu_input(k, v)
        return binding

    ways = timed(lambda x: session.run(None, x), rows, seconds / 2), timed(session.run_with_iobinding, bind, seconds / 2)
    return min(ways, key=lambda t: t[1])


def measure_flenrt(flenrt, folder, name, batch, seconds, folded):
    path = os.path.join(folder, name)
    command = [flenrt, "bench", path + ".bin", "--infer", "--data", path + ".in", "--threads", "1", "--json", "--quiet", f"--seconds={seconds}", f"--batch={batch}"]
    command.append("--fold-tables=auto" if folded else "--fold-tables=off")
    line = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return line["min_us"], line["p50_us"], line["max_us"], line["share_of_limit"]


@contextlib.contextmanager
def ahead():
    """On one CPU, before all others at work there; or as usual, where that is not allowed."""
    cpus = os.sched_getaffinity(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    except PermissionError:
        yield
        return
    os.sched_setaffinity(0, {max(cpus)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cpus)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def shown(rounds):
    """The median of the rounds' medians, and the least and the most of all runs."""
    least, median, most = zip(*(r[:3] for r in rounds))
    return f"{statistics.median(median):.2f} [{min(least):.2f} .. {max(most):.0f}]"


def check(flenrt, session, folder, name, inputs):
    path = os.path.join(folder, name)
    subprocess.run([flenrt, "eval", path + ".bin", "--in", path + ".in", "--out", path + ".out", "--quiet"], check=True)
    got = np.load(os.path.join(path + ".out", session.get_outputs()[0].name + ".npy"))
    want = session.run(None, inputs)[0]
    difference = float(np.abs(got - want).max())
    if got.shape != want.shape or not difference <= 1e-5:
        sys.exit(f"{name}: answers differ by {difference}")
    return difference


def machine():
    cpu = "unknown CPU"
    with open("/proc/cpuinfo") as f:
        fields = {k.strip(): v.strip() for k, v in (line.split(":", 1) for line in f if ":" in line)}
        cpu = f"{fields.get('model name')}, family {fields.get('cpu family')}, model {fields.get('model')}"
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}, load {os.getloadavg()[0]:.1f}; ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}"


def option(name, otherwise):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise


def main():
    flenc, flenrt, folder = sys.argv[1:4]
    rounds, seconds = int(option("--rounds", "3" if "--quick" in sys.argv else "9")), 0.4 if "--quick" in sys.argv else 1.0
    os.makedirs(folder, exist_ok=True)
    chosen = models()
    for name in option("--models", ",".join(chosen)).split(","):
        make(folder, name, chosen[name])
    print(machine())
    print("| model | batch | flenrt, us [least .. most] | of the machine's limit | first layer folded, us | ONNX Runtime, us [least .. most] | times as fast [least .. most] | folded | answers differ by |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    slower = 0
    for name in option("--models", ",".join(chosen)).split(","):
        path = os.path.join(folder, name)
        subprocess.run([flenc, "compile", path + ".onnx", "-o", path + ".bin"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        session = onnx_session(path + ".onnx")
        inputs = {x.name: np.load(os.path.join(path + ".in", x.name + ".npy")) for x in session.get_inputs()}
        difference = check(flenrt, session, folder, name, inputs)
        times = {}
        for k in range(rounds):
            for batch in (1, 512):
                ways = {
                    "ours": lambda: measure_flenrt(flenrt, folder, name, batch, seconds, False),
                    "theirs": lambda: measure_onnxruntime(session, inputs, batch, seconds),
                    "folded": lambda: measure_flenrt(flenrt, folder, name, batch, seconds, True),
                }
                for way in list(ways) if k % 2 else list(ways)[::-1]:
                    with ahead():
                        times.setdefault((batch, way), []).append(ways[way]())
        for batch in (1, 512):
            ours, theirs, folded = times[batch, "ours"], times[batch, "theirs"], times[batch, "folded"]
            ratios, ratios_folded = (sorted(b[1] / a[1] for a, b in zip(x, theirs)) for x in (ours, folded))
            slower += statistics.median(ratios) < 1
            share = statistics.median(r[3] for r in ours)
            print(
                f"| {name} | {batch} | {shown(ours)} | {100 * share:.0f} % | {statistics.median(r[1] for r in folded):.2f} | {shown(theirs)} | "
                f"{statistics.median(ratios):.2f} [{ratios[0]:.2f} .. {ratios[-1]:.2f}] | {statistics.median(ratios_folded):.2f} | {difference:.1e} |",
                flush=True,
            )
    sys.exit(1 if slower else 0)


if __name__ == "__main__":
    main()
