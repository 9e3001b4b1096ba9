"""Charsets of mail, by the names that mail gives them.

*Trust.* The name is a stranger's. Not every codec of Python's is a charset: `punycode` takes quadratic time, others read escapes,
and `undefined` raises whatever is asked of it. So only charsets are decoded.
"""

import codecs
import re
from functools import lru_cache

_CHARSETS = re.compile(
    r"ascii|utf-(?:7|8|16|32)(?:-sig|-[bl]e)?|iso8859-\d+|cp\d+|koi8-\w|kz1048|ptcp154|tis-620|mac-\w+|hp-roman8"
    r"|gb2312|gbk|gb18030|hz|big5(?:hkscs)?|shift_jis\w*|euc_\w+|iso2022_\w+|johab"
)
_LONGEST_NAME = 60


@lru_cache(maxsize=256)
def charset(name: str) -> str | None:
    """Python's name of the charset; None for what is none, or none that is known."""
    try:
        found = codecs.lookup(name).name if len(name) <= _LONGEST_NAME else ""
    except (LookupError, ValueError):  # ValueError: a NUL in it
        return None
    return found if _CHARSETS.fullmatch(found) else None


def decoded(octets: bytes, codec: str, errors: str = "replace") -> str:
    """Text by one of these charsets, Unicode whatever the octets are: of UTF-7 Python makes surrogates, which nobody can encode."""
    text = octets.decode(codec, errors)
    return whole(text) if codec == "utf-7" else text


def whole(text: str) -> str:
    """The text with a question mark for each surrogate."""
    return text.encode("utf-8", "replace").decode()
