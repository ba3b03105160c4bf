#!/usr/bin/env python3
"""compare.py - Longtake against diffusers, stage by stage, on the same cores in the same minutes.

    compare.py --binary build/release/longtake [--cases demo,mid] [--only dit,text] [--rounds 5] [--results DIR]

Both programs compute the same tensors from the same checkpoint. They take turns (ours, theirs, ours, ...), so
that what else the machine does hits both; the ratio is the median of the rounds' ratios. Loading is left out
on both sides. Ours is a fresh process each round (`longtake probe --repeat`), theirs one process a case. This
program imports nothing heavy: a child's peak memory counts its parent's until it has started.
"""

import argparse
import csv
import datetime
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = ("case", "dtype", "ours_ms", "diffusers_ms", "ratio", "ratio_low", "ratio_high", "worst_of_max", "wrong",
           "peak_share", "ours_peak_mb", "diffusers_peak_mb", "rounds")
ROUND_SECONDS = 1.5     # a side's share of a round; short stages are repeated to fill it


class Worker:
    """diffusers' side of one case."""

    def __init__(self, args, which, path="-"):
        command = [sys.executable, os.path.join(HERE, "worker.py"), args.work, args.cases, str(args.threads), str(which), path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the diffusers side ended with {self.process.wait()}")
        return json.loads(line)

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def probe(args, stage, flags, base, repeat):
    """One `longtake probe`: its answer, and the CPU seconds that the whole process took."""
    command = [args.binary, "probe", stage, "--in", base + ".in.safetensors", "--overwrite",
               "--out", base + ".out.safetensors", "--repeat", str(repeat), "--threads", str(args.threads), "--json", *flags]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout.splitlines()[-1]), used


def ours(args, stage, flags, base, repeat):
    """Seconds of `repeat` runs after one that warms up, and the process's peak memory."""
    answer, used = probe(args, stage, flags, base, repeat + 1)
    if args.cpu_time:       # what more runs cost more: loading cancels out
        return [max(1e-6, (used - probe(args, stage, flags, base, 1)[1]) / repeat)], answer["peak_bytes"][0]
    return answer["seconds"][1:], answer["peak_bytes"][0]


def repeats(seconds):
    return max(1, min(20, int(ROUND_SECONDS / max(seconds, 1e-6))))


def enough(rounds, spent, allowed):
    """Slow cases (torch's bf16 without hardware for it) get three rounds, or one; the table says how many."""
    return (rounds >= 3 and spent > allowed) or (rounds >= 1 and spent > 2 * allowed)


def measure(args, index, case, peak_gflops):
    base = os.path.join(args.work, f"{index:02d}-{case['stage']}-{case['dtype']}")
    worker = Worker(args, index, base + ".in.safetensors")
    facts = worker.first
    clock = "cpu_seconds" if args.cpu_time else "seconds"
    n_theirs = repeats(worker.ask("run", 1)[clock][0])
    n_ours = repeats(ours(args, case["stage"], facts["flags"], base, 1)[0][0])
    ratios, a_all, b_all, a_peak, b_peak = [], [], [], 0, 0
    began = time.time()
    while len(ratios) < args.rounds and not enough(len(ratios), time.time() - began, args.case_seconds):
        seconds, a_peak = ours(args, case["stage"], facts["flags"], base, n_ours)
        theirs = worker.ask("run", n_theirs)
        a, b, b_peak = statistics.median(seconds), statistics.median(theirs[clock]), theirs["peak_bytes"]
        ratios.append(b / a)
        a_all.append(a)
        b_all.append(b)
    found = worker.ask("check", base + ".out.safetensors")
    worker.close()
    work = facts["product_flops"] + facts["attention_flops"]
    share = work / statistics.median(a_all) / 1e9 / peak_gflops if work and peak_gflops else None
    return dict(zip(COLUMNS, (
        case["name"], case["dtype"], 1e3 * statistics.median(a_all), 1e3 * statistics.median(b_all),
        statistics.median(ratios), min(ratios), max(ratios), found["worst"], found["wrong"], share, a_peak / 1e6,
        b_peak / 1e6, len(ratios))))


