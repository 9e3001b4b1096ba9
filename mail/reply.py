"""SMTP replies as values: a code, an enhanced status whose class follows from it, and fixed prose.

*Standards.* RFC 5321 §4.2 (replies), RFC 3463 and RFC 2034 (enhanced codes).
"""

import re

from mail.errors import Misuse
from mail.values import Value, changed

_UNPRINTABLE = re.compile(r"[^ -~]")
LINE_TEXT_OCTETS = 480  # RFC 5321 §4.5.3.1.5: 512 with code, enhanced code and CRLF


class Reply(Value, frozen=True, kw_only=True):
    """One reply. `detail` is RFC 3463's `subject.detail`; the class digit is derived, so code and class cannot disagree.

    `detail` is None for replies that carry no enhanced code (220, 354, EHLO's 250). `lines` follow the first.
    `close` tells the session to hang up after sending it.
    """

    code: int
    text: str
    detail: str | None = None
    lines: tuple[str, ...] = ()
    close: bool = False

    @property
    def enhanced(self) -> str | None:
        return None if self.detail is None else f"{self.code // 100}.{self.detail}"

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    def because(self, text: str) -> "Reply":
        """The same reply with other prose; the codes stay together."""
        return changed(self, text=text)

    def closing(self) -> "Reply":
        return changed(self, close=True)

    def __bytes__(self) -> bytes:
        texts = (self.text, *self.lines)
        prefix = f"{self.enhanced} " if self.detail is not None else ""
        last = len(texts) - 1
        return "".join(
            f"{self.code}{' ' if number == last else '-'}{prefix}{_printable(text)}\r\n"
            for number, text in enumerate(texts)
        ).encode("ascii")

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


def _printable(text: str) -> str:
    # A reply is the one place where configured text meets the wire: a CR or LF in it would be a second reply.
    return _UNPRINTABLE.sub("?", text)[:LINE_TEXT_OCTETS]


_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\Z")


def reply_from(code: str | int, enhanced: str | None, text: str) -> Reply:
    """A reply from configured parts (a Bounce action's). Raises `Misuse` where the class digit contradicts the code.

    Without an enhanced code `x.0.0` is used.
    """
    number = int(code)
    if enhanced is None or enhanced == "":
        return Reply(code=number, detail="0.0", text=text)
    match = _ENHANCED.match(enhanced)
    if not match or enhanced[0] != str(number)[0]:
        raise Misuse(f"status code {enhanced} does not fit reply code {number}")
    return Reply(code=number, detail=match.group(1), text=text)


# What the house answers, in one table. SES: receiving an email, §3.1 of its dialogue, where SES's text is known.
OK = Reply(code=250, detail="0.0", text="Ok")
SENDER_OK = Reply(code=250, detail="1.0", text="Ok")
RECIPIENT_OK = Reply(code=250, detail="1.5", text="Ok")
ACCEPTED = Reply(code=250, detail="0.0", text="Ok")
BYE = Reply(code=221, detail="0.0", text="Bye", close=True)
START_DATA = Reply(code=354, text="End data with <CR><LF>.<CR><LF>")
READY_FOR_TLS = Reply(code=220, detail="0.0", text="Ready to start TLS")

BLOCKED_IP = Reply(code=550, detail="7.1", text="IP address blacklisted by recipient")
NO_SUCH_MAILBOX = Reply(code=550, detail="1.1", text="Requested action not taken: mailbox unavailable")
RELAYING_DENIED = Reply(code=550, detail="7.1", text="Relaying denied")
NEEDS_TLS = Reply(code=530, detail="7.0", text="Must issue a STARTTLS command first")
UNSCANNED_REJECTED = Reply(code=550, detail="7.1", text="Message refused: it cannot be scanned")
UNHANDLED_REJECTED = Reply(code=550, detail="7.1", text="Message refused: no rule takes it")

TOO_MANY_RECIPIENTS = Reply(code=452, detail="5.3", text="Too many recipients")
MESSAGE_TOO_BIG = Reply(code=552, detail="3.4", text="Message too big for system")
INSUFFICIENT_STORAGE = Reply(code=452, detail="3.1", text="Insufficient system storage")
TRY_AGAIN = Reply(code=451, detail="3.0", text="Temporary failure, please try again later")
VERDICT_UNAVAILABLE = Reply(code=451, detail="7.0", text="Cannot verify this message now, please try again later")
SCANNER_UNAVAILABLE = Reply(code=451, detail="7.1", text="Cannot scan this message now, please try again later")
TOO_BUSY = Reply(code=421, detail="3.2", text="Too busy, please try again later", close=True)
SHUTTING_DOWN = Reply(code=421, detail="3.2", text="Service shutting down", close=True)
TIMED_OUT = Reply(code=421, detail="4.2", text="Timeout, closing connection", close=True)
BARE_NEWLINE = Reply(code=554, detail="5.2", text="Bare CR or LF refused, see RFC 5321 section 2.3.8", close=True)

SYNTAX_ERROR = Reply(code=501, detail="5.4", text="Syntax error in parameters or arguments")
BAD_ADDRESS = Reply(code=501, detail="1.3", text="Bad address syntax")
BAD_SENDER = Reply(code=501, detail="1.7", text="Bad sender address syntax")
UNKNOWN_COMMAND = Reply(code=500, detail="5.2", text="Command not recognized")
LINE_TOO_LONG = Reply(code=500, detail="5.2", text="Line too long")
NOT_IMPLEMENTED = Reply(code=502, detail="5.1", text="Command not implemented")
BAD_SEQUENCE = Reply(code=503, detail="5.1", text="Bad sequence of commands")
NEED_MAIL = Reply(code=503, detail="5.1", text="Error: need MAIL command")
NEED_RCPT = Reply(code=503, detail="5.1", text="Error: need RCPT command")
BAD_PARAMETER = Reply(code=555, detail="5.4", text="Unsupported parameter")
NEEDS_SMTPUTF8 = Reply(code=553, detail="6.7", text="Address needs SMTPUTF8")
TOO_MANY_ERRORS = Reply(code=421, detail="7.0", text="Too many errors", close=True)
EARLY_TALKER = Reply(code=554, detail="5.1", text="Protocol error: you talk before you are greeted", close=True)
LOOP_DETECTED = Reply(code=554, detail="4.6", text="Mail loop detected")
