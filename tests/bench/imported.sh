#!/bin/sh
# sh tests/bench/imported.sh [--quick] [--models NAME,...] [--rounds N] -- models of PyTorch, here and in ONNX Runtime, side by side at one thread.
#
# Builds, installs PyTorch, onnx and ONNX Runtime into build/bench-venv if they can be had, and calls imported.py, which says what is measured. Prints a table.
# Status 1: answers differ, or a model is slower here.
set -u
case ${1:-} in --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/../.." || exit 1
. tests/bench/setup.sh

make_environment
for package in numpy onnx onnxruntime torch; do
    install $package $package || stop "$package could not be installed: build/bench/pip-$package.log"
done
XDG_CACHE_HOME=$(pwd)/build/bench/cache
export XDG_CACHE_HOME
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
$python tests/bench/imported.py "$bin/flenc" "$bin/flenrt" build/bench/imported "$@"
