#!/bin/sh
# Pages and pictures in a browser: flenc dump's HTML and SVG and flenrt profile's flame view draw what they should, without an error on the console. Skipped
# where no Chromium is installed.
. tests/support/shell.sh
for browser in chromium chromium-browser google-chrome ""; do
    [ -n "$browser" ] && command -v "$browser" >/dev/null && break
done
[ -n "$browser" ] || { echo "skipped: no Chromium (chromium, chromium-browser, google-chrome)"; exit 77; }

browse() {
    timeout 100 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$dir/user" --virtual-time-budget=2000 \
        --enable-logging=stderr --v=0 --dump-dom "file://$1" >"$dir/dom" 2>"$dir/log"
}

# look PAGE: the document as it is after its scripts have run, into $dir/dom; fails on any word of a script on the console.
look() {
    page=$1
    browse "$1" || fail "$1: $browser ended with $?"
    [ -s "$dir/dom" ] || { fail "$1: nothing was drawn"; tail -3 "$dir/log"; }
    if grep CONSOLE "$dir/log"; then
        fail "$1 writes to the console"
    fi
}
# has PATTERN: in the document.
has() {
    grep -qE -- "$1" "$dir/dom" || fail "$page lacks $1"
}
# check PAGE: the page with the script of standard input behind its own, whose check(what, holds) says what a person's clicks must lead to.
check() {
    sed 's|</body></html>||' "$1" >"$1.checked.html"
    {
        cat <<'END'
<script>
const report = [], check = (what, holds) => report.push((holds ? 'good: ' : 'WRONG: ') + what);
const drawn = text => [...document.querySelectorAll('.unit')].filter(u => u.textContent.includes(text));
const click = e => e.dispatchEvent(new MouseEvent('click', {bubbles: true}));
END
        cat
        cat <<'END'
document.body.insertAdjacentHTML('beforeend', '<pre id="report"></pre>');
document.getElementById('report').textContent = report.join('\n') + '\nend of report';
</script></body></html>
END
    } >>"$1.checked.html"
    look "$1.checked.html"
    has '^end of report</pre>'
    if grep -E '(^|>)WRONG: ' "$dir/dom"; then
        fail "$1"
    fi
}
# Shared by both pages of graphs: no box covers another unless it holds it.
overlaps='const overlaps = () => { const r = [...document.querySelectorAll("#picture > .unit > rect")].map(e => e.getBBox());
  const inside = (a, b) => a.x >= b.x && a.x + a.width <= b.x + b.width && a.y >= b.y && a.y + a.height <= b.y + b.height;
  const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
  return r.reduce((n, a, i) => n + r.filter((b, k) => k > i && meet(a, b) && !inside(a, b) && !inside(b, a)).length, 0); };'

# A browser that cannot start here (no memory, no sandbox) says nothing about our pages.
printf '<!DOCTYPE html><html><body><p id="p"></p><script>document.getElementById("p").textContent = "drawn " + 6 * 7; console.log("told");</script></body></html>' >"$dir/try.html"
browse "$dir/try.html"
grep -q 'drawn 42' "$dir/dom" && grep -q 'CONSOLE.*told' "$dir/log" || { echo "skipped: $browser does not run here"; exit 77; }

# The graph: fields and their interaction in columns, all nodes drawn; folded to boxes.
"$bin/flenc" dump models/flen/config.yaml --stage=forward --format=html -o "$dir/forward.html" || fail "dump --format=html"
check "$dir/forward.html" <<END
$overlaps
const text = () => document.getElementById('picture').textContent;
['field user', 'field item', 'interaction of fields', 'mlp.0', 'ReduceSum', 'pair_2', '[batch,13,8]'].forEach(w => check('shows ' + w, text().includes(w)));
G.nodes.filter(n => !inlined(n)).forEach(n => check('draws ' + n.outputs[0], drawn(n.outputs[0]).length > 0));
check('no box covers another', overlaps() === 0);
click(drawn('interaction of fields')[0]);
check('a click folds a column', text().includes('\u25b8 interaction of fields') && !text().includes('pair_2'));
click(drawn('interaction of fields')[0]);
check('and unfolds it', text().includes('\u25be interaction of fields') && text().includes('pair_2'));
document.getElementById('fold').click();
check('fold all', !text().includes('pair_2') && !text().includes('mlp.0.product') && overlaps() === 0);
const find = document.getElementById('find');
document.getElementById('unfold').click();
find.value = 'Pair_2'; find.dispatchEvent(new Event('input'));
check('finds', document.querySelectorAll('rect[stroke="#d00"]').length === 1);
END

