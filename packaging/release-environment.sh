#!/bin/sh
# release-environment.sh TARGET cargo COMMAND…: runs a command of cargo so that what it builds does not
# say where it was built; TARGET is the folder of what is built. Two builds of one commit with the
# same compilers are the same then, wherever they are made.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
home=${CARGO_HOME:-$HOME/.cargo}
triple=x86_64-unknown-linux-gnu

flags=
c_flags=
for pair in "$home=/cargo" "$target=/target"; do
    flags="$flags\"--remap-path-prefix=$pair\", "
    c_flags="$c_flags -ffile-prefix-map=$pair"
done
# Where our own crates lie concerns them alone: clones that share what is built share the rest. By
# its name alone, as the path would be part of what is compared.
RUSTC_WORKSPACE_WRAPPER=rustc-here
PATH=$here/bin:$PATH
CFLAGS="${CFLAGS:-}$c_flags"
CXXFLAGS="${CXXFLAGS:-}$c_flags"
# A build that only adds to what is there depends on what was there.
CARGO_INCREMENTAL=0
LC_ALL=C
TZ=UTC
export PATH RUSTC_WORKSPACE_WRAPPER CFLAGS CXXFLAGS CARGO_INCREMENTAL LC_ALL TZ

command=$1
subcommand=$2
shift 2
exec "$command" "$subcommand" --config "target.$triple.rustflags=[${flags%, }]" "$@"
