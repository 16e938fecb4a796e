#!/bin/sh
# 2.2 million planted rows: FLEN comes within 0.006 of the best AUC on the last 200,000, plain LR stays at least 0.01 below FLEN; memory stays
# within 1.15 times parameters and optimiser state + 200 MB.
. tests/e2e/common.sh

run 0 generate "$bin/flenrt" generate --rows 2200000 --ids 20000 --seed 1 --json -o "$dir/rows.csv" || finish
bayes=$(number "$dir/generate.out" bayes_auc)
for network in flen lr; do
    run 0 compile "$bin/flenc" compile models/$network/config.yaml --quiet -o "$dir/model.bin" || finish
    run 0 prepare "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/$network" --valid-tail 200000 || finish
    run 0 train "$bin/flenrt" train "$dir/$network/model.bin" --data "$dir/$network/train" --valid "$dir/$network/valid" --quiet -o "$dir/$network.bin" || finish
    run 0 "infer-$network" "$bin/flenrt" infer "$dir/$network.bin" --data "$dir/$network/valid" --json || finish
done
flen=$(number "$dir/infer-flen.out" auc) lr=$(number "$dir/infer-lr.out" auc)
echo "best $bayes, FLEN $flen, LR $lr"
check "$flen" '>' "$(awk -v b="$bayes" 'BEGIN { print b - 0.006 }')" "FLEN's AUC"
check "$lr" '<' "$(awk -v f="$flen" 'BEGIN { print f - 0.01 }')" "LR's AUC"

run 0 compile "$bin/flenc" compile models/bench/flen.yaml --quiet -o "$dir/model.bin" || finish
awk 'BEGIN { split("0 689544 2466448 2474699 2474704 2474708 2477334 2477342 2477351 2477786 2477790 2477858 2478030 2478090 2478330 2478337 2478344 2483081 2490826 2490852 2499404 2499963", first, " ")
    split("device_id device_ip device_model device_type device_conn_type C14 C15 C16 C17 C18 C19 C20 C21 hour C1 banner_pos site_id site_domain site_category app_id app_domain app_category", name, " ")
    for (i = 0; i < 20000; i++) { printf "label:%d", i % 6 == 0; for (s = 1; s <= 22; s++) printf " %s:%d", name[s], first[s] + i % 4; print "" } }' >"$dir/rows.txt"
for from in model trained; do
    run 0 memory /usr/bin/time -f '%M' -o "$dir/kb" "$bin/flenrt" train "$dir/$from.bin" --data "$dir/rows.txt" --epochs 1 --quiet -o "$dir/trained.bin" || break
    check "$(cat "$dir/kb")" '<' $((115 * 640 * 1000 * 1000 / 100 / 1024 + 200 * 1000)) "kilobytes of training from $from.bin"
done
finish
