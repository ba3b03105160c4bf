#!/usr/bin/env bash
# gpu_smoke.sh - a card's first minutes: does longtake_cuda.so compute on it what it computes on the interpreter, and how fast?
#
# One table: every op against kernels/ref; a film of the demo model against the processor's; linear layers and
# attention as a share of the peak; our attention beside cuDNN's; a row's bits over row counts; tensors of over 2^31
# elements; a ring's hop beside attention at 4, 8 and 32 CTAs, where there are two cards. Under five minutes. Kept in
# bench/results by the card's name. Needs: a tree that is built (cmake --preset cuda && cmake --build --preset cuda), a
# card, 20 GB of its memory for all rows. nvidia-smi, mpirun: where they are.
#   tools/gpu_smoke.sh [BUILD] [--results DIR]      BUILD: build/cuda
#   tools/gpu_smoke.sh [BUILD] --emulated           the same on the interpreter, tiny, nothing timed and nothing kept
# LT_PEAK_TFLOPS: the card's bf16 peak, dense, where the list below does not know it.
# Exit: 0; 1 a row is wrong; 64 usage; 66 not built; 69 no card, no driver.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,13s/^# \{0,1\}//p' tools/gpu_smoke.sh >&2; exit 64; }
build=build/cuda results=bench/results emulated=0
while [ $# -gt 0 ]; do
    case $1 in
    --emulated) emulated=1 ;;
    --results) [ $# -gt 1 ] || usage; results=$2; shift ;;
    -*) usage ;;
    *) build=$1 ;;
    esac
    shift
done
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
began=$SECONDS
build=$(realpath -m "$build")
part=$build/longtake_cuda.so
kernels=(rows norm linear attention media)
for file in longtake longtake_cuda.so tests/gpu_smoke tests/latents_hash "${kernels[@]/#/tests/card_kernels_}"; do
    [ -e "$build/$file" ] || {
        echo "gpu_smoke: no $build/$file: cmake --preset cuda && cmake --build --preset cuda" >&2
        exit 66
    }
done
tiny=() ctas=
if [ $emulated = 1 ]; then
    tiny=(--tiny)
    kernels=(linear media) # the others take their time there, and ctest -L ptx runs them all
    export LD_LIBRARY_PATH="$build/tests/emu:$build/tests/emu_cudnn:$build/tests/shim_driver" LT_EMU_MEMORY=4000
    export LT_EMU_DEVICES="${LT_EMU_DEVICES:-2}"
fi
there=$(mktemp -d)
trap 'rm -rf "$there"' EXIT
rows=$there/rows
"$build/tests/gpu_smoke" "$part" device >"$there/device" 2>"$there/why" || {
    echo "gpu_smoke: no card to run on: $(sed 's/^gpu_smoke: //' "$there/why" | tail -1)" >&2
    exit 69
}
card=$(cut -f2 "$there/device") cards=$(cut -f3 "$there/device" | cut -d: -f1)
row() { printf '%s\t%s\t%s\t%s\n' "$@" | tee -a "$rows" >/dev/null; }
cat "$there/device" >>"$rows"
if command -v nvidia-smi >/dev/null && [ $emulated = 0 ]; then
    row driver "$(nvidia-smi --query-gpu=driver_version,clocks.max.sm,power.limit --format=csv,noheader | head -1)" "" ok
fi

# Dense bf16 with f32 sums, TFLOP/s, of data sheets; a card that is not in it has no share.
peak=${LT_PEAK_TFLOPS:-}
if [ -z "$peak" ]; then
    case $card in
    *A100*) peak=312 ;; *A30*) peak=165 ;; *L40S*) peak=362 ;; *"RTX 4090"*) peak=165 ;;
    *"H100 PCIe"*) peak=756 ;; *H100* | *H200* | *GH200*) peak=989 ;;
    *GB200*) peak=2500 ;; *B200*) peak=2250 ;; *"RTX 5090"*) peak=210 ;;
    esac
fi

# A suite of gpu_smoke; what ends early is a wrong row, and the others go on.
suite() { # NAME [COMMAND BEFORE...]; ctas: what NCCL may take
    local name=$1 code=0
    shift
    timeout 120 "$@" "$build/tests/gpu_smoke" "$part" "$name" "${tiny[@]}" ${peak:+--peak "$peak"} ${ctas:+--ctas "$ctas"} \
        >>"$rows" 2>"$there/why" || code=$?
    [ $code -le 1 ] && ! grep -q '^gpu_smoke: line' "$there/why" && return
    row "suite $name" "exit code $code" "$(tail -1 "$there/why")" wrong
}

