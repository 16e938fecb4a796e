#!/bin/sh
# CTR models that PyTorch exported by both of its exporters (make_torch_models.py): both backends give what ONNX Runtime answered, only what stands in `refused` is
# refused, by name; and the optimised graphs of the models that we have functions for are made of these, whoever wrote and exported them.
bin=$1
models=tests/conformance/torch_models
refused='embedding_bag_dynamo embedding_bag_ts'
failed=0

for backend in interp native; do
    out=$("$bin/flen-onnx-tests" $models "--backend=$backend" --tolerance=1e-5)
    for line in $(echo "$out" | grep -v '^PASS' | sed -n 's/^[A-Z]* \([a-z0-9_]*\): .*/\1/p'); do
        case " $refused " in
        *" $line "*) ;;
        *) echo "$backend: $(echo "$out" | grep " $line:")"; failed=1 ;;
        esac
    done
    echo "$backend: $(echo "$out" | tail -1)"
    [ "$(echo "$out" | grep -c '^PASS')" -ge 32 ] || failed=1
done

# has MODEL COUNT PATTERN: as many lines of the optimised graph.
has() {
    found=$("$bin/flenc" dump "$models/$1/model.onnx" --stage=optimised --plain --no-functions | grep -c -e "$3")
    [ "$found" = "$2" ] && return
    echo "$1: $found lines have \"$3\", not $2"
    failed=1
}
for exporter in ts dynamo; do
    for model in deepfm_separate deepfm_stacked flen_separate; do # second order, first order, and the rows for the deep part
        has ${model}_$exporter 2 'ai.flen.TablePool.*squares = 1\|ai.flen.TablePool <fields = .6.>'
        has ${model}_$exporter 1 'ai.flen.TablePool <fields = .1, 1, 1, 1, 1, 1.>'
        has ${model}_$exporter 0 '= Gather'
    done
    for model in deepfm deepfm_separate deepfm_stacked; do
        has ${model}_$exporter 1 'ai.flen.FieldInteraction <fields = 1>'
        has ${model}_$exporter 2 'ai.flen.Linear <activation = "relu">'
    done
    for model in deepfm flen; do
        has ${model}_$exporter 2 'ai.flen.FieldPool'
        has ${model}_$exporter 1 '= Gather'
    done
    for model in flen flen_separate; do
        has ${model}_$exporter 1 'Pool <fields = .2, 1, 3., squares = 1>'
        has ${model}_$exporter 1 'ai.flen.FieldInteraction <fields = 3>'
    done
    for model in dlrm dlrm_flat dlrm_einsum; do
        has ${model}_$exporter 1 'ai.flen.TablePool <fields = .1, 1, 1, 1, 1, 1.>'
        has ${model}_$exporter 1 'ai.flen.DotInteraction'
        has ${model}_$exporter 5 'ai.flen.Linear'
        has ${model}_$exporter 2 '= Concat' # what the dot products read, and what the top reads
        has ${model}_$exporter 0 '= Gather\|= Transpose\|= MatMul\|= Einsum'
    done
done
[ $failed = 0 ]
