"""The defects of the stock class (A1 to A24), each with the test that holds ours against it.

Those visible on the wire are dialogues, run against both (`tests/dialogues`); the others stand here with their reason.
"""

import inspect
import re
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP

from smtp.server import Server

TESTS = Path(__file__).parents[1]
DIALOGUES = TESTS / "dialogues"

# defect -> (the test on ours, why no dialogue shows it against the stock class)
OFF_THE_WIRE = {
    "A2": ("test_what_is_stuffed_comes_out_as_it_was", "copies in memory; on the wire both store the message"),
    "A6": ("test_a_slow_backend_is_waited_for", "the stock timer is 300 s; its bare close would have to be waited for"),
    "A7": (
        "test_a_long_mail_command_is_legal_whatever_other_connections_do",
        "needs a second connection at the right moment",
    ),
    "A14": (
        "test_implicit_tls_stands_before_the_banner_and_is_known",
        "what the session object holds, not what is sent",
    ),
    "A17": ("test_starttls_encrypts_and_forgets_what_was_injected", "a hook's signature; ours has no STARTTLS hook"),
    "A21": ("test_our_server_holds_the_dialogue", "the log, not the wire: no dialogue of ours logs an address"),
    "A22": ("test_draining_lets_messages_under_way_end_and_sends_the_idle_away", "the stock Controller is not used"),
    "A23": ("test_a_failed_tls_handshake_ends_the_connection_only", "private members of one Python version or another"),
    "A24": ("test_implicit_tls_stands_before_the_banner_and_is_known", "the stock class reads PROXY inside TLS only"),
}


def on_the_wire() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(DIALOGUES.glob("*.txt")):
        text = path.read_text()
        for defects in re.findall(r"^# defect: (.*)$", text, re.MULTILINE):
            assert "# stock:" in text, f"{path.name} does not say what the stock class does"
            found |= dict.fromkeys(defects.split(), path.name)
    return found


def test_every_defect_has_its_test() -> None:
    assert on_the_wire().keys() | OFF_THE_WIRE.keys() == {f"A{number}" for number in range(1, 25)}
    assert not on_the_wire().keys() & OFF_THE_WIRE.keys()


@pytest.mark.parametrize("test", sorted({test for test, _ in OFF_THE_WIRE.values()}))
def test_the_tests_of_the_table_exist(test: str) -> None:
    sources = "".join(
        path.read_text() for folder in ("smtp", "dialogues") for path in (TESTS / folder).glob("test_*.py")
    )
    assert f"def {test}(" in sources


def test_a_connection_inspects_nothing_and_shares_nothing() -> None:
    source = inspect.getsource(Server.__init__)
    assert "SMTP.__init__" not in source
    assert "super()" not in source
    before = dict(SMTP.command_size_limits)
    assert issubclass(Server, SMTP)
    assert dict(SMTP.command_size_limits) == before


def test_the_shim_is_small() -> None:
    """semantics.md §7: beyond 150 lines aiosmtpd would be the oracle and no longer the server."""
    assert len(Path(inspect.getfile(Server)).read_text().splitlines()) <= 150
