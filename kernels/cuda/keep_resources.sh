#!/bin/sh
# keep_resources.sh - runs nvcc and keeps what ptxas says of each kernel: registers, stack, spills, shared memory.
# CMake's launcher of the compiler. The lines go to FOLDER/SOURCE.ptxas (tests/static/resources.sh reads them),
# everything else where it went.
#   keep_resources.sh FOLDER nvcc ... -c SOURCE.cu -o OBJECT
folder=$1
shift
name=
for word in "$@"; do
    case $word in
    *.cu) name=$(basename "$word" .cu) ;;
    esac
done
mkdir -p "$folder" || exit 1
said=$("$@" 2>&1)
code=$?
printf '%s\n' "$said" | grep -E '^ptxas info|bytes stack frame' >"$folder/${name:-none}.ptxas"
printf '%s\n' "$said" | grep -Ev '^ptxas info|bytes stack frame|^$' >&2
exit $code
