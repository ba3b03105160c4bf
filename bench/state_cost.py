#!/usr/bin/env python3
"""state_cost.py - what it costs to keep a step, in one run in which steps with and without take turns.

    state_cost.py --binary build/release/longtake [--steps N] [--ranks N] [-- RENDER'S OPTIONS]

A render of the demo keeps every fourth step and ends behind its latents. RUN/events.ndjson has the end of each step by a
clock that never jumps. Of four neighbouring steps one is copied at its end, the next runs beside the writing, and two do
neither: the pair's difference is what keeping one step takes. What else the machine does hits both sides alike, and more of
it only widens the interval: the median of the differences and its 95 % interval by order statistics (exact whatever the
noise is, if pairs are independent), as a share of a step, as if every step were kept.

Beside the wall: processor time of the threads that write and sync ("lt-states", "lt-sync"), of all ranks, a step that was
kept, as a share of all threads' a step. Copying, on the main thread, is not in it. Syncs are, once a second at most, so where
steps are short this says more than it costs to keep each. It is read every 50 ms: what the last steps took may be missing.

verdict: `under` or `over` 3 % if the whole interval is, else `open`: the machine was too busy to tell. Steps that were
skipped are counted. A row is wrong (exit status 1) if a step that was to be kept neither counted nor was said to be skipped.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

EVERY = 4
LIMIT_PERCENT = 3.0


def read_events(run):
    with open(os.path.join(run, "events.ndjson"), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_text(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:  # it has just ended
        return ""


def ranks_of(launcher):
    """Process numbers of the launcher and all below it."""
    known, found = {}, [launcher]
    for name in os.listdir("/proc"):
        if name.isdigit():
            text = read_text(f"/proc/{name}/stat")
            if text:
                known.setdefault(int(text.rsplit(")", 1)[1].split()[1]), []).append(int(name))
    for process in found:
        found.extend(known.get(process, []))
    return found


def sample_threads(launcher, seen):
    """seen: {thread number: (its name, nanoseconds of processor time)}."""
    for process in ranks_of(launcher):
        if not read_text(f"/proc/{process}/comm").startswith("longtake"):
            continue
        try:
            threads = os.listdir(f"/proc/{process}/task")
        except OSError:
            continue
        for thread in threads:
            spent = read_text(f"/proc/{process}/task/{thread}/schedstat").split()
            if spent:
                seen[int(thread)] = (read_text(f"/proc/{process}/task/{thread}/comm").strip(), int(spent[0]))


def render(args, run):
    """The processor time of the denoising: {thread number: (name, nanoseconds)}."""
    words = [args.binary, "render", "-p", "A blue glass ball drops on a stone floor.", "-q", "--steps", str(args.steps + 1),
             "--checkpoint-every", str(EVERY), "-o", run[:-4] + ".mp4", *args.options]
    if args.ranks > 1:
        words = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(args.ranks), *words]
    seen = {}
    with tempfile.TemporaryFile("w+") as said:
        # the fault ends it before the first clip is decoded: exit code 69
        with subprocess.Popen(words, env={**os.environ, "LONGTAKE_FAULT": "0:-2:error"}, stderr=said) as job:
            while job.poll() is None:
                sample_threads(job.pid, seen)
                time.sleep(0.05)
        said.seek(0)
        if not os.path.exists(os.path.join(run, "latents.h5")):
            sys.exit(f"state_cost: {' '.join(words)}: exit code {job.returncode}: {said.read()}")
    return seen


def interval(values):
    """The median and its 95 % interval: order statistics, by the binomial's normal form."""
    values = sorted(values)
    n = len(values)
    reach = 1.96 * math.sqrt(n) / 2
    low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
    return statistics.median(values), values[low], values[high]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--steps", type=int, default=800, help="evaluations, a fourth of which are kept")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    if args.steps < 40:
        sys.exit("state_cost: --steps: want 40 or more")
    with tempfile.TemporaryDirectory(prefix="longtake-state-") as folder:
        run = os.path.join(folder, "film.run")
        threads = render(args, run)
        events = read_events(run)
    ends = {e["done"]: e["seconds"] for e in events if e["event"] == "step" and e["stage"] == "denoise"}
    counted = {e["step"]: e["seconds"] for e in events if e["event"] == "commit"}
    states = [e for e in events if e["event"] == "states"][0]
    due = [k for k in ends if k % EVERY == 0 or k == args.steps]
    missing = len(due) - states["committed"] - states["skipped"] - states["failed"]
    took = {k: ends[k] - ends[k - 1] for k in ends if k - 1 in ends}
    differences, late = [], 0
    for k in range(2 * EVERY, args.steps - 2, EVERY):  # the first steps are not warm
        if k not in counted:
            continue
        late += counted[k] > ends[k + 1]  # written beside more than one step: the cost is more than this shows
        differences.append(took[k] + took[k + 1] - took[k + 2] - took[k + 3])
    if len(differences) < 2:
        sys.exit(f"state_cost: want pairs of steps with and without, found {len(differences)}: {states}")
    step = statistics.median(took[k] for k in took if k % EVERY in (2, 3))
    share, low, high = (100 * x / step for x in interval(differences))
    verdict = "under" if high < LIMIT_PERCENT else "over" if low > LIMIT_PERCENT else "open"
    writes = sum(spent for name, spent in threads.values() if name in ("lt-states", "lt-sync"))
    cpu_step = sum(spent for _, spent in threads.values()) / args.steps
    cpu_kept = writes / max(1, states["committed"])
    print("steps,ranks,load,pairs,step_ms,cost_ms,share_percent,share_low,share_high,verdict,cpu_step_ms,cpu_kept_ms,"
          "cpu_share_percent,committed,durable,skipped,failed,late,wrong")
    print(f"{args.steps},{args.ranks},{os.getloadavg()[0]:.1f},{len(differences)},{1e3 * step:.2f},{10 * step * share:.3f},"
          f"{share:.2f},{low:.2f},{high:.2f},{verdict},{cpu_step / 1e6:.2f},{cpu_kept / 1e6:.3f},"
          f"{100 * cpu_kept / cpu_step:.2f},{states['committed']},{states['durable']},{states['skipped']},{states['failed']},"
          f"{late},{abs(missing)}")
    return missing != 0


if __name__ == "__main__":
    sys.exit(main())
