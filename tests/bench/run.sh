#!/bin/sh
# sh tests/bench/run.sh [--quick] [--rounds N] [--json FILE] [--without PEER]... [--peer NAME=COMMAND]... -- our speed beside the peers', in one run.
# sh tests/bench/run.sh --start -- how soon programs are there, beside ONNX Runtime's loading.
# sh tests/bench/run.sh --sweep [--quick] [--rounds N] [--axis=A,B] -- the cost of a sample against the shape of model and data; no peers.
# sh tests/bench/run.sh --products [--quick] -- products of matrices beside the machine's multiply-adds and OpenBLAS, as numpy brings it.
#
# Builds, installs PyTorch, ONNX Runtime, PaddlePaddle and TensorFlow into build/bench-venv if they can be had, checks that all compute the same, measures them
# in alternation. Prints a table; build/bench/ gets results.json, results.md, results.html. --quick: at most 3 rounds, within 3 minutes once all is
# installed and built, without PaddlePaddle and TensorFlow; otherwise 7 rounds, or N, and torch.compile too. --json: results.json goes to FILE as well.
# --without: pytorch, onnxruntime, paddlepaddle or tensorflow is left out. --peer: a program of your own that answers bench_peer.py's requests; COMMAND
# gets the model to start from, the folder of rows and the number of threads as further arguments. README.md says what is measured.
# --sweep: tables of 1,000 to 50 million rows (13 GB), batches, slots, K, hidden layers, threads, skew; build/bench/ gets sweep.json, sweep.md, sweep.svg. --axis=A,B
# of rows, batch, slots, K, widths, threads, skew: these alone are measured, beside what sweep.json has of the others.
# --products: those of a training step; build/bench/ gets products.json and products.md.
# --start: compiling, generating code, starting, loading a table of 320 MB; build/bench/ gets start.json and start.md.
# Status 1: a check failed, or nothing could be measured.
set -u
quick= rounds= json= without= peers= sweep= start= products= axis=
newline='
'
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=--quick ;;
    --json) [ $# -gt 1 ] || { echo "bench: --json needs a file" >&2; exit 2; }; json=$2; shift ;;
    --json=*) json=${1#--json=} ;;
    --rounds) case ${2:-} in ''|*[!0-9]*|0*|????*) echo "bench: --rounds needs a number from 1 to 999" >&2; exit 2 ;; esac; rounds="--rounds=$2"; shift ;;
    --sweep) sweep=yes ;;
    --axis=*) axis=$1 ;;
    --products) products=yes ;;
    --start) start=yes ;;
    --without) [ $# -gt 1 ] || { echo "bench: --without needs a peer" >&2; exit 2; }
        case $2 in
        pytorch|onnxruntime|paddlepaddle|tensorflow) without="$without $2 "; shift ;;
        *) echo "bench: --without cannot be \"$2\": pytorch, onnxruntime, paddlepaddle, tensorflow" >&2; exit 2 ;;
        esac ;;
    --peer) case ${2:-} in ?*=?*) peers="$peers$2$newline"; shift ;; *) echo "bench: --peer needs NAME=COMMAND" >&2; exit 2 ;; esac ;;
    --help) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "usage: sh tests/bench/run.sh [--quick] [--rounds N] [--json FILE] [--without PEER]... [--peer NAME=COMMAND]... | --start | --sweep [--quick] [--rounds N] [--axis=A,B] | --products [--quick]" >&2; exit 2 ;;
    esac
    shift
