#!/usr/bin/env bash
# launches.sh - what one launch of each kernel does on the interpreter, against a table.
#
# Goal: no kernel takes more instructions or touches more of memory than tests/static/launches.txt has for it; tensor
# cores have at least the share of instructions that it says; where a request of a warp touches more pieces of 32 bytes
# than its bytes need, the table says why; every kernel that resources.txt knows has a row. Method: tests/emu/launches.c
# on the PTX of the longtake_cuda.so that ships. Ranks: none. Needs: a build with LT_CUDA.
#   tests/static/launches.sh BUILD           compare
#   tests/static/launches.sh BUILD --table   print a table of this build, with the reasons that the old one has
# Exit: 0 as the table says, 1 not, 64 usage, 66 the program is not built, 77 the build has no GPU part.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 64; }
here=$(dirname "$0")
table=$here/launches.txt
if [ ! -e "$1/longtake_cuda.so" ]; then
    echo "launches: skipped: $1 has no longtake_cuda.so (cmake --preset cuda, where nvcc is)"
    exit 77
fi
[ -x "$1/tests/launches" ] || { echo "launches: no $1/tests/launches: build emu_tests" >&2; exit 66; }

# KERNEL CASE THREADS DYNAMIC INSTRUCTIONS MMA% LOADS IDEAL STORES IDEAL; loads and stores: pieces a request
found=$("$1/tests/launches" | c++filt | awk -F '\t' '
    function of(a, b) { return sprintf("%.2f", b > 0 ? a / b : 0) }
    {
        sub(/^void /, "", $1); sub(/\(.*/, "", $1); gsub(" ", "", $1)
        print $1, $2, $3, $4, $5, of(100 * $6, $5), of($8, $7), of($9, $7), of($11, $10), of($12, $10)
    }' | sort)
release=$(nvcc --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
if [ "${2:-}" = --table ]; then
    echo "# PTX of CUDA ${release:-unknown}. A launch of each kernel with dense, aligned rows as tests/emu/launches.c has them: threads and"
    echo "# dynamic shared bytes of a block, instructions of warps, of these the tensor cores' in percent, pieces of 32 bytes"
    echo "# that a request of a warp touches and how many its bytes need: loads, stores. Where it is more, why; halves: a lane's"
    echo "# eight f32 are two accesses of 16 bytes, 32 apart, each of which touches its piece. Made by launches.sh BUILD --table;"
    echo "# a row that grows wants a reason in its commit."
    echo "#"
    echo "# kernel case threads dynamic instructions mma% loads ideal stores ideal why"
    awk '
        FILENAME == ARGV[1] { if ($0 !~ /^#/) { why = $0; for (i = 1; i <= 10; i++) sub(/^[^ ]+ */, "", why); said[$1, $2] = why } next }
        { print $0, ($1, $2) in said ? said[$1, $2] : "-" }' "$table" <(echo "$found")
    exit 0
fi
# Another nvcc makes other PTX: then its instructions are not held, what memory sees and the blocks are.
same=1
if ! grep -q "PTX of CUDA ${release:-none}\." "$table"; then
    same=0
    echo "launches: nvcc ${release:-unknown} is not the table's: instructions are not compared"
fi
awk -v same="$same" '
    function wrong(format, found, wanted) { printf "%s %s: " format "\n", $1, $2, found, wanted; bad++ }
    FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF) known[$NF] = 1; next }
    FILENAME == ARGV[2] {
        if ($0 ~ /^#/ || NF < 11) next
        row[$1, $2] = $0; rows++
        next
    }
    {
        count++; seen[$1, $2]; launched[$1]
        if (!(($1, $2) in row)) { printf "%s %s: not in the table\n", $1, $2; bad++; next }
        split(row[$1, $2], want, " ")
        if ($3 != want[3]) wrong("blocks of %d threads, the table has %d", $3, want[3])
        if ($4 != want[4]) wrong("%d bytes of dynamic shared memory, the table has %d", $4, want[4])
        if ($7 > want[7] + 0.005) wrong("loads touch %.2f pieces a request, the table has %.2f", $7, want[7])
        if ($9 > want[9] + 0.005) wrong("stores touch %.2f pieces a request, the table has %.2f", $9, want[9])
        if (($7 > $8 + 0.005 || $9 > $10 + 0.005) && want[11] == "-") wrong("more pieces than its bytes need%s, and no reason%s in the table", "", "")
        if (!same) next
        if ($5 > want[5]) wrong("%d instructions, the table has %d", $5, want[5])
        if ($6 < want[6] - 0.005) wrong("tensor cores have %.2f %% of instructions, the table has %.2f", $6, want[6])
    }
    END {
        for (k in row) if (!(k in seen)) { split(k, part, SUBSEP); printf "%s %s: in the table, not launched\n", part[1], part[2]; bad++ }
        for (k in known) if (!(k in launched)) { printf "%s: no case of tests/emu/launches.c launches it\n", k; bad++ }
        printf "launches: %d kernels and cases, %d rows, %d wrong\n", count, rows, bad
        exit bad > 0 || count == 0
    }' "$here/resources.txt" "$table" <(echo "$found")
