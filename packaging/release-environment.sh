#!/bin/sh
# release-environment.sh TARGET cargo COMMAND…: runs a command of cargo so that what it builds does not
# say where it was built; TARGET is the folder of what is built. Two builds of one commit with the
# same compilers are the same then, wherever they are made. CAIRN_TRIPLE names another kind of
# machine: aarch64-unknown-linux-gnu, with Debian's g++-aarch64-linux-gnu and `rustup target add`.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
home=${CARGO_HOME:-$HOME/.cargo}
triple=${CAIRN_TRIPLE:-x86_64-unknown-linux-gnu}

flags=
flag() { # FLAG of rustc: one more; what stands between is how cargo takes them apart
    flags="$flags${flags:+$separator}$1"
}
separator=$(printf '\037')
c_flags=
# Everything that is needed at run time is inside. No kind of processor is named, other than for
# development: what is shipped runs on every x86-64, virtual ones that hide half of it too.
flag -Ctarget-feature=+crt-static
for pair in "$home=/cargo" "$target=/target"; do
    flag "--remap-path-prefix=$pair"
    c_flags="$c_flags -ffile-prefix-map=$pair"
done
case $triple in
aarch64-unknown-linux-gnu)
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    BINDGEN_EXTRA_CLANG_ARGS=--sysroot=/usr/aarch64-linux-gnu
    # Kernels there have pages of 4, 16 or 64 KiB.
    JEMALLOC_SYS_WITH_LG_PAGE=16
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER BINDGEN_EXTRA_CLANG_ARGS JEMALLOC_SYS_WITH_LG_PAGE
    ;;
*)
    # Functions that came out the same are there once, and places to be moved when the program is
    # loaded take a bit each. The linker is the compiler's own (lld).
    flag -Clink-arg=-Wl,--icf=all
    flag -Clink-arg=-Wl,-z,pack-relative-relocs
    ;;
esac
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
# Goes before what .cargo/config.toml says.
CARGO_ENCODED_RUSTFLAGS=$flags
unset RUSTFLAGS || true
export CARGO_ENCODED_RUSTFLAGS PATH RUSTC_WORKSPACE_WRAPPER CFLAGS CXXFLAGS CARGO_INCREMENTAL LC_ALL TZ

command=$1
subcommand=$2
shift 2
exec "$command" "$subcommand" --target "$triple" "$@"
