#!/usr/bin/env bash
# beside.sh [ROUNDS] - what decoding beside denoising saves.
#
# Renders one film in `extend`, decoded beside the denoising and after it, in turn, ROUNDS times (5),
# by the longtake in PATH: alone, and on 2 ranks of which one denoises and the other decodes
# (win=2). Prints a table: seconds from the begin to the film's end, without loading MPI; to the first
# frames in its file; medians, and the median of the rounds' ratios. Each rank has one thread.
# Exit: 1 if the two films of a round differ (FFV1 and FLAC). Needs: mpirun, ffmpeg, python3.
#   LONGTAKE_BESIDE="--seconds 20 --steps 8"   other flags of the render
set -euo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
rounds=${1:-5}
there=$(mktemp -d "${TMPDIR:-/tmp}/beside-XXXXXX")
trap 'rm -rf "$there"' EXIT
read -ra flags <<<"${LONGTAKE_BESIDE:---seconds 20 --size 128x128 --steps 6}"

render() { # RANKS MESH WHEN
    local launch=()
    [ "$1" -eq 1 ] || launch=(mpirun --oversubscribe --bind-to none -n "$1")
    "${launch[@]}" longtake render -p "A large red rubber ball bounces." --mode extend --mesh "$2" --decoding "$3" \
        --codec ffv1 --threads 1 --deterministic "${flags[@]}" --overwrite --quiet -o "$there/$3.mkv" >/dev/null
}

content() { ffmpeg -v error -i "$1" -map 0:v -map 0:a -f hash -hash sha256 - </dev/null; }

for case in "1 auto" "2 win=2"; do
    read -r ranks mesh <<<"$case"
    for ((i = 0; i < rounds; i++)); do
        for when in after beside; do
            render "$ranks" "$mesh" "$when"
            cp "$there/$when.run/events.ndjson" "$there/$ranks.$when.$i"
        done
        [ "$(content "$there/after.mkv")" = "$(content "$there/beside.mkv")" ] || {
            echo "beside.sh: $case: the films differ" >&2
            exit 1
        }
    done
done

python3 - "$there" "$rounds" <<'END'
import json, statistics, sys

def times(name, when):
    """Seconds from the first event to the film's end, and to the first frames in its file."""
    first = None
    events = [json.loads(line) for line in open(name)]
    began = events[0]["seconds"]
    for e in events:
        decoded = e["event"] == "decoded" or (e["event"] == "step" and e["stage"] == "decode")
        if decoded and first is None:
            first = e["seconds"]
    return events[-1]["seconds"] - began, first - began

print(f"{'ranks':5} {'after':>8} {'beside':>8} {'ratio':>6}   {'first frames':>12} {'beside':>8}")
for ranks in (1, 2):
    rows = {w: [times(f"{sys.argv[1]}/{ranks}.{w}.{i}", w) for i in range(int(sys.argv[2]))]
            for w in ("after", "beside")}
    middle = {w: [statistics.median(r[k] for r in rows[w]) for k in (0, 1)] for w in rows}
    ratio = statistics.median(b[0] / a[0] for a, b in zip(rows["after"], rows["beside"]))
    print(f"{ranks:5} {middle['after'][0]:8.2f} {middle['beside'][0]:8.2f} {ratio:6.3f}   "
          f"{middle['after'][1]:12.2f} {middle['beside'][1]:8.2f}")
END
