#!/bin/sh
# contact_sheet.sh - make docs/demo.png, the picture of the README's first screen, again.
set -eu
cd "$(dirname "$0")/.."
./dev demo
cp out/demo.png docs/demo.png
