#!/bin/sh
# Each pass of the default pipelines left out in turn (`flenc compile --disable`): this folder's other scripts still hold, and models trained without it predict what those
# trained with it do, but for rounding. So no result hangs on a pass that is said to change speed alone. Passes that nothing runs without are named below; without them
# there must be a report, and no result.
. tests/e2e/common.sh

rows=models/sample/valid.csv.gz
tolerance=1e-4

# Why nothing runs without a pass; nothing for passes that are about speed.
needed() {
    case $1 in
    set-mode) echo "dropout and batch norm have no meaning yet" ;;
    distinct-rows) echo "gradients of look-ups are sums over distinct rows" ;;
    differentiate) echo "nothing is trained" ;;
    lower-optimisers) echo "native code has no optimisers, only arithmetic" ;;
    fold-batch-norm) echo "native code has no batch norm of inference: it is a scale and a shift" ;;
    segment | plan-memory) echo "native code has neither segments nor memory" ;;
    esac
}

sed 's/^optimizer:.*/optimizer: {class: adam, learning_rate: 0.01}/' models/flen/config.yaml >"$dir/adam.yaml"

# train_and_predict NAME PASS CONFIGURATION SETTINGS...: the probabilities in $dir/NAME.csv; PASS "none" leaves nothing out.
train_and_predict() {
    name=$1 pass=$2
    shift 2
    [ "$pass" = none ] || set -- "$@" "--disable=$pass"
    "$bin/flenc" compile --quiet "$@" -o "$dir/$name.bin" >"$dir/log" 2>&1 &&
        "$bin/flenrt" train "$dir/$name.bin" --data $rows --epochs 2 --quiet -o "$dir/$name.trained.bin" >>"$dir/log" 2>&1 &&
        "$bin/flenrt" predict "$dir/$name.trained.bin" --data $rows >"$dir/$name.csv" 2>>"$dir/log"
}

variant() {
    case $1 in
    plain) echo "models/flen/config.yaml" ;;
    layers) echo "$dir/adam.yaml --set batch_norm=true --set dropout=0.2" ;;
    pairs) echo "models/flen/config.yaml --set network=fwfm" ;;
    official) echo "models/flen/config.yaml --set network=flen-official --set mlp.input=slots" ;;
    esac
}

# The largest difference of two files of predictions; "none" if they are not of the same rows.
difference() {
    paste -d, "$1" "$2" | awk -F, 'NR > 1 { if ($1 != $3) bad = 1; d = $2 - $4; d = d < 0 ? -d : d; if (d > most) most = d }
        END { print bad || NR < 100 ? "none" : most + 0 }'
}

passes=$(for p in train predict schedule; do "$bin/flenc" opt --print-pipeline=$p | tr ',' '\n'; done | sed 's/(.*//' | sort -u; echo fold-tables)
[ "$(echo "$passes" | wc -l)" -ge 15 ] || fail "only these passes are known: $passes"
for v in plain layers pairs official; do
    # shellcheck disable=SC2046 # a list of settings
    train_and_predict $v none $(variant $v) || { fail "$v with all passes"; cat "$dir/log"; }
done

for pass in $passes; do
    reason=$(needed "$pass")
    if [ -n "$reason" ]; then
        train_and_predict without "$pass" $(variant layers) && [ "$pass" != differentiate ] && fail "there are predictions without $pass ($reason)"
        [ "$pass" = differentiate ] || grep -q ': error: ' "$dir/log" || { fail "without $pass ($reason): no report"; cat "$dir/log"; }
        echo "$pass: needed, $reason"
        continue
    fi
    for v in plain layers pairs official; do
        train_and_predict without "$pass" $(variant $v) || { fail "$v without $pass"; cat "$dir/log"; continue; }
        d=$(difference "$dir/$v.csv" "$dir/without.csv")
        check "$d" "<" $tolerance "$v without $pass, largest difference of a probability"
        echo "$pass: $v differs by $d"
    done
    # The programs, but that compiling leaves the pass out.
    rm -rf "$dir/bin" && mkdir "$dir/bin"
    for program in "$bin"/*; do ln -s "$program" "$dir/bin/"; done
    rm "$dir/bin/flenc"
    printf '#!/bin/sh\nverb=$1\n[ "$verb" != compile ] || { shift; set -- compile --disable=%s "$@"; }\nexec "%s/flenc" "$@"\n' "$pass" "$bin" >"$dir/bin/flenc"
    chmod +x "$dir/bin/flenc"
    for script in tests/e2e/run_*.sh; do
        case $pass:$script in fold-tables:*/run_fold.sh) continue ;; esac # it is about folded tables
        FLEN_CODEGEN=$bin/flen_codegen.so timeout 300 sh "$script" "$dir/bin" >"$dir/log" 2>&1
        status=$?
        [ $status = 0 ] || [ $status = 77 ] || { fail "$script without $pass: status $status"; tail -5 "$dir/log"; }
    done
done
finish
