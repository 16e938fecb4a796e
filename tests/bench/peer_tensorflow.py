"""peer_tensorflow.py START.bin ROWS_FOLDER THREADS -- models/bench/flen.yaml's network in TensorFlow, at its best.

Keras layers as DeepCTR's users have them, run inside tf.function; updates by TensorFlow's own Adagrad kernels, the table's on its distinct rows, because Keras'
optimiser would walk the whole table in each step. Starts from the weights and optimiser state of START.bin. Requests and answers: bench_peer.py. Forms
that are tried, the fastest of which is measured: the graph as it is, and compiled by XLA (training: all but the table's update).
"""
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import keras  # noqa: E402

import bench_peer  # noqa: E402
from bench_peer import DENSE, EPSILON, FIELDS, RATE  # noqa: E402


class FieldWiseBiInteraction(keras.layers.Layer):
    """[batch, slots, K] to [batch, K]: products of field sums with weights r_mf, and each field's own pairs with weights r_fm."""

    def build(self, shape):
        self.r_fm = self.add_weight(shape=(3,), name="r_fm")
        self.r_mf = self.add_weight(shape=(3,), name="r_mf")

    def call(self, e):
        f = [tf.reduce_sum(x, 1) for x in tf.split(e, FIELDS, 1)]
        squares = [tf.reduce_sum(x, 1) for x in tf.split(e * e, FIELDS, 1)]
        h = self.r_mf[0] * (f[0] * f[1]) + self.r_mf[1] * (f[0] * f[2]) + self.r_mf[2] * (f[1] * f[2])
        for i in range(3):
            h = h + self.r_fm[i] * (f[i] * f[i] - squares[i])
        return h


def network(start, dropout):
    """A Keras model from the slots' rows [batch, 22, 32] to logits [batch, 1]. Its weights are in the order of DENSE."""
    e = keras.Input((sum(FIELDS), start["table"].shape[1]))
    h = FieldWiseBiInteraction()(e)
    m = keras.layers.Flatten()(e)
    for k in range(2):
        m = keras.layers.Dropout(dropout)(keras.layers.Dense(start[f"mlp.{k}.b"].shape[0], activation="relu")(m))
    model = keras.Model(e, keras.layers.Dense(1)(keras.layers.Concatenate()([h, m])))
    for layer in model.layers:
        layer.trainable = True
    interaction = next(layer for layer in model.layers if isinstance(layer, FieldWiseBiInteraction))
    interaction.set_weights([np.array(start["fwbi.r_fm"]), np.array(start["fwbi.r_mf"])])
    for layer, name in zip((layer for layer in model.layers if isinstance(layer, keras.layers.Dense)), ("mlp.0", "mlp.1", "out")):
        layer.set_weights([np.array(start[name + ".w"]), np.array(start[name + ".b"]).reshape(-1)])
    return model, dense_variables(model, interaction)


def dense_variables(model, interaction):
    """In the order of DENSE."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    return [interaction.r_fm.value, interaction.r_mf.value] + [v.value for layer in layers for v in (layer.kernel, layer.bias)]


class Trainer:
    def __init__(self, start, dropout):
        self.model, self.dense = network(start, dropout)
        self.table = tf.Variable(np.array(start["table"]))
        self.state = tf.Variable(np.array(start["adagrad.a.table"]))
        self.dense_state = [tf.Variable(np.array(start["adagrad.a." + n]).reshape(v.shape)) for n, v in zip(DENSE, self.dense)]
        self.forms = {"graph": self.make_step(False), "XLA": self.make_step(True)}
        self.form = "graph"

    def make_step(self, xla):
        def gradients(rows, labels):
            with tf.GradientTape() as tape:
                tape.watch(rows)
                z = tf.squeeze(self.model(rows, training=True), 1)
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=z))
            return loss, tape.gradient(loss, [rows] + self.dense)

        inner = tf.function(gradients, jit_compile=True) if xla else gradients

        @tf.function
        def step(ids, labels):
            loss, (d_rows, *d_dense) = inner(tf.gather(self.table, ids), labels)
            distinct, index = tf.unique(tf.reshape(ids, [-1]))
            d_distinct = tf.math.unsorted_segment_sum(tf.reshape(d_rows, [-1, d_rows.shape[2]]), index, tf.size(distinct))
            tf.raw_ops.ResourceSparseApplyAdagradV2(var=self.table.handle, accum=self.state.handle, lr=RATE, epsilon=EPSILON, grad=d_distinct, indices=distinct)
            for v, a, d in zip(self.dense, self.dense_state, d_dense):
                tf.raw_ops.ResourceApplyAdagradV2(var=v.handle, accum=a.handle, lr=RATE, epsilon=EPSILON, grad=d)
            return loss

        return step

    def step(self, rows):
        return self.forms[self.form](*rows).numpy()


class Peer(bench_peer.Peer):
    def __init__(self, start, folder):
        super().__init__(start, folder, Trainer, tf.constant)
        self.forms = None

    def about(self, request):
        return {"version": tf.__version__}

    def predict(self, request):
        model, _ = network(self.start, 0.0)
        np.save(request["out"], np.array(model(np.array(self.start["table"])[self.ids[:request["rows"]]], training=False)).reshape(-1))
        return {}

    def infer(self, request):
        batch = request["batch"]
        if self.forms is None:
            model, _ = network(self.start, 0.0)
            table = tf.Variable(np.array(self.start["table"]), trainable=False)

            def predict(ids):
                return tf.sigmoid(model(tf.gather(table, ids), training=False))

            signature = [tf.TensorSpec([None, self.ids.shape[1]], tf.int64)]
            self.forms = {"graph": tf.function(predict, input_signature=signature), "XLA": tf.function(predict, jit_compile=True)}

        def measure(form, seconds):
            return bench_peer.measured(lambda ids: form(ids).numpy(), lambda i: tf.constant(self.batch_ids(i, batch)), batch, seconds)

        form = bench_peer.best_of(self.forms, measure, self.known, ("infer", batch))
        return measure(self.forms[form], request["seconds"]) | {"form": form}


def main():
    threads = int(sys.argv[3])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(1)
    Peer(sys.argv[1], sys.argv[2]).serve()


if __name__ == "__main__":
    main()
