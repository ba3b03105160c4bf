#!/bin/sh
# asan_run.sh - run a command (mpirun ...) whose ranks were built with AddressSanitizer.
# Usage: tests/ranks/asan_run.sh mpirun --oversubscribe --bind-to none -n 4 build/asan/tests/test_comm
# Our leaks, overflows and undefined behaviour fail the run; what MPI itself leaks is left out by name.
# Its plugins are closed before the check and have no names then, so the stacks must be unwound in full
# up to libmpi: fast_unwind_on_malloc=0 (slower by a third).
here=$(cd "$(dirname "$0")" && pwd) || exit 1
export ASAN_OPTIONS="detect_leaks=1:fast_unwind_on_malloc=0${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export LSAN_OPTIONS="suppressions=$here/lsan.supp:print_suppressions=0${LSAN_OPTIONS:+:$LSAN_OPTIONS}"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"
exec "$@"
