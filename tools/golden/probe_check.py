#!/usr/bin/env python3
"""probe_check.py - `longtake probe STAGE` against diffusers, stage by stage, on fresh checkpoints.

    probe_check.py build/release/longtake [--seed N] [--launch "mpirun -n 2"] [--extra "--mesh uly=2"]
                   [--stages dit,text] [--h3-tokenizer DIR] [--keep DIR]

Makes the `alt` checkpoints (sizes that no test has) in f32 and in the released dtypes, runs every stage in
both programs on the same inputs and prints one line a comparison. f32: the largest difference may be 1e-5 of
the largest value. bf16: twice the reference's own distance between bf16 and f32 on the same stored weights.
`to f32` tells how far the answer lies from the reference's f32 one. The exit status is 1 if a line fails.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import golden_net  # noqa: E402
import golden_vae  # noqa: E402
import make  # noqa: E402
import stages  # noqa: E402
import texts  # noqa: E402
from fill import normal  # noqa: E402

F32_ALLOWED = 1e-5      # of the largest value: DESIGN section 9
F64_ALLOWED = 1e-15     # positions: the reference's f64 arithmetic, operation by operation
EXACT = 0.0


class Probe:
    """Runs the program under test; keeps its files in one folder so that a failure can be looked at."""

    def __init__(self, args, work):
        self.command = shlex.split(args.launch) + [os.path.abspath(args.binary), "probe"]
        self.extra = shlex.split(args.extra)
        self.work, self.count = work, 0

    def run(self, stage, flags):
        done = subprocess.run(self.command + [stage] + flags + self.extra, capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            last = done.stderr.strip().splitlines()[-2:]
            raise RuntimeError(f"exit {done.returncode}: " + " / ".join(last))
        return done.stdout

    def tensors(self, stage, folder, inputs, dtype=None, flags=()):
        self.count += 1
        base = os.path.join(self.work, f"{self.count:02d}-{stage}")
        flags = ["--model", folder, "--overwrite", "--out", base + ".out.safetensors", *flags]
        if inputs:
            save_file({k: v.contiguous().clone() for k, v in inputs.items()}, base + ".in.safetensors")
            flags += ["--in", base + ".in.safetensors"]
        if dtype:
            flags += ["--dtype", dtype]
        self.run(stage, flags)
        return load_file(base + ".out.safetensors")


class Table:
    def __init__(self):
        self.failed = 0
        print(f"{'stage':34} {'dtype':5} {'tensor':16} {'worst/max':>10} {'allowed':>10} {'to f32':>10}  ok")

    def row(self, stage, dtype, name, worst, allowed, to_f32=None):
        good = worst <= allowed         # NaN is not
        self.failed += not good
        far = "" if to_f32 is None else f"{to_f32:.3g}"
        print(f"{stage:34} {dtype:5} {name:16} {worst:10.3g} {allowed:10.3g} {far:>10}  {'ok' if good else 'WRONG'}", flush=True)

    def broke(self, stage, dtype, why):
        self.failed += 1
        print(f"{stage:34} {dtype:5} {why}", flush=True)


def distance(a, b):
    """Largest difference as a share of the largest reference value; inf for another shape."""
    if a.shape != b.shape:
        return float("inf")
    if b.numel() == 0:
        return 0.0
    top = float(b.double().abs().max())
    worst = (a.double() - b.double()).abs()
    return float("nan") if not torch.isfinite(worst).all() else float(worst.max()) / max(top, 1e-30)


def compare(table, stage, dtype, got, want, exact=None):
    """`exact` holds the reference's f32 results where `want` is bf16."""
    for name, ref in want.items():
        if name not in got:
            table.broke(stage, dtype, f"no tensor `{name}` in the output (it has {', '.join(sorted(got)) or 'none'})")
        elif exact is None:
            allowed = {torch.float64: F64_ALLOWED, torch.float32: F32_ALLOWED}.get(ref.dtype, EXACT)
            table.row(stage, dtype, name, distance(got[name], ref), allowed)
        else:
            table.row(stage, dtype, name, distance(got[name], ref), 2.0 * distance(ref, exact[name]),
                      distance(got[name], exact[name]))
    for name in sorted(set(got) - set(want)):
        table.broke(stage, dtype, f"tensor `{name}` in the output: outputs are just those named")


