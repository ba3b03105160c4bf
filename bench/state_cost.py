#!/usr/bin/env python3
"""state_cost.py - what it costs to keep a step, in one run in which steps with and without take turns.

    state_cost.py --binary build/release/longtake [--steps N] [--every N] [--ranks N] [-- RENDER'S OPTIONS]

A render of the demo keeps every N-th step (default 4) and ends behind its latents. RUN/events.ndjson has the end of each
step by a clock that never jumps. Of N neighbouring steps one is copied at its end, the next runs beside the writing, and
the others do neither: they are the measure. Medians of each kind: what else the machine does hits all of them. The cost of
keeping a step is what the copied one and those beside the writing take more; its share is of one step's time, as if every
step were kept. A row is wrong (exit status 1) if a step that was to be kept neither counted nor was said to be skipped.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile


def read_events(run):
    with open(os.path.join(run, "events.ndjson"), encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def render(args, run):
    words = [args.binary, "render", "-p", "A blue glass ball drops on a stone floor.", "-q", "--steps", str(args.steps + 1),
             "--checkpoint-every", str(args.every), "-o", run[:-4] + ".mp4", *args.options]
    if args.ranks > 1:
        words = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(args.ranks), *words]
    # the fault ends it before the first clip is decoded: exit code 69
    done = subprocess.run(words, env={**os.environ, "LONGTAKE_FAULT": "0:-2:error"}, stderr=subprocess.PIPE, text=True,
                          check=False)
    if not os.path.exists(os.path.join(run, "latents.h5")):
        sys.exit(f"state_cost: {' '.join(words)}: exit code {done.returncode}: {done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("options", nargs="*")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="longtake-state-") as folder:
        run = os.path.join(folder, "film.run")
        render(args, run)
        events = read_events(run)
    ends = {e["done"]: e["seconds"] for e in events if e["event"] == "step" and e["stage"] == "denoise"}
    counted = {e["step"]: e["seconds"] for e in events if e["event"] == "commit"}
    states = [e for e in events if e["event"] == "states"][0]
    due = [k for k in ends if k % args.every == 0 or k == args.steps]
    missing = len(due) - states["committed"] - states["skipped"] - states["failed"]
    kinds = {"copied": [], "beside": [], "neither": []}
    for k in range(3, args.steps):
        before = [s for s in counted if s < k and counted[s] > ends[k - 1]]   # on its way while this step ran
        kind = "copied" if k in counted else "beside" if before else "neither"
        kinds[kind].append(ends[k] - ends[k - 1])
    median = {kind: statistics.median(times) if times else float("nan") for kind, times in kinds.items()}
    each = len(kinds["beside"]) / max(1, len(kinds["copied"]))   # steps that a write lasts
    cost = median["copied"] - median["neither"] + each * (median["beside"] - median["neither"])
    print("steps,every,ranks,step_ms,copied_ms,beside_ms,steps_a_write,cost_ms,share_percent,committed,skipped,failed,wrong")
    print(f"{args.steps},{args.every},{args.ranks},{1e3 * median['neither']:.2f},{1e3 * median['copied']:.2f},"
          f"{1e3 * median['beside']:.2f},{each:.2f},{1e3 * cost:.3f},{100 * cost / median['neither']:.2f},"
          f"{states['committed']},{states['skipped']},{states['failed']},{abs(missing)}")
    return missing != 0


if __name__ == "__main__":
    sys.exit(main())
