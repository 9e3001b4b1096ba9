"""Replies that only the server makes, and replies as octets."""

from functools import lru_cache

from mail.reply import (
    BYE,
    OK,
    RECIPIENT_OK,
    SENDER_OK,
    START_DATA,
    Reply,
)
from smtp.arguments import XCLIENT_NAMES
from smtp.config import SmtpConfig, can_start_tls

NO_PROXY_HEADER = Reply(code=421, detail="3.2", text="No PROXY header, though proxy_from asks for one", close=True)
TOO_MANY_RECIPIENTS_HERE = Reply(code=421, detail="5.3", text="Too many recipients on this connection", close=True)
TOO_MANY_REFUSED = Reply(code=421, detail="7.0", text="Too many refused recipients", close=True)
TOO_MANY_COMMANDS = Reply(code=421, detail="7.0", text="Too many commands without a message", close=True)
TOO_MANY_MESSAGES = Reply(code=421, detail="7.0", text="Too many messages on this connection", close=True)

_SYNTAX = {
    "BDAT": "BDAT octets [LAST]",
    "DATA": "DATA",
    "EHLO": "EHLO hostname",
    "HELO": "HELO hostname",
    "HELP": "HELP [command]",
    "MAIL": "MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME] [SMTPUTF8]",
    "NOOP": "NOOP [anything]",
    "QUIT": "QUIT",
    "RCPT": "RCPT TO:<address>",
    "RSET": "RSET",
    "STARTTLS": "STARTTLS",
    "VRFY": "VRFY <address>",
}

# These live as long as the program, so their identity names them.
_PREBUILT = {id(reply): bytes(reply) for reply in (OK, SENDER_OK, RECIPIENT_OK, START_DATA, BYE)}


def wire(reply: Reply) -> bytes:
    return _PREBUILT.get(id(reply)) or bytes(reply)


@lru_cache(maxsize=64)
def banner(config: SmtpConfig) -> bytes:
    return bytes(Reply(code=220, text=f"{config.hostname} ESMTP {config.software}"))


def help_on(topic: str, config: SmtpConfig) -> Reply:
    """HELP's answer (RFC 5321 §4.1.1.8): the commands that there are here, or one's syntax."""
    known = {verb: syntax for verb, syntax in _SYNTAX.items() if verb != "STARTTLS" or can_start_tls(config)}
    syntax = known.get(topic.strip().upper())
    text = f"Syntax: {syntax}" if syntax is not None else f"Supported commands: {' '.join(known)}"
    return Reply(code=214, detail="0.0", text=text)


@lru_cache(maxsize=64)
def hello(config: SmtpConfig, *, secure: bool, trusted: bool) -> bytes:
    """EHLO's answer: STARTTLS is offered only where it can be done, XCLIENT only to whom it is open."""
    limits = config.limits
    offered = ["PIPELINING", f"SIZE {limits.message_octets}"]
    if can_start_tls(config) and not secure:
        offered.append("STARTTLS")
    offered += ["8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"]
    offered.append(f"LIMITS MAILMAX={limits.transactions} RCPTMAX={limits.recipients}")
    if trusted:
        offered.append(f"XCLIENT {XCLIENT_NAMES}")
    return bytes(Reply(code=250, text=config.hostname, lines=tuple(offered)))