def film_row(rows, dtype):
    """The whole demo film: text, 20 evaluations, both decoders, one after the other, as medians add up."""
    parts = [r for r in rows if r["case"] in ("demo text", "demo denoise") and r["dtype"] == dtype]
    parts += [r for r in rows if r["case"] in ("demo vae-decode", "demo audio-decode")]
    if len(parts) != 4:
        return None
    a, b = sum(r["ours_ms"] for r in parts), sum(r["diffusers_ms"] for r in parts)
    return {"case": "demo film (sum of its stages)", "dtype": dtype, "ours_ms": a, "diffusers_ms": b, "ratio": b / a,
            "worst_of_max": max(r["worst_of_max"] for r in parts), "wrong": sum(r["wrong"] for r in parts),
            "ours_peak_mb": max(r["ours_peak_mb"] for r in parts),
            "diffusers_peak_mb": max(r["diffusers_peak_mb"] for r in parts), "rounds": parts[0]["rounds"]}


def render_rows(args):
    """`longtake render` of the demo prompt: when the first step was done, and the whole command, mux included."""
    first, whole, peak = [], [], 0
    for i in range(args.rounds):
        out = os.path.join(args.work, f"render{i}.mp4")
        began = time.time()
        process = subprocess.Popen(
            [args.binary, "render", "--model", os.path.join(HERE, "..", "models", "demo"), "--seconds", "3.75", "--seed", "5",
             "--quiet", "--overwrite", "--threads", str(args.threads), "-o", out,
             "-p", "A large red rubber ball drops and bounces on a wooden floor under a sunny sky."])
        events = os.path.join(args.work, f"render{i}.run", "events.ndjson")
        seen = None
        while process.poll() is None:
            if seen is None and os.path.exists(events):
                with open(events, encoding="utf-8") as f:
                    if any('"stage":"denoise","done":1' in line for line in f):
                        seen = time.time() - began
            time.sleep(0.002)
        whole.append(time.time() - began)
        first.append(seen if seen is not None else whole[-1])
        if process.returncode != 0:
            raise RuntimeError(f"render ended with {process.returncode}")
    return [{"case": "demo render: first step done after the command", "dtype": "auto", "ours_ms": 1e3 * statistics.median(first),
             "wrong": 0, "rounds": args.rounds},
            {"case": "demo render: the whole command, file included", "dtype": "auto", "ours_ms": 1e3 * statistics.median(whole),
             "wrong": 0, "rounds": args.rounds}]


def kernel_rows(args):
    """bench_kernels' CSV rows, and the f32 peak that it measured."""
    if not args.kernels:
        return [], 0.0
    done = subprocess.run([args.kernels, "--threads", str(args.threads)], capture_output=True, text=True, timeout=600, check=True)
    rows = list(csv.DictReader(done.stdout.splitlines()))
    peak = [float(r["gflops"]) for r in rows if r["kernel"] == "peak fma f32"]
    return rows, peak[0] if peak else 0.0


