"""worker.py - diffusers' side of one case, in a process of its own so that its peak memory is its own.

Reads one command a line on stdin and answers one JSON line: `run N` times N runs; `check FILE` compares our
output with the reference. All settings are torch's best on a CPU: inference mode, all the cores that we get,
oneDNN on, eager (what diffusers does by itself).
"""

import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import cases  # noqa: E402

F32_ALLOWED = {"denoise": 1e-4}     # 20 evaluations add up; one stage is held to 1e-5 of the largest value
STAGE_ALLOWED = 1e-5


def say(thing):
    print(json.dumps(thing), flush=True)


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(case, model, x, count):
    seconds, cpu_seconds = [], []
    for _ in range(count):
        began, cpu_began = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            case.theirs(model, x)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    say({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes()})


def distance(a, b):
    if a.shape != b.shape:
        return float("inf")
    worst = float((a.double() - b.double()).abs().max())
    return worst / max(float(b.double().abs().max()), 1e-30)


def check(case, model, x, path):
    """bf16 may differ by twice the reference's own distance between bf16 and f32 on the same stored weights."""
    got, want = load_file(path), case.theirs(model, x)
    exact = case.theirs(case.load("f32"), x) if case.dtype == "bf16" else None
    worst, wrong = 0.0, 0
    for name, ref in want.items():
        allowed = F32_ALLOWED.get(case.stage, STAGE_ALLOWED) if exact is None else 2.0 * distance(ref, exact[name])
        far = distance(got[name], ref) if name in got else float("inf")
        worst = max(worst, far)
        wrong += not far <= allowed         # NaN is wrong
    say({"worst": worst, "wrong": wrong})


def serve(case, path):
    model = case.load()
    x = case.inputs(model)
    save_file({k: v.contiguous().clone() for k, v in x.items()}, path)
    products, attention = cases.flops(case, model, x)
    say({"flags": case.flags(), "product_flops": products, "attention_flops": attention,
         "rows": int(x["position_ids"].shape[0]) if case.stage == "dit" else 0})
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "run":
            run(case, model, x, int(rest[0]))
        elif verb == "check":
            check(case, model, x, rest[0])


def versions():
    import diffusers
    import transformers
    return {"torch": torch.__version__, "diffusers": diffusers.__version__, "transformers": transformers.__version__}


def main():
    work, groups, threads, which, path = sys.argv[1:6]
    torch.set_num_threads(int(threads))
    found = cases.all_cases(work, groups.split(","))
    if which == "list":
        say({"cases": [{"name": c.name, "stage": c.stage, "dtype": c.dtype} for c in found], "versions": versions()})
        return
    with torch.inference_mode():
        serve(found[int(which)], path)


if __name__ == "__main__":
    main()
