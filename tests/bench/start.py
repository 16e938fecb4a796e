"""start.py BIN WORK_FOLDER OUT_STEM [PYTHON_WITH_ONNXRUNTIME] -- how soon programs are there: compiling a configuration, generating code, starting, loading, memory.

The model is WORK_FOLDER/start.bin, models/bench/flen.yaml with weights: a table of 320 MB, in the page cache. A figure is the median of 21 processes, from fork to
exit, or of 21 loads in one process. ONNX Runtime loads WORK_FOLDER/forward.onnx, the same model; its figure is of later loads in one process, whose memory is
there already. Writes OUT_STEM.json and OUT_STEM.md.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

RUNS = 21
RESIDENT = """
def resident():
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return 1024 * int(next(line for line in file if line.startswith("VmRSS")).split()[1])
"""
LOAD_OURS = RESIDENT + """
import ctypes, json, sys, time
lib, model, ids, runs = ctypes.CDLL(sys.argv[1]), sys.argv[2].encode(), [int(i) for i in sys.argv[3].split(",")], int(sys.argv[4])
times, row, p = [], (ctypes.c_int64 * len(ids))(*ids), ctypes.c_float()
before, most = resident(), 0
for _ in range(runs):
    handle, error = ctypes.c_void_p(), ctypes.create_string_buffer(512)
    begun = time.perf_counter()
    status = lib.flenrt_open(model, None, ctypes.byref(handle), error, 512)
    if status == 0:
        status = lib.flenrt_predict_ids(handle, ctypes.c_size_t(1), row, ctypes.byref(p), None)
    times.append(time.perf_counter() - begun)
    if status:
        sys.exit(error.value.decode())
    most = max(most, resident() - before)
    lib.flenrt_close(handle)
print(json.dumps({"seconds": times[1:], "probability": p.value, "resident": most}))
"""
LOAD_ORT = RESIDENT + """
import json, sys, time
import numpy as np, onnxruntime
ids, times = np.array([[int(i) for i in sys.argv[2].split(",")]], np.int64), []
options = onnxruntime.SessionOptions()
options.log_severity_level, options.intra_op_num_threads = 3, 1
before, most = resident(), 0
for _ in range(int(sys.argv[3])):
    begun = time.perf_counter()
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    p = session.run(["probability"], {"ids": ids})[0]
    times.append(time.perf_counter() - begun)
    most = max(most, resident() - before)
    del session
