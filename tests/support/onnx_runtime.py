"""onnx_runtime.py draw FILE.onnx ROWS DIR [IDS] | onnx_runtime.py compare FILE.onnx IN OUT [TOLERANCE]

draw: DIR/NAME.npy for each input of FILE.onnx: integers from 0 to IDS (40), rows of the smallest table; reals from -1 to 1, variances from 0.1; offsets of
bags, "...offsets", of 3 values each in the mean. compare: runs FILE.onnx in ONNX Runtime on IN/NAME.npy and
compares each output with OUT/NAME.npy (of `flenrt eval`); a line for each difference. Exit 1 on a difference or if nothing was compared.
"""
import os
import sys

import numpy as np
import onnxruntime


def place(folder, name):
    return os.path.join(folder, name.replace("/", "_") + ".npy")


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def draw(path, rows, folder, ids):
    random = np.random.default_rng(rows)
    os.makedirs(folder, exist_ok=True)
    for value in session(path).get_inputs():
        extents = {"count": 3 * rows, "offset": rows + 1}
        shape = [extents.get(d, rows) if isinstance(d, str) else d for d in value.shape]
        if value.name.endswith("offsets"):
            inner = np.sort(random.integers(0, 3 * rows + 1, rows - 1))
            data = np.concatenate([[0], inner, [3 * rows]]).astype(np.int64)
        elif value.type == "tensor(float)":
            data = random.uniform(0.1 if value.name.endswith("var") else -1, 1, shape).astype(np.float32)
        else:
            data = random.integers(0, ids, shape, dtype={"tensor(int64)": np.int64, "tensor(int32)": np.int32}[value.type])
        np.save(place(folder, value.name), data)


def compare(path, given, wanted, tolerance):
    run = session(path)
    outputs = [value.name for value in run.get_outputs()]
    results = run.run(outputs, {value.name: np.load(place(given, value.name)) for value in run.get_inputs()})
    failed = not outputs
    for name, got in zip(outputs, results):
        want = np.load(place(wanted, name))
        if got.shape != want.shape or not np.allclose(got, want, rtol=tolerance, atol=tolerance):
            print(f"{path}: {name}: shapes {got.shape} and {want.shape}, difference {np.abs(got - want).max() if got.shape == want.shape else '?'}")
            failed = True
    return failed


if __name__ == "__main__":
    if sys.argv[1] == "draw":
        draw(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]) if len(sys.argv) > 5 else 40)
    else:
        sys.exit(compare(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]) if len(sys.argv) > 5 else 1e-5))
