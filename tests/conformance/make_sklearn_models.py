"""make_sklearn_models.py FOLDER -- tabular models trained by scikit-learn and converted by skl2onnx, with what ONNX Runtime answers.

The form of make_models.py; the files in tests/conformance/sklearn_models were made by it (scikit-learn 1.9, skl2onnx 1.20, ONNX Runtime 1.32). ZipMap is off, so that probabilities are
tensors. Needs: pip install scikit-learn skl2onnx onnx onnxruntime numpy
"""

import sys

import numpy as np
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.decomposition import PCA
from sklearn.naive_bayes import GaussianNB

from make_models import save

COLUMNS, CLASSES = 8, ("red", "green", "blue")


def data(seed, n=400):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, COLUMNS)).astype(np.float32) * random.uniform(0.2, 5, COLUMNS).astype(np.float32)
    z = x @ random.normal(size=COLUMNS)
    return x, (z > 0).astype(np.int64), np.digitize(z, np.quantile(z, [0.3, 0.7])), z.astype(np.float32), random


def mixed(random, n):
    """Two columns of numbers, one of small whole numbers, one of words."""
    return {
        "number": random.normal(size=(n, 2)).astype(np.float32),
        "code": random.integers(0, 6, (n, 1)).astype(np.int64),
        "word": np.array(CLASSES, dtype=object)[random.integers(0, 3, (n, 1))],
    }


def classifiers():
    yield "logistic", LogisticRegression(max_iter=300), 1
    yield "logistic_of_three", LogisticRegression(max_iter=300), 2
    yield "scaled_logistic", make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)), 1
    yield "sgd", make_pipeline(MinMaxScaler(), SGDClassifier(loss="log_loss", random_state=1)), 1
    yield "mlp", make_pipeline(StandardScaler(), MLPClassifier((12, 6), max_iter=60, random_state=1)), 1
    yield "mlp_tanh_of_three", MLPClassifier((10,), activation="tanh", max_iter=60, random_state=1), 2
    yield "mlp_logistic", make_pipeline(MaxAbsScaler(), MLPClassifier((8,), activation="logistic", max_iter=60, random_state=1)), 1
    yield "polynomial", make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False), LogisticRegression(max_iter=300)), 1
    yield "bayes", GaussianNB(), 2


def regressors():
    yield "linear", make_pipeline(StandardScaler(), LinearRegression())
    yield "ridge", make_pipeline(Normalizer(), Ridge())
    yield "pca", make_pipeline(PCA(4), LinearRegression())
    yield "mlp_regressor", make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(10, 5), max_iter=60, random_state=1))


def write(folder, name, model, makers, types):
    options = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    save(folder, "sk_" + name, to_onnx(model, initial_types=types, options=options, target_opset={"": 17, "ai.onnx.ml": 3}), makers)
    print(name)


def main(folder):
    x, two, three, z, random = data(1)
    numbers, given = [("x", FloatTensorType([None, COLUMNS]))], {"x": lambda n: x[random.integers(0, len(x), n)]}
    for name, model, target in classifiers():
        write(folder, name, model.fit(x, two if target == 1 else three), given, numbers)
    for name, model in regressors():
        write(folder, name, model.fit(x, z), given, numbers)
    codes = random.integers(0, 6, (400, 3)).astype(np.int64)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=300)).fit(codes, (codes.sum(1) > 7).astype(np.int64))
    write(folder, "one_hot", model, {"codes": lambda n: random.integers(0, 7, (n, 3)).astype(np.int64)}, [("codes", Int64TensorType([None, 3]))])
    import pandas

    m = mixed(random, 400)
    frame = pandas.DataFrame({"a": m["number"][:, 0], "b": m["number"][:, 1], "code": m["code"][:, 0], "word": m["word"][:, 0]})
    label = (frame.a + frame.code / 3 + (frame.word == "red") > 1).astype(np.int64)
    parts = ColumnTransformer([("n", StandardScaler(), ["a", "b"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["code"]), ("w", OrdinalEncoder(), ["word"])])
    model = Pipeline([("parts", parts), ("out", LogisticRegression(max_iter=300))]).fit(frame, label)
    types = [("a", FloatTensorType([None, 1])), ("b", FloatTensorType([None, 1])), ("code", Int64TensorType([None, 1])), ("word", StringTensorType([None, 1]))]
    makers = {
        "a": lambda n: random.normal(size=(n, 1)).astype(np.float32),
        "b": lambda n: random.normal(size=(n, 1)).astype(np.float32),
        "code": lambda n: random.integers(0, 7, (n, 1)).astype(np.int64),
        "word": lambda n: np.array(CLASSES, dtype=object)[random.integers(0, 3, (n, 1))],
    }
    write(folder, "columns", model, makers, types)


if __name__ == "__main__":
    main(sys.argv[1])
