"""make_training_models.py FOLDER -- ONNX files with training information in the standard's own words: Gradient and Adagrad, Adam or Momentum of ai.onnx.preview.training.

y = sigmoid(x W + B), loss = mean of (y - label)^2. FOLDER/NAME.onnx; FOLDER/rows.csv (x.0, x.1, x.2, label); FOLDER/expected.txt, for each file the mean loss of three
epochs of steps of 4 rows, and W afterwards, computed by numpy from the formulas of the standard's document. The files in tests/conformance/training_models were made by it (onnx 1.23). first_values has a
graph of first values too, unknown an operator that nobody knows. Needs: pip install onnx numpy
"""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PREVIEW = "ai.onnx.preview.training"
RATE, EPSILON = np.float32(0.1), np.float32(1e-5)
START = np.array([[0.1], [0.2], [-0.3]], np.float32)


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def model(kind, first_values=False, unknown=False):
    node, info = helper.make_node, helper.make_tensor_value_info
    forward = [node("MatMul", ["x", "W"], ["p"]), node("Add", ["p", "B"], ["z"]), node("Sigmoid", ["z"], ["y"])]
    weights = [constant("W", START), constant("B", np.zeros(1, np.float32))]
    x = info("x", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(forward, "net", [x], [info("y", TensorProto.FLOAT, ["batch", 1])], weights)
    state = [constant("R", RATE), constant("T", np.int64(0)), constant("one", np.int64(1)), constant("HW", np.zeros((3, 1), np.float32)), constant("HB", np.zeros(1, np.float32))]
    bindings = [("W", "W_next"), ("B", "B_next"), ("T", "T_next"), ("HW", "HW_next"), ("HB", "HB_next")]
    step = forward + [
        node("Sub", ["y", "label"], ["d"]),
        node("Mul", ["d", "d"], ["s"]),
        node("ReduceMean", ["s"], ["loss"], keepdims=0),
        node("Gradient", ["W", "B", "x", "label"], ["dW", "dB"], domain=PREVIEW, xs=["W", "B"], zs=["x", "label"], y="loss"),
        node("Add", ["T", "one"], ["T_next"]),
    ]
    operands, results = ["R", "T", "W", "B", "dW", "dB", "HW", "HB"], ["W_next", "B_next", "HW_next", "HB_next"]
    if kind == "Adam":
        state += [constant("VW", np.zeros((3, 1), np.float32)), constant("VB", np.zeros(1, np.float32))]
        bindings += [("VW", "VW_next"), ("VB", "VB_next")]
        operands, results = operands + ["VW", "VB"], results + ["VW_next", "VB_next"]
    attributes = {"Adagrad": {"epsilon": float(EPSILON)}, "Adam": {"epsilon": float(EPSILON)}, "Momentum": {"alpha": 0.9, "beta": 1.0, "mode": "standard", "norm_coefficient": 0.0}}[kind]
    step.append(node(kind, operands, results, domain=PREVIEW, **attributes))
    if unknown:
        step.append(node("Nonsense", ["T_next"], ["q"], domain="x.y"))
    algorithm = helper.make_graph(step, "step", [x, info("label", TensorProto.FLOAT, ["batch", 1])], [info("loss", TensorProto.FLOAT, [])], state)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(PREVIEW, 1)], ir_version=8)
    training = made.training_info.add()
    training.algorithm.CopyFrom(algorithm)
    for key, value in bindings:
        binding = training.update_binding.add()
        binding.key, binding.value = key, value
    if first_values:
        training.initialization.CopyFrom(helper.make_graph([node("Identity", ["W"], ["W_0"])], "first", [], [info("W_0", TensorProto.FLOAT, [3, 1])]))
    return made


def updated(kind, w, h, v, g, t):
    """The standard's formulas; beta of momentum is 1 in every step here."""
    if kind == "Adagrad":
        h = h + g * g
        return w - RATE * g / (np.sqrt(h) + EPSILON), h, v
    if kind == "Momentum":
        h = 0.9 * h + g
        return w - RATE * h, h, v
    h, v = 0.9 * h + 0.1 * g, 0.999 * v + 0.001 * g * g
    rate = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) if t > 0 else RATE
    return w - rate * h / (np.sqrt(v) + EPSILON), h, v


def train(kind, x, label):
    w, b = START.astype(np.float64), np.zeros(1)
    state = [[np.zeros_like(w), np.zeros_like(w)], [np.zeros_like(b), np.zeros_like(b)]]
    losses, t = [], 0
    for _ in range(3):
        steps = []
        for at in range(0, len(x), 4):
            xs, ys = x[at : at + 4].astype(np.float64), label[at : at + 4]
            y = 1 / (1 + np.exp(-(xs @ w + b)))
            steps.append(np.mean((y - ys) ** 2))
            dz = 2 * (y - ys) * y * (1 - y) / len(xs)
            w, *state[0] = updated(kind, w, *state[0], xs.T @ dz, t)
            b, *state[1] = updated(kind, b, *state[1], dz.sum(axis=0), t)
            t += 1
        losses.append(np.mean(steps))
    return losses, w


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(1)
    x = random.normal(size=(10, 3)).round(3).astype(np.float32)
    label = (x.sum(axis=1, keepdims=True) > 0).astype(np.float64)
    np.savetxt(os.path.join(folder, "rows.csv"), np.hstack([x, label]), fmt="%.3f", delimiter=",", header="x.0,x.1,x.2,label", comments="")
    with open(os.path.join(folder, "expected.txt"), "w") as f:
        for kind in ("Adagrad", "Adam", "Momentum"):
            onnx.save(model(kind), os.path.join(folder, kind.lower() + ".onnx"))
            losses, w = train(kind, x, label)
            print(kind.lower(), *(f"{loss:.5f}" for loss in losses), *(f"{v:.5f}" for v in w[:, 0]), file=f)
    onnx.save(model("Adam", first_values=True), os.path.join(folder, "first_values.onnx"))
    onnx.save(model("Adam", unknown=True), os.path.join(folder, "unknown.onnx"))


if __name__ == "__main__":
    main()
