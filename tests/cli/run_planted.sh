#!/bin/sh
# sh tests/cli/run_planted.sh BIN_DIR [--reduce-all]
#
# Mistakes made on purpose in passes and emitters (ir/base/planted.h), in builds that can make them: `flenc verify` finds each and names what is wrong,
# and `flenc reduce` leaves fewer than ten nodes that still show it. planted.onnxtxt is a network in which each of them matters. Reducing takes
# a hundred runs of verify: an ordinary run does it for a pass, a gradient and an emitter.
. tests/support/shell.sh
reduced=${2:-cse differentiate product-tail}
model=$(cd "$(dirname "$0")" && pwd)/planted.onnxtxt
TMPDIR=$dir # for graphs that the verifier leaves
export TMPDIR

grep -q FLEN_PLANT "$bin/flenc" || { echo "skipped: not built with FLEN_PLANTS"; exit 77; }

fail() {
    echo "FAILED: $plant: $*"
    cat "$dir/err"
    failed=1
}

# planted NAME WORDS [STILL]: what verify says, as a regular expression, of the network and of what is left of it.
planted() {
    plant=$1 words=$2
    where=$(echo "$words" | sed 's/: .*//')
    still=${3:-$where.*E0253}
    limited 100 env FLEN_PLANT=$plant "$bin/flenc" verify --quiet "$model" 2>"$dir/err" && fail "verify does not find it"
    grep -q "$words" "$dir/err" || fail "verify does not name it: $words"
    case " $reduced " in *" $plant "* | " --reduce-all ") ;; *) return ;; esac
    cat >"$dir/still" <<SCRIPT
ulimit -t 100
FLEN_PLANT=$plant "$bin/flenc" verify --quiet "\$1" 2>&1 | grep -q '$still'
SCRIPT
    "$bin/flenc" reduce "$model" --test "sh $dir/still" -o "$dir/small.onnxtxt" 2>"$dir/err" || fail reduce
    left=$(sed -n 's/^\([0-9]*\) nodes of.*/\1/p' "$dir/err")
    [ "${left:-99}" -lt 10 ] || { fail "$left nodes are left"; cat "$dir/small.onnxtxt"; }
    "$bin/flenc" verify --quiet "$dir/small.onnxtxt" 2>"$dir/err" || fail "what is left is wrong without the mistake"
    echo "$plant: $left nodes are left"
}

plant=none
"$bin/flenc" verify --quiet "$model" 2>"$dir/err" || fail "the network differs"
planted canonicalise 'after pass canonicalise: "logit" (MatMul'
planted fold-constants 'after pass fold-constants: "mixed_0" (Mul'
planted cse 'after pass cse: "mixed_[01]" (Mul'
planted fuse-field-pool 'after pass fuse-field-pool: "o_0" (Sub'
planted fuse-interaction 'after pass fuse-interaction: "x" (Concat'
planted fold-batch-norm 'after pass fold-batch-norm: "whole" (Gemm'
planted fuse-linear 'after pass fuse-linear: "bn_scaled" (Mul'
planted distinct-rows 'after pass distinct-rows: "pool" (FieldPool'
planted differentiate 'after pass differentiate: the gradient of "a", which Relu ("r") reads'
planted lower-optimisers 'after pass lower-optimisers: "next_5" (ScatterND'
# Wrong schedules never run: the verifier of the graph's rules names them.
planted segment 'node "whole" (Gemm), phase 0, reads "bn_2" from segment "predict_0", phase 0 \[E0200\]' 'reads .* from segment .*E0200'
planted plan-memory '"whole", [0-9]* bytes at [0-9]*, does not fit into the [0-9]* bytes of scratch of segment "predict_0" \[E0200\]' 'does not fit into .* of scratch .*E0200'
planted greater 'train: native code: "d_26" (Where'
planted product-tail 'predict: native code: "linear" (Linear'
planted reduce-tail 'train: native code: "loss" (ReduceMean'
exit $failed
