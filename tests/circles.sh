#!/usr/bin/env bash
# circles.sh - no file may need one that needs it, by any way round.
#
# Goal: knowledge runs one way in the whole tree. Method: nm of the program's objects: a file needs another if it
# leaves a symbol undefined that the other defines. Includes alone do not show this: a declaration may be included
# and never used, and a call may go by a declaration from elsewhere. Files without an arrow in, or without one out,
# are taken away until none is left to take: what stays lies on a circle (or between two). Each such arrow is
# printed with one of its symbols. Ranks: none. Needs: nm, the build folder.
#   tests/circles.sh BUILD     BUILD/CMakeFiles/longtake_core.dir and longtake.dir hold the objects
# Exit: 0 no circle, 1 circles, 64 usage, 66 no objects there.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 64; }
cd "$1/CMakeFiles"
objects=$(find longtake_core.dir longtake.dir -name '*.o' 2>/dev/null | sort)
[ -n "$objects" ] || { echo "circles: no objects below $1/CMakeFiles: build first" >&2; exit 66; }

# One line a symbol: FILE KIND SYMBOL. Upper-case kinds are seen by other files; U is wanted.
# shellcheck disable=SC2086
nm -A $objects | sed -E 's/^([^:]*)\.o:[0-9a-f ]* ([A-Za-z]) (.*)$/\1 \2 \3/; s/^longtake(_core)?\.dir\///' | awk '
    $2 == "U" { wants[$1, ++wanted[$1]] = $3; files[$1]; next }
    $2 ~ /[A-TV-Z]/ { owner[$3] = $1; files[$1] }
    END {
        for (f in wanted)
            for (i = 1; i <= wanted[f]; i++) {
                s = wants[f, i]
                if (s in owner && owner[s] != f && !((f, owner[s]) in arrow)) {
                    arrow[f, owner[s]] = s
                    arrows++
                }
            }
        do {
            split("", out); split("", in_); gone = 0
            for (a in arrow) { split(a, e, SUBSEP); out[e[1]]++; in_[e[2]]++ }
            for (a in arrow) {
                split(a, e, SUBSEP)
                if (!(e[1] in in_) || !(e[2] in out)) { delete arrow[a]; gone++ }
            }
        } while (gone > 0)
        left = 0
        for (a in arrow) { split(a, e, SUBSEP); print e[1] " needs " e[2] " (" arrow[a] ")" | "sort"; left++; on[e[1]] }
        close("sort")
        n = 0; for (f in files) n++
        m = 0; for (f in on) m++
        printf "circles: %d files, %d arrows, %d files on circles\n", n, arrows, m
        exit left > 0
    }'
