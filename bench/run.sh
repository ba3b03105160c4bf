#!/usr/bin/env bash
# run.sh - the table of ./dev bench: our kernels against the machine, our stages against diffusers.
#   bench/run.sh [compare.py options]     for instance: bench/run.sh --cases demo --rounds 7
# Makes a Python environment outside the tree the first time (LONGTAKE_BENCH_ENV names another place; one
# that already has torch and diffusers is used as it is). Without it the kernel rows alone are measured.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${LONGTAKE_BENCH_BUILD:-build/release}
env=${LONGTAKE_BENCH_ENV:-$HOME/.cache/longtake/bench-venv}

has_packages() { [ -x "$env/bin/python" ] && "$env/bin/python" -c 'import torch, diffusers, transformers, safetensors' 2>/dev/null; }

make_environment() {
    echo "bench: making $env (torch for the CPU, diffusers, transformers)" >&2
    mkdir -p "$(dirname "$env")"
    python3 -m venv "$env" && "$env/bin/pip" install --quiet torch --index-url "${LONGTAKE_BENCH_TORCH:-https://download.pytorch.org/whl/cpu}" ||
        "$env/bin/pip" install --quiet torch || return 1
    "$env/bin/pip" install --quiet diffusers==0.42.1 transformers==5.23.0 safetensors numpy pillow accelerate
}

cmake --build "$build" --target bench_kernels longtake >/dev/null
kernels=$(find "$build" -name bench_kernels -type f -perm -u+x | head -1)
if ! has_packages && ! make_environment; then
    echo "bench: no Python environment in $env: kernel rows alone, nothing is compared" >&2
    exec "$kernels"
fi
exec "$env/bin/python" bench/compare.py --binary "$build/longtake" --kernels "$kernels" "$@"
