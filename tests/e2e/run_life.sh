#!/bin/sh
# The life of a model: raw rows to predictions; train, save, map and predict give the bits that memory held.
. tests/e2e/common.sh

run 0 generate "$bin/flenrt" generate --rows 20000 --ids 1500 -o "$dir/rows.csv" || finish
for network in lr fm fwfm flen; do
    run 0 compile "$bin/flenc" compile models/$network/config.yaml --quiet -o "$dir/model.bin" || finish
    run 0 prepare "$bin/flenrt" prepare "$dir/model.bin" "$dir/rows.csv" -o "$dir/$network" --valid-tail 2000 || finish
    d=$dir/$network
    run 0 train "$bin/flenrt" train "$d/model.bin" --data "$d/train" --valid "$d/valid" --epochs 2 --json -o "$dir/trained.bin" || finish
    run 0 infer "$bin/flenrt" infer "$dir/trained.bin" --data "$d/valid" --json || finish
    check "$(number "$dir/infer.out" auc)" '>' 0.55 "$network: AUC on held-out rows"
    check "$(number "$dir/infer.out" rows)" = 2000 "$network: rows of infer"
    run 0 interp "$bin/flenrt" infer "$dir/trained.bin" --data "$d/valid" --json --backend=interp &&
        check "$(awk -v a="$(number "$dir/infer.out" logloss)" -v b="$(number "$dir/interp.out" logloss)" 'BEGIN { d = a - b; print d < 0 ? -d : d }')" '<' 1e-5 \
            "$network: logloss of native code and interpreter"
    # Raw rows with values never seen, without a label.
    { printf 'id,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21\n'
      printf '1,14103001,x,y,z,q,w,e,r,t,y,u,i,o,p,1,2,3,4,5,6,7,8\n'; } >"$dir/unseen.csv"
    run 0 predict "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/unseen.csv" &&
        [ "$(wc -l <"$dir/predict.out")" = 2 ] || fail "$network: predict prints a header and a line"
    head -200 "$dir/rows.csv" >"$dir/some.csv"
    run 0 p1 "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/some.csv" --threads 1 --logit &&
        run 0 p2 "$bin/flenrt" predict "$dir/trained.bin" --data "$dir/some.csv" --threads 2 --batch 7 --logit &&
        { cmp "$dir/p1.out" "$dir/p2.out" || fail "$network: batches and threads change a prediction"; }
    run 0 info "$bin/flenrt" info "$dir/trained.bin" --json
done

# What was exported compiles again: the same bits, on 2 rows of 23 ids.
run 0 export "$bin/flenc" export "$dir/trained.bin" --quiet -o "$dir/exported.onnx" && run 0 again "$bin/flenc" compile "$dir/exported.onnx" --quiet -o "$dir/again.bin" || finish
mkdir "$dir/in"
{ printf '\223NUMPY\001\000\166\000'
  printf '%-117s\n' "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 23), }"
  for k in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do printf "\\$(printf %03o $k)\\000\\000\\000\\000\\000\\000\\000"; done
  head -c 184 /dev/zero; } >"$dir/in/ids.npy"
for model in trained again; do
    run 0 eval "$bin/flenrt" eval "$dir/$model.bin" --in "$dir/in" --out "$dir/$model" --quiet || finish
done
cmp "$dir/trained/logit.npy" "$dir/again/logit.npy" || fail "a compiled export gives other logits"
finish
