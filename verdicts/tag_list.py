"""Tag=value lists, as in DKIM-Signature fields and key records (RFC 6376 §3.2)."""

from mail.errors import Malformed

WHITE_SPACE = " \t\r\n"


def parse_tags(text: str) -> dict[str, str]:
    """The tags in order, values without the white space around them. Raises `Malformed`; a tag given twice is an error."""
    tags: dict[str, str] = {}
    specs = text.split(";")
    if not specs[-1].strip(WHITE_SPACE):
        specs.pop()
    for spec in specs:
        name, equals, value = spec.partition("=")
        name = name.strip(WHITE_SPACE)
        # A letter, then letters, digits and underscores.
        if not equals or not name.isascii() or not name.isidentifier() or name[0] == "_":
            raise Malformed("not a tag=value list")
        if name in tags:
            raise Malformed(f"tag {name}= given twice")
        tags[name] = value.strip(WHITE_SPACE)
    return tags


def colon_list(text: str) -> tuple[str, ...]:
    """The words of a colon-separated list, in lower case."""
    return tuple(word.strip(WHITE_SPACE).lower() for word in text.split(":"))
