"""Dialogue files.

`-> line` sends a line with CRLF, `~> 'octets'` sends octets as a Python literal (`* N` repeats them), `<- line` expects a line,
`<~ prefix` the start of one, `<... prefix` reads on to such a line, `<|` expects the end of the connection, `=> half-close` shuts
down the sending side. `# ` is a comment; `# defect: A1` names a defect of the stock class, `# config: name=value` a limit of ours.

`# stock:` begins what the stock class does instead.
"""

import ast
import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 5
_STEP = re.compile(r"(->|~>|<-|<~|<\.\.\.|<\||=>) ?(.*)", re.DOTALL)
_REPEATED = re.compile(r"(.*?) \* (\d+)\Z", re.DOTALL)


@dataclass(frozen=True)
class Dialogue:
    name: str
    ours: tuple[tuple[str, str], ...]
    stock: tuple[tuple[str, str], ...]
    defects: tuple[str, ...]
    settings: dict[str, str]


def load(path: Path) -> Dialogue:
    ours: list[tuple[str, str]] = []
    stock: list[tuple[str, str]] = []
    defects: list[str] = []
    settings: dict[str, str] = {}
    steps = ours
    for line in path.read_text().splitlines():
        if line.startswith("# defect:"):
            defects += line.partition(":")[2].split()
        elif line.startswith("# config:"):
            settings |= dict(word.split("=", 1) for word in line.partition(":")[2].split())
        elif line.startswith("# stock:"):
            steps = stock
        elif line.strip() and not line.startswith("#"):
            match = _STEP.fullmatch(line)
            if not match:
                raise ValueError(f"{path.name}: {line!r}")
            steps.append((match[1], match[2]))
    return Dialogue(path.stem, tuple(ours), tuple(stock), tuple(defects), settings)


def octets(literal: str) -> bytes:
    repeated = _REPEATED.fullmatch(literal)
    if repeated:
        return octets(repeated[1]) * int(repeated[2])
    value = ast.literal_eval(literal)
    return value.encode() if isinstance(value, str) else value


async def play(steps: tuple[tuple[str, str], ...], host: str, port: int) -> list[str]:
    """Hold the dialogue; what was heard, line by line. Raises `AssertionError` where a line is not as expected."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**20)
    heard: list[str] = []

    async def line() -> str:
        raw = await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
        heard.append(raw.decode("latin-1").removesuffix("\r\n") if raw else "(closed)")
        return heard[-1]

    try:
        for kind, text in steps:
            match kind:
                case "->":
                    writer.write(text.encode() + b"\r\n")
                case "~>":
                    writer.write(octets(text))
                    await _drained(writer)
                case "=>":
                    writer.write_eof()
                case "<-":
                    assert await line() == text
                case "<~":
                    assert (await line()).startswith(text), f"{heard[-1]!r} does not start with {text!r}"
                case "<...":
                    while not (await line()).startswith(text):
                        assert heard[-1] != "(closed)", f"no line starts with {text!r}: {heard}"
                case "<|":
                    assert await line() == "(closed)"
    except ConnectionError:
        heard.append("(reset)")
        raise AssertionError(f"connection reset: {heard}") from None
    finally:
        writer.close()
    return heard


async def _drained(writer: asyncio.StreamWriter) -> None:
    try:
        await asyncio.wait_for(writer.drain(), PATIENCE_SECONDS)
    except ConnectionError:
        return  # the server has hung up: what it said is still to be read
