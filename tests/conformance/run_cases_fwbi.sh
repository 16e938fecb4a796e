#!/bin/sh
# The field-wise bi-interaction alone, its variants, losses and counters, in double precision and on native code.
bin=$1
. tests/conformance/cases.sh
cases cases/fwbi_cases.json --backend=interp
cases cases/fwbi_cases.json --backend=native