# Every op: the tables of tests/unit on the card.
for name in "${kernels[@]}"; do
    code=0
    LT_TABLE=$there/ops.$name timeout 120 "$build/tests/card_kernels_$name" >"$there/why" 2>&1 || code=$?
    [ $code = 0 ] || row "ops: test_kernels_$name" "exit code $code" "$(grep -m1 -A1 'ERROR' "$there/why" | tr '\n' ' ')" wrong
done
awk -F '\t' -v emulated=$emulated '
    $1 == "kind" && !($2 in seen) { seen[$2]; kind[++kinds] = $2 }
    $1 == "op" {
        n = split($2, name, "+")
        for (i = 1; i <= n; i++) { cases[name[i]]++; if ($6 > most[name[i]]) most[name[i]] = $6; if (!($6 <= 1)) bad[name[i]] = 1 }
    }
    END {
        for (k = 1; k <= kinds; k++) {
            o = kind[k]
            if (!cases[o] && emulated) continue
            printf "op %s\t%d cases\tat most %.2g of what is allowed\t%s\n", o, cases[o], most[o], !cases[o] || bad[o] ? "wrong" : "ok"
        }
    }' "$there"/ops.* >>"$rows"

suite gemm
suite rows
suite attention

suite cudnn
suite huge

mkdir "$there/bin"
cp "$build/longtake" "$there/bin"
# The part's own sentence, that it has never run on a card, is left out: that is what happens here.
LC_ALL=C sed -e 's/a plan of its memory, and/\x00 plan of its memory, and/' -e 's/a first run on a card (kernels/\x00 first run on a card (kernels/' \
    "$part" >"$there/bin/longtake_cuda.so"

# A film of the demo model, f32, on the card and on the processor.
size=(--frames 90 --size 128x128)
[ $emulated = 0 ] || size=(--frames 5 --size 32x32 --steps 2)
for device in cpu cuda; do
    start=$(date +%s.%N) code=0
    timeout 240 "$there/bin/longtake" render -q --model models/demo -p "A blue glass ball drops on a stone floor." --seed 5 \
        "${size[@]}" --dtype f32 --device $device -o "$there/$device.mp4" 2>"$there/why" || code=$?
    took=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
    [ $emulated = 0 ] && value="$took s" || value="not timed"
    if [ $code = 0 ]; then row "demo film, $device" "$value" "" ok; else
        row "demo film, $device" "exit code $code" "$(tail -1 "$there/why")" wrong; fi
done
if [ -e "$there/cpu.run/latents.h5" ] && [ -e "$there/cuda.run/latents.h5" ]; then
    "$build/tests/latents_hash" "$there/cpu.run/latents.h5" "$there/cuda.run/latents.h5" | awk '
        { printf "demo film, %s against cpu\t%s\tof the largest value; want 1e-4\t%s\n", $1, $NF, $NF + 0 <= 1e-4 && $NF !~ /nan/ ? "ok" : "wrong" }' >>"$rows"
fi

# NCCL_MAX_CTAS outranks what exchange_nccl.c asks for.
if [ "$cards" -ge 2 ] && command -v mpirun >/dev/null; then
    for ctas in 4 8 32; do
        suite ring mpirun --oversubscribe --bind-to none -x "NCCL_MAX_CTAS=$ctas" -n 2
    done
else
    row "ring hop beside attention" "" "wants two cards and mpirun; cards here: $cards" skipped
fi

took=$((SECONDS - began))
table() {
    awk -F '\t' '{ printf "%-64s %-48s %-46s %s\n", $1, $2, $3, $4; n[$4]++ }
        END { printf "\ngpu_smoke: %d rows: %d ok, %d wrong, %d skipped\n", NR, n["ok"], n["wrong"], n["skipped"] }' "$rows"
}
table
echo "gpu_smoke: $took s; commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
if [ $emulated = 0 ]; then
    mkdir -p "$results"
    kept=$results/$(echo "$card" | tr '[:upper:] ' '[:lower:]-' | tr -cd 'a-z0-9-')-$(date -u +%Y-%m-%d).md
    {
        echo "# $card: tools/gpu_smoke.sh, $(date -u +%Y-%m-%d), commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
        printf '\n```text\n'
        table
        printf '```\n'
    } >"$kept"
    echo "gpu_smoke: kept in $kept"
fi
! grep -q 'wrong$' "$rows"