print(json.dumps({"seconds": times[1:], "probability": float(p.reshape(-1)[0]), "version": onnxruntime.__version__, "resident": most}))
"""


def run(command, env):
    """Seconds from fork to exit."""
    null = os.open(os.devnull, os.O_RDWR)
    begun = time.perf_counter()
    pid = os.posix_spawn(command[0], command, env, file_actions=[(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)])
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - begun
    os.close(null)
    if status:
        raise RuntimeError(f"{' '.join(command)}: status {status}")
    return seconds


def median(command, env, before=None, n=RUNS):
    found = []
    for _ in range(n):
        if before:
            before()
        found.append(run(command, env))
    return statistics.median(found)


def loads(command, env):
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["it failed"])[-1]
    r = json.loads(done.stdout)
    return r | {"median": statistics.median(r["seconds"])}, None


def measure(bin_folder, work, ort_python):
    flenrt, flenc, model = os.path.join(bin_folder, "flenrt"), os.path.join(bin_folder, "flenc"), os.path.join(work, "start.bin")
    one, few, cache = os.path.join(work, "one.txt"), os.path.join(work, "few.txt"), os.path.join(work, "start-cache")
    env = dict(os.environ) | {"FLEN_CACHE_DIR": cache}
    with open(os.path.join(work, "rows", "rows.txt"), encoding="ascii") as file:
        lines = [next(file) for _ in range(512)]
    for path, text in ((one, lines[:1]), (few, lines)):
        with open(path, "w", encoding="ascii") as file:
            file.writelines(text)
    ids = ",".join(token.split(":")[1] for token in lines[0].split()[1:])

    def forget():
        shutil.rmtree(cache, ignore_errors=True)

    rows = {}
    predict = [flenrt, "predict", model, "--data", one, "--threads", "1", "--fold-tables=off"]
    rows["compile a configuration to model.bin"] = median([flenc, "compile", "models/bench/flen.yaml", "--quiet", "-o", os.path.join(work, "compiled.bin")], env), None
    cold = median(predict, env, forget, 7)
    warm = median(predict, env)
    rows["predict one row, code cached, fork to exit"] = warm, None
    rows["generate the code of predict"] = cold - warm, None
    train = [flenrt, "train", os.path.join(work, "small.bin"), "--data", os.path.join(work, "small.txt"), "--threads", "1", "--quiet", "-o", os.path.join(work, "end.bin")]
    small_model(flenc, work, env)
    cold, warm = median(train, env, forget, 7), median(train, env, None, 7)
    rows["generate the code of a training step"] = cold - warm, None
    run(predict, env)
    ours, why = loads([sys.executable, "-c", LOAD_OURS, os.path.join(bin_folder, "libflenrt.so"), model, ids, str(RUNS)], env)
    if not ours:
        raise RuntimeError(f"libflenrt: {why}")
    rows["load to first prediction, libflenrt"] = ours["median"], ours["resident"]
    keep = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33), "MALLOC_TOP_PAD_": str(1 << 28), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    ort, absent = loads([ort_python, "-c", LOAD_ORT, os.path.join(work, "forward.onnx"), ids, "7"], env | keep) if ort_python else (None, "it was left out")
    if ort and abs(ort["probability"] - ours["probability"]) > 1e-5:
        raise RuntimeError(f"probabilities differ: {ours['probability']} here, {ort['probability']} in ONNX Runtime")
    if ort:
        rows[f"load to first prediction, ONNX Runtime {ort['version']}, later loads"] = ort["median"], ort["resident"]
    forget()
    for name in ("compiled.bin", "small.bin", "small.txt", "end.bin", "one.txt", "few.txt"):
        if os.path.exists(os.path.join(work, name)):
            os.unlink(os.path.join(work, name))
    return rows, ort["median"] / ours["median"] if ort else None, absent


def small_model(flenc, work, env):
    """The same network with few rows: the code is of the same size, and copying a table and saving it do not hide the time for it."""
    with open("models/bench/flen.yaml", encoding="utf-8") as file:
        text = file.read()
    first, lines, tokens = 0, [], []
    for line in text.splitlines():
        if "first_id:" in line:
            name = line.split("name: ")[1].split(",")[0]
            line = f"    - {{name: {name}, first_id: {first}, rows: 8}}"
            tokens.append(f"{name}:{first}")
            first += 8
        lines.append(line)
    with open(os.path.join(work, "small.yaml"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.path.join(work, "small.txt"), "w", encoding="ascii") as file:
        file.writelines("label:" + str(i % 2) + " " + " ".join(tokens) + "\n" for i in range(512))
    run([flenc, "compile", os.path.join(work, "small.yaml"), "--quiet", "-o", os.path.join(work, "small.bin")], env)
    os.unlink(os.path.join(work, "small.yaml"))


def main():
    bin_folder, work, stem = sys.argv[1:4]
    rows, ratio, absent = measure(os.path.abspath(bin_folder), os.path.abspath(work), sys.argv[4] if len(sys.argv) > 4 else None)
    lines = ["| | median | resident memory that it adds |", "|---|---|---|"]
    lines += [f"| {name} | {1e3 * seconds:.1f} ms | {f'{memory / 1e6:.1f} MB' if memory else ''} |" for name, (seconds, memory) in rows.items()]
    lines += ["", f"* Loading is {ratio:.0f} times as fast as ONNX Runtime's." if ratio else f"* ONNX Runtime is absent: {absent}.",
              f"* Load average: {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} CPUs."]
    with open(stem + ".md", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    with open(stem + ".json", "w", encoding="utf-8") as file:
        json.dump({"rows": [{"what": n, "seconds": s, "resident_bytes": m} for n, (s, m) in rows.items()], "ratio_to_onnxruntime": ratio}, file, indent=1)


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as e:
        sys.exit(f"start: {e}")
