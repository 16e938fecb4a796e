"""onnx_runtime.py draw FILE.onnx ROWS DIR | onnx_runtime.py compare FILE.onnx IN OUT [TOLERANCE]

draw: DIR/NAME.npy with random rows of the smallest table for each input of FILE.onnx. compare: runs FILE.onnx in ONNX Runtime on IN/NAME.npy and
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


def draw(path, rows, folder):
    random = np.random.default_rng(rows)
    os.makedirs(folder, exist_ok=True)
    for value in session(path).get_inputs():
        shape = [rows if isinstance(d, str) else d for d in value.shape]
        assert value.type == "tensor(int64)", f"{value.name} is {value.type}"
        np.save(place(folder, value.name), random.integers(0, 40, shape, dtype=np.int64))


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
        draw(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(compare(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]) if len(sys.argv) > 5 else 1e-5))
