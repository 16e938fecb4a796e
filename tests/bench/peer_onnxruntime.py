"""peer_onnxruntime.py ROWS_FOLDER FILE.onnx... -- predictions of exported models in ONNX Runtime, at its best.

The files are forms of the same model, of which the fastest is measured, as are two ways to call: run(), and run_with_iobinding() with the input
bound before the clock starts. Requests and answers: bench_peer.py.
"""
import os
import sys

import numpy as np
import onnxruntime

import bench_peer


class Peer:
    def __init__(self, folder, files):
        self.ids = np.load(folder + "/ids.npy")
        self.files, self.known, self.sessions = files, {}, {}

    def session(self, file, threads):
        if (file, threads) not in self.sessions:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            self.sessions[file, threads] = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        return self.sessions[file, threads]

    def about(self, request):
        return {"version": onnxruntime.__version__}

    def predict(self, request):
        session = self.session(self.files[0], 1)
        np.save(request["out"], session.run(["logit"], {"ids": self.ids[:request["rows"]]})[0].reshape(-1))
        return {}

    def infer(self, request):
        batch, threads = request["batch"], request["threads"]

        def rows(i):
            at = i * batch % (len(self.ids) - batch + 1)
            return self.ids[at:at + batch]

        def form(file, bound):
            session = self.session(file, threads)
            if not bound:
                return lambda given: session.run(["probability"], given), lambda i: {"ids": rows(i)}
            binding = session.io_binding()
            binding.bind_output("probability", "cpu")

            def bind(i):
                binding.bind_cpu_input("ids", rows(i))
                return binding

            return session.run_with_iobinding, bind

        def measure(pair, seconds):
            return bench_peer.measured(*pair, batch, seconds)

        forms = {f"{os.path.basename(file)}{', bound' if bound else ''}": form(file, bound) for file in self.files for bound in (False, True)}
        name = bench_peer.best_of(forms, measure, self.known, (batch, threads))
        return measure(forms[name], request["seconds"]) | {"form": name}


def main():
    peer = Peer(sys.argv[1], sys.argv[2:])
    bench_peer.serve({"about": peer.about, "predict": peer.predict, "infer": peer.infer})


if __name__ == "__main__":
    main()
