#!/bin/sh
# The unit tests under valgrind: no invalid access, no leak. Skipped where valgrind is missing or cannot run the machine's instructions.
. tests/support/shell.sh
command -v valgrind >/dev/null || { echo "skipped: valgrind is not installed"; exit 77; }
n=0
for source in tests/unit/test_*.c; do
    name=$(basename "$source" .c)
    t=$bin/../tests/$name
    # It refuses memory by a malloc of its own, which valgrind replaces.
    [ $name = test_out_of_memory ] && continue
    # Generated code uses AVX-512, which valgrind 3.19 does not know: tests that run it stay out; guard pages watch it instead.
    case $name in test_codegen* | test_flenrt | test_native | test_session | test_code_cache | test_threads | test_profile | test_value_dump | test_bench_work | test_body_shapes | test_quiet_steps) continue ;; esac
    n=$((n + 1))
    valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite "$t" >"$dir/log" 2>&1 ||
        { echo "FAIL: $name"; grep '^==' "$dir/log" | head -20; failed=1; }
done
echo "$n unit tests under valgrind"
[ $n -gt 0 ] && exit $failed
exit 1
