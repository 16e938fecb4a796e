#!/bin/sh
# A FLEN trained here, exported and scored by ONNX Runtime on 1,000 rows that it has not seen: the same probabilities to 1e-5 and the same AUC to
# 6 digits, as functions, as standard operators alone and at an old opset. $FLEN_PYTHON (default python3) needs onnxruntime and numpy; skipped without.
. tests/support/shell.sh
need_python onnxruntime numpy
score=$(pwd)/tests/support/onnx_score.py
cd "$dir" || exit 1
cat >flen.yaml <<'CONFIG'
network: flen
embedding_size: 8
inputs:
  label: label
  defaults: {vocabulary: range, rows: 60}
  slots: [a, b, c, d, e, f]
fields: {user: [a, b, c], item: [d, e], context: [f]}
mlp: {widths: [16, 8]}
optimizer: {class: adagrad, learning_rate: 0.05}
train: {batch_size: 128, epochs: 3}
CONFIG
"$python" "$score" draw 9000 all.csv && head -8001 all.csv >train.csv && (head -1 all.csv && tail -1000 all.csv) >test.csv || exit 1
"$bin/flenc" compile flen.yaml -o model.bin --quiet && "$bin/flenrt" train model.bin --data train.csv -o trained.bin --quiet &&
    "$bin/flenrt" predict trained.bin --data test.csv >predictions.csv && "$bin/flenrt" infer trained.bin --data test.csv --json >infer.json || exit 1
auc=$(sed -n 's/.*"event":"done".*"auc":\([0-9.]*\),.*/\1/p' infer.json)
for how in '' '--stage=optimised' '--standard-ops' '--stage=optimised --standard-ops --opset 13' '--external-data'; do
    "$bin/flenc" export trained.bin $how -o exported.onnx && "$python" "$score" score exported.onnx test.csv predictions.csv "$auc" || { echo "FAILED: export $how"; failed=1; }
done
exit $failed
