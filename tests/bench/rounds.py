"""rounds.py BIN WORK_FOLDER OUT.json [--quick] [--rounds=N] [--absent PEER=REASON]... [--peer NAME=COMMAND]... -- checks that all compute the same, then measures in
alternation.

WORK_FOLDER has what run.sh made: rows (bench_rows.py), start.bin (a few steps of models/bench/flen.yaml without dropout), bench.bin (with), exported
ONNX files. A round measures every program at every setting within seconds of each other; ratios are taken inside a round. Exit 1 if a check fails.
"""
import json
import os
import shlex
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TRAIN_BATCH, INFER_BATCHES = 512, [1, 64, 512, 4096]
CHECK_ROWS = 10240  # 20 steps, as run.sh cuts check.txt
OURS = {"flenrt": "auto", "flenrt, folding off": "off"}  # name of a program in the results: --fold-tables
NARROW = "flenrt, 256-bit vectors"  # --cpu=x86-64-v3, where the machine has more: batch 512, one thread
ONLY_PREDICT = {"ONNX Runtime"}
TOLERANCE = {"logit": 2e-5, "logloss": 2e-5}  # largest difference of a prediction; of the mean loss, relative


def environment(threads):
    """Of every program measured: nobody's choice of kernel is forced, and the C library keeps its memory, on huge pages."""
    env = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    env |= {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    env |= {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33), "MALLOC_TOP_PAD_": str(1 << 28), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        if " avx512f " in file.read():
            env["ATEN_CPU_CAPABILITY"] = "avx512"
    return env


def machine(threads):
    model = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    family = {}
    for line in subprocess.run(["lscpu"], capture_output=True, text=True, check=False, env=os.environ | {"LC_ALL": "C"}).stdout.splitlines():
        key, _, value = line.partition(":")
        family[key.strip()] = value.strip()
    return {"cpu": model, "family": family.get("CPU family", "?"), "model": family.get("Model", "?"), "hypervisor": family.get("Hypervisor vendor", "none"),
            "cpus": len(os.sched_getaffinity(0)), "threads_measured": threads, "kernel": f"{os.uname().sysname} {os.uname().release}", "nice": os.nice(0), "date": time.strftime("%Y-%m-%d")}


class Peer:
    """A peer's processes: one, or one for each number of threads where a library takes that only once (its command then ends with the number)."""

    def __init__(self, name, command, env, per_threads):
        self.name, self.command, self.env, self.per_threads = name, command, env, per_threads
        self.processes, self.unchecked = {}, None
        self.log = open(os.path.join(sys.argv[2], name.lower().replace(" ", "_") + ".log"), "w", encoding="utf-8")

    def process(self, threads):
        key = threads if self.per_threads else 0
        if key not in self.processes:
            command = self.command + ([str(threads)] if self.per_threads else [])
            self.processes[key] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=self.env)
        return self.processes[key]

    def ask(self, **request):
        process = self.process(request.get("threads", 1))
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            while line and not line.startswith("{"):  # what a library has to say
                line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"{self.name} ended; see {self.log.name}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return answer

    def close(self):
        for process in self.processes.values():
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended by itself
            process.wait()
        self.log.close()


