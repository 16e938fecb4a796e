"""make_torch_models.py FOLDER -- CTR models written with torch.nn as users of PyTorch, DeepCTR-Torch and FuxiCTR write theirs, exported by torch.onnx.export.

Each becomes FOLDER/NAME/model.onnx and test_data_set_<N>/ as in make_models.py, with what ONNX Runtime answers; names ending in _ts went through the
TorchScript exporter, _dynamo through the newer one. The files in tests/conformance/torch_models were made by it (torch 2.15, onnx 1.23, onnxscript 0.7, ONNX
Runtime 1.32). Needs: pip install torch onnx onnxscript onnxruntime numpy
"""

import io
import os
import sys
import warnings

import numpy as np
import onnx
import torch
from torch import nn

from make_models import save

ROWS = (40, 7, 23, 11, 5, 31)  # of the fields' tables


# ------------------------------------------------------------------------------------------------ parts of the models


def mlp(sizes, activation=nn.ReLU, norm=None, last=None):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b)] + ([norm(b)] if norm else []) + [activation()]
    return nn.Sequential(*layers, *([nn.Linear(sizes[-1], last)] if last else []))


class SeparateEmbeddings(nn.Module):
    """A table for each field, as DeepCTR-Torch and FuxiCTR keep them; forward gives a list of [B, width]."""

    def __init__(self, width, rows=ROWS):
        super().__init__()
        self.tables = nn.ModuleDict({f"C{k}": nn.Embedding(n, width) for k, n in enumerate(rows)})

    def forward(self, x):
        return [table(x[:, k]) for k, table in enumerate(self.tables.values())]


class OffsetEmbedding(nn.Module):
    """One table for all fields with an offset for each, as many torch models do."""

    def __init__(self, width, rows=ROWS):
        super().__init__()
        self.table = nn.Embedding(sum(rows), width)
        self.register_buffer("offsets", torch.tensor(np.cumsum([0] + list(rows[:-1]))).unsqueeze(0))

    def forward(self, x):
        return self.table(x + self.offsets)


# ------------------------------------------------------------------------------------------------------------ models


class DeepFM(nn.Module):
    """One table with offsets; second order as half of (square of the sum - sum of the squares)."""

    def __init__(self, width=8, hidden=(32, 16), rows=ROWS):
        super().__init__()
        self.embedding, self.linear = OffsetEmbedding(width, rows), OffsetEmbedding(1, rows)
        self.bias = nn.Parameter(torch.zeros(1))
        self.deep = mlp([len(rows) * width, *hidden], last=1)

    def forward(self, x):
        e = self.embedding(x)
        second = 0.5 * (e.sum(dim=1) ** 2 - (e**2).sum(dim=1)).sum(dim=1, keepdim=True)
        first = self.linear(x).sum(dim=1) + self.bias
        return torch.sigmoid(first + second + self.deep(e.view(e.size(0), -1))).squeeze(1)


class DeepFMSeparate(nn.Module):
    """As DeepCTR-Torch: [B, 1, width] of each field, joined; dense features beside; keepdim everywhere."""

    def __init__(self, width=8, hidden=(32, 16), rows=ROWS, dense=3):
        super().__init__()
        self.rows = rows
        self.embedding, self.linear = SeparateEmbeddings(width, rows), SeparateEmbeddings(1, rows)
        self.linear_dense = nn.Parameter(torch.randn(dense, 1) * 0.1)
        self.deep = mlp([len(rows) * width + dense, *hidden])
        self.out, self.bias = nn.Linear(hidden[-1], 1, bias=False), nn.Parameter(torch.zeros(1))

    def forward(self, x):
        fields = len(self.rows)
        ids = x[:, :fields].long()
        dense = x[:, fields:]
        each = [e.unsqueeze(1) for e in self.embedding(ids)]
        fm = torch.cat(each, dim=1)
        square_of_sum = torch.pow(torch.sum(fm, dim=1, keepdim=True), 2)
        sum_of_square = torch.sum(fm * fm, dim=1, keepdim=True)
        logit = 0.5 * torch.sum(square_of_sum - sum_of_square, dim=2, keepdim=False)
        first = torch.cat([w.unsqueeze(1) for w in self.linear(ids)], dim=-1)
        logit = logit + torch.sum(first, dim=-1, keepdim=False) + dense.matmul(self.linear_dense)
        deep = torch.cat([torch.flatten(torch.cat(each, dim=-1), start_dim=1), dense], dim=-1)
        return torch.sigmoid(logit + self.out(self.deep(deep)) + self.bias)


