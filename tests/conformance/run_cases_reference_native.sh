#!/bin/sh
# Whole models against the reference on native code: single precision, within the cases' float32 tolerances.
bin=$1
. tests/conformance/cases.sh
cases cases/reference --backend=native