def weighted_runs(folders):
    """(folder, dtype, label): f32 of f32 weights, f32 of released dtypes, bf16 of released dtypes."""
    return [(folders["alt"], "f32", ""), (folders["alt-bf16"], "f32", " (bf16 weights)"), (folders["alt-bf16"], "bf16", "")]


def check_net(table, probe, folders, stage, load, cases, reference):
    """Text, DiT and denoise: `cases(config)` gives inputs by name, `reference(model, inputs)` the answer."""
    for folder, dtype, label in weighted_runs(folders):
        model = load(folder, dtype)
        exact_model = load(folder, "f32") if dtype == "bf16" else None
        for name, inputs, flags in cases(model.config):
            title = f"{stage} {name}{label}"
            want = reference(model, inputs)
            exact = reference(exact_model, inputs) if exact_model is not None else None
            try:
                compare(table, title, dtype, probe.tensors(stage, folder, inputs, dtype, flags), want, exact)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
                table.broke(title, dtype, str(e))


def check_dit(table, probe, folders, seed):
    def cases(config):
        for name, case in golden_net.DIT_CASES.items():
            yield name.strip("_") or "plain", golden_net.dit_inputs(config, seed, name, *case[:6]), ()
        yield "long", golden_net.dit_inputs(config, seed, "long", 90, 128, 96, 71, (), (0.1, 0.4)), ()
    check_net(table, probe, folders, "dit", stages.load_dit, cases, stages.dit)


def check_text(table, probe, folders, seed):
    def cases(config):
        for count in (1, 2, 37, 150):
            ids = golden_net.token_ids(seed, f"ids{count}", count, config.text_config.vocab_size)
            yield f"{count} tokens", {"input_ids": ids}, ()
    check_net(table, probe, folders, "text", stages.load_text, cases, lambda m, x: stages.text(m, x["input_ids"]))


def check_denoise(table, probe, folders, seed):
    def cases(config):
        for steps in (2, 5):
            yield f"{steps} points", golden_net.denoise_inputs(config, seed, 39, 64, 96, 19), ("--steps", str(steps))

    def reference(model, inputs, steps):
        shifts = [stages.load_scheduler(folders["alt"], n) for n in ("scheduler", "audio_scheduler")]
        return stages.denoise(model, *shifts, inputs["latents"], inputs["audio_latents"], inputs["encoder_hidden_states"], steps)
    for steps in (2, 5):
        check_net(table, probe, folders, "denoise", stages.load_dit,
                  lambda c, steps=steps: [x for x in cases(c) if x[2][1] == str(steps)],
                  lambda m, x, steps=steps: reference(m, x, steps))


def simple(table, probe, folder, stage, name, inputs, want):
    """A stage that has f32 only."""
    try:
        compare(table, f"{stage} {name}", "f32", probe.tensors(stage, folder, inputs), want)
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
        table.broke(f"{stage} {name}", "f32", str(e))


def check_vae(table, probe, folders, seed):
    model = stages.load_vae(folders["alt"])
    shapes = {n.strip("_") or "plain": s for n, (s, _, _) in golden_vae.DECODE.items()}
    for name, shape in {**shapes, "tall": (12, 34, 2)}.items():
        z = normal(seed, "z" + name, (model.config.latent_channels, *shape))
        simple(table, probe, folders["alt"], "vae-decode", name, {"latents": z}, stages.vae_decode(model, z))
    for name, (frames, height, width, _) in golden_vae.ENCODE.items():
        x = golden_vae.film(seed, "x" + name, frames, height, width)
        simple(table, probe, folders["alt"], "vae-encode", name.strip("_") or "plain", {"sample": x}, stages.vae_encode(model, x))


def check_audio(table, probe, folders, seed):
    model = stages.load_audio_vae(folders["alt"])
    for count in (1, 2, 53, 400):
        z = normal(seed, f"a{count}", (2, model.config.latent_channels, count))
        simple(table, probe, folders["alt"], "audio-decode", f"{count} ticks", {"latents": z}, stages.audio_decode(model, z))
    for batch, count in ((2, 1), (2, model.hop_length), (1, 61 * model.hop_length + 7)):
        x = 0.4 * normal(seed, f"s{count}", (batch, 1, count))
        simple(table, probe, folders["alt"], "audio-encode", f"{batch} x {count}", {"sample": x}, stages.audio_encode(model, x))


