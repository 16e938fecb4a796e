"""make_models.py FOLDER -- small CTR and tabular models as other tools export them, with inputs and what ONNX Runtime answers.

Each becomes FOLDER/NAME/model.onnx and test_data_set_<N>/, the form of ONNX's own tests; `flen-onnx-tests FOLDER` runs them. The files in
tests/conformance/models were made by it (onnx 1.23, ONNX Runtime 1.32). Needs: pip install onnx onnxruntime numpy
"""

import os
import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

BATCHES = (1, 33)


class Model:
    """A graph that is built node by node; `n` is the batch."""

    def __init__(self, name, seed):
        self.name, self.nodes, self.weights, self.inputs, self.makers = name, [], [], [], {}
        self.random, self.count = np.random.default_rng(seed), 0

    def input(self, name, shape, ids=None):
        kind = TensorProto.FLOAT if ids is None else TensorProto.INT64
        self.inputs.append(helper.make_tensor_value_info(name, kind, ["n"] + shape))
        r = self.random
        self.makers[name] = (
            (lambda n: r.normal(size=[n] + shape).astype(np.float32))
            if ids is None
            else (lambda n: r.integers(0, ids, size=[n] + shape).astype(np.int64))
        )
        return name

    def weight(self, *shape, scale=0.4):
        return self.constant((self.random.normal(size=shape) * scale).astype(np.float32))

    def constant(self, array):
        self.count += 1
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"w{self.count}"))
        return f"w{self.count}"

    def ints(self, *values):
        return self.constant(np.array(values, dtype=np.int64))

    def __getattr__(self, op):
        """self.Relu(x), self.Split(x, outputs=2, axis=1): a node, its output or outputs."""

        def make(*inputs, outputs=1, **attributes):
            self.count += 1
            names = [f"v{self.count}"] if outputs == 1 else [f"v{self.count}_{k}" for k in range(outputs)]
            self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
            return names[0] if outputs == 1 else names

        return make

    def dense(self, x, rows, columns):
        return self.Add(self.MatMul(x, self.weight(rows, columns)), self.weight(columns))

    def save(self, folder, output, opset=17):
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, self.name, self.inputs, [out], self.weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="make_models.py")
        proto.ir_version = 8
        save(folder, self.name, proto, self.makers)


def save(folder, name, proto, makers):
    here = os.path.join(folder, name)
    os.makedirs(here, exist_ok=True)
    with open(os.path.join(here, "model.onnx"), "wb") as f:
        f.write(proto.SerializeToString())
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for k, n in enumerate(BATCHES):
        data = os.path.join(here, f"test_data_set_{k}")
        os.makedirs(data, exist_ok=True)
        values = {name: make(n) for name, make in makers.items()}
        for i, x in enumerate(session.get_inputs()):
            write(os.path.join(data, f"input_{i}.pb"), values[x.name], x.name)
        for i, (x, y) in enumerate(zip(session.get_outputs(), session.run(None, values))):
            write(os.path.join(data, f"output_{i}.pb"), y, x.name)


def write(path, array, name):
    with open(path, "wb") as f:
        f.write(numpy_helper.from_array(np.asarray(array), name).SerializeToString())


def activations(folder):
    rows = {
        "relu": lambda m, x: m.Relu(x),
        "leaky_relu": lambda m, x: m.LeakyRelu(x, alpha=0.1),
        "elu": lambda m, x: m.Elu(x),
        "selu": lambda m, x: m.Selu(x),
        "celu": lambda m, x: m.Celu(x, alpha=0.7),
        "sigmoid": lambda m, x: m.Sigmoid(x),
        "tanh": lambda m, x: m.Tanh(x),
        "softplus": lambda m, x: m.Softplus(x),
        "softsign": lambda m, x: m.Softsign(x),
        "hard_sigmoid": lambda m, x: m.HardSigmoid(x),
        "hard_swish": lambda m, x: m.HardSwish(x),
        "prelu": lambda m, x: m.PRelu(x, m.weight(16)),
        "gelu": lambda m, x: m.Mul(m.Mul(x, half(m)), m.Add(m.Erf(m.Div(x, m.constant(np.float32(2**0.5)))), one(m))),
        "clip": lambda m, x: m.Clip(x, m.constant(np.float32(-0.5)), m.constant(np.float32(1))),
    }
    for k, (name, activate) in enumerate(rows.items()):
        m = Model(f"mlp_{name}", k)
        x = m.input("x", [12])
        x = activate(m, m.dense(x, 12, 16))
        x = activate(m, m.dense(x, 16, 16))
        m.save(folder, m.Sigmoid(m.Gemm(x, m.weight(16, 1), m.weight(1))))


