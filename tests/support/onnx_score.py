"""onnx_score.py draw ROWS FILE.csv | onnx_score.py score FILE.onnx FILE.csv PREDICTIONS.csv AUC

draw: rows of six slots a to f, ids 0 to 59, whose labels depend on them. score: the model on these rows in ONNX Runtime: each probability must be
that of PREDICTIONS.csv (of `flenrt predict`) to 1e-5, and the area under the curve AUC (of `flenrt infer`) to 6 digits. Slot s owns rows 60 s
to 60 s + 59 of the table. Exit 1 on a difference.
"""
import csv
import sys

import numpy as np
import onnxruntime

SLOTS, IDS = 6, 60


def draw(rows, path):
    random = np.random.default_rng(rows)
    ids = random.integers(0, IDS, (rows, SLOTS))
    hidden = random.normal(0, 1, (SLOTS, IDS))
    effect = np.stack([hidden[s][ids[:, s]] for s in range(SLOTS)], 1)
    logit = effect[:, :3].sum(1) + effect[:, 3] * effect[:, 5]
    labels = random.random(rows) < 1 / (1 + np.exp(-logit))
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["label", *"abcdef"])
        out.writerows([int(y), *row] for y, row in zip(labels, ids))


def auc(labels, scores):
    """The share of pairs in order; equal scores count half."""
    _, inverse, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[inverse]
    positive = labels.sum()
    return (ranks[labels].sum() - positive * (positive + 1) / 2) / (positive * (len(labels) - positive))


def score(model, path, predictions, wanted_auc):
    rows = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    wanted = np.loadtxt(predictions, delimiter=",", skiprows=1)[:, 1]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    got = session.run(["probability"], {"ids": rows[:, 1:] + IDS * np.arange(SLOTS)})[0][:, 0]
    furthest, area = np.abs(got - wanted).max(), auc(rows[:, 0] == 1, got)
    print(f"{model}: {len(got)} rows, probabilities differ by {furthest:.2g} at most, AUC {area:.6f} and {wanted_auc:.6f}")
    return len(got) != len(wanted) or furthest > 1e-5 or f"{area:.6f}" != f"{wanted_auc:.6f}" or not 0.6 < area < 1


if __name__ == "__main__":
    if sys.argv[1] == "draw":
        draw(int(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(score(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])))
