"""The session machine in every state: hypothesis looks for an order of events in which it asks what makes no sense."""

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from mail.reply import TIMED_OUT
from smtp.events import Close, Data, Denied, Greet, Hello, Mail, Rcpt, Refused, Reset, StartTls, Verb
from tests.smtp.session_model import GIVEN, LINES, Watched, configs

GOOD = [
    line
    for line in LINES
    if line.startswith((b"MAIL", b"RCPT", b"DATA", b"BDAT 6", b"Subj", b".", b"RSET", b"NOOP", b"EHLO"))
]
SEEN: Counter[type] = Counter()
PHASES: Counter[tuple[str, str]] = Counter()


class Session(RuleBasedStateMachine):
    """Answers are mostly positive, so that deep states are reached."""

    watched: Watched
    which: int

    @initialize(which=st.integers(0, len(configs()) - 1))
    def connect(self, which: int) -> None:
        self.which = which
        self.watched = Watched(*configs()[which])

    @rule(lines=st.lists(st.sampled_from(GOOD), min_size=1, max_size=6), cut=st.integers(0, 100))
    def pipeline(self, lines: list[bytes], cut: int) -> None:
        octets = b"".join(lines)
        self.note()
        self.watched.receive(octets[:cut])
        self.take_all_that_is_asked()
        self.watched.receive(octets[cut:])

    @rule(line=st.sampled_from(LINES))
    def send_any_line(self, line: bytes) -> None:
        self.note()
        self.watched.receive(line)

    @rule(octets=st.binary(max_size=20))
    def send_noise(self, octets: bytes) -> None:
        self.note()
        self.watched.receive(octets)

    @rule()
    def take_all_that_is_asked(self) -> None:
        while (owed := self.watched.owed) is not None:
            self.note()
            self.watched.answer(None if type(owed) in (Greet, Hello, StartTls) else GIVEN[1])

    @rule(reply=st.sampled_from(GIVEN))
    def answer_anything(self, reply: object) -> None:
        self.note()
        self.watched.answer(reply)  # type: ignore[arg-type]

    @rule(
        behind=st.sampled_from(
            [b"", b"DATA\r\n", b"DATA\r\nSubject: x\r\n", b"BDAT 9\r\nabc", b"RCPT TO:<z@y.test>\r\n"]
        )
    )
    def open_a_transaction(self, behind: bytes) -> None:
        """Where it can be done: so that what follows is in deep states."""
        self.note()
        header = b"PROXY TCP4 198.51.100.7 192.0.2.1 1 25\r\n" if self.watched.machine.phase == "proxy" else b""
        for line in (header, b"EHLO c.test\r\n", b"MAIL FROM:<a@b.test>\r\n", b"RCPT TO:<x@y.test>\r\n", behind):
            self.take_all_that_is_asked()
            self.watched.receive(line)

    @rule(which=st.integers(0, 2))
    def end(self, which: int) -> None:
        self.note()
        (self.watched.half_close, self.watched.lose, lambda: self.watched.shut(TIMED_OUT))[which]()
        self.note()

    def note(self) -> None:
        """Where something is done now; a session that is over is looked at, and another one begins."""
        if self.watched.is_closed and self.watched.owed is None:
            self.teardown()
            self.connect(self.which)
        owed = self.watched.owed
        PHASES[self.watched.machine.phase, "" if owed is None else type(owed).__name__] += 1

    def teardown(self) -> None:
        if hasattr(self, "watched"):
            self.watched.lose()
            while self.watched.owed is not None:
                self.watched.answer(GIVEN[1])
            assert self.watched.is_closed
            assert not self.watched.is_open
            SEEN.update(self.watched.seen)


def test_no_order_of_events_makes_it_ask_what_makes_no_sense(torture: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Session, settings=settings(max_examples=40 * torture, stateful_step_count=40, deadline=None)
    )
    print(f"asked: {dict(sorted((kind.__name__, count) for kind, count in SEEN.items()))}")
    print(f"states in which something was done: {dict(sorted(PHASES.items()))}")
    assert set(SEEN) == {Greet, Hello, Mail, Rcpt, Data, Verb, Reset, Refused, Denied, StartTls, Close}
    states = {("proxy", ""), ("command", ""), ("content", "")}
    states |= {("command", kind.__name__) for kind in (Greet, Hello, Mail, Rcpt, Data, StartTls)}
    assert set(PHASES) >= states
