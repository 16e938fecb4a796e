#!/bin/sh
# sh tests/e2e/run_system_calls.sh BIN_DIR -- 1,000 training steps, predictions and folded predictions once warm, one thread, rows in memory, no log: not one
# system call. unit/test_quiet_steps.c runs them between marks (and counts allocations); strace counts here.
. tests/support/shell.sh
program=$bin/../tests/test_quiet_steps
[ -x "$program" ] || { echo "skipped: this build has no test_quiet_steps (sanitizers bring an allocator of their own)"; exit 77; }
command -v strace >/dev/null || { echo "skipped: strace is missing"; exit 77; }
strace -f -o "$dir/true" true 2>/dev/null || { echo "skipped: strace may not trace here"; exit 77; }
FLEN_CODEGEN=$bin/flen_codegen.so FLEN_CACHE_DIR=$dir/cache
export FLEN_CODEGEN FLEN_CACHE_DIR

timeout 300 strace -f -o "$dir/calls" "$program" >"$dir/out" 2>&1 || { cat "$dir/out"; exit 1; }
awk '
    /write\(-1, "end / { inside = 0; n_ends++ }
    inside { n_calls++; print "a system call within 1,000 runs of " name ": " $0 }
    /write\(-1, "begin / { inside = 1; n_begins++; name = $0; sub(/.*begin /, "", name); sub(/".*/, "", name) }
    END {
        if (n_begins != 3 || n_ends != 3) print "expected 3 runs between marks, found " n_begins + 0
        else print n_begins " times 1,000 runs, " n_calls + 0 " system calls"
        exit n_calls > 0 || n_begins != 3 || n_ends != 3
    }' "$dir/calls"
