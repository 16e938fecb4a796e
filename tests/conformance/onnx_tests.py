"""onnx_tests.py FOLDER -- writes the backend node tests of the installed onnx package in the form of its data sets (onnx no longer ships them).

Tests whose values are sequences, maps or optional get no data for these and are refused by what they need. Needs: pip install onnx numpy
"""

import os
import sys
import warnings

import numpy
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases


def tensor(value, info):
    if isinstance(value, TensorProto):
        return value
    if value is None or isinstance(value, (list, dict)):
        return None
    return numpy_helper.from_array(numpy.asarray(value), info.name)


def write(path, proto):
    with open(path, "wb") as f:
        f.write(proto.SerializeToString())


def main(folder):
    warnings.simplefilter("ignore")
    count = 0
    for case in collect_testcases(None):
        if case.model is None:
            continue
        here = os.path.join(folder, case.name)
        os.makedirs(here, exist_ok=True)
        write(os.path.join(here, "model.onnx"), case.model)
        for n, (inputs, outputs) in enumerate(case.data_sets or []):
            data = os.path.join(here, f"test_data_set_{n}")
            os.makedirs(data, exist_ok=True)
            graph = case.model.graph
            for kind, values, infos in (("input", inputs, graph.input), ("output", outputs, graph.output)):
                for k, value in enumerate(values):
                    proto = tensor(value, infos[k])
                    if proto is not None:
                        write(os.path.join(data, f"{kind}_{k}.pb"), proto)
        count += 1
    print(f"{count} tests in {folder}")


if __name__ == "__main__":
    main(sys.argv[1])
