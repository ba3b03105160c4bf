#!/usr/bin/env bash
# resources.sh - what ptxas says of each kernel of longtake_cuda.so, against a table.
#
# Goal: no kernel spills, none has a stack, and registers and shared memory stay under what tests/static/resources.txt
# has for it; a kernel that the table does not know, or that the build no longer has, is a failure too. Method: the
# lines that kernels/cuda/keep_resources.sh kept when nvcc ran. Ranks: none. Needs: a build with LT_CUDA.
#   tests/static/resources.sh BUILD           compare
#   tests/static/resources.sh BUILD --table   print a table of this build
# Exit: 0 as the table says, 1 not, 64 usage, 66 no lines there, 77 the build has no GPU part (ctest: skipped).
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64; }
folder=$1/resources
table=$(dirname "$0")/resources.txt
if [ ! -e "$1/longtake_cuda.so" ]; then
    echo "resources: skipped: $1 has no longtake_cuda.so (cmake --preset cuda, where nvcc is)"
    exit 77
fi
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
if [ "${2:-}" = --table ]; then
    echo "# ptxas of CUDA 13.0; registers and shared bytes a kernel may take, by architecture. Made by resources.sh BUILD"
    echo "# --table; a row that grows wants a reason in its commit."
    echo "$found" | awk '{ print $1, $2, $3, $6 }'
    exit 0
fi
# Another release of ptxas counts otherwise: then only stack and spills are held.
release=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
same=1
if ! grep -q "ptxas of CUDA ${release:-none};" "$table"; then
    same=0
    echo "resources: nvcc ${release:-unknown} is not the table's: registers and shared memory are not compared"
fi
awk -v same="$same" '
    FNR == NR { if ($0 !~ /^#/ && NF == 4) { registers[$1, $4] = $2; shared[$1, $4] = $3; rows++ } next }
    {
        seen[$1, $6]; count++
        if ($4 > 0 || $5 > 0) { printf "%s %s: %d bytes of stack, %d spilled; want none\n", $1, $6, $4, $5; bad++ }
        if (!(($1, $6) in registers)) { printf "%s %s: not in the table\n", $1, $6; bad++; next }
        if (!same) next
        if ($2 > registers[$1, $6]) { printf "%s %s: %d registers, the table has %d\n", $1, $6, $2, registers[$1, $6]; bad++ }
        if ($3 > shared[$1, $6]) { printf "%s %s: %d bytes shared, the table has %d\n", $1, $6, $3, shared[$1, $6]; bad++ }
    }
    END {
        for (k in registers) if (!(k in seen)) { split(k, part, SUBSEP); printf "%s %s: in the table, not in the build\n", part[1], part[2]; bad++ }
        printf "resources: %d kernels and architectures, %d rows, %d wrong\n", count, rows, bad
        exit bad > 0 || count == 0
    }' "$table" <(echo "$found")
