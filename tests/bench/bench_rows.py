"""bench_rows.py CONFIG.yaml ROWS FOLDER -- rows like a click log's, for the slots of a configuration.

Writes FOLDER/rows.txt (slot text, for flenrt), FOLDER/ids.npy (int64 [ROWS, slots]) and FOLDER/labels.npy (float32 [ROWS]): the same rows twice. In each
slot ids follow Zipf's law with exponent 1.1, hot ones scattered over the slot's range; labels are drawn from a planted logistic model, 17 % of them
positive. Everything follows from the seed 7.
"""
import os
import re
import sys

import numpy as np

SKEW, CLICKS, SEED = 1.1, 0.17, 7


def slots_of(config):
    """(name, first row, rows) of each slot, as the configuration lists them."""
    with open(config, encoding="utf-8") as file:
        found = re.findall(r"\{name: (\w+), first_id: (\d+), rows: (\d+)\}", file.read())
    if not found:
        sys.exit(f"{config}: no slots with first_id and rows")
    return [(name, int(first), int(rows)) for name, first, rows in found]


def draw(slots, n):
    random = np.random.default_rng(SEED)
    ids = np.empty((n, len(slots)), np.int64)
    logit = np.zeros(n)
    for k, (_, first, rows) in enumerate(slots):
        mass = np.cumsum(np.arange(1, rows + 1, dtype=np.float64) ** -SKEW)
        rank = np.minimum(np.searchsorted(mass, random.random(n) * mass[-1]), rows - 1)
        ids[:, k] = first + random.permutation(rows)[rank]
        logit += random.normal(0, 0.35, rows)[rank]
    low, high = -20.0, 20.0  # the intercept that gives the wanted share of clicks
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if np.mean(1 / (1 + np.exp(-logit - middle))) < CLICKS else (low, middle)
    labels = (random.random(n) < 1 / (1 + np.exp(-logit - low))).astype(np.float32)
    return ids, labels


def write_text(path, slots, ids, labels):
    line = "label:%d " + " ".join(f"{name}:%d" for name, _, _ in slots) + "\n"
    table = np.concatenate([labels[:, None].astype(np.int64), ids], 1)
    with open(path, "w", encoding="ascii") as file:
        file.writelines(line % tuple(row) for row in table.tolist())


def main():
    config, n, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    slots = slots_of(config)
    ids, labels = draw(slots, n)
    os.makedirs(folder, exist_ok=True)
    np.save(os.path.join(folder, "ids.npy"), ids)
    np.save(os.path.join(folder, "labels.npy"), labels)
    write_text(os.path.join(folder, "rows.txt"), slots, ids, labels)


if __name__ == "__main__":
    main()