def machine(args, versions):
    """What the numbers depend on; no name of the machine."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    cpu = re.search(r"model name\s*:\s*(.*)", text).group(1).strip()
    flags = set(re.search(r"flags\s*:\s*(.*)", text).group(1).split())
    isa = [n for n in ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16") if n in flags]
    with open("/proc/meminfo", encoding="utf-8") as f:
        memory = int(re.search(r"MemTotal:\s*(\d+)", f.read()).group(1)) / 2 ** 20
    version = subprocess.run([args.binary, "--version"], capture_output=True, text=True, check=False).stdout.split("\n")[0]
    return {"cpu": cpu, "cores used": args.threads,
            "clock": "CPU time of one thread" if args.cpu_time else "wall", "isa": " ".join(isa), "memory": f"{memory:.0f} GiB",
            "longtake": version, **versions, "load when started": f"{os.getloadavg()[0]:.1f}",
            "date": datetime.date.today().isoformat()}


def shown(row):
    def number(key, form):
        return form.format(row[key]) if row.get(key) is not None else ""
    return [row["case"], row["dtype"], number("ours_ms", "{:.1f}"), number("diffusers_ms", "{:.1f}"), number("ratio", "{:.2f}"),
            f"{number('ratio_low', '{:.2f}')}-{number('ratio_high', '{:.2f}')}" if "ratio_low" in row else "",
            number("worst_of_max", "{:.1e}"), str(row["wrong"]), number("peak_share", "{:.0%}"),
            number("ours_peak_mb", "{:.0f}"), number("diffusers_peak_mb", "{:.0f}"), str(row["rounds"])]


def markdown(facts, rows, kernels):
    head = ["case", "dtype", "ours ms", "diffusers ms", "ratio", "lowest-highest", "worst/max", "wrong", "of peak", "ours MB", "diffusers MB", "rounds"]
    out = ["# Longtake against diffusers", "", *[f"- {k}: {v}" for k, v in facts.items()], "",
           "Ratio: diffusers' time over ours, median of the rounds; both programs took turns. `worst/max`: largest",
           "difference as a share of the largest value. `of peak`: products and attention over the measured FMA peak.", "",
           "| " + " | ".join(head) + " |", "|" + "---|" * len(head), *["| " + " | ".join(shown(r)) + " |" for r in rows]]
    if kernels:
        names = list(kernels[0])
        out += ["", "## Kernels", "", "| " + " | ".join(names) + " |", "|" + "---|" * len(names),
                *["| " + " | ".join(k[n] for n in names) + " |" for k in kernels]]
    return "\n".join(out) + "\n"


def write_results(args, facts, rows, kernels):
    words = re.sub(r"[^a-z0-9]+", "-", facts["cpu"].lower()).strip("-")
    base = os.path.join(args.results, f"{words}-{facts['date']}" + ("-cpu-time" if args.cpu_time else ""))
    os.makedirs(args.results, exist_ok=True)
    with open(base + ".csv", "w", encoding="utf-8", newline="") as f:
        f.writelines(f"# {k}: {v}\n" for k, v in facts.items())
        table = csv.DictWriter(f, COLUMNS, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)
    if kernels:
        with open(base + "-kernels.csv", "w", encoding="utf-8", newline="") as f:
            table = csv.DictWriter(f, list(kernels[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(kernels)
    with open(base + ".md", "w", encoding="utf-8") as f:
        f.write(markdown(facts, rows, kernels))
    return base


def options():
    ap = argparse.ArgumentParser(description="Time Longtake's stages against diffusers'.")
    ap.add_argument("--binary", required=True)
    ap.add_argument("--kernels", help="the bench_kernels program; without it no share of peak")
    ap.add_argument("--cases", default="demo,mid", help="demo, mid or both")
    ap.add_argument("--only", default="", help="stages, comma separated: text,dit,denoise,vae-decode,audio-decode,render")
    ap.add_argument("--dtypes", default="f32,bf16")
    ap.add_argument("--rounds", type=int, default=5)
    ap.add_argument("--case-seconds", type=float, default=120, help="after this a case stops at three rounds")
    ap.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    ap.add_argument("--cpu-time", action="store_true",
                    help="compare CPU time on one thread: what a machine that others use too can still tell")
    ap.add_argument("--results", default=os.path.join(HERE, "results"), help="folder of the tables; - keeps none")
    ap.add_argument("--work", help="folder for checkpoints and tensors, kept (default: a temporary one)")
    args = ap.parse_args()
    args.binary = os.path.abspath(args.binary)
    if args.cpu_time:
        args.threads = 1
    return args


def bench(args):
    listed = Worker(args, "list")
    listed.close()
    kernels, peak = kernel_rows(args)
    facts = machine(args, listed.first["versions"])
    print("\n".join(f"{k}: {v}" for k, v in facts.items()), flush=True)
    wanted = set(args.only.split(",")) if args.only else None
    rows = []
    for index, case in enumerate(listed.first["cases"]):
        if (wanted and case["stage"] not in wanted) or case["dtype"] not in args.dtypes.split(","):
            continue
        rows.append(measure(args, index, case, peak))
        if args.results != "-":
            write_results(args, facts, rows, kernels)   # an interrupted run keeps what it has
        print("  ".join(shown(rows[-1])), flush=True)
    rows += [r for r in (film_row(rows, d) for d in ("f32", "bf16")) if r]
    if "demo" in args.cases and not args.cpu_time and (not wanted or "render" in wanted):
        rows += render_rows(args)
    print(markdown({}, rows, kernels))
    if args.results != "-":
        print("written:", write_results(args, facts, rows, kernels) + ".md")
    return 1 if any(r["wrong"] for r in rows) else 0


def main():
    args = options()
    if args.work:
        os.makedirs(args.work, exist_ok=True)
        return bench(args)
    with tempfile.TemporaryDirectory() as folder:
        args.work = folder
        return bench(args)


if __name__ == "__main__":
    sys.exit(main())
