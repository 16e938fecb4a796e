"""peer_torch.py START.bin ROWS_FOLDER [--compile] -- models/bench/flen.yaml's network in PyTorch, at its best.

Starts from the weights and optimiser state of START.bin. Requests and answers: bench_peer.py. Forms that are tried, the fastest of which is measured:
training eager, and with --compile the network behind the look-up through torch.compile; prediction eager, traced and frozen, and compiled. Field
sums by torch.split: slices would make each backward step fill a whole zero tensor.
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F

import bench_peer
from bench_peer import DENSE, DROPOUT, FIELDS, RATE


def network(e, r_fm, r_mf, w0, b0, w1, b1, w2, b2, dropout: float):
    """Logits [batch] from the slots' rows [batch, 22, 32]."""
    fields = torch.split(e, FIELDS, 1)
    squares = torch.split(e * e, FIELDS, 1)
    f = [x.sum(1) for x in fields]
    h = r_mf[0] * (f[0] * f[1]) + r_mf[1] * (f[0] * f[2]) + r_mf[2] * (f[1] * f[2])
    for i in range(3):
        h = h + r_fm[i] * (f[i] * f[i] - squares[i].sum(1))
    m = torch.relu(torch.addmm(b0, e.flatten(1), w0))
    if dropout > 0:
        m = F.dropout(m, dropout)
    m = torch.relu(torch.addmm(b1, m, w1))
    if dropout > 0:
        m = F.dropout(m, dropout)
    return torch.addmm(b2, torch.cat([h, m], 1), w2).squeeze(1)


class Predictor(torch.nn.Module):
    def __init__(self, table, dense):
        super().__init__()
        self.table = torch.nn.Parameter(table, requires_grad=False)
        self.dense = torch.nn.ParameterList([torch.nn.Parameter(d, requires_grad=False) for d in dense])

    def forward(self, ids):
        return torch.sigmoid(network(F.embedding(ids, self.table), *self.dense, 0.0))


class Trainer:
    """A table that is updated sparsely and dense parameters, both by Adagrad, from a start."""

    def __init__(self, start, net, dropout):
        self.table = torch.from_numpy(np.array(start["table"])).requires_grad_()
        self.dense = [torch.from_numpy(np.array(start[n])).requires_grad_() for n in DENSE]
        self.optimisers = [torch.optim.Adagrad([self.table], lr=RATE), torch.optim.Adagrad(self.dense, lr=RATE)]
        for optimiser, names in zip(self.optimisers, (["table"], DENSE)):
            for parameter, name in zip(optimiser.param_groups[0]["params"], names):
                optimiser.state[parameter]["sum"].copy_(torch.from_numpy(np.array(start["adagrad.a." + name])))
        self.net, self.dropout = net, dropout

    def step(self, rows):
        ids, labels = rows
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        z = self.net(F.embedding(ids, self.table, sparse=True), *self.dense, self.dropout)
        loss = F.binary_cross_entropy_with_logits(z, labels)
        loss.backward()
        for optimiser in self.optimisers:
            optimiser.step()
        return loss


class Peer:
    def __init__(self, start, folder, compiles):
        self.start = bench_peer.variables(start)
        self.ids = torch.from_numpy(np.load(folder + "/ids.npy"))
        self.labels = torch.from_numpy(np.load(folder + "/labels.npy"))
        self.predictor = Predictor(torch.from_numpy(np.array(self.start["table"])), [torch.from_numpy(np.array(self.start[n])) for n in DENSE]).eval()
        self.trainer, self.compiles, self.known = None, compiles, {}
        self.predictors, self.networks = {}, {}  # by number of threads: compiled code holds it

    def rows(self, i, batch):
        at = i * batch % (len(self.ids) - batch + 1)
        return self.ids[at:at + batch], self.labels[at:at + batch]

    def about(self, request):
        return {"version": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability(), "compile": self.compiles}

    def predict(self, request):
        with torch.inference_mode():
            ids = self.ids[:request["rows"]]
            np.save(request["out"], network(self.predictor.table[ids], *self.predictor.dense, 0.0).numpy())
        return {}

    def steps(self, request):
        torch.set_num_threads(1)
        trainer = Trainer(self.start, network, 0.0)
        batch = request["batch"]
        losses = [trainer.step(self.rows(i, batch)).item() for i in range(request["rows"] // batch)]
        return {"logloss": float(np.mean(losses))}

    def train(self, request):
        threads, batch = request["threads"], request["batch"]
        torch.set_num_threads(threads)
        if self.trainer is None:
            self.trainer = Trainer(self.start, network, DROPOUT)
        if threads not in self.networks:
            self.networks[threads] = {"eager": network}
            if self.compiles:
                self.networks[threads]["compiled"] = torch.compile(network)

        def measure(form, seconds):
            self.trainer.net = form
            return bench_peer.measured(self.trainer.step, lambda i: self.rows(i, batch), batch, seconds, window=10)

        form = bench_peer.best_of(self.networks[threads], measure, self.known, ("train", batch, threads))
        return measure(self.networks[threads][form], request["seconds"]) | {"form": form}

    def infer(self, request):
        threads, batch = request["threads"], request["batch"]
        torch.set_num_threads(threads)
        with torch.inference_mode():
            if threads not in self.predictors:
                traced = torch.jit.freeze(torch.jit.trace(self.predictor, self.ids[:4]))
                self.predictors[threads] = {"eager": self.predictor, "traced": torch.jit.optimize_for_inference(traced)}
                if self.compiles:
                    self.predictors[threads]["compiled"] = torch.compile(self.predictor, dynamic=True)

            def measure(form, seconds):
                return bench_peer.measured(form, lambda i: self.rows(i, batch)[0], batch, seconds)

            form = bench_peer.best_of(self.predictors[threads], measure, self.known, ("infer", batch, threads))
            return measure(self.predictors[threads][form], request["seconds"]) | {"form": form}


def main():
    torch.manual_seed(1)
    peer = Peer(sys.argv[1], sys.argv[2], "--compile" in sys.argv[3:])
    bench_peer.serve({"about": peer.about, "predict": peer.predict, "steps": peer.steps, "train": peer.train, "infer": peer.infer})


if __name__ == "__main__":
    main()
