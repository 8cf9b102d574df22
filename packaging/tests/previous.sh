#!/bin/sh
# previous.sh FOLDER [COMMIT]: the packages of the commit before (or of another), for run.sh. Builds
# it for release, which takes a while the first time.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(git -C "$here" rev-parse --show-toplevel)
mkdir -p "$1"
to=$(cd "$1" && pwd)
commit=$(git -C "$top" rev-parse "${2:-HEAD~1}")
source=$to/source
if [ ! -d "$source" ]; then
    git -C "$top" worktree add --detach "$source" "$commit"
fi
git -C "$source" checkout --quiet --detach "$commit"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$top/target}"
make -C "$source" packages PACKAGES="$to"
