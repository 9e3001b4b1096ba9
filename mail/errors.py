"""The four ways in which anything can fail, named by whose fault it is and whether trying again may help."""


class GatepostError(Exception):
    """The family; every edge maps it, and anything outside it, to its own language."""


class Temporary(GatepostError):
    """The world failed and a later attempt may succeed (DNS SERVFAIL, full disk, HTTP 503)."""


class Permanent(GatepostError):
    """The world failed and trying again will not help (HTTP 410, a function that does not exist)."""


class Malformed(GatepostError):
    """They erred: what a peer, a file or a user sent does not follow its grammar."""


class Misuse(GatepostError):
    """We erred: a caller inside Gatepost broke a contract (a line break in a header value)."""