def half(m):
    return m.constant(np.float32(0.5))


def one(m):
    return m.constant(np.float32(1))


def embeddings(m, slots, width, rows=30):
    """One table, ids [n, slots] with an offset per slot: [n, slots, width]."""
    ids = m.Add(m.input("ids", [slots], ids=rows), m.constant(np.arange(slots, dtype=np.int64) * rows))
    return ids, m.Gather(m.weight(slots * rows, width), ids)


def second_order(m, e):
    """Half of (square of sum - sum of squares), summed over the width."""
    square = m.Mul(m.ReduceSum(e, m.ints(1), keepdims=0), m.ReduceSum(e, m.ints(1), keepdims=0))
    squares = m.ReduceSum(m.Mul(e, e), m.ints(1), keepdims=0)
    return m.Mul(m.ReduceSum(m.Sub(square, squares), m.ints(1), keepdims=1), half(m))


def linear(m, ids, slots, rows=30):
    return m.ReduceSum(m.Gather(m.weight(slots * rows, 1), ids), m.ints(1), keepdims=0)


def factorisation(folder):
    m = Model("fm", 20)
    ids, e = embeddings(m, 5, 8)
    m.save(folder, m.Sigmoid(m.Add(linear(m, ids, 5), second_order(m, e))))

    m = Model("deepfm", 21)
    ids, e = embeddings(m, 6, 8)
    deep = m.Relu(m.dense(m.Flatten(e), 48, 16))
    deep = m.dense(m.Relu(m.dense(deep, 16, 16)), 16, 1)
    m.save(folder, m.Sigmoid(m.Sum(linear(m, ids, 6), second_order(m, e), deep)))

    m = Model("wide_and_deep", 22)
    ids, e = embeddings(m, 4, 4)
    dense = m.input("dense", [3])
    deep = m.Relu(m.dense(m.Concat(m.Flatten(e), dense, axis=1), 19, 10))
    m.save(folder, m.Sigmoid(m.Add(linear(m, ids, 4), m.dense(deep, 10, 1))))

    m = Model("dcn", 23)
    _, e = embeddings(m, 4, 6)
    x0 = x = m.Flatten(e)
    for _ in range(3):
        x = m.Add(m.Add(m.Mul(x0, m.MatMul(x, m.weight(24, 1, scale=0.2))), m.weight(24)), x)
    m.save(folder, m.Sigmoid(m.dense(x, 24, 1)))


