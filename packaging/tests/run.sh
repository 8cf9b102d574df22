#!/bin/sh
# run.sh PACKAGES [PART…]: tests the packages in that folder (from ../build.sh), all of it or the
# parts binary, lint, units, bundle, rpm, deb. Needs root, debootstrap,
# systemd-nspawn, lintian, rpm, rpmlint, minisign and qemu-user, and Debian's packages the first time.
#
# - The binary needs nothing else: it runs where there is nothing beside it, on the oldest x86-64.
# - lintian and rpmlint have nothing to say that is not explained.
# - The units are right, and as closed as they should be.
# - The bundle is checked by verify.sh, which finds each change.
# - The rpm goes into a root of its own and out again.
# - The deb is installed in two Debians with systemd running, which have no network: inside.sh says
#   what is done there. It begins with an upgrade from the commit before, if CAIRN_PREVIOUS names a
#   folder with that commit's packages: previous.sh makes them.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
packages=$(cd "$1" && pwd)
cache=${CAIRN_TEST_CACHE:-$HOME/.cache/cairn/packages}
work=$(mktemp -d /var/tmp/cairn-packages.XXXXXX)
trap 'rm -rf "$work"' EXIT
deb=$(ls "$packages"/cairn_*_amd64.deb)
rpm=$(ls "$packages"/cairn-*.x86_64.rpm)
bundle=$(ls "$packages"/cairn-*-offline.tar)
say() { echo "== $*"; }
refused() { # COMMAND…: it fails, as it should
    if "$@" >/dev/null 2>&1; then
        echo "not refused: $*" >&2
        exit 1
    fi
}
shift
parts=" ${*:-binary lint units bundle rpm deb} "
wanted() { case "$parts" in *" $1 "*) return 0 ;; *) return 1 ;; esac; }

if wanted binary; then
    say "binary"
    mkdir "$work/unpacked" "$work/empty"
    dpkg-deb -x "$deb" "$work/unpacked"
    binary=$work/unpacked/usr/bin/cairn
    ldd "$binary" 2>&1 | grep "statically linked"
    readelf -hW "$binary" | grep -q "Type: *DYN"
    refused sh -c "readelf -lW '$binary' | grep INTERP"
    refused sh -c "readelf -dW '$binary' | grep NEEDED"
    refused sh -c "readelf -SW '$binary' | grep -e '\.symtab' -e '\.debug'"
    # The oldest kernel that the C library in it works with.
    readelf -nW "$binary" | grep -o "OS: Linux, ABI: .*"
    cp "$binary" "$work/empty/cairn"
    chroot "$work/empty" /cairn version
    # A processor with nothing but what every x86-64 has: another instruction ends it.
    (
        config=$work/oldest.toml
        oldest() { qemu-x86_64 -cpu qemu64 "$binary" "$@"; }
        oldest init --config "$config" --server-name localhost --data-dir oldest \
            --listen 127.0.0.1:18077 --administrator admin >/dev/null
        # Itself, not the function, whose shell would be stopped in its place.
        qemu-x86_64 -cpu qemu64 "$binary" serve --config "$config" >"$work/oldest.log" 2>&1 &
        server=$!
        trap 'kill "$server" 2>/dev/null || :' EXIT
        for _ in $(seq 60); do
            ! curl -sf http://127.0.0.1:18077/_cairn/health >"$work/health" || break
            sleep 1
        done
        grep '"ready":true' "$work/health" || { cat "$work/oldest.log" >&2; exit 1; }
        oldest backup create --config "$config" "$work/oldest-backup" >/dev/null
        oldest backup verify "$work/oldest-backup" | tail -1
        kill "$server"
        wait "$server"
    )
    du -sk --apparent-size "$work/unpacked" | awk '{ printf "installed: %.1f MB\n", $1 * 1024 / 1e6 }'
fi

if wanted lint; then
    say "lintian"
    lintian --fail-on error,warning --display-level ">=warning" "$deb"

    say "rpmlint"
    rpmlint -c "$here/rpmlint.toml" "$rpm"
fi

if wanted units; then
    say "units"
    mkdir "$work/deb"
    dpkg-deb -x "$deb" "$work/deb"
    for unit in cairn cairn-backup; do
        # 15: an exposure of 1.5.
        systemd-analyze security --offline=yes --threshold=15 \
            "$work/deb/usr/lib/systemd/system/$unit.service" >"$work/exposure"
        tail -1 "$work/exposure"
    done
