"""SRS: a reverse-path in our own domain, from which a bounce finds its way back to the sender (the SRS paper, SRS0 and SRS1).

*Trust.* Whoever writes to an SRS address is a stranger: it is turned back only if we made it, in the last 21 days. srslib takes a
hash of any length, which one character of luck passes, and hashes its parts without a mark between them, so that `mv@victim.co`
vouches for `v@victim.com`: here the hash has its full length and covers the parts as they stand in the address.
*Failure.* `Malformed`: not an address that we made, or one that is too old.
"""

import hmac
from datetime import datetime

import srslib

from mail.address import LOCAL_PART_OCTETS, Mailbox, parse_mailbox
from mail.errors import Malformed

_HASH_CHARACTERS = 6


class _Srs(srslib.SRS):  # type: ignore[misc]
    """srslib's addresses with a hash that can neither be shortened nor moved."""

    def generate_srs0_address(self, orig_host: str, orig_local_part: str, alias_host: str) -> str:
        return self._signed("SRS0", f"{self.generate_ts()}={orig_host}={orig_local_part}", alias_host)

    def generate_srs1_address(self, first_hop_host: str, first_hop_local_part: str, alias_host: str) -> str:
        return self._signed("SRS1", f"{first_hop_host}={first_hop_local_part}", alias_host)

    def check_hash(self, h: str, s: str, addr: str) -> None:
        del s
        opaque = addr.rpartition("@")[0][len("SRS0=") + len(h) + 1 :]
        made = self.generate_hash(opaque, self._secret, _HASH_CHARACTERS)
        # On the way back some servers fold the case of a local-part.
        if not hmac.compare_digest(made.lower().encode(), h.lower().encode()):
            raise srslib.InvalidHashError("not ours")

    def _signed(self, tag: str, opaque: str, alias_host: str) -> str:
        return f"{tag}={self.generate_hash(opaque, self._secret, _HASH_CHARACTERS)}={opaque}@{alias_host}"


class SenderRewriting:
    """`domain` is ours and takes the bounces; `secret` signs the addresses in it."""

    def __init__(self, domain: str, secret: str) -> None:
        self.domain = domain.lower()
        self._secret = secret

    def reverse_path(self, sender: Mailbox, now: datetime) -> Mailbox | None:
        """The reverse-path for mail from `sender` that goes on from here; None where no address can carry it.

        An address in our own SRS domain stays as it is; the null reverse-path never comes here.
        """
        if sender.domain == self.domain:
            return sender
        local = self._at(now).forward(f"{sender.local_part}@{sender.domain}", self.domain).rpartition("@")[0]
        # RFC 5321 §4.5.3.1.1: beyond this a server, ours too, may refuse the bounce.
        if len(local.encode()) > LOCAL_PART_OCTETS or sender.domain.startswith("["):
            return None
        return Mailbox(local_part=local, domain=self.domain)

    def is_ours(self, mailbox: Mailbox) -> bool:
        return mailbox.domain == self.domain and mailbox.local_part[:4].upper() in ("SRS0", "SRS1")

    def sender(self, mailbox: Mailbox, now: datetime) -> Mailbox:
        """Whom an SRS address of ours stands for. Raises `Malformed`."""
        if not self.is_ours(mailbox):
            raise Malformed("not an SRS address of ours")
        try:
            text = self._at(now).reverse(f"{mailbox.local_part}@{mailbox.domain}")
        except srslib.InvalidTimestampError:
            raise Malformed("the SRS address is too old") from None
        except (srslib.Error, ValueError, KeyError, UnicodeError):
            raise Malformed("we did not make this SRS address") from None
        local, _, domain = text.rpartition("@")
        return parse_mailbox(str(Mailbox(local_part=local, domain=domain)))

    def _at(self, now: datetime) -> _Srs:
        srs = _Srs(self._secret)
        srs._time_fn = now.timestamp  # it would read the wall clock
        return srs
