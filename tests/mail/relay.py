"""A mail relay (aiosmtpd) that keeps what it gets: a line of JSON for each letter.

The first line is the port.
"""

import argparse
import asyncio
import email
import email.policy
import json
import ssl

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


def say(what):
    print(json.dumps(what), flush=True)


class Keeper:
    def __init__(self, refuses):
        self.refuses = refuses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refuses:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        say({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "hello": session.host_name,
            "authenticated": session.authenticated,
            "tls": server.transport.get_extra_info("cipher") is not None,
            "headers": {name.lower(): str(value) for name, value in letter.items()},
            "text": letter.get_content(),
        })
        return "250 OK"


async def main(options):
    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.certificate, options.key)

    def authenticate(server, session, envelope, mechanism, data):
        right = LoginPassword(options.user.encode(), options.password.encode())
        return AuthResult(success=data == right)

    starttls = options.tls == "starttls"

    def protocol():
        return SMTP(
            Keeper(options.refuses),
            hostname="relay.test",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            authenticator=authenticate if options.user else None,
            auth_required=bool(options.user),
            auth_require_tls=starttls,
        )

    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", options.port, ssl=context if options.tls == "implicit" else None)
    say(server.sockets[0].getsockname()[1])
    await server.serve_forever()


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--tls", default="none")
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--user")
parser.add_argument("--password", default="")
parser.add_argument("--refuses", action="store_true")
asyncio.run(main(parser.parse_args()))