class Flenrt:
    def __init__(self, bin_folder, folder, env):
        self.program, self.folder, self.env = os.path.join(bin_folder, "flenrt"), folder, env

    def call(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, env=self.env, cwd=self.folder, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"flenrt {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def logits(self, fold):
        return np.array([float(line.split(",")[2]) for line in self.call("predict", "start.bin", "--data", "check.txt", "--logit", "--quiet", "--fold-tables=" + fold).splitlines()[1:]])

    def logloss(self):
        """Mean over the rows of the loss before the step that learns from them."""
        events = self.call("train", "start.bin", "--data", "check.txt", "--epochs", "1", "--batch", str(TRAIN_BATCH), "-o", "end.bin", "--json", "--quiet")
        os.unlink(os.path.join(self.folder, "end.bin"))
        return next(e["logloss"] for e in map(json.loads, events.splitlines()) if e["event"] == "epoch")

    def bench(self, what, batches, threads, seconds, fold, *more):
        lines = self.call("bench", "bench.bin", "--" + what, "--batch", ",".join(map(str, batches)), "--threads", str(threads), "--seconds", str(seconds),
                          "--data", "rows/rows.txt", "--fold-tables=" + fold, "--json", "--quiet", *more).splitlines()
        return {r["batch"]: r for r in map(json.loads, lines)}


def check(ours, peers, folder):
    """Everybody's logits and losses beside ours; a list of {what, program, difference, tolerance, holds}."""
    found = []
    base = ours.logits("off")

    def compare(what, program, difference):
        found.append({"what": what, "program": program, "difference": float(difference), "tolerance": TOLERANCE[what], "holds": bool(difference <= TOLERANCE[what])})
        print(f"check: {what} of {program}: differs by {difference:.2g} from flenrt's: {'agrees' if found[-1]['holds'] else 'DISAGREES'}", flush=True)

    compare("logit", "flenrt, folded", np.abs(ours.logits("auto") - base).max())
    mine = ours.logloss()
    for name, peer in peers.items():
        out = os.path.join(folder, "logit.npy")
        answer = peer.ask(do="predict", rows=len(base), out=out)
        if "unchecked" in answer:
            peer.unchecked = answer["unchecked"]
            continue
        compare("logit", name, np.abs(np.load(out) - base).max())
        if name not in ONLY_PREDICT:
            compare("logloss", name, abs(peer.ask(do="steps", rows=CHECK_ROWS, batch=TRAIN_BATCH)["logloss"] / mine - 1))
    return found


def measure_round(number, ours, peers, threads, seconds, results, absent):
    """Appends to results: {round, bench, batch, threads, program, p50_us, p99_us, samples_per_second}. Who begins changes from round to round."""
    def add(bench, batch, t, program, r):
        results.append({"round": number, "bench": bench, "batch": batch, "threads": t, "program": program}
                       | {k: r[k] for k in ("p50_us", "p99_us", "samples_per_second", "runs", "form", "machine_flops", "limit", "share_of_limit", "cpu") if k in r})

    def our_training(t):
        mine = ours.bench("train", [TRAIN_BATCH], t, seconds, "off")[TRAIN_BATCH]
        add("train", TRAIN_BATCH, t, "flenrt", mine)
        if t == 1 and mine["cpu"] == "x86-64-v4":
            add("train", TRAIN_BATCH, t, NARROW, ours.bench("train", [TRAIN_BATCH], t, seconds, "off", "--cpu=x86-64-v3")[TRAIN_BATCH])

    def our_prediction(t):
        for program, fold in OURS.items():
            for batch, r in ours.bench("infer", INFER_BATCHES, t, seconds, fold).items():
                add("infer", batch, t, program, r)
        if t == 1 and r["cpu"] == "x86-64-v4":
            add("infer", 512, t, NARROW, ours.bench("infer", [512], t, seconds, "auto", "--cpu=x86-64-v3")[512])

    def ask(name, bench, batch, t):
        try:
            add(bench, batch, t, name, peers[name].ask(do=bench, batch=batch, threads=t, seconds=seconds))
        except RuntimeError as e:  # the others go on; the report says from where on it is missing
            peers.pop(name).close()
            absent[name] = f"failed in round {number + 1} ({e})"

    def their_training(t):
        for name in [n for n in peers if n not in ONLY_PREDICT]:
            ask(name, "train", TRAIN_BATCH, t)

    def their_prediction(t):
        for name in list(peers):
            for batch in INFER_BATCHES:
                if name in peers:
                    ask(name, "infer", batch, t)

    for t in threads:
        for both in ((our_training, their_training), (our_prediction, their_prediction)):
            for part in both if number % 2 == 0 else both[::-1]:
                part(t)


def start_peers(folder, env, quick, absent, others):
    """others: {name: command} of programs that answer requests as bench_peer.py says."""
    peers, versions = {}, {}
    start, rows = os.path.join(folder, "start.bin"), os.path.join(folder, "rows")
    scripts = {"PyTorch": (["peer_torch.py", start, rows] + ([] if quick else ["--compile"]), False),
               "ONNX Runtime": (["peer_onnxruntime.py", rows, os.path.join(folder, "forward.onnx"), os.path.join(folder, "optimised.onnx")], False),
               "PaddlePaddle": (["peer_paddle.py", start, rows], True),
               "TensorFlow": (["peer_tensorflow.py", start, rows], True)}
    commands = {name: ([sys.executable, os.path.join(HERE, arguments[0]), *arguments[1:]], per_threads) for name, (arguments, per_threads) in scripts.items()}
    commands |= {name: (shlex.split(command) + [start, rows], True) for name, command in others.items()}
    for name, (command, per_threads) in commands.items():
        if name in absent:
            continue
        peer = Peer(name, command, env, per_threads)
        try:
            versions[name] = peer.ask(do="about")
            peers[name] = peer
        except (RuntimeError, OSError) as e:
            absent[name] = str(e)
            peer.close()
    return peers, versions


def main():
    begun = time.monotonic()
    bin_folder, folder, out = sys.argv[1:4]
    quick = "--quick" in sys.argv
    absent, others = (dict(a.split("=", 1) for a, before in zip(sys.argv[5:], sys.argv[4:]) if before == flag) for flag in ("--absent", "--peer"))
    rounds, seconds, most = (3, 0.3, 100) if quick else (7, 2, 3600)
    rounds = next((int(a.split("=", 1)[1]) for a in sys.argv if a.startswith("--rounds=")), rounds)
    threads = [1, 2] if len(os.sched_getaffinity(0)) > 1 else [1]
    env = environment(threads[-1])
    ours = Flenrt(bin_folder, folder, env)
    peers, versions = start_peers(folder, env, quick, absent, others)
    result = {"machine": machine(threads), "quick": quick, "seconds": seconds, "versions": {"flenrt": {"version": ours.call("--version").strip()}} | versions,
              "absent": absent, "load": [], "results": []}
    try:
        result["checks"] = check(ours, peers, folder)
        result["unchecked"] = {name: peer.unchecked for name, peer in peers.items() if peer.unchecked}
        number = longest = 0
        while number < rounds and (number == 0 or time.monotonic() - begun + longest < most):
            start = time.monotonic()
            result["load"].append(round(os.getloadavg()[0], 2))
            measure_round(number, ours, peers, threads, seconds, result["results"], absent)
            longest = max(longest, time.monotonic() - start)
            number += 1
            print(f"round {number} of at most {rounds}: {time.monotonic() - start:.0f} s, load before it {result['load'][-1]}", flush=True)
        result["rounds"] = number
    finally:
        for peer in peers.values():
            peer.close()
    with open(out, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    return 0 if all(c["holds"] for c in result["checks"]) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except RuntimeError as e:
        sys.exit(f"bench: {e}")