class DeepFMStacked(nn.Module):
    """As FuxiCTR: a dictionary of tables, torch.stack, batch norm in the MLP."""

    def __init__(self, width=8, hidden=(32, 16), rows=ROWS, norm=nn.BatchNorm1d):
        super().__init__()
        self.embedding, self.linear = SeparateEmbeddings(width, rows), SeparateEmbeddings(1, rows)
        self.bias = nn.Parameter(torch.zeros(1))
        self.deep = mlp([len(rows) * width, *hidden], norm=norm, last=1)

    def forward(self, x):
        e = torch.stack(self.embedding(x), dim=1)
        first = torch.stack(self.linear(x), dim=1).sum(dim=1) + self.bias
        second = ((torch.sum(e, dim=1) ** 2 - torch.sum(e**2, dim=1)) * 0.5).sum(dim=-1, keepdim=True)
        return (first + second + self.deep(e.flatten(start_dim=1))).sigmoid()


class DLRM(nn.Module):
    """Dense features through a bottom MLP, dot products of all pairs with it and among the look-ups, a top MLP."""

    def __init__(self, width=8, dense=5, bottom=(16,), top=(24, 12), rows=ROWS, mask="indices"):
        super().__init__()
        self.embedding = SeparateEmbeddings(width, rows)
        self.bottom = mlp([dense, *bottom, width])
        self.mask, n = mask, len(rows) + 1
        i, j = zip(*[(a, b) for a in range(n) for b in range(a)])
        self.register_buffer("i", torch.tensor(i), persistent=False)
        self.register_buffer("j", torch.tensor(j), persistent=False)
        self.top = mlp([width + n * (n - 1) // 2, *top], last=1)

    def forward(self, dense, ids):
        x = self.bottom(dense)
        ly = self.embedding(ids)
        if self.mask == "indices":  # the reference implementation
            t = torch.cat([x] + ly, dim=1).view((x.size(0), -1, x.size(1)))
            z = torch.bmm(t, torch.transpose(t, 1, 2))
            z = z[:, self.i, self.j]
        elif self.mask == "flat":
            t = torch.stack([x] + ly, dim=1)
            z = torch.matmul(t, t.transpose(1, 2)).flatten(1)
            z = z.index_select(1, self.i * t.size(1) + self.j)
        else:
            t = torch.stack([x] + ly, dim=1)
            z = torch.einsum("bik,bjk->bij", t, t)
            z = z.reshape(x.size(0), -1)[:, self.i * t.size(1) + self.j]
        return torch.sigmoid(self.top(torch.cat([x, z], dim=1)))


class FLEN(nn.Module):
    """Field-wise bi-interaction: fields are groups of slots, each pooled; products of pairs and the groups' own, weighted."""

    def __init__(self, width=8, hidden=(24, 12), fields=((0, 1), (2,), (3, 4, 5)), rows=ROWS, separate=False):
        super().__init__()
        self.separate, self.fields = separate, fields
        make = SeparateEmbeddings if separate else OffsetEmbedding
        self.embedding, self.linear = make(width, rows), make(1, rows)
        m = len(fields)
        self.r_mf, self.r_fm = nn.Parameter(torch.rand(m * (m - 1) // 2) + 0.1), nn.Parameter(torch.rand(m) + 0.1)
        self.deep = mlp([len(rows) * width, *hidden])
        self.out = nn.Linear(1 + width + hidden[-1], 1)

    def forward(self, x):
        e, w = self.embedding(x), self.linear(x)
        if self.separate:
            e, w = torch.stack(e, dim=1), torch.stack(w, dim=1)
        groups = [e[:, f[0] : f[-1] + 1] for f in self.fields]
        f = [g.sum(dim=1) for g in groups]
        q = [(g * g).sum(dim=1) for g in groups]
        pair, h = 0, 0
        for a in range(len(f)):
            for b in range(a + 1, len(f)):
                h = h + self.r_mf[pair] * (f[a] * f[b])
                pair += 1
        for a in range(len(f)):
            h = h + self.r_fm[a] * (f[a] * f[a] - q[a])
        y = torch.cat([w.sum(dim=1), h, self.deep(e.flatten(1))], dim=1)
        return torch.sigmoid(self.out(y))


class WideAndDeep(nn.Module):
    """Crosses and dense features in the wide part; GELU, dropout and layer norm in the deep one."""

    def __init__(self, width=6, rows=ROWS, dense=4):
        super().__init__()
        self.embedding, self.wide = SeparateEmbeddings(width, rows), OffsetEmbedding(1, rows)
        self.wide_dense = nn.Linear(dense, 1)
        self.deep = nn.Sequential(nn.Linear(len(rows) * width + dense, 20), nn.LayerNorm(20), nn.GELU(), nn.Dropout(0.3), nn.Linear(20, 1))

    def forward(self, ids, dense):
        deep = torch.cat(self.embedding(ids) + [torch.log1p(dense.abs())], dim=1)
        return torch.sigmoid(self.wide(ids).sum(1) + self.wide_dense(dense) + self.deep(deep))


class DCN(nn.Module):
    """Cross network of the second version (a matrix a layer) beside a deep one."""

    def __init__(self, width=6, rows=ROWS):
        super().__init__()
        n = width * len(rows)
        self.embedding = OffsetEmbedding(width, rows)
        self.cross = nn.ModuleList([nn.Linear(n, n) for _ in range(2)])
        self.deep = mlp([n, 16], activation=nn.SiLU)
        self.out = nn.Linear(n + 16, 1)

    def forward(self, x):
        x0 = x1 = self.embedding(x).flatten(start_dim=1)
        for layer in self.cross:
            x1 = x0 * layer(x1) + x1
        return torch.sigmoid(self.out(torch.cat([x1, self.deep(x0)], dim=-1)))


class XDeepFM(nn.Module):
    """Compressed interaction network with a 1x1 convolution for each layer, as it is usually written."""

    def __init__(self, width=6, rows=ROWS, maps=(8, 4)):
        super().__init__()
        self.embedding = SeparateEmbeddings(width, rows)
        last, self.layers = len(rows), nn.ModuleList()
        for n in maps:
            self.layers.append(nn.Conv1d(len(rows) * last, n, 1))
            last = n
        self.deep = mlp([width * len(rows), 16], last=1)
        self.out = nn.Linear(sum(maps), 1)

    def forward(self, x):
        x0 = torch.stack(self.embedding(x), dim=1)
        xk, results = x0, []
        for layer in self.layers:
            outer = torch.einsum("bhd,bmd->bhmd", x0, xk)
            xk = torch.relu(layer(outer.reshape(x0.size(0), -1, x0.size(2))))
            results.append(xk.sum(dim=-1))
        return torch.sigmoid(self.out(torch.cat(results, dim=1)) + self.deep(x0.flatten(1)))


class AutoInt(nn.Module):
    """Self-attention over the fields by nn.MultiheadAttention, or written out with heads side by side."""

    def __init__(self, width=8, heads=2, rows=ROWS, own=False):
        super().__init__()
        self.embedding, self.own, self.heads = SeparateEmbeddings(width, rows), own, heads
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.residual, self.norm = nn.Linear(width, width, bias=False), nn.LayerNorm(width)
        self.out = nn.Linear(width * len(rows), 1)

    def forward(self, x):
        e = torch.stack(self.embedding(x), dim=1)
        if self.own:
            q, k, v = (torch.stack(torch.split(m(e), e.size(2) // self.heads, dim=2)) for m in (self.q, self.k, self.v))
            score = torch.softmax(torch.einsum("hbik,hbjk->hbij", q, k) / (q.size(-1) ** 0.5), dim=-1)
            y = torch.cat(torch.split(torch.matmul(score, v), 1), dim=-1).squeeze(0)
        else:
            y, _ = self.attention(e, e, e, need_weights=False)
        y = self.norm(torch.relu(y + self.residual(e)))
        return torch.sigmoid(self.out(y.flatten(1)))


class NFM(nn.Module):
    """Bi-interaction pooling under batch norm and an MLP with PReLU."""

    def __init__(self, width=8, rows=ROWS):
        super().__init__()
        self.embedding = SeparateEmbeddings(width, rows)
        self.norm, self.deep = nn.BatchNorm1d(width), mlp([width, 12], activation=nn.PReLU, last=1)

    def forward(self, x):
        e = torch.stack(self.embedding(x), dim=0)
        bi = 0.5 * (e.sum(0).pow(2) - e.pow(2).sum(0))
        return torch.sigmoid(self.deep(self.norm(bi)))


class DIN(nn.Module):
    """A padded history pooled by attention to the candidate; Dice as activation."""

    def __init__(self, width=8, rows=30):
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.score = nn.Sequential(nn.Linear(4 * width, 12), nn.PReLU(), nn.Linear(12, 1))
        self.norm, self.alpha = nn.BatchNorm1d(12, affine=False), nn.Parameter(torch.rand(12))
        self.hidden, self.out = nn.Linear(2 * width, 12), nn.Linear(12, 1)

    def forward(self, candidate, history):
        c, h = self.table(candidate), self.table(history)
        q = c.unsqueeze(1).expand(-1, h.size(1), -1)
        score = self.score(torch.cat([q, h, q - h, q * h], dim=-1)).squeeze(-1)
        score = torch.where(history > 0, score, torch.full_like(score, -1e9)).softmax(dim=1)
        pooled = torch.bmm(score.unsqueeze(1), h).squeeze(1)
        x = self.hidden(torch.cat([c, pooled], dim=1))
        p = torch.sigmoid(self.norm(x))
        return torch.sigmoid(self.out(p * x + (1 - p) * self.alpha * x))


class MeanBag(nn.Module):
    """Multi-valued features as padded ids with a mask, the mean of their rows: how bags are written for export."""

    def __init__(self, width=8, rows=30):
        super().__init__()
        self.table, self.out = nn.Embedding(rows, width, padding_idx=0), mlp([width, 10], last=1)

    def forward(self, ids):
        mask = (ids != 0).unsqueeze(-1).float()
        mean = (self.table(ids) * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        return torch.sigmoid(self.out(mean))


class EmbeddingBag(nn.Module):
    """nn.EmbeddingBag over a matrix of ids."""

    def __init__(self, width=8, rows=30):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(rows, width, mode="sum"), mlp([width, 10], last=1)

    def forward(self, ids):
        return torch.sigmoid(self.out(self.bag(ids)))


# ------------------------------------------------------------------------------------------------------------ export


def ids(rows=ROWS):
    return lambda n, r: np.stack([r.integers(0, k, n) for k in rows], axis=1).astype(np.int64)


def reals(width):
    return lambda n, r: r.normal(size=(n, width)).astype(np.float32)


def ids_and_reals(width):
    return lambda n, r: np.concatenate([ids()(n, r).astype(np.float32), reals(width)(n, r)], axis=1)


def padded(columns, rows=30):
    return lambda n, r: (r.integers(1, rows, (n, columns)) * (np.arange(columns) < r.integers(1, columns + 1, (n, 1)))).astype(np.int64)


def one(rows=30):
    return lambda n, r: r.integers(1, rows, n).astype(np.int64)


MODELS = {
    "deepfm": (DeepFM, {"x": ids()}),
    "deepfm_separate": (DeepFMSeparate, {"x": ids_and_reals(3)}),
    "deepfm_stacked": (DeepFMStacked, {"x": ids()}),
    "dlrm": (DLRM, {"dense": reals(5), "ids": ids()}),
    "dlrm_flat": (lambda: DLRM(mask="flat"), {"dense": reals(5), "ids": ids()}),
    "dlrm_einsum": (lambda: DLRM(mask="einsum"), {"dense": reals(5), "ids": ids()}),
    "flen": (FLEN, {"x": ids()}),
    "flen_separate": (lambda: FLEN(separate=True), {"x": ids()}),
    "wide_and_deep": (WideAndDeep, {"ids": ids(), "dense": reals(4)}),
    "dcn": (DCN, {"x": ids()}),
    "xdeepfm": (XDeepFM, {"x": ids()}),
    "autoint": (AutoInt, {"x": ids()}),
    "autoint_own": (lambda: AutoInt(own=True), {"x": ids()}),
    "nfm": (NFM, {"x": ids()}),
    "din": (DIN, {"candidate": one(), "history": padded(6)}),
    "mean_bag": (MeanBag, {"ids": padded(5)}),
    "embedding_bag": (EmbeddingBag, {"ids": padded(5)}),
}


def prepare(make, seed):
    """A model with weights that are not all alike, in prediction's mode; batch norms have seen data."""
    torch.manual_seed(seed)
    model = make()
    for m in model.modules():
        if isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight, std=0.5)
        if isinstance(m, nn.BatchNorm1d):
            nn.init.normal_(m.running_mean, std=0.3)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
    return model.eval()


def export(model, inputs, dynamo, opset=None):
    """The ONNX model, with the batch open; inputs maps names to arrays."""
    tensors = tuple(torch.from_numpy(x) for x in inputs.values())
    names = list(inputs)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = torch.export.Dim("batch", min=1, max=1 << 20)
            shapes = tuple({0: batch} for _ in names)
            program = torch.onnx.export(
                model, tensors, input_names=names, output_names=["y"], dynamic_shapes=shapes, dynamo=True, opset_version=opset or 18, verbose=False
            )
            return program.model_proto
        torch.onnx.export(
            model, tensors, out, input_names=names, output_names=["y"], dynamic_axes={n: {0: "batch"} for n in names}, dynamo=False, opset_version=opset or 17
        )
    return onnx.load_model_from_string(out.getvalue())


def strip(proto):
    """Without what describes the machine that exported it."""
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for function in proto.functions:
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output, *proto.graph.initializer]:
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
    return proto


if __name__ == "__main__":
    for k, (name, (make, makers)) in enumerate(MODELS.items()):
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        model, random = prepare(make, k), np.random.default_rng(k)
        for dynamo in (False, True):
            full = f"{name}_{'dynamo' if dynamo else 'ts'}"
            try:
                proto = export(model, {n: f(3, random) for n, f in makers.items()}, dynamo)
            except Exception as problem:  # an exporter that cannot is no reason to do without the others
                print(f"{full}: not exported: {type(problem).__name__}: {str(problem).splitlines()[0][:160]}")
                continue
            save(sys.argv[1], full, strip(proto), {n: (lambda n, f=f: f(n, random)) for n, f in makers.items()})
            print(full, os.path.getsize(os.path.join(sys.argv[1], full, "model.onnx")))
