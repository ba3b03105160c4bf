#!/usr/bin/env bash
# long.sh - the targets that run whole verbs on strangers' files, under libFuzzer, ASan and UBSan.
#   tests/fuzz/long.sh [SECONDS [TARGET...]]      default: 600 latents run probe
# What must hold, or it ends with an error: no crash, no input that takes more than 5 s, no more than
# 512 MiB resident. The corpora stay in build/fuzz/corpus, so that a next call goes on from there.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- latents run probe
if [ ! -f build/fuzz/build.ninja ]; then
    CC=clang cmake -S . -B build/fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        -DCMAKE_C_FLAGS_RELWITHDEBINFO="-O1 -g" -DLT_FUZZ=ON -DLT_SANITIZE="address;undefined" -Wno-dev >/dev/null
fi
cmake --build build/fuzz --target $(printf 'fuzz_%s ' "$@")
export LSAN_OPTIONS=suppressions=$PWD/tests/ranks/lsan.supp:print_suppressions=0
failed=0
for target in "$@"; do
    corpus=build/fuzz/corpus/$target
    log=build/fuzz/$target.log
    mkdir -p "$corpus"
    build/fuzz/tests/fuzz_"$target" "$corpus" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 \
        -max_len=65536 -detect_leaks=0 -print_final_stats=1 -artifact_prefix=build/fuzz/"$target"- >"$log" 2>&1 || failed=1
    echo "$target: $(grep -c . <(ls "$corpus")) inputs kept"
    grep -E 'stat::|ERROR|SUMMARY|Test unit' "$log" || tail -5 "$log"
done
exit $failed
