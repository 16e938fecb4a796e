"""peer_paddle.py START.bin ROWS_FOLDER THREADS -- models/bench/flen.yaml's network in PaddlePaddle, at its best.

The network as PaddleRec's users write it, layer by layer: a sparse embedding, field-wise pooling and products with weights r, a perceptron on the slots. Starts
from the weights and optimiser state of START.bin. Requests and answers: bench_peer.py. Forms that are tried, the fastest of which is measured: training
eager and as a static graph (jit.to_static); prediction eager, static, and by the inference engine with and without oneDNN.
"""
import os
import sys
import tempfile

import numpy as np

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = sys.argv[3]  # read once, when the library is loaded
import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402

import bench_peer  # noqa: E402
from bench_peer import DENSE, EPSILON, FIELDS, RATE  # noqa: E402


class Flen(paddle.nn.Layer):
    def __init__(self, start, dropout):
        super().__init__()
        rows, width = start["table"].shape
        self.embedding = paddle.nn.Embedding(rows, width, sparse=True)
        self.embedding.weight.set_value(np.array(start["table"]))
        self.dense = paddle.nn.ParameterList([self.create_parameter(list(start[n].shape), dtype="float32") for n in DENSE])
        for parameter, name in zip(self.dense, DENSE):
            parameter.set_value(np.array(start[name]))
        self.dropout = dropout

    def forward(self, ids):
        """Logits [batch] from the slots' ids [batch, 22]."""
        r_fm, r_mf, w0, b0, w1, b1, w2, b2 = self.dense
        e = self.embedding(ids)
        fields = [x.sum(1) for x in paddle.split(e, FIELDS, 1)]
        squares = [x.sum(1) for x in paddle.split(e * e, FIELDS, 1)]
        h = r_mf[0] * (fields[0] * fields[1]) + r_mf[1] * (fields[0] * fields[2]) + r_mf[2] * (fields[1] * fields[2])
        for i in range(3):
            h = h + r_fm[i] * (fields[i] * fields[i] - squares[i])
        m = F.dropout(F.relu(F.linear(paddle.flatten(e, 1), w0, b0)), self.dropout, training=self.training)
        m = F.dropout(F.relu(F.linear(m, w1, b1)), self.dropout, training=self.training)
        return F.linear(paddle.concat([h, m], 1), w2, b2).squeeze(1)


class Predictor(paddle.nn.Layer):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, ids):
        return F.sigmoid(self.net(ids))


class Trainer:
    def __init__(self, start, dropout):
        self.net = Flen(start, dropout)
        self.net.train()
        parameters = [self.net.embedding.weight, *self.net.dense]
        self.optimiser = paddle.optimizer.Adagrad(RATE, epsilon=EPSILON, parameters=parameters)
        self.optimiser.set_state_dict({f"{p.name}_moment_0": paddle.to_tensor(np.array(start["adagrad.a." + n])) for p, n in zip(parameters, ["table", *DENSE])})
        self.forms = {"eager": self.net, "static": paddle.jit.to_static(self.net.forward, full_graph=True)}
        self.form = "eager"

    def step(self, rows):
        ids, labels = rows
        loss = F.binary_cross_entropy_with_logits(self.forms[self.form](ids), labels)
        loss.backward()
        self.optimiser.step()
        self.optimiser.clear_grad()
        return loss


class Peer(bench_peer.Peer):
    def __init__(self, start, folder):
        super().__init__(start, folder, Trainer, paddle.to_tensor)
        self.predictors = None

    def about(self, request):
        return {"version": paddle.__version__}

    def predict(self, request):
        net = Flen(self.start, 0.0)
        net.eval()
        with paddle.no_grad():
            np.save(request["out"], net(paddle.to_tensor(self.ids[:request["rows"]])).numpy())
        return {}

    def engine(self, path, onednn):
        config = paddle.inference.Config(path + ".json", path + ".pdiparams")
        config.disable_gpu()
        config.set_cpu_math_library_num_threads(int(sys.argv[3]))
        if onednn:
            config.enable_mkldnn()
        else:
            config.disable_mkldnn()
        config.disable_glog_info()
        engine = paddle.inference.create_predictor(config)
        given, result = engine.get_input_handle(engine.get_input_names()[0]), engine.get_output_handle(engine.get_output_names()[0])

        def run(ids):
            given.copy_from_cpu(ids)
            engine.run()
            return result.copy_to_cpu()

        return run

    def make_predictors(self):
        net = Predictor(Flen(self.start, 0.0))
        net.eval()
        static = paddle.jit.to_static(net, full_graph=True, input_spec=[paddle.static.InputSpec([None, self.ids.shape[1]], "int64", "ids")])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "flen")
            paddle.jit.save(static, path)
            engines = {f"inference{', oneDNN' if onednn else ''}": self.engine(path, onednn) for onednn in (False, True)}
        eager = Predictor(Flen(self.start, 0.0))
        eager.eval()
        self.predictors = {"eager": (eager, True), "static": (static, True)} | {name: (run, False) for name, run in engines.items()}

    def infer(self, request):
        batch = request["batch"]
        with paddle.no_grad():
            if self.predictors is None:
                self.make_predictors()

            def measure(form, seconds):
                run, tensors = form

                def prepare(i):
                    ids = self.batch_ids(i, batch)
                    return paddle.to_tensor(ids) if tensors else ids

                return bench_peer.measured(run, prepare, batch, seconds)

            form = bench_peer.best_of(self.predictors, measure, self.known, ("infer", batch))
            return measure(self.predictors[form], request["seconds"]) | {"form": form}


def main():
    paddle.seed(1)
    paddle.set_device("cpu")
    Peer(sys.argv[1], sys.argv[2]).serve()


if __name__ == "__main__":
    main()
