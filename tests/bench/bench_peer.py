"""bench_peer.py -- what the peers share: weights of a model.bin, timing, and the conversation with rounds.py.

A peer is a process that reads a JSON object a line and answers each with one, {"error": text} if it failed. "do" says what:
  {"do": "about"}                                             versions and settings
  {"do": "predict", "rows": N, "out": FILE.npy}               logits of the first N rows; {"unchecked": reason} from who has other weights
  {"do": "steps", "rows": N, "batch": B}                      trains from the start on the first N rows, no dropout; {"logloss": mean}
  {"do": "train"|"infer", "batch": B, "threads": T, "seconds": S}   measures; {"p50_us", "p99_us", "samples_per_second", "runs", "form"}
"""
import json
import mmap
import sys
import time
import zipfile

import numpy as np

TRIAL = 0.15  # seconds

def variables(path):
    """Name to array of all variables of a model.bin; stored uncompressed, so they are views of the mapped file."""
    with zipfile.ZipFile(path) as archive:
        index = json.loads(archive.read("index.json"))
        entry = archive.getinfo("weights.bin")
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    # A local header: 30 bytes, of which the last two pairs are the lengths of the name and of the extra field that follow.
    name, extra = np.frombuffer(data, "<u2", 2, entry.header_offset + 26)
    start = entry.header_offset + 30 + int(name) + int(extra)
    found = {}
    for v in index["variables"]:
        if v["type"] == "float":
            found[v["name"]] = np.frombuffer(data, "<f4", int(np.prod(v["dims"])), start + v["offset"]).reshape(v["dims"])
    return found


def measured(run, prepare, batch, seconds, window=1):
    """Times run(prepare(i)), prepare outside, as `flenrt bench` does: warms up for a third of the time, then single runs.

    Samples/s are the batch by the median time, of `window` runs together if window is more than 1. At least two windows, unless they take more than four
    times the seconds, then one.
    """
    i = 0
    begun = time.perf_counter()
    while time.perf_counter() < begun + seconds / 3 or (i < 5 and time.perf_counter() < begun + 2 * seconds):
        run(prepare(i))
        i += 1
    times = []
    begun = time.perf_counter()
    while len(times) < window or time.perf_counter() < begun + (seconds if len(times) >= 2 * window else 4 * seconds):
        given = prepare(i)
        start = time.perf_counter()
        run(given)
        times.append(time.perf_counter() - start)
        i += 1
    times = np.array(times)
    whole = len(times) // window * window
    median = np.median(times[:whole].reshape(-1, window).mean(1))
    return {"p50_us": 1e6 * float(np.median(times)), "p99_us": 1e6 * float(np.percentile(times, 99)), "samples_per_second": batch / float(median), "runs": len(times)}


def best_of(forms, measure, known, key):
    """Measures with the fastest of the forms {name: function}: a short trial of each at the first call for a key."""
    if key not in known:
        trials = {}
        for name, form in forms.items():
            try:
                trials[name] = measure(form, TRIAL)["samples_per_second"]
            except Exception as e:  # a form that this version cannot do is no candidate
                print(f"{key}: {name}: {type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", file=sys.stderr)
        known[key] = max(trials, key=trials.get)
    return known[key]


def serve(answers):
    """Answers requests on standard input; `answers` maps "do" to a function of the request."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = answers[request["do"]](request)
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)
