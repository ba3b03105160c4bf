#!/usr/bin/env bash
# resources.sh - what ptxas says of each kernel of longtake_cuda.so, against a table.
#
# Goal: no kernel spills, none has a stack, registers and shared memory stay under what tests/static/resources.txt has
# for it, and its blocks fill a multiprocessor as far as it says (occupancy.c; threads and dynamic shared memory of a
# block: launches.txt); a kernel that the table does not know, or that the build no longer has, is a failure too. Method:
# the lines that kernels/cuda/keep_resources.sh kept when nvcc ran. Ranks: none. Needs: a build with LT_CUDA.
#   tests/static/resources.sh BUILD           compare
#   tests/static/resources.sh BUILD --table   print a table of this build
# Exit: 0 as the table says, 1 not, 64 usage, 66 no lines there, 77 the build has no GPU part (ctest: skipped).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 64; }
folder=$1/resources
table=$(dirname "$0")/resources.txt
if [ ! -e "$1/longtake_cuda.so" ]; then
    echo "resources: skipped: $1 has no longtake_cuda.so (cmake --preset cuda, where nvcc is)"
    exit 77
fi
[ -x "$1/tests/occupancy" ] || { echo "resources: no $1/tests/occupancy: build emu_tests" >&2; exit 66; }
ls "$folder"/*.ptxas >/dev/null 2>&1 || { echo "resources: no lines in $folder: build longtake_cuda anew" >&2; exit 66; }

# ARCH REGISTERS SHARED STACK SPILLED KERNEL, a line a kernel and architecture
found=$(cat "$folder"/*.ptxas | c++filt | sed -E 's/, long, long\)/)/; s/\(([a-z_0-9]+(, long)?)?\)//' | awk '
    /Compiling entry function/ {
        arch = $NF; gsub("\x27", "", arch)
        name = $0; sub(/.*entry function \x27(void )?/, "", name); sub(/\x27 for .*/, "", name); gsub(" ", "", name)
    }
    /bytes stack frame/ { stack = $1; spilled = $5 + $9 }
    /Used [0-9]+ registers/ {
        shared = 0
        for (i = 1; i < NF; i++) {
            if ($i == "Used") registers = $(i + 1)
            if ($(i + 2) ~ /^smem/ && $(i + 1) == "bytes") shared = $i
        }
        print arch, registers, shared, stack, spilled, name
    }' | sort -k6,6 -k1,1)
# And THREADS DYNAMIC OCCUPANCY before the kernel, of its largest block; of one warp where launches.txt does not know it.
found=$(awk '
    FILENAME == ARGV[1] { if ($0 !~ /^#/) { if ($3 > threads[$1]) threads[$1] = $3; if ($4 > dynamic[$1]) dynamic[$1] = $4 } next }
    { k = $6; $6 = ""; print $0 (k in threads ? threads[k] " " dynamic[k] + 0 : "32 0"), k }' \
    "$(dirname "$0")/launches.txt" <(echo "$found") | "$1/tests/occupancy")
release=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
if [ "${2:-}" = --table ]; then
    echo "# ptxas of CUDA ${release:-unknown}; registers and shared bytes a kernel may take, by architecture; how much of a"
    echo "# multiprocessor's threads its blocks fill, in percent. Made by resources.sh BUILD --table; a row that grows, or fills"
    echo "# less, wants a reason in its commit."
    echo "$found" | awk '{ print $1, $2, $3, $8, $9 }'
    exit 0
fi
# Another release of ptxas counts otherwise: then only stack and spills are held.
same=1
if ! grep -q "ptxas of CUDA ${release:-none};" "$table"; then
    same=0
    echo "resources: nvcc ${release:-unknown} is not the table's: registers and shared memory are not compared"
fi
awk -v same="$same" '
    FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF == 5) { registers[$1, $5] = $2; shared[$1, $5] = $3; full[$1, $5] = $4; rows++ } next }
    {
        seen[$1, $9]; count++
        if ($4 > 0 || $5 > 0) { printf "%s %s: %d bytes of stack, %d spilled; want none\n", $1, $9, $4, $5; bad++ }
        if (!(($1, $9) in registers)) { printf "%s %s: not in the table\n", $1, $9; bad++; next }
        if (!same) next
        if ($2 > registers[$1, $9]) { printf "%s %s: %d registers, the table has %d\n", $1, $9, $2, registers[$1, $9]; bad++ }
        if ($3 > shared[$1, $9]) { printf "%s %s: %d bytes shared, the table has %d\n", $1, $9, $3, shared[$1, $9]; bad++ }
        if ($8 < full[$1, $9]) { printf "%s %s: its blocks fill %d %%, the table has %d\n", $1, $9, $8, full[$1, $9]; bad++ }
    }
    END {
        for (k in registers) if (!(k in seen)) { split(k, part, SUBSEP); printf "%s %s: in the table, not in the build\n", part[1], part[2]; bad++ }
        printf "resources: %d kernels and architectures, %d rows, %d wrong\n", count, rows, bad
        exit bad > 0 || count == 0
    }' "$table" <(echo "$found")
