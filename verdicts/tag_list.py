"""Tag=value lists, as in DKIM-Signature fields and key records (RFC 6376 §3.2)."""

import re
from collections import Counter

from mail.errors import Malformed

WHITE_SPACE = " \t\r\n"
# A name is a letter, then letters, digits and underscores. One match for each part between semicolons that is as it should be.
_TAG = re.compile(r"(?:\A|(?<=;))[ \t\r\n]*([A-Za-z][A-Za-z0-9_]*)[ \t\r\n]*=([^;]*)")


def parse_tags(text: str) -> dict[str, str]:
    """The tags in order, values without the white space around them. Raises `Malformed`; a tag given twice is an error."""
    found = _TAG.findall(text)
    ends_in_semicolon = not text.rpartition(";")[2].strip(WHITE_SPACE)
    if len(found) != text.count(";") + (not ends_in_semicolon):
        raise Malformed("not a tag=value list")
    tags = {name: value.strip(WHITE_SPACE) for name, value in found}
    if len(tags) != len(found):
        counts = Counter(name for name, _ in found)
        raise Malformed(f"tag {counts.most_common(1)[0][0]}= given twice")
    return tags


def colon_list(text: str) -> tuple[str, ...]:
    """The words of a colon-separated list, in lower case."""
    return tuple(word.strip(WHITE_SPACE).lower() for word in text.split(":"))