done
case $json in ''|/*) ;; *) json=$(pwd)/$json ;; esac
cd "$(dirname "$0")/../.." || exit 1
. tests/bench/setup.sh

if [ -n "$sweep" ]; then
    XDG_CACHE_HOME=$(pwd)/build/bench/cache $ahead "$base" tests/bench/sweep.py "$bin" build/bench build/bench/sweep $quick $rounds $axis || exit 1
    cat build/bench/sweep.md
    say "also written: build/bench/sweep.json, sweep.md, sweep.svg"
    exit 0
fi

make_environment
if [ -n "$products" ]; then
    library=
    if install numpy numpy ''; then
        library=$($python -c 'import glob, numpy, os; print(*glob.glob(os.path.join(os.path.dirname(numpy.__file__), os.pardir, "numpy.libs", "lib*openblas*")))')
    fi
    [ -n "$library" ] || say "no OpenBLAS: numpy could not be installed, or has another library"
    $ahead "$base" tests/bench/products.py "$bin" build/bench/products $quick $library || exit 1
    say "also written: build/bench/products.json, products.md"
    exit 0
fi
install numpy numpy '' || stop "numpy is needed and could not be installed: build/bench/pip-numpy.log"
# peer NAME MODULE PACKAGE NOTE: an argument for rounds.py if the peer is not to be had
set --
peer() {
    reason=
    case $without in *" $1 "*) reason="left out by --without" ;; esac
    [ -n "$reason" ] || [ -z "$start" ] || [ "$1" = onnxruntime ] || reason="left out by --start"
    [ -n "$reason" ] || [ -z "$quick" ] || case $1 in paddlepaddle|tensorflow) reason="left out by --quick" ;; esac
    [ -n "$reason" ] || install "$2" "$3" "$4" || reason="could not be installed"
}
peer onnxruntime onnxruntime onnxruntime ''; [ -z "$reason" ] || set -- "$@" --absent "ONNX Runtime=$reason"
peer pytorch torch torch ' (once; its package brings GPU libraries that are not used, some 5 GB on disk)'; [ -z "$reason" ] || set -- "$@" --absent "PyTorch=$reason"
peer paddlepaddle paddle paddlepaddle ''; [ -z "$reason" ] || set -- "$@" --absent "PaddlePaddle=$reason"
peer tensorflow tensorflow tensorflow-cpu ''; [ -z "$reason" ] || set -- "$@" --absent "TensorFlow=$reason"
IFS=$newline
for own in $peers; do set -- "$@" --peer "$own"; done
unset IFS

work=$(pwd)/build/bench
XDG_CACHE_HOME=$work/cache TORCHINDUCTOR_CACHE_DIR=$work/inductor
export XDG_CACHE_HOME TORCHINDUCTOR_CACHE_DIR
config=models/bench/flen.yaml
say "making rows and the models to start from"
[ -f "$work/rows/rows.txt" ] && [ "$work/rows/rows.txt" -nt tests/bench/bench_rows.py ] && [ "$work/rows/rows.txt" -nt $config ] ||
    $python tests/bench/bench_rows.py $config 262144 "$work/rows" || exit 1
head -n 10240 "$work/rows/rows.txt" >"$work/check.txt"
tail -n 2048 "$work/rows/rows.txt" >"$work/first.txt" # a few steps, so that no accumulator starts at zero everywhere
make_model() {
    "$bin/flenc" compile $config --set "dropout=$2" -o "$work/model.bin" && "$bin/flenrt" train "$work/model.bin" --data "$work/first.txt" --epochs 1 --quiet -o "$work/$1"
}
make_model start.bin 0 && make_model bench.bin 0.2 || stop "no model to measure"
for stage in forward optimised; do
    "$bin/flenc" export "$work/start.bin" --stage=$stage --quiet -o "$work/$stage.onnx" || exit 1
done

if [ -n "$start" ]; then
    have onnxruntime && with=$python || with=
    $ahead "$base" tests/bench/start.py "$bin" "$work" "$work/start" $with || exit 1
    rm -f "$work/start.bin" "$work/bench.bin" "$work/model.bin" "$work/forward.onnx" "$work/optimised.onnx"
    cat "$work/start.md"
    exit 0
fi
$ahead $python tests/bench/rounds.py "$bin" "$work" "$work/results.json" $quick $rounds "$@" >&2
status=$?
[ $status = 0 ] || say "a check failed or the measuring ended early"
[ -f "$work/results.json" ] && [ "$work/results.json" -nt "$work/optimised.onnx" ] || exit 1
$python tests/bench/report.py "$work/results.json" "$work/results.md" "$work/results.html" || exit 1
[ -z "$json" ] || cp "$work/results.json" "$json" || exit 1
rm -f "$work/start.bin" "$work/bench.bin" "$work/model.bin" "$work/forward.onnx" "$work/optimised.onnx"
cat "$work/results.md"
say "also written: build/bench/results.json, results.md, results.html"
exit $status
