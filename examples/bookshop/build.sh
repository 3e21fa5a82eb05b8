#!/bin/sh
# The five programs into bin/; with `images`, an image of each as well. Nothing is fetched: each program is one file that
# needs nothing else, and an image is that file.
set -eu
cd "$(dirname "$0")"
mkdir -p bin
CGO_ENABLED=0 go build -trimpath -o bin/ ./shop ./prices
rustc -O -C target-feature=+crt-static -o bin/catalog catalog/main.rs
gcc -O2 -Wall -static -o bin/stock stock/stock.c
cp "$(command -v busybox)" bin/busybox
[ "${1-}" = images ] || exit 0
for name in shop prices catalog stock reviews; do
    podman build --quiet --file Containerfile --target "$name" --tag "localhost/bookshop/$name:v1" .
done
