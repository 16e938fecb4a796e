"""products.py BIN OUT_STEM [--quick] [LIBOPENBLAS] -- products of matrices beside the machine's multiply-adds and OpenBLAS, one thread.

flen-products (tests/support) measures and checks; here OpenBLAS gets each of its kernels that this CPU runs, in a process of its own, and of these the fastest for the product
counts. Ratios are of one process, in which both alternated. Prints a table; writes OUT_STEM.json and .md.
"""
import json
import os
import subprocess
import sys

KERNELS = ["", "Haswell", "SkylakeX", "Cooperlake", "SapphireRapids", "Zen"]  # "": what OpenBLAS chooses


def measure(program, seconds, library, kernel):
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"} | ({"OPENBLAS_CORETYPE": kernel} if kernel else {})
    done = subprocess.run([program, f"--seconds={seconds}"] + ([f"--openblas={library}"] if library else []), capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return [json.loads(line) for line in done.stdout.splitlines()]


def best(runs):
    """Each product's line with the fastest OpenBLAS; our figure and the peak are the best of all runs."""
    lines = []
    for same in zip(*runs):
        line = dict(max(same, key=lambda r: r.get("openblas", 0)))
        line["gflops"], line["peak"] = max(r["gflops"] for r in same), max(r["peak"] for r in same)
        line["share"] = line["gflops"] / line["peak"]
        lines.append(line)
    return lines


def markdown(lines, library):
    out = ["| product | batch | rows x columns x terms | GFLOP/s | of the peak |" + (" OpenBLAS | its kernel | ours / its |" if library else ""),
           "|---|--:|---|--:|--:|" + ("--:|---|--:|" if library else "")]
    for r in lines:
        cells = [r["product"], r["batch"], f"{r['m']} x {r['n']} x {r['k']}", f"{r['gflops']:.0f}", f"{100 * r['share']:.0f} %"]
        cells += [f"{r['openblas']:.0f}", r["kernel"], f"{r['ratio']:.2f}"] if library else []
        out.append("| " + " | ".join(map(str, cells)) + " |")
    slow, behind = [r for r in lines if r["share"] < 0.9], [r for r in lines if r.get("ratio", 1) < 1]
    out += ["", f"Peak: {max(r['peak'] for r in lines):.0f} GFLOP/s, bare multiply-adds measured before each product. Below 90 % of it: {len(slow)} of {len(lines)}"
            + (f"; slower than OpenBLAS: {len(behind)}." if library else ".")]
    return "\n".join(out) + "\n"


def main():
    program, stem = os.path.join(sys.argv[1], "flen-products"), sys.argv[2]
    quick = "--quick" in sys.argv
    library = next((a for a in sys.argv[3:] if a != "--quick"), None)
    runs = []
    for kernel in KERNELS[:1] if quick or not library else KERNELS:
        try:
            run = measure(program, 0.1 if quick else 0.3, library, kernel)
        except RuntimeError as e:
            if not runs:
                raise
            print(f"products: OpenBLAS' kernel {kernel} is left out: {e}", file=sys.stderr)
            continue
        if not any(run[0].get("kernel") == r[0].get("kernel") for r in runs):  # a kernel that it lacks or the CPU cannot run: it took another
            runs.append(run)
    lines = best(runs)
    with open(stem + ".json", "w", encoding="utf-8") as file:
        json.dump(lines, file, indent=1)
    with open(stem + ".md", "w", encoding="utf-8") as file:
        file.write(markdown(lines, library))
    print(markdown(lines, library), end="")


if __name__ == "__main__":
    try:
        main()
    except RuntimeError as e:
        sys.exit(f"products: {e}")
