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

# models/bench/flen.yaml: slots of each field, and the dense variables in the order in which the peers hold them.
DROPOUT, RATE, EPSILON, FIELDS = 0.2, 0.04, 1e-10, [13, 3, 6]
DENSE = ["fwbi.r_fm", "fwbi.r_mf", "mlp.0.w", "mlp.0.b", "mlp.1.w", "mlp.1.b", "out.w", "out.b"]


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


class Peer:
    """What a peer with one thread count answers of training. `make_trainer(start, dropout)` gives an object with `forms` {name: ...}, `form`, the name of
    the one in use, and `step(rows)`, which returns the loss; `tensor` makes an array its own."""

    def __init__(self, start, folder, make_trainer, tensor):
        self.start = variables(start)
        self.ids, self.labels = np.load(folder + "/ids.npy"), np.load(folder + "/labels.npy")
        self.make_trainer, self.tensor = make_trainer, tensor
        self.trainer, self.known = None, {}

    def batch_ids(self, i, batch):
        at = i * batch % (len(self.ids) - batch + 1)
        return self.ids[at:at + batch]

    def rows(self, i, batch):
        at = i * batch % (len(self.labels) - batch + 1)
        return self.tensor(self.batch_ids(i, batch)), self.tensor(self.labels[at:at + batch])

    def steps(self, request):
        trainer, batch = self.make_trainer(self.start, 0.0), request["batch"]
        losses = [float(trainer.step(self.rows(i, batch))) for i in range(request["rows"] // batch)]
        return {"logloss": float(np.mean(losses))}

    def train(self, request):
        batch = request["batch"]
        if self.trainer is None:
            self.trainer = self.make_trainer(self.start, DROPOUT)

        def measure(form, seconds):
            self.trainer.form = form
            return measured(self.trainer.step, lambda i: self.rows(i, batch), batch, seconds, window=10)

        form = best_of({name: name for name in self.trainer.forms}, measure, self.known, ("train", batch))
        return measure(form, request["seconds"]) | {"form": form}

    def serve(self):
        serve({"about": self.about, "predict": self.predict, "steps": self.steps, "train": self.train, "infer": self.infer})


def serve(answers):
    """Answers requests on standard input; `answers` maps "do" to a function of the request."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = answers[request["do"]](request)
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)
