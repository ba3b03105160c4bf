#!/usr/bin/env bash
# disassembler.sh - NVIDIA's cuobjdump and nvdisasm from PyPI, into BUILD/disassembler, where the toolkit lacks them.
#
# mix.sh reads machine code with them. 5 MB; nothing outside of the build's folder changes.
#   tests/static/disassembler.sh BUILD
# Exit: 0 they are there, 64 usage, 69 there is no pip, or it fails.
set -euo pipefail
[ $# -eq 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 64; }
at=$1/disassembler
if command -v cuobjdump >/dev/null && command -v nvdisasm >/dev/null; then
    exit 0
fi
if ls "$at"/nvidia/*/bin/cuobjdump "$at"/nvidia/*/bin/nvdisasm >/dev/null 2>&1; then
    exit 0
fi
python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action ignore --target "$at" \
    nvidia-cuda-cuobjdump==13.2.51 nvidia-cuda-nvdisasm==13.2.86 || {
    echo "disassembler: pip could not install nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm: mix.sh compares nothing" >&2
    exit 69
}
