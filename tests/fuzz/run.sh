#!/bin/sh
# Builds the fuzz targets and runs each for a while: run.sh SECONDS [TARGET…]
#
# What a target makes of its seeds is kept in the target folder, `fuzz/corpus`, and used the
# next time. A finding is printed and kept in `fuzz/findings`; the other targets run on, and
# the exit code is 1 in the end.
set -eu

seconds=${1:?run.sh SECONDS [TARGET…]}
shift
root=$(CDPATH= cd "$(dirname "$0")/../.." && pwd)
fuzz=$root/tests/fuzz

if ! rustup toolchain list 2>/dev/null | grep -q '^nightly'; then
    echo "make fuzz needs a nightly compiler, whose coverage guides it: rustup toolchain install nightly" >&2
    exit 1
fi
cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

# RocksDB, which is compiled for a quarter of an hour, is that of the binary.
built=${CARGO_TARGET_DIR:-$root/target}
library=$(find "$built" -path '*/debug/build/librocksdb-sys-*/out/librocksdb.a' -printf '%T@ %p\n' |
    sort -n | tail -n 1 | cut -d ' ' -f 2-)
if [ -n "$library" ]; then
    export ROCKSDB_LIB_DIR="${library%/*}" ROCKSDB_STATIC=1
fi
export CARGO_TARGET_DIR="$built/fuzz"
# The sanitizers look for mistakes of unsafe code, of which there is none here.
cd "$root"
all=$(cargo +nightly fuzz list --fuzz-dir "$fuzz")
cargo +nightly fuzz build --fuzz-dir "$fuzz" --sanitizer none --release \
    --codegen-units 16
programs=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release

found=0
printf '| Target | Seeds | Executions | a second | Features | Finding |\n|---|---|---|---|---|---|\n'
for target in ${*:-$all}; do
    corpus=$CARGO_TARGET_DIR/corpus/$target
    findings=$CARGO_TARGET_DIR/findings/$target
    mkdir -p "$corpus" "$findings"
    log=$findings/log
    finding=none
    # An input may take two seconds and 1 GiB, and have 64 KiB.
    "$programs/$target" "$corpus" "$fuzz/seeds/$target" -max_total_time="$seconds" -timeout=2 \
        -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 -verbosity=1 \
        -artifact_prefix="$findings/" >"$log" 2>&1 || finding=yes
    number() { sed -n "s/^stat::$1: *//p" "$log" | tail -n 1; }
    features=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    seeds=$(find "$fuzz/seeds/$target" -type f | wc -l)
    printf '| `%s` | %s | %s | %s | %s | %s |\n' "$target" "$seeds" \
        "$(number number_of_executed_units)" "$(number average_exec_per_sec)" "$features" "$finding"
    if [ "$finding" != none ]; then
        found=1
        tail -n 40 "$log" >&2
    fi
done
exit $found
