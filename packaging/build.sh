#!/bin/sh
# build.sh BINARY TO: deb, rpm and the offline bundle of a release binary, in the folder TO.
# Both packages are packed by their distributions' own tools from one folder of files: what is
# shipped stands in one list, and needs nothing of cargo but the binary.
# Needs dpkg-deb, rpmbuild, python3 and gzip; signs the bundle's checksums with minisign if
# CAIRN_SIGNING_KEY names a secret key. Two runs with the same binary make the same packages.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
top=$(dirname "$here")
binary=$(realpath "$1")
mkdir -p "$2"
to=$(cd "$2" && pwd)
version=$("$binary" version | awk '{print $2; exit}')
# Everything is as old as the commit that it is built from.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022

# The files of both packages, as they will lie on the disk.
root=$work/root
doc=$root/usr/share/doc/cairn
put() { # MODE FROM TO
    install -D -m "$1" "$2" "$root/$3"
}
install -D -m 755 "$binary" "$root/usr/bin/cairn"
strip --strip-unneeded "$root/usr/bin/cairn"
"$binary" pages "$work/pages" >/dev/null
for page in "$work"/pages/man/*.1; do
    name=$(basename "$page")
    # For whoever makes packages, not for operators.
    [ "$name" != cairn-pages.1 ] || continue
    put 644 "$page" "usr/share/man/man1/$name"
    gzip -9n "$root/usr/share/man/man1/$name"
done
put 644 "$work/pages/completions/cairn.bash" usr/share/bash-completion/completions/cairn
put 644 "$work/pages/completions/_cairn" usr/share/zsh/vendor-completions/_cairn
put 644 "$work/pages/completions/cairn.fish" usr/share/fish/vendor_completions.d/cairn.fish
for unit in cairn.service cairn.socket cairn-backup.service cairn-backup.timer; do
    put 644 "$top/systemd/$unit" "usr/lib/systemd/system/$unit"
done
put 644 "$top/systemd/cairn.sysusers" usr/lib/sysusers.d/cairn.conf
put 644 "$top/systemd/cairn.tmpfiles" usr/lib/tmpfiles.d/cairn.conf
put 644 "$here/firewalld/cairn.xml" usr/lib/firewalld/services/cairn.xml
put 644 "$here/ufw/cairn" etc/ufw/applications.d/cairn
put 644 "$top/config/cairn.example.toml" usr/share/doc/cairn/cairn.example.toml
put 644 "$here/prometheus/cairn.rules.yml" usr/share/doc/cairn/prometheus/cairn.rules.yml
put 644 "$here/grafana/cairn.json" usr/share/doc/cairn/grafana/cairn.json
python3 "$here/handbook/build.py" "$doc/handbook"
python3 "$here/licences.py" "$top" "$work/LICENSES.txt" "$doc/cairn.cdx.json" "$version"
gzip -9nc "$work/LICENSES.txt" >"$doc/LICENSES.txt.gz"
chmod 644 "$doc"/LICENSES.txt.gz "$doc"/cairn.cdx.json "$doc"/handbook/*
sync_times() {
    find "$1" -newermt "@$SOURCE_DATE_EPOCH" -print0 |
        xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
}

# rpm: the same files, its own list of them.
sync_times "$root"
rpm_root=$work/rpm-root
cp -a "$root" "$rpm_root"
mv "$rpm_root/usr/share/zsh/vendor-completions" "$rpm_root/usr/share/zsh/site-functions"
rm -r "$rpm_root/etc/ufw"
rmdir "$rpm_root/etc"
{
    (cd "$rpm_root" && find . -type f | sed 's/^\.//' | sort) |
        sed 's,^/usr/share/doc,%doc &,; s,^\(/usr/share/man/.*\),%doc \1,'
    echo '%dir /usr/share/doc/cairn'
    echo '%dir %attr(0750, root, root) /etc/cairn'
} >"$rpm_root.list"
rpmbuild -bb --quiet --target x86_64 --define "staged $rpm_root" --define "wanted $version" \
    --define "_topdir $work/rpmbuild" --define "_rpmdir $to" --define "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
    --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" \
    --define "_buildhost localhost" --define "_binary_payload w12.zstdio" \
    "$here/rpm/cairn.spec"

# deb.
put 644 "$here/deb/copyright" usr/share/doc/cairn/copyright
printf 'cairn (%s) stable; urgency=medium\n\n  * See the project'"'"'s history.\n\n -- The Cairn project <cairn@packages.invalid>  %s\n' \
    "$version" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
put 644 "$here/deb/lintian-overrides" usr/share/lintian/overrides/cairn
size=$(du -sk "$root" | cut -f1)
mkdir "$root/DEBIAN"
sed "s/@VERSION@/$version/; s/@SIZE@/$size/" "$here/deb/control" >"$root/DEBIAN/control"
for script in postinst prerm postrm; do
    install -m 755 "$here/deb/$script" "$root/DEBIAN/$script"
done
install -m 644 "$here/deb/templates" "$root/DEBIAN/templates"
(cd "$root" && find etc -type f | sed 's,^,/,') >"$root/DEBIAN/conffiles"
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | sort | xargs md5sum) >"$root/DEBIAN/md5sums"
chmod 644 "$root/DEBIAN/conffiles" "$root/DEBIAN/md5sums" "$root/DEBIAN/control"
sync_times "$root"
deb=$to/cairn_${version}_amd64.deb
dpkg-deb --root-owner-group -Zxz --build "$root" "$deb" >/dev/null

# The bundle for the stick.
bundle=$work/cairn-$version
mkdir "$bundle"
cp "$to/cairn_${version}_amd64.deb" "$to/cairn-$version-1.x86_64.rpm" "$here/verify.sh" "$bundle/"
cp "$root/usr/bin/cairn" "$bundle/cairn-$version-x86_64-linux"
cp "$doc/cairn.cdx.json" "$work/LICENSES.txt" "$bundle/"
cp -r "$doc/handbook" "$bundle/handbook"
(cd "$bundle" && find . -type f ! -name SHA256SUMS ! -name verify.sh -printf '%P\n' | sort | xargs sha256sum) >"$work/sums"
mv "$work/sums" "$bundle/SHA256SUMS"
if [ -n "${CAIRN_SIGNING_KEY:-}" ]; then
    minisign -S -s "$CAIRN_SIGNING_KEY" -m "$bundle/SHA256SUMS" -t "cairn $version" >/dev/null
fi
sync_times "$bundle"
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    -C "$work" -cf "$to/cairn-$version-offline.tar" "cairn-$version"
ls -l "$to"
