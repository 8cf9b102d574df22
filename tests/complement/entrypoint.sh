#!/bin/sh
# Starts Cairn as Complement expects a homeserver: HTTP on 8008, TLS on 8448 with a
# certificate of Complement's authority, open registration, no rate limits. Run
# again on the same files, after a stop or as a committed image, it goes on.
set -eu

: "${SERVER_NAME:?is set by Complement}"
home=/data/cairn
mkdir -p "$home"
cd "$home"

# The certificate is made anew at each start: an image may start under another name.
openssl req -new -newkey rsa:2048 -nodes -sha256 -subj "/CN=$SERVER_NAME" \
    -keyout server.key -out server.csr 2>/dev/null
printf 'subjectAltName=DNS:%s\n' "$SERVER_NAME" >server.extensions
openssl x509 -req -sha256 -days 30 -in server.csr -out server.crt \
    -CA /complement/ca/ca.crt -CAkey /complement/ca/ca.key \
    -set_serial "0x$(openssl rand -hex 8)" -extfile server.extensions 2>/dev/null

registrations=
for file in /complement/appservice/*.yaml; do
    if [ -e "$file" ]; then registrations="$registrations\"$file\", "; fi
done

# Complement writes for room versions before 12, whose creator has no power
# level that could be changed.
cat >cairn.toml <<TOML
server_name = "$SERVER_NAME"
data_dir = "$home/data"

[[listener]]
address = "0.0.0.0:8008"
serves = ["client", "federation", "admin"]

[[listener]]
address = "0.0.0.0:8448"
serves = ["client", "federation"]
tls = { certificate = "$home/server.crt", key = "$home/server.key" }

[registration]
mode = "open"
shared_secret = "complement"

[accounts]
user_directory = "shared_rooms"
password_min_length = 1

[rooms]
default_version = "11"

[media]
unauthenticated_until = "always"

[url_previews]
enabled = true

[outgoing]
trusted_roots = ["/complement/ca/ca.crt"]
private_networks = ["0.0.0.0/0"]

[federation]
retry_delay_max = 1
device_names = true

[application_services]
registrations = [$registrations]

[limits]
enabled = false
TOML

exec cairn serve --config cairn.toml
