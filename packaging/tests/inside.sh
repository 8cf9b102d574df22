#!/bin/sh
# What happens in the Debian of run.sh: the life of a package, with systemd running.
set -eux

say() { set +x; echo "== $*"; set -x; }
health() { # PORT: the health page's answer
    bash -c 'exec 3<>/dev/tcp/127.0.0.1/'"$1"'; printf "GET /_cairn/health HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3; cat <&3'
}
not() { # COMMAND…: it fails, as it should
    if "$@"; then
        echo "not refused: $*"
        exit 1
    fi
}
main() { systemctl show -p MainPID --value cairn; }
until_active() {
    for _ in $(seq 50); do
        ! systemctl is-active --quiet cairn || return 0
        sleep 0.2
    done
    journalctl -u cairn --no-pager | tail -20
    return 1
}
# What stands between ``` in a page after a line, as a person would type it.
block() { # PAGE LINE
    awk -v line="$2" 'index($0, line) == 1 { there = 1; next }
        there && /^```/ { if (within) exit; within = 1; next }
        within' "/packages/$1" >/packages/typed.sh
    [ -s /packages/typed.sh ]
    cat /packages/typed.sh
}
trap 'status=$?; [ $status = 0 ] || journalctl --no-pager | tail -30; exit $status' EXIT
export DEBIAN_FRONTEND=noninteractive

if [ -e /packages/previous.deb ]; then
    say "upgraded from the commit before, with data and a changed configuration"
    dpkg -i /packages/previous.deb
    cairn init --server-name council.example --administrator admin
    systemctl enable --now cairn
    until_active
    cairn user create anna
    printf '\n[log]\nlevel = "debug"\n' >>/etc/cairn/cairn.toml
    sum=$(md5sum </etc/cairn/cairn.toml)
    pid=$(main)
    # Where the program is the same, so is its number: it is another package all the same.
    dpkg -i /packages/cairn.deb
    until_active
    [ "$(main)" != "$pid" ]
    [ "$(md5sum </etc/cairn/cairn.toml)" = "$sum" ]
    health 8008 | grep '"ready":true'
    cairn user list | grep anna
    cairn user create bert
    echo 'cairn cairn/remove-data boolean true' | debconf-set-selections
    dpkg -P cairn
    [ ! -e /var/lib/cairn ]
    systemctl daemon-reload
fi

say "installed: a user, folders, nothing started"
dpkg -i /packages/cairn.deb
getent passwd cairn
[ "$(stat -c '%U %a' /var/lib/cairn)" = "cairn 700" ]
[ "$(stat -c '%U:%G %a' /etc/cairn)" = "root:cairn 750" ]
not systemctl is-active --quiet cairn
not systemctl is-enabled --quiet cairn
# Without a configuration a start is left out, and is no failure.
systemctl start cairn
not systemctl is-active --quiet cairn
not systemctl is-failed --quiet cairn

say "set up by root as the handbook says; the server runs as its own user"
cairn init --server-name council.example --administrator admin
[ -z "$(find /var/lib/cairn ! -user cairn)" ]
cairn config check
systemctl enable --now cairn
systemctl is-active cairn
[ "$(stat -c %U "/proc/$(main)")" = cairn ]
grep -E '^(NoNewPrivs:.1|Seccomp:.2)' "/proc/$(main)/status" | wc -l | grep -x 2
grep '^CapEff:.0000000000000000' "/proc/$(main)/status"
health 8008 | tee /packages/health | grep '"ready":true'
cairn user create anna
cairn user list | grep anna
journalctl -u cairn --no-pager >/packages/journal
systemd-analyze security --threshold=15 cairn
# Memory is given back by a thread of the allocator's own, and no memory is both written and run.
grep -x jemalloc_bg_thd /proc/"$(main)"/task/*/comm -h | head -1 | grep .
not grep 'rwx' "/proc/$(main)/maps"
not grep -i jemalloc /packages/journal

say "the log's fields, and how much of it, while the server runs"
printf '\n[log]\nlevel = "debug"\n' >>/etc/cairn/cairn.toml
systemctl reload cairn
request=$(health 8008 | tr -d '\r' | sed -n 's/^x-request-id: //p')
sleep 1
journalctl --sync
journalctl -u cairn "REQUEST_ID=$request" -o json | tee /packages/entry | grep '"TARGET":"web::front"'
for field in REQUEST_ID USER_HASH ROOM ADDRESS; do
    grep "\"$field\":" /packages/entry >/dev/null
done
sed -i '/^\[log\]$/,$d' /etc/cairn/cairn.toml
systemctl reload cairn
sleep 1
request=$(health 8008 | tr -d '\r' | sed -n 's/^x-request-id: //p')
sleep 1
journalctl --sync
not sh -c "journalctl -u cairn REQUEST_ID=$request -o json | grep ."

say "reloaded, killed, hung: it is there again"
pid=$(main)
systemctl reload cairn
sleep 1
[ "$(main)" = "$pid" ]
kill -9 "$pid"
sleep 3
until_active
[ "$(main)" != "$pid" ]
mkdir -p /etc/systemd/system/cairn.service.d
printf '[Service]\nWatchdogSec=3\n' >/etc/systemd/system/cairn.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart cairn
sleep 5
pid=$(main)
systemctl is-active cairn
kill -STOP "$pid"
for _ in $(seq 40); do [ "$(main)" = "$pid" ] || break; sleep 0.5; done
[ "$(main)" != "$pid" ]
rm /etc/systemd/system/cairn.service.d/watchdog.conf
systemctl daemon-reload
systemctl reset-failed cairn || true
systemctl restart cairn

say "what cannot start is tried again, ever more slowly"
cp /etc/cairn/cairn.toml /packages/kept.toml
echo nonsense >>/etc/cairn/cairn.toml
systemctl reset-failed cairn || true
systemctl restart cairn || true
waits() { systemctl show -p StatusText --value cairn | grep -q "waiting 6 s"; }
for _ in $(seq 60); do ! waits || break; sleep 0.5; done
waits
[ "$(systemctl show -p NRestarts --value cairn)" -lt 6 ]
# Whoever restarts it by hand does not wait.
begun=$(date +%s)
systemctl restart cairn || true
[ $(($(date +%s) - begun)) -lt 5 ]
cp /packages/kept.toml /etc/cairn/cairn.toml
# It comes back by itself once that is mended.
for _ in $(seq 120); do
    ! systemctl is-active --quiet cairn || break
    sleep 1
done
systemctl is-active cairn

say "a port of root's, handed over; a secret, handed over"
mkdir -p /etc/systemd/system/cairn.socket.d /etc/cairn/secrets
printf '[Socket]\nListenStream=\nListenStream=0.0.0.0:443\n' >/etc/systemd/system/cairn.socket.d/addresses.conf
printf '\n[[listener]]\naddress = "0.0.0.0:443"\nserves = ["client", "metrics"]\n' >>/etc/cairn/cairn.toml
sed -i 's/^mode = "invite"/&\nshared_secret = "credential:shared-secret"/' /etc/cairn/cairn.toml
systemctl daemon-reload
not systemctl restart cairn
journalctl -u cairn --no-pager | grep 'there is no credential shared-secret'
echo hush >/etc/cairn/secrets/shared-secret
chmod 600 /etc/cairn/secrets/shared-secret
printf '[Service]\nLoadCredential=shared-secret:/etc/cairn/secrets/shared-secret\n' >/etc/systemd/system/cairn.service.d/secret.conf
systemctl daemon-reload
systemctl stop cairn
systemctl start cairn.socket
systemctl start cairn
systemctl is-active cairn
health 443 | grep '"ready":true'
cairn user list | grep anna

say "backed up by the timer's service, checked, restored"
systemctl enable --now cairn-backup.timer
systemctl start cairn-backup
cairn backup list /var/backups/cairn
systemctl start cairn-backup
[ "$(stat -c %U /var/backups/cairn/backups)" = cairn ]
cairn backup verify /var/backups/cairn
cairn user create lost
systemctl stop cairn
mv /var/lib/cairn /var/lib/cairn.old
install -d -o cairn -g cairn -m 700 /var/lib/cairn
cairn backup restore /var/backups/cairn
systemctl start cairn
cairn user list | grep anna
not sh -c 'cairn user list | grep lost'

say "upgraded with data and a changed configuration"
sum=$(md5sum </etc/cairn/cairn.toml)
pid=$(main)
dpkg -i /packages/next.deb
dpkg-query -W cairn | grep next
until_active
[ "$(main)" != "$pid" ]
[ "$(md5sum </etc/cairn/cairn.toml)" = "$sum" ]
cairn user list | grep anna

say "removed: everything that is somebody's stays"
dpkg -r cairn
not systemctl is-active --quiet cairn
[ ! -e /usr/bin/cairn ]
[ -d /var/lib/cairn/database ]
[ -e /etc/cairn/cairn.toml ]
dpkg -i /packages/next.deb
# The removal has stopped the socket as well.
systemctl start cairn.socket cairn
cairn user list | grep anna

say "purged: kept when nobody says otherwise, removed when somebody does"
dpkg -P cairn
[ -d /var/lib/cairn/database ]
dpkg -i /packages/next.deb
echo 'cairn cairn/remove-data boolean true' | debconf-set-selections
dpkg -P cairn
[ ! -e /var/lib/cairn ]
[ ! -e /etc/cairn ]
not getent passwd cairn
[ -d /var/backups/cairn/backups ]

say "the README's installation, word for word"
# What was changed by hand above is gone, as on a fresh machine.
rm -rf /var/backups/cairn /etc/systemd/system/cairn.service.d /etc/systemd/system/cairn.socket.d
systemctl daemon-reload
mkdir /stick
cp /packages/cairn.deb /stick/cairn_0_amd64.deb
cd /stick
block README.md "[handbook](packaging/handbook/1-installing.md), which the packages bring along"
sh -eux /packages/typed.sh
until_active
health 8008 | grep '"ready":true'
cairn user list | grep admin
echo 'cairn cairn/remove-data boolean true' | debconf-set-selections
dpkg -P cairn

say "the handbook's, with an authority of the server's own"
block 1-installing.md "Debian and Ubuntu:"
sh -eux /packages/typed.sh
block 1-installing.md "**An authority of your own**"
sh -eux /packages/typed.sh
until_active
[ "$(stat -c '%U %a' /var/lib/cairn/tls/root.key)" = "cairn 600" ]
health 8008 | grep '"ready":true'
# Something listens for apps and for other servers.
for port in 443 8448; do
    bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
done
cairn doctor | tee /packages/doctor || true
systemctl start cairn-backup
cairn backup verify /var/backups/cairn

say "done"
