"""What a rule may look at, and what it saw. A fact that is not known (yet) is None, and a comparison with it is unknown.

The same conditions are asked twice: at RCPT, where the message has not been sent, and after DATA over the whole receipt. Every
condition is monotone: what it says of few facts it says of more, unless it said unknown. So an answer at RCPT is never taken back.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from mail.address import Mailbox
from mail.client import Client
from mail.headers import Field, HeaderView, header_field
from mail.receipt import Attachment, Receipt
from mail.values import Value, changed
from mail.verdict import Verdicts


class Text(NamedTuple):
    """One value that a condition compares: as it is shown, and every key that equals it (`rules.recipients`)."""

    shown: str
    keys: tuple[str, ...]


class Facts(Value, frozen=True, kw_only=True, dict=True):
    """One message, or as much of it as is known. `size` is in octets; the one the client declared, until the message is there."""

    client: Client
    reverse_path: Mailbox | None
    size: int | None = None
    recipients_count: int | None = None
    verdicts: Verdicts | None = None
    header: HeaderView | None = None
    attachments: tuple[Attachment, ...] | None = None
    longest_line: int | None = None
    dnsbl: tuple[str, ...] | None = None
    # At RCPT the reverse name may still be on its way; in a receipt None means that there is none.
    name_is_final: bool = False

    @classmethod
    def of(cls, receipt: Receipt) -> "Facts":
        return cls(
            client=receipt.client,
            reverse_path=receipt.envelope.reverse_path,
            size=receipt.size,
            recipients_count=len(receipt.envelope.recipients),
            verdicts=receipt.verdicts,
            header=receipt.fields,
            attachments=receipt.attachments,
            longest_line=receipt.longest_line,
            dnsbl=receipt.dnsbl,
            name_is_final=True,
        )

    def with_field(self, name: str, value: str) -> "Facts":
        """The same message with one more field on top of its header section. Raises `Misuse` for a line break in it."""
        if self.header is None:
            return self
        raw = header_field(name, value)
        top = Field(name=name, raw=raw, start=0, end=0)
        header = HeaderView(
            (top, *self.header.fields), self.header.body_start, has_bare_line_ends=self.header.has_bare_line_ends
        )
        return changed(self, header=header)

    @cached_property
    def addresses(self) -> dict[str, tuple[list[Text], frozenset[str]]]:
        """The address fields that conditions have read so far, by name, so that thousands of rules parse them once."""
        return {}


class Seen(NamedTuple):
    """A condition's answer: `result` None is unknown; `saw` is JSON-able, and says why where the answer is unknown.

    `is_temporary`: unknown for a cause that may pass (DNS, a scanner), so that deferring helps.
    """

    result: bool | None
    saw: Any
    is_temporary: bool = False


_MOST_SHOWN = 20
_LONGEST_SHOWN = 500


def shown(values: Sequence[Any]) -> Any:
    """Values for `saw`: one as itself, several as a list. A stranger's header of a megabyte is not repeated for every rule."""
    if len(values) == 1:
        return _cut(values[0])
    listed = [_cut(value) for value in values[:_MOST_SHOWN]]
    return listed if len(values) <= _MOST_SHOWN else [*listed, f"and {len(values) - _MOST_SHOWN} more"]


def _cut(value: Any) -> Any:
    return f"{value[:_LONGEST_SHOWN]}…" if isinstance(value, str) and len(value) > _LONGEST_SHOWN else value


NOT_YET = Seen(None, "not known before DATA")
NOT_RECORDED = Seen(None, "not recorded")

Test = Callable[[Facts, Mailbox | None], Seen]
"""A compiled condition. The mailbox is the recipient in question; conditions about the message do not look at it."""
