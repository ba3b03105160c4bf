#!/usr/bin/env bash
# mix.sh - which instructions ptxas made of each kernel of longtake_cuda.so, against a table.
#
# Goal: by kernel and architecture no more instructions than tests/static/mix.txt has, of each kind that it names, and
# no access of local memory; tensor cores' neither more nor fewer, and at least their share of the loop that they stand
# in. Method: cuobjdump's text of the machine code. Ranks: none. Needs: a build with LT_CUDA; cuobjdump and nvdisasm, on
# PATH, beside nvcc, or in BUILD/disassembler, where disassembler.sh puts NVIDIA's own from PyPI.
#   tests/static/mix.sh BUILD           compare
#   tests/static/mix.sh BUILD --table   print a table of this build
# Exit: 0 as the table says, 1 not, 64 usage, 65 nothing could be read, 77 no GPU part, no cuobjdump, or another ptxas.
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 64; }
table=$(dirname "$0")/mix.txt
if [ ! -e "$1/longtake_cuda.so" ]; then
    echo "mix: skipped: $1 has no longtake_cuda.so (cmake --preset cuda, where nvcc is)"
    exit 77
fi
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
PATH=$PATH:$(dirname "$(readlink -f "$nvcc")"):$(echo "$1"/disassembler/nvidia/*/bin)
if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
    echo "mix: skipped: no cuobjdump and nvdisasm here; tests/static/disassembler.sh $1 gets them"
    exit 77
fi
# Another release of ptxas makes other code.
release=$("$nvcc" --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
if [ "${2:-}" != --table ] && ! grep -q "ptxas of CUDA ${release:-none}\." "$table"; then
    echo "mix: skipped: nvcc ${release:-unknown} is not the table's; $0 $1 --table measures anew"
    exit 77
fi

# ARCH, a count a kind, the share of HMMA in its loop in percent, KERNEL. A loop is what lies between a branch back and
# its target; of those with most of the HMMAs the smallest one, with the loops inside it.
kinds="all HMMA LDSM LDGSTS MUFU LDG STG LDS STS SHFL BAR local"
found=$(cuobjdump -sass "$1/longtake_cuda.so" | awk -v kinds="$kinds" '
    function hex(s,  v, i, d) {
        sub(/^.*0x/, "", s)
        for (i = 1; i <= length(s) && (d = index("0123456789abcdef", substr(s, i, 1))); i++) v = 16 * v + d - 1
        return v + 0
    }
    function finish(  i, k, n, h, most, least, share) {
        if (name == "") return
        share = 0
        for (i = 1; i <= loops && c["HMMA"] > 0; i++) {
            n = h = 0
            for (k = from[i]; k <= to[i]; k++) if (op[k] != "NOP") { n++; h += op[k] == "HMMA" }
            if (h > most || (h == most && n < least)) { most = h; least = n; share = 100 * h / n }
        }
        printf "%s", arch
        for (i = 1; i <= kind_count; i++) printf " %d", c[kind[i]]
        printf " %.2f %s\n", share, name
        delete c
        name = ""
    }
    BEGIN { kind_count = split(kinds, kind, " ") }
    /code for sm_/ { finish(); arch = $3 }
    /Function :/ { finish(); name = $3; at = -1; loops = 0 }
    name != "" && /^ *\/\*[0-9a-f]+\*\/ +/ {
        at++
        i = $2 ~ /^@/ ? 3 : 2
        o = $i
        sub(/[.;].*/, "", o)
        op[at] = o
        if (o == "NOP") next
        c["all"]++
        c[o]++
        if (o == "LDL" || o == "STL") c["local"]++
        if (o == "BRA") for (; i <= NF; i++) if ($i ~ /0x/ && hex($i) < 16 * at) { from[++loops] = hex($i) / 16; to[loops] = at }
    }
    END { finish() }' | c++filt |
    sed -E 's/ void / /; s/\(.*//; s/, /,/g' | sort -k15,15 -k1,1)
[ -n "$found" ] || { echo "mix: cuobjdump showed no machine code of $1/longtake_cuda.so" >&2; exit 65; }
if [ "${2:-}" = --table ]; then
    echo "# ptxas of CUDA ${release:-unknown}. Instructions of each kernel by architecture, NOP left out, and by kind; local: of"
    echo "# local memory; loop%: HMMA's share of the loop that it stands in, as the code lies there. Made by mix.sh BUILD --table;"
    echo "# a row that grows wants a reason in its commit."
    echo "#"
    echo "# arch $kinds loop% kernel"
    echo "$found"
    exit 0
fi
awk -v kinds="$kinds" '
    BEGIN { count = split(kinds, kind, " "); share = count + 2; name = count + 3 }
    FILENAME == ARGV[1] { if ($0 !~ /^#/ && NF == name) { row[$1, $name] = $0; rows++ } next }
    {
        lines++; seen[$1, $name]
        if (!(($1, $name) in row)) { printf "%s %s: not in the table\n", $1, $name; bad++; next }
        split(row[$1, $name], want, " ")
        for (i = 1; i <= count; i++) {
            if ($(i + 1) > want[i + 1] || (kind[i] == "HMMA" && $(i + 1) != want[i + 1])) {
                printf "%s %s: %s: %d instructions, the table has %d\n", $1, $name, kind[i], $(i + 1), want[i + 1]; bad++ }
        }
        if ($(count + 1) > 0) { printf "%s %s: %d accesses of local memory; want none\n", $1, $name, $(count + 1); bad++ }
        if ($share < want[share] - 0.005) {
            printf "%s %s: HMMA is %.2f %% of its loop, the table has %.2f\n", $1, $name, $share, want[share]; bad++ }
    }
    END {
        for (k in row) if (!(k in seen)) { split(k, part, SUBSEP); printf "%s %s: in the table, not in the build\n", part[1], part[2]; bad++ }
        printf "mix: %d kernels and architectures, %d rows, %d wrong\n", lines, rows, bad
        exit bad > 0 || lines == 0
    }' "$table" <(echo "$found")
