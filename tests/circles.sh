#!/usr/bin/env bash
# circles.sh - no file may need one that needs it, by any way round.
#
# Goal: knowledge runs one way in the whole tree. Method: nm of the program's objects: a file needs another if it
# leaves a symbol undefined that the other defines. Includes alone do not show this: a declaration may be included
# and never used, and a call may go by a declaration from elsewhere. Circles are the strongly connected components of
# that graph (Tarjan's way); each of their arrows is printed with one of its symbols. Ranks: none. Needs: nm, awk,
# the build folder.
#   tests/circles.sh BUILD     BUILD/CMakeFiles/longtake_core.dir and longtake.dir hold the objects
# Exit: 0 no circle, 1 circles, 64 usage, 66 no objects there.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 64; }
cd "$1/CMakeFiles"
objects=$(find longtake_core.dir longtake.dir -name '*.o' 2>/dev/null | sort)
[ -n "$objects" ] || { echo "circles: no objects below $1/CMakeFiles: build first" >&2; exit 66; }

# One line a symbol: FILE KIND SYMBOL. Upper-case kinds are seen by other files; U is wanted.
# shellcheck disable=SC2086
nm -A $objects | sed -E 's/^([^:]*)\.o:[0-9a-f ]* ([A-Za-z]) (.*)$/\1 \2 \3/; s/^longtake(_core)?\.dir\///' | awk '
    $2 == "U" { wants[$1, ++wanted[$1]] = $3; files[$1]; next }
    $2 ~ /[A-TV-Z]/ { owner[$3] = $1; files[$1] }
    function follow(f,    g, i) {
        low[f] = number[f] = ++numbers
        stack[++depth] = f
        is_on[f] = 1
        for (i = 1; i <= heads[f]; i++) {
            g = head[f, i]
            if (!(g in number)) {
                follow(g)
                if (low[g] < low[f]) low[f] = low[g]
            } else if (is_on[g] && number[g] < low[f])
                low[f] = number[g]
        }
        if (low[f] != number[f]) return
        do {
            g = stack[depth--]
            is_on[g] = 0
            circle[g] = f
            members[f]++
        } while (g != f)
    }
    END {
        for (f in wanted)
            for (i = 1; i <= wanted[f]; i++) {
                s = wants[f, i]
                if (s in owner && owner[s] != f && !((f, owner[s]) in why)) {
                    head[f, ++heads[f]] = owner[s]
                    why[f, owner[s]] = s
                    arrows++
                }
            }
        for (f in files) {
            count++
            if (!(f in number)) follow(f)
        }
        for (f in files)
            if (members[circle[f]] > 1) {
                on++
                for (i = 1; i <= heads[f]; i++)
                    if (circle[head[f, i]] == circle[f])
                        print f " -> " head[f, i] "   (" why[f, head[f, i]] ")" | "sort"
            }
        close("sort")
        for (c in members) circles += members[c] > 1
        printf "circles: %d files, %d arrows; %d circles, %d files on them\n", count, arrows, circles, on
        exit circles > 0
    }'