def check_layout(table, probe, folders, seed):
    for frames, width, height, rows in ((22, 64, 32, 7), (124, 96, 160, 1), (362, 64, 64, 30), (90, 352, 32, 12)):
        want, _ = stages.layout(frames, width, height, torch.ones(rows, dtype=torch.long))
        title = f"layout {frames} {width}x{height} L={rows}"
        try:
            got = probe.tensors("layout", folders["alt"], {"input_ids": golden_net.token_ids(seed, title, rows, 300)},
                                flags=("--frames", str(frames), "--size", f"{width}x{height}"))
            compare(table, title, "f64", got, want)
        except (RuntimeError, OSError, subprocess.TimeoutExpired) as e:
            table.broke(title, "f64", str(e))


def check_sigmas(table, probe, folders, _seed):
    for steps in (2, 5, 9, 20, 50):
        try:
            got = json.loads(probe.run("sigmas", ["--model", folders["alt"], "--steps", str(steps)]))
            for key, name in (("", "scheduler"), ("audio_", "audio_scheduler")):
                sig, t = stages.sigmas(stages.load_scheduler(folders["alt"], name), steps)
                for field, want in ((key + "sigmas", sig), (key + "timesteps", t)):
                    # torch's linspace is at most one ulp of f32 from the exact fraction
                    worst = distance(torch.tensor(got[field], dtype=torch.float64), torch.tensor(want, dtype=torch.float64))
                    table.row(f"sigmas N={steps}", "f32", field, worst, 2.5e-7)
        except (RuntimeError, KeyError, ValueError, OSError, subprocess.TimeoutExpired) as e:
            table.broke(f"sigmas N={steps}", "f32", repr(e))


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def check_tokens(table, probe, folders, seed):
    from transformers import AutoTokenizer
    for label, folder in (("alt", os.path.join(folders["alt"], "tokenizer")), ("released", folders["h3_tokenizer"])):
        if not folder:
            continue
        tok = AutoTokenizer.from_pretrained(folder)
        lines = [t for _, t in texts.all_texts(1500, seed)]
        path = os.path.join(probe.work, f"texts-{label}.txt")
        with open(path, "w", encoding="utf-8", newline="") as f:
            f.writelines(escape(t) + "\n" for t in lines)
        try:
            got = [json.loads(x) for x in probe.run("tokenize", ["--model", folder, "--text-file", path]).splitlines()]
            want = [tok(t, add_special_tokens=False)["input_ids"] for t in lines]
            wrong = [t for t, a, b in zip(lines, got, want) if a != b]
            table.row(f"tokenize {label}, {len(lines)} texts", "i64", "ids", len(wrong) + abs(len(got) - len(want)), EXACT)
            for t in wrong[:5]:
                print(f"    differs: {t!r}")
        except (RuntimeError, ValueError, OSError, subprocess.TimeoutExpired) as e:
            table.broke(f"tokenize {label}", "i64", str(e))


CHECKS = {"tokenize": check_tokens, "sigmas": check_sigmas, "layout": check_layout, "text": check_text, "dit": check_dit,
          "denoise": check_denoise, "vae": check_vae, "audio": check_audio}


def main():
    ap = argparse.ArgumentParser(description="Compare longtake probe with diffusers on fresh tiny checkpoints.")
    ap.add_argument("binary")
    ap.add_argument("--seed", type=int, default=None, help="default: from the clock, so that every run is a new model")
    ap.add_argument("--launch", default="", help="command put before the binary, as `mpirun -n 2`")
    ap.add_argument("--extra", default="", help="flags added to every probe")
    ap.add_argument("--stages", default=",".join(CHECKS), help="comma separated: " + ", ".join(CHECKS))
    ap.add_argument("--h3-tokenizer", metavar="DIR", help="folder of the released tokenizer")
    ap.add_argument("--keep", metavar="DIR", help="work there and leave all files")
    args = ap.parse_args()
    seed = int(time.time()) % 100000 if args.seed is None else args.seed
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = os.path.abspath(args.keep or temporary)
        folders = {v: os.path.join(work, v) for v in ("alt", "alt-bf16")}
        for variant, folder in folders.items():
            make.write_variant(folder, variant, seed)
        folders["h3_tokenizer"] = args.h3_tokenizer
        print(f"seed {seed}")
        table, probe = Table(), Probe(args, work)
        for name in args.stages.split(","):
            CHECKS[name](table, probe, folders, seed)
    print("all agree" if not table.failed else f"{table.failed} WRONG")
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
