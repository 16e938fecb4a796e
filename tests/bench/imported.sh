#!/bin/sh
# sh tests/bench/imported.sh [--quick] [--models NAME,...] [--rounds N] -- models of PyTorch, here and in ONNX Runtime, side by side at one thread.
#
# Builds, installs PyTorch, onnx and ONNX Runtime into build/bench-venv if they can be had, and calls imported.py, which says what is measured. Prints a table.
# Status 1: answers differ, or a model is slower here.
set -u
case ${1:-} in --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/../.." || exit 1
. tests/support/setup.sh

say() { echo "bench: $*" >&2; }
stop() { say "$*"; exit 1; }

base=${FLEN_PYTHON:-python3}
packages=
[ "$base" = python3 ] && packages="python3 python3-venv"
flen_setup $packages || exit 1
mkdir -p build/bench
{ cmake --preset release && cmake --build --preset release; } >build/bench/build.log 2>&1 || { tail -20 build/bench/build.log >&2; stop "the release preset did not build"; }
python=build/bench-venv/bin/python
[ -x $python ] || "$base" -m venv --system-site-packages build/bench-venv >&2 || stop "$base cannot make a virtual environment"
for package in numpy onnx onnxruntime torch; do
    $python -c "import $package" 2>/dev/null && continue
    say "installing $package"
    timeout 1800 $python -m pip install --quiet $package >build/bench/pip-$package.log 2>&1 || stop "$package could not be installed: build/bench/pip-$package.log"
done
XDG_CACHE_HOME=$(pwd)/build/bench/cache
export XDG_CACHE_HOME
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
# Ahead of other work where that is allowed: both alike.
ahead=
[ -n "$(nice -n -9 true 2>&1)" ] || ahead="nice -n -9"
$ahead $python tests/bench/imported.py build/release/bin/flenc build/release/bin/flenrt build/bench/imported "$@"