def crossing(folder):
    m = Model("dlrm", 30)
    _, e = embeddings(m, 3, 8)
    bottom = m.Relu(m.dense(m.input("dense", [5]), 5, 8))
    all_ = m.Concat(m.Reshape(bottom, m.ints(-1, 1, 8)), e, axis=1)
    dots = m.MatMul(all_, m.Transpose(all_, perm=[0, 2, 1]))
    pairs = m.Gather(m.Reshape(dots, m.ints(-1, 16)), m.ints(4, 8, 9, 12, 13, 14), axis=1)
    top = m.Relu(m.dense(m.Concat(bottom, pairs, axis=1), 14, 12))
    m.save(folder, m.Sigmoid(m.dense(top, 12, 1)))

    m = Model("autoint", 31)
    _, e = embeddings(m, 5, 8)
    heads = []
    for _ in range(2):
        q, k, v = (m.MatMul(e, m.weight(8, 4)) for _ in range(3))
        score = m.Softmax(m.MatMul(q, m.Transpose(k, perm=[0, 2, 1])), axis=-1)
        heads.append(m.MatMul(score, v))
    x = m.Relu(m.Add(m.Concat(*heads, axis=2), m.MatMul(e, m.weight(8, 8))))
    m.save(folder, m.Sigmoid(m.dense(m.Reshape(x, m.ints(-1, 40)), 40, 1)))

    m = Model("xdeepfm", 32)
    _, e = embeddings(m, 4, 6)
    pairs = m.Mul(m.Unsqueeze(e, m.ints(1)), m.Unsqueeze(e, m.ints(2)))
    maps = m.Relu(m.MatMul(m.Transpose(m.Reshape(pairs, m.ints(-1, 16, 6)), perm=[0, 2, 1]), m.weight(16, 5)))
    m.save(folder, m.Sigmoid(m.dense(m.ReduceSum(maps, m.ints(1), keepdims=0), 5, 1)))

    m = Model("afm", 33)
    _, e = embeddings(m, 3, 4)
    a, b, c = m.Split(e, outputs=3, axis=1)
    pairs = m.Concat(m.Mul(a, b), m.Mul(a, c), m.Mul(b, c), axis=1)
    score = m.Softmax(m.MatMul(m.Relu(m.dense(pairs, 4, 6)), m.weight(6, 1)), axis=1)
    m.save(folder, m.Sigmoid(m.dense(m.ReduceSum(m.Mul(score, pairs), m.ints(1), keepdims=0), 4, 1)))


    m = Model("einsum_attention", 34)
    _, e = embeddings(m, 4, 6)
    score = m.Softmax(m.Einsum(e, e, equation="nid,njd->nij"), axis=-1)
    x = m.Einsum(score, e, m.weight(6, 3), equation="nij,njd,dh->nih")
    m.save(folder, m.Sigmoid(m.dense(m.Flatten(x), 12, 1)))


def normalised(folder):
    m = Model("batch_norm", 40)
    x = m.dense(m.input("x", [10]), 10, 12)
    variance = m.constant(np.abs(m.random.normal(size=12)).astype(np.float32) + 0.5)
    x = m.Relu(m.BatchNormalization(x, m.weight(12), m.weight(12), m.weight(12), variance, epsilon=1e-3))
    m.save(folder, m.Sigmoid(m.dense(x, 12, 1)))

    m = Model("layer_norm", 41)
    x = m.dense(m.input("x", [10]), 10, 12)
    x = m.Relu(m.LayerNormalization(x, m.weight(12), m.weight(12), axis=-1))
    m.save(folder, m.Sigmoid(m.dense(x, 12, 1)))

    m = Model("softmax_mixture", 42)
    x = m.input("x", [10])
    gate = m.Softmax(m.dense(x, 10, 3), axis=1)
    experts = m.Reshape(m.Relu(m.dense(x, 10, 12)), m.ints(-1, 3, 4))
    mixed = m.ReduceSum(m.Mul(m.Unsqueeze(gate, m.ints(2)), experts), m.ints(1), keepdims=0)
    m.save(folder, m.Sigmoid(m.dense(mixed, 4, 1)))

    m = Model("masked_bag", 43)
    ids = m.input("ids", [6], ids=20)
    mask = m.Cast(m.Not(m.Equal(ids, m.constant(np.int64(0)))), to=TensorProto.FLOAT)
    rows = m.Mul(m.Gather(m.weight(20, 5), ids), m.Unsqueeze(mask, m.ints(2)))
    count = m.Max(m.ReduceSum(mask, m.ints(1), keepdims=1), one(m))
    mean = m.Div(m.ReduceSum(rows, m.ints(1), keepdims=0), count)
    m.save(folder, m.Sigmoid(m.dense(mean, 5, 1)))


if __name__ == "__main__":
    for make in (activations, factorisation, crossing, normalised):
        make(sys.argv[1])
