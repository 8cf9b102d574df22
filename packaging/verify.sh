#!/bin/sh
# verify.sh [PUBLIC-KEY-FILE]: checks the offline bundle in whose folder it lies: that each file
# is as it was packed and, with the maker's public key, that the maker packed it. Get the key
# another way than the bundle. Needs sha256sum; minisign for the signature.
set -eu

cd "$(dirname "$0")"
if [ $# -gt 0 ]; then
    if ! command -v minisign >/dev/null; then
        echo "minisign is not installed: the signature was NOT checked." >&2
        exit 1
    fi
    minisign -V -p "$1" -m SHA256SUMS
else
    echo "No public key was given: the signature was NOT checked." >&2
fi
sha256sum --check --quiet SHA256SUMS
listed=$(cut -c67- SHA256SUMS | sort)
there=$(find . -type f ! -name SHA256SUMS ! -name SHA256SUMS.minisig ! -name verify.sh -printf '%P\n' | sort)
if [ "$listed" != "$there" ]; then
    echo "There are files that the list does not name." >&2
    exit 1
fi
echo "All files are as they were packed."