# A function's body inside of its node; what the options show.
"$bin/flenc" dump models/flen/config.yaml --stage=optimised --format=html --cost -o "$dir/optimised.html" || fail "dump --format=html --cost"
check "$dir/optimised.html" <<END
$overlaps
const bodies_shown = () => document.querySelectorAll('.body').length, text = () => document.getElementById('picture').textContent;
check('no body before anyone asks', bodies_shown() === 0 && drawn('EmbeddingInteraction').length === 1 && drawn('FieldInteraction').length === 0);
check('costs', /[0-9] FLOP, /.test(text()));
click(drawn('EmbeddingInteraction')[0]);
check('a click shows the function that the graph has', bodies_shown() === 1 && drawn('FieldInteraction').length === 2 && overlaps() === 0);
const innermost = text => drawn(text).at(-1);
click(innermost('FieldInteraction'));
check('a click shows the body in it', bodies_shown() === 2 && drawn('\u25be FieldInteraction').length === 2 && text().includes('second_order'));
check('and its function', document.getElementById('detail').textContent.includes('FieldInteraction_3'));
check('the body lies inside', drawn('second_order').some(u => u.closest('.body') && u.parentElement.closest('.unit').textContent.includes('FieldInteraction')));
check('no box covers another', overlaps() === 0);
click(innermost('\u25be FieldInteraction'));
check('a second click folds it', bodies_shown() === 1);
click(innermost('\u25be EmbeddingInteraction'));
check('and the function', bodies_shown() === 0);
const bodies_of = g => g.nodes.reduce((n, x) => n + (x.body ? 1 + bodies_of(x.body) : 0), 0);
document.getElementById('unfold').click();
check('unfold all', bodies_shown() === bodies_of(G) && bodies_shown() >= 7 && overlaps() === 0);
document.getElementById('fold').click();
document.getElementById('cost').click();
check('costs go', !text().includes('FLOP'));
check('weights', text().includes('fwbi.r_mf'));
document.getElementById('weights').click();
check('weights go', !text().includes('fwbi.r_mf'));
END

# The training program of hundreds of nodes, and segments.
for stage in train scheduled; do
    "$bin/flenc" dump models/flen/config.yaml --stage=$stage --program=train --format=html -o "$dir/$stage.html" || fail "dump --stage=$stage --format=html"
    check "$dir/$stage.html" <<END
$overlaps
check('boxes', document.querySelectorAll('.title').length >= 5);
check('no box covers another', overlaps() === 0);
END
done

if command -v dot >/dev/null; then
    "$bin/flenc" dump models/flen/config.yaml --stage=forward --format=svg -o "$dir/forward.svg" || fail "dump --format=svg"
    look "$dir/forward.svg"
    has 'interaction of fields'
fi

# The flame view: boxes for all segments, by width; a click shows one at full width, a word is found.
"$bin/flenrt" generate --rows 2000 --ids 1000 --seed 7 --quiet -o "$dir/rows.csv" && "$bin/flenc" compile models/flen/config.yaml -o "$dir/fresh.bin" --quiet &&
    "$bin/flenrt" prepare "$dir/fresh.bin" "$dir/rows.csv" -o "$dir/data" --quiet &&
    "$bin/flenrt" profile "$dir/data/model.bin" --train --batch 256 --steps 3 --threads 1 --quiet -o "$dir" >/dev/null || fail "profile"
check "$dir/train.flame.html" <<END
const boxes = start => [...document.querySelectorAll('.box')].filter(b => b.title.startsWith(start));
const width = b => parseFloat(b.style.width);
check('the step is as wide as all', boxes('train step').length === 1 && width(boxes('train step')[0]) === 100);
check('segments', boxes('train_').length >= 5);
const second = [...document.querySelectorAll('.box')].filter(b => b.style.top === '27px').reduce((s, b) => s + width(b), 0);
check('what is in the step fills it: ' + second, second > 98 && second <= 100.001);
check('words in boxes', document.getElementById('flame').textContent.includes('train_0 \u00b7 '));
click(boxes('train_0')[0]);
check('a click widens', width(boxes('train_0')[0]) === 100 && boxes('train step')[0].className === 'box above' && boxes('train_5').length === 0);
check('and tells', document.getElementById('detail').textContent.includes('train_0'));
document.getElementById('all').click();
check('show all', boxes('train_5').length === 1);
const find = document.getElementById('find');
find.value = 'uniquerows'; find.dispatchEvent(new Event('input'));
check('finds', document.querySelectorAll('.found').length === 1 && /^found: [0-9.]+ [nmu]s, [0-9.]+ %\$/.test(document.getElementById('hits').textContent));
END

[ $failed = 0 ] && echo "all as expected"
exit $failed