fi

if wanted bundle; then
    say "bundle"
    tar -xf "$bundle" -C "$work"
    folder=$(ls -d "$work"/cairn-*)
    sh "$folder/verify.sh"
    echo >>"$folder/handbook/index.html"
    refused sh "$folder/verify.sh"
    tar -xf "$bundle" -C "$work"
    touch "$folder/handbook/more.html"
    refused sh "$folder/verify.sh"
    rm "$folder/handbook/more.html"
    minisign -G -W -f -p "$work/cairn.pub" -s "$work/cairn.key" >/dev/null
    minisign -S -s "$work/cairn.key" -m "$folder/SHA256SUMS" >/dev/null
    sh "$folder/verify.sh" "$work/cairn.pub"
    minisign -G -W -f -p "$work/other.pub" -s "$work/other.key" >/dev/null
    refused sh "$folder/verify.sh" "$work/other.pub"
fi

if wanted rpm; then
    say "rpm"
    root=$work/rpm
    mkdir -p "$root"
    rpm --root "$root" --initdb
    rpm --root "$root" -i --nodeps --noscripts "$rpm"
    rpm --root "$root" -V --nodeps cairn
    "$root/usr/bin/cairn" version
    rpm --root "$root" -e --noscripts cairn
    [ ! -e "$root/usr/bin/cairn" ]
fi

debian() { # SUITE: the deb in a root of that Debian
    suite=$1
    say "deb, in Debian $suite with systemd"
    if [ ! -e "$cache/$suite/done" ]; then
        mirror=$(sed -n 's/^URIs: *//p; s/^deb \(\[.*\] \)\?\([^ ]*\).*/\2/p' \
            /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -1)
        rm -rf "${cache:?}/$suite"
        mkdir -p "$cache/$suite"
        debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser,debconf,procps \
            "$suite" "$cache/$suite/root" "$mirror" >"$work/debootstrap.log" 2>&1 ||
            { tail -5 "$work/debootstrap.log" >&2; exit 1; }
        touch "$cache/$suite/done"
    fi
    rm -rf "$work/root"
    cp -a "$cache/$suite/root" "$work/root"
    mkdir "$work/root/packages"
    cp "$deb" "$work/root/packages/cairn.deb"
    cp "$work/next.deb" "$work/root/packages/next.deb"
    if [ -n "${CAIRN_PREVIOUS:-}" ]; then
        cp "$CAIRN_PREVIOUS"/cairn_*_amd64.deb "$work/root/packages/previous.deb"
    else
        say "no CAIRN_PREVIOUS: the upgrade from the commit before is NOT tested"
    fi
    cp "$here/inside.sh" "$here/../../README.md" "$here/../handbook/1-installing.md" "$work/root/packages/"
    cat >"$work/root/etc/systemd/system/inside.service" <<END
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /packages/inside.sh
StandardOutput=file:/packages/log
StandardError=file:/packages/log
ExecStopPost=/bin/sh -c 'echo \$\$EXIT_STATUS >/packages/result; systemctl exit --force'
TimeoutStartSec=700
END
    ln -s ../inside.service "$work/root/etc/systemd/system/multi-user.target.wants/"
    timeout 800 systemd-nspawn --register=no --keep-unit --quiet --private-network \
        --directory "$work/root" --boot >"$work/boot.log" 2>&1 </dev/null || true
    grep -E '^==|^\+\+' "$work/root/packages/log" || true
    if [ "$(cat "$work/root/packages/result" 2>/dev/null)" != 0 ]; then
        tail -60 "$work/root/packages/log" >&2 || tail -20 "$work/boot.log" >&2
        echo "the deb failed in $suite" >&2
        exit 1
    fi
}

if wanted deb; then
    # The next version: the same files under a higher number.
    mkdir "$work/next"
    dpkg-deb -R "$deb" "$work/next"
    sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
    dpkg-deb --root-owner-group -Zgzip --build "$work/next" "$work/next.deb" >/dev/null
    # The oldest Debian that the handbook names, and the one after it.
    for suite in ${CAIRN_TEST_SUITES:-bookworm trixie}; do
        debian "$suite"
    done
fi

say "as they should be:$parts"
