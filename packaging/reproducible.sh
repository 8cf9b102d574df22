#!/bin/sh
# reproducible.sh [FOLDER]: builds the commit that is checked out twice, in two folders of different
# names, and compares the binaries and the packages. Each build compiles everything, RocksDB
# included: an hour on two processors. FOLDER gets the two builds; a temporary one, if left out,
# removed in the end. Set QUICK=CRATE to build and compare one crate of ours with all
# below it instead of the binary.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
if [ $# -gt 0 ]; then
    mkdir -p "$1"
    work=$(cd "$1" && pwd)
else
    work=$(mktemp -d /var/tmp/cairn-reproducible.XXXXXX)
    trap 'rm -rf "$work"' EXIT
fi
# Another commit may be made while the first is built.
commit=$(git -C "$top" rev-parse HEAD)
SOURCE_DATE_EPOCH=$(git -C "$top" log -1 --format=%ct "$commit")
export SOURCE_DATE_EPOCH
if [ -n "$(git -C "$top" status --porcelain)" ]; then
    echo "What is not committed is not built." >&2
fi
# A cache would give the second build the files of the first.
CCACHE_DISABLE=1
export CCACHE_DISABLE
unset RUSTC_WRAPPER SCCACHE_DIR || true

build() { # NAME: that commit in a folder of that name
    folder=$work/$1
    rm -rf "$folder"
    mkdir -p "$folder/source"
    git -C "$top" archive "$commit" | tar -x -C "$folder/source"
    cd "$folder/source"
    if [ -n "${QUICK:-}" ]; then
        sh packaging/release-environment.sh "$folder/target" \
            cargo build --quiet --release --locked --target-dir "$folder/target" -p "$QUICK"
        find "$folder/target/x86_64-unknown-linux-gnu/release/deps" -name '*.rlib' \
            -exec sha256sum {} + | sed 's, .*/,  ,' | sort >"$folder/sums"
        return
    fi
    sh packaging/release-environment.sh "$folder/target" \
        cargo build --quiet --release --locked --target-dir "$folder/target" -p cairn
    cp "$folder/target/x86_64-unknown-linux-gnu/release/cairn" "$folder/cairn"
    strip --strip-unneeded -o "$folder/cairn-stripped" "$folder/cairn"
    CARGO_TARGET_DIR=$folder/target packaging/build.sh "$folder/cairn" "$folder/packages" >/dev/null
    (cd "$folder" && sha256sum cairn cairn-stripped packages/*) >"$folder/sums"
}

build one
build the-other-one-with-a-longer-name
cd "$work"
cat one/sums
if ! diff one/sums the-other-one-with-a-longer-name/sums; then
    echo "The two builds differ." >&2
    exit 1
fi
if [ -z "${QUICK:-}" ] && grep -aq -e "$work" -e "$HOME/.cargo/" one/cairn; then
    echo "The binary says where it was built." >&2
    exit 1
fi
echo "The two builds are the same."
