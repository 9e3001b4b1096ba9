"""The session machine, without any input or output."""

import ipaddress
from dataclasses import replace

import pytest

from mail.client import Client, Tls
from mail.crlf import has_bare_newline
from mail.reply import SHUTTING_DOWN, TRY_AGAIN
from mail.values import changed
from smtp.config import BareNewline, Limits, SmtpConfig
from smtp.events import Breathe, Close, Denied, Greet, Hello, Mail, Rcpt, Refused, Reset, StartTls
from smtp.machine import Machine
from tests.smtp.recording import CLIENT, CONFIG, Talk

SMALL = replace(CONFIG, limits=Limits(message_octets=1000, grace_octets=500, recipients=3, errors=4, idle_commands=8))


def test_a_message_comes_out_as_it_was_sent_with_its_dots_removed() -> None:
    talk = Talk().open()
    assert talk.say("DATA") == ["354 End data with <CR><LF>.<CR><LF>"]
    assert talk.send(b"Subject: x\r\n\r\n..hidden\r\n...two\r\n.x\r\n.\r\n") == ["250 2.0.0 Ok"]
    assert talk.messages[0][1] == b"Subject: x\r\n\r\n.hidden\r\n..two\r\nx\r\n"


def test_the_final_dot_may_be_the_first_line() -> None:
    talk = Talk().open()
    talk.say("DATA", ".")
    assert talk.messages[0][1] == b""


def test_the_final_dot_is_found_wherever_the_input_is_cut() -> None:
    stream = b"DATA\r\nSubject: x\r\n\r\n..a\r\n.b\r\n.\r\nQUIT\r\n"
    for cut in range(1, len(stream)):
        for second in range(cut, len(stream)):
            talk = Talk().open()
            talk.send_in((stream[:cut], stream[cut:second], stream[second:]))
            assert talk.messages[0][1] == b"Subject: x\r\n\r\n.a\r\nb\r\n"
            assert talk.replies.endswith(b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")


@pytest.mark.parametrize("ending", [b"\n.\n", b"\r.\r", b"\r\n.\n", b"\n.\r\n", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n"])
def test_a_false_end_of_data_is_refused_and_ends_the_session(ending: bytes) -> None:
    talk = Talk().open()
    talk.say("DATA")
    replies = talk.send(b"Subject: x\r\n\r\nbody" + ending + b"MAIL FROM:<smuggled@b.test>\r\n.\r\n")
    assert replies == ["554 5.5.2 Bare CR or LF refused, see RFC 5321 section 2.3.8"]
    assert talk.messages == []
    assert talk.is_closed
    assert len(talk.told(Mail)) == 1


def test_bare_newlines_are_normalised_where_the_operator_says_so() -> None:
    talk = Talk(replace(CONFIG, bare_newline=BareNewline.NORMALISE)).open()
    talk.say("DATA")
    talk.send(b"Subject: x\n\nbody\n.\nstill body\r\n.\r\n")
    assert talk.messages[0][1] == b"Subject: x\r\n\r\nbody\r\n.\r\nstill body\r\n"
    assert not has_bare_newline(talk.messages[0][1])


@pytest.mark.parametrize("line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\r\r\n"])
def test_a_bare_newline_in_a_command_ends_the_session(line: bytes) -> None:
    talk = Talk()
    assert talk.send(line)[-1].startswith("554 5.5.2")
    assert talk.is_closed


def test_the_null_sender_is_none() -> None:
    talk = Talk()
    talk.say("EHLO c.test", "MAIL FROM:<>")
    assert talk.told(Mail) == [Mail(None, None, False)]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("MAIL FROM:<a@b.test> SIZE=1000", "250"),
        ("MAIL FROM:<a@b.test> SIZE=1001", "552 5.3.4"),
        ("MAIL FROM:<a@b.test> SIZE=x", "501 5.5.4"),
        ("MAIL FROM:<a@b.test> SIZE=1 SIZE=1", "501 5.5.4"),
        ("MAIL FROM:<a@b.test> BODY=8bitmime", "250"),
        ("MAIL FROM:<a@b.test> BODY=BINARYMIME", "555 5.5.4"),
        ("MAIL FROM:<a@b.test> RET=FULL", "555 5.5.4"),
        ("MAIL FROM:<a@b.test> AUTH=<>", "555 5.5.4"),
        ("MAIL FROM:<a@b.test> REQUIRETLS", "555 5.5.4"),
        ("MAIL FROM:<a@b.test> SMTPUTF8=1", "501 5.5.4"),
        ("MAIL FROM: <a@b.test>", "250"),
        ("mail from:<a@b.test>", "250"),
        ('MAIL FROM:<"a> b"@b.test>', "250"),
        ("MAIL FROM:<@relay.test:a@b.test>", "250"),
        ("MAIL FROM:<jösé@b.test>", "553 5.6.7"),
        ("MAIL FROM:<jösé@b.test> SMTPUTF8", "250"),
        ("MAIL FROM:a@b.test", "501 5.5.4"),
        ("MAIL FROM:<a@b.test", "501 5.5.4"),
        ("MAIL FROM:<a (c)@b.test>", "501 5.1.7"),
        ("MAIL FROM:<a..b@b.test>", "501 5.1.7"),
        ("MAIL FROM:<a\0@b.test>", "501 5.1.7"),
        ("MAIL", "501 5.5.4"),
        ("MAIL TO:<a@b.test>", "501 5.5.4"),
    ],
)
def test_mail_is_read_by_grammar(line: str, reply: str) -> None:
    talk = Talk(SMALL)
    talk.say("EHLO c.test")
    assert talk.say(line)[0].startswith(reply)


def test_parameters_are_refused_after_helo() -> None:
    talk = Talk()
    talk.say("HELO c.test")
    assert talk.say("MAIL FROM:<a@b.test> SIZE=1") == ["555 5.5.4 Unsupported parameter"]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("RCPT TO:<>", "501 5.1.3"),
        ("RCPT TO:<x@y.test> NOTIFY=NEVER", "555 5.5.4"),
        ("RCPT TO:<x>", "501 5.1.3"),
        ("RCPT TO:", "501 5.5.4"),
        ("RCPT LALA:<x@y.test>", "501 5.5.4"),
        ("RCPT TO:<nobody@y.test>", "550 5.1.1"),
        ("RCPT TO:<Postmaster>", "250 2.1.5"),
        ("RCPT TO:<x@[192.0.2.1]>", "250 2.1.5"),
        ("RCPT TO:<x@[IPv6:2001:db8::1]>", "250 2.1.5"),
    ],
)
def test_rcpt_is_read_by_grammar(line: str, reply: str) -> None:
    talk = Talk()
    talk.say("EHLO c.test", "MAIL FROM:<a@b.test>")
    assert talk.say(line)[0].startswith(reply)


def test_postmaster_without_a_domain_is_left_for_the_backend_to_complete() -> None:
    talk = Talk()
    talk.say("EHLO c.test", "MAIL FROM:<>", "RCPT TO:<POSTMASTER>")
    (rcpt,) = talk.told(Rcpt)
    assert isinstance(rcpt, Rcpt)
    assert (rcpt.mailbox.local_part, rcpt.mailbox.domain) == ("postmaster", "")


def test_a_recipient_given_twice_is_one() -> None:
    talk = Talk().open("x@y.test", "x@Y.test", "z@y.test")
    talk.say("DATA", ".")
    assert [str(mailbox) for mailbox in talk.messages[0][0].mailboxes] == ["x@y.test", "z@y.test"]


def test_recipients_beyond_the_limit_are_for_another_transaction_and_no_error() -> None:
    talk = Talk(SMALL).open("a@y.test", "b@y.test", "c@y.test")
    replies = talk.say(*(f"RCPT TO:<d{number}@y.test>" for number in range(50)))
    assert set(replies) == {"452 4.5.3 Too many recipients"}
    assert talk.say("DATA", ".")[-1] == "250 2.0.0 Ok"


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (("MAIL FROM:<a@b.test>",), "503 5.5.1 Send EHLO first"),
        (("EHLO c.test", "RCPT TO:<x@y.test>"), "503 5.5.1 Error: need MAIL command"),
        (("EHLO c.test", "DATA"), "503 5.5.1 Error: need MAIL command"),
        (("EHLO c.test", "MAIL FROM:<>", "DATA"), "503 5.5.1 Error: need RCPT command"),
        (("EHLO c.test", "MAIL FROM:<>", "MAIL FROM:<>"), "503 5.5.1 Error: nested MAIL command"),
        (("EHLO c.test", "MAIL FROM:<>", "RCPT TO:<x@y.test>", "BDAT 0", "DATA"), "503 5.5.1 Bad sequence of commands"),
        (("STARTTLS",), "502 5.5.1 Command not implemented"),
        (("AUTH PLAIN AGEAYg==",), "502 5.5.1 Command not implemented"),
        (("EHLO",), "501 5.5.4 Syntax error in parameters or arguments"),
        (("EHLO two words",), "501 5.5.4 Syntax error in parameters or arguments"),
        (("EHLO a;b",), "501 5.5.4 Syntax error in parameters or arguments"),
        (("XCLIENT ADDR=192.0.2.9",), "500 5.5.2 Command not recognized"),
        (("PROXY TCP4 192.0.2.9 192.0.2.1 1 2",), "500 5.5.2 Command not recognized"),
        (("",), "500 5.5.2 Command not recognized"),
    ],
)
def test_commands_out_of_order_or_place_are_refused(lines: tuple[str, ...], reply: str) -> None:
    talk = Talk()
    assert talk.say(*lines)[-1] == reply
    assert not talk.is_closed


def test_a_browser_is_hung_up_on() -> None:
    talk = Talk()
    assert talk.say("POST / HTTP/1.1", "Host: x")[-1] == "500 5.5.2 Command not recognized"
    assert talk.is_closed


def test_ehlo_offers_what_is_there_and_nothing_else() -> None:
    assert Talk().say("EHLO c.test") == [
        "250-mx.test",
        "250-PIPELINING",
        "250-SIZE 41943040",
        "250-8BITMIME",
        "250-SMTPUTF8",
        "250-CHUNKING",
        "250-ENHANCEDSTATUSCODES",
        "250 LIMITS MAILMAX=10000 RCPTMAX=1000",
    ]
    assert Talk().say("HELO c.test") == ["250 mx.test"]


def test_ehlo_and_rset_end_the_transaction() -> None:
    for command in ("EHLO again.test", "RSET", "HELO again.test"):
        talk = Talk().open()
        talk.say(command)
        assert len(talk.told(Reset)) == 1
        assert talk.say("DATA")[-1].startswith("503")


def test_a_message_over_the_limit_is_read_to_its_end_and_refused() -> None:
    talk = Talk(SMALL).open()
    talk.say("DATA")
    replies = talk.send((b"x" * 98 + b"\r\n") * 12 + b".\r\nNOOP\r\n")
    assert replies == ["552 5.3.4 Message too big for system", "250 2.0.0 Ok"]
    assert talk.messages == []
    assert talk.say("DATA")[0].startswith("503")


def test_a_message_at_the_limit_is_taken() -> None:
    talk = Talk(SMALL).open()
    talk.say("DATA")
    assert talk.send(b"x" * 998 + b"\r\n.\r\n") == ["250 2.0.0 Ok"]
    talk.open().say("DATA")
    assert talk.send(b"x" * 999 + b"\r\n.\r\n")[0].startswith("552")


def test_beyond_the_grace_the_client_is_told_and_hung_up_on() -> None:
    talk = Talk(SMALL).open()
    talk.say("DATA")
    talk.send_in(b"x" * 100 for _ in range(100))
    assert talk.replies.endswith(b"552 5.3.4 Message too big for system\r\n")
    assert talk.events[-1] == Close(linger=True)


def test_content_without_any_line_end_is_never_held_beyond_the_limit() -> None:
    talk = Talk(SMALL).open()
    talk.say("DATA")
    for _ in range(15):
        talk.send(b"y" * 90)
        assert talk.machine.held <= 1003
        assert talk.machine.backlog == 0


def test_a_command_line_is_bounded() -> None:
    talk = Talk()
    assert talk.say("NOOP " + "x" * 2048)[-1] == "500 5.5.2 Line too long"
    assert not talk.is_closed
    talk.send_in(b"z" * 1024 for _ in range(65))
    assert talk.replies.endswith(b"500 5.5.2 Line too long\r\n")
    assert talk.is_closed
    assert talk.machine.backlog == 0


def test_a_long_mail_command_is_legal_whatever_other_connections_do() -> None:
    talk = Talk()
    talk.say("EHLO c.test")
    Talk().say("EHLO other.test")
    local, domain = "a" * 64, ".".join(["d" * 60] * 4)
    assert talk.say(f"MAIL FROM:<{local}@{domain}> SIZE={'9' * 7} BODY=8BITMIME SMTPUTF8")[0].startswith("250")


def test_too_many_errors_end_the_session() -> None:
    talk = Talk(SMALL)
    replies = talk.say(*["FOO"] * 9)
    assert replies == ["500 5.5.2 Command not recognized"] * 4 + ["421 4.7.0 Too many errors"]
    assert talk.is_closed


def test_too_many_idle_commands_end_the_session() -> None:
    talk = Talk(SMALL)
    assert talk.say(*["RSET"] * 20).count("250 2.0.0 Ok") == 8
    assert talk.is_closed


def test_too_many_refused_recipients_end_the_session() -> None:
    talk = Talk(replace(CONFIG, limits=Limits(refused_recipients=5)))
    talk.say("EHLO c.test", "MAIL FROM:<>", *["RCPT TO:<nobody@y.test>"] * 9)
    assert len(talk.told(Rcpt)) == 5
    assert talk.replies.endswith(b"421 4.7.0 Too many refused recipients\r\n")


def test_transactions_per_connection_are_bounded() -> None:
    talk = Talk(replace(CONFIG, limits=Limits(transactions=2)))
    talk.say("EHLO c.test", "MAIL FROM:<>", "RSET", "MAIL FROM:<>", "RSET")
    assert talk.say("MAIL FROM:<>") == ["421 4.7.0 Too many messages on this connection"]


def test_bdat_takes_octets_as_they_are() -> None:
    talk = Talk().open()
    replies = talk.send(b"BDAT 14\r\nSubject: x\r\n\r\nBDAT 6 LAST\r\n.\r\na\r\n")
    assert replies == ["250 2.0.0 14 octets received", "250 2.0.0 Ok"]
    assert talk.messages[0][1] == b"Subject: x\r\n\r\n.\r\na\r\n"


def test_a_message_sent_by_bdat_gets_its_final_line_end() -> None:
    talk = Talk().open()
    talk.send(b"BDAT 4 LAST\r\nabcd")
    assert talk.messages[0][1] == b"abcd\r\n"


@pytest.mark.parametrize("chunk", [b"ab\nc", b"ab\rc", b"abc\r"])
def test_a_bare_newline_in_bdat_is_refused(chunk: bytes) -> None:
    talk = Talk().open()
    assert talk.send(b"BDAT 4 LAST\r\n" + chunk)[-1].startswith("554 5.5.2")
    assert talk.is_closed


def test_a_chunk_out_of_place_is_passed_over_and_never_read_as_commands() -> None:
    talk = Talk()
    replies = talk.send(b"EHLO c.test\r\nBDAT 19\r\nMAIL FROM:<a@b.c>\r\nNOOP\r\n")
    assert talk.told(Mail) == []
    assert replies[-2:] == ["503 5.5.1 Error: need MAIL command", "250 2.0.0 Ok"]


def test_a_chunk_of_unreadable_size_ends_the_session() -> None:
    talk = Talk().open()
    assert talk.say("BDAT -1", "NOOP") == ["501 5.5.4 Syntax error in parameters or arguments"]
    assert talk.is_closed


def test_a_chunk_over_the_limit_is_refused() -> None:
    talk = Talk(SMALL).open()
    assert talk.send(b"BDAT 1100\r\n" + b"x" * 1100)[-1] == "552 5.3.4 Message too big for system"
    talk = Talk(SMALL).open()
    talk.send(b"BDAT 900\r\n" + b"x" * 900)
    assert talk.send(b"BDAT 200\r\n" + b"x" * 200 + b"NOOP\r\n") == [
        "552 5.3.4 Message too big for system",
        "250 2.0.0 Ok",
    ]


def test_a_chunk_size_that_lies_is_not_waited_for_in_memory() -> None:
    talk = Talk(SMALL).open()
    talk.say("BDAT 99999999999999999999")
    assert talk.is_closed


TLS = replace(CONFIG, tls=object())  # the machine only asks whether there is one


def test_starttls_forgets_everything_said_before() -> None:
    talk = Talk(TLS)
    assert "250-STARTTLS" in talk.say("EHLO c.test")
    injected = b"STARTTLS\r\nMAIL FROM:<injected@b.test>\r\nRCPT TO:<x@y.test>\r\n"
    assert talk.send(injected) == ["220 2.0.0 Ready to start TLS"]
    assert talk.events[-1] == StartTls()
    talk.machine.receive(b"EHLO injected.test\r\n")
    talk.machine.answer(None)
    talk.machine.secured(Tls(version="TLSv1.3", cipher="x"))
    assert talk.say("MAIL FROM:<a@b.test>") == ["503 5.5.1 Send EHLO first"]
    assert "250-STARTTLS" not in talk.say("EHLO c.test")
    assert talk.told(Mail) == []
    hello = talk.told(Hello)[-1]
    assert isinstance(hello, Hello)
    assert (hello.client.protocol, hello.client.helo) == ("ESMTPS", "c.test")
    assert talk.say("STARTTLS") == ["503 5.5.1 Bad sequence of commands"]


def test_starttls_within_a_transaction_is_refused() -> None:
    assert Talk(TLS).open().say("STARTTLS") == ["503 5.5.1 Bad sequence of commands"]


PROXIED = replace(CONFIG, proxy_from=(ipaddress.ip_network("192.0.2.0/24"),))
V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.mark.parametrize(
    ("header", "ip"),
    [
        (b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\r\n", "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 25\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "192.0.2.1"),
        (b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n", "192.0.2.1"),
        (V2 + b"\x20\x11\0\x0c" + bytes(12), "192.0.2.1"),
        (
            V2 + b"\x21\x11\0\x11" + bytes((198, 51, 100, 7, 192, 0, 2, 1)) + b"\x9c\x40\0\x19\x04\xff\xffab",
            "198.51.100.7",
        ),
        (V2 + b"\x21\x11\0\x0c" + bytes((198, 51, 100, 7, 192, 0, 2, 1)) + b"\x9c\x40\0\x19", "198.51.100.7"),
        (V2 + b"\x20\x00\0\0", "192.0.2.1"),
        (V2 + b"\x21\x21\0\x24" + bytes(15) + b"\x07" + bytes(16) + b"\x9c\x40\0\x19", "::7"),
    ],
)
def test_the_proxy_header_names_the_client(header: bytes, ip: str) -> None:
    for cut in range(len(header)):
        talk = Talk(PROXIED)
        assert talk.told(Greet) == []
        talk.send_in(piece for piece in (header[:cut], header[cut:]) if piece)
        (greet,) = talk.told(Greet)
        assert isinstance(greet, Greet)
        assert greet.client.ip == ip
        assert talk.replies == b"220 mx.test ESMTP Gatepost\r\n"


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO c.test\r\n",
        b"PROXY TCP4 x y 1 2\r\n",
        b"PROXY " + b"x" * 200,
        V2 + b"\x31\x11\0\0",
        V2 + b"\x21\x31\0\xd8" + bytes(216),  # a Unix socket
        V2 + b"\x21\x12\0\x0c" + bytes(12),  # UDP
        V2 + b"\x21\x11\0\x05" + bytes(5),
        V2 + b"\x21\x11\xff\xff",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.1 70000 1\r\n",
    ],
)
def test_where_a_proxy_header_is_required_nothing_else_is_served(header: bytes) -> None:
    talk = Talk(PROXIED)
    talk.send(header)
    assert talk.is_closed
    assert talk.replies == b""
    (denied,) = talk.told(Denied)
    assert isinstance(denied, Denied)
    assert (denied.client.ip, denied.reply.code, denied.limit) == ("192.0.2.1", 421, "proxy_from")


def test_xclient_from_a_trusted_network_renames_the_client_and_starts_again() -> None:
    talk = Talk(CONFIG, Client(ip="127.0.0.1", port=1))
    assert "250 XCLIENT NAME ADDR PORT PROTO HELO" in talk.say("EHLO front.test")
    assert talk.say("XCLIENT ADDR=IPV6:2001:db8::5 NAME=mail.b.test HELO=real.test PORT=25") == [
        "220 mx.test ESMTP Gatepost"
    ]
    assert talk.say("MAIL FROM:<>") == ["503 5.5.1 Send EHLO first"]
    talk.say("EHLO front.test")
    hello = talk.told(Hello)[-1]
    assert isinstance(hello, Hello)
    client = hello.client
    assert (client.ip, client.name, client.helo, client.port) == ("2001:db8::5", "mail.b.test", "real.test", 25)


def test_what_xclient_encodes_are_octets_of_utf_8() -> None:
    talk = Talk(CONFIG, Client(ip="127.0.0.1", port=1))
    talk.say("XCLIENT HELO=m+C3+BCller.test ADDR=[UNAVAILABLE] NAME=[tempunavail] PORT=+32+35", "EHLO front.test")
    hello = talk.told(Hello)[-1]
    assert isinstance(hello, Hello)
    assert (hello.client.helo, hello.client.ip, hello.client.name, hello.client.port) == ("müller.test", None, None, 25)


@pytest.mark.parametrize(
    "attribute", ["ADDR=x", "PORT=0", "PORT=x", "FOO=1", "ADDR", "NAME=a+0D+0Ab", "HELO=a+FF.test", "ADDR=+00", "="]
)
def test_a_broken_xclient_is_refused(attribute: str) -> None:
    talk = Talk(CONFIG, Client(ip="127.0.0.1", port=1))
    assert talk.say(f"XCLIENT {attribute}")[0].startswith("5")


def test_the_session_hears_of_what_the_server_refused() -> None:
    talk = Talk()
    talk.say("FOO", "EHLO c.test", "MAIL FROM:<a@b")
    assert [(event.command, event.reply.code) for event in talk.told(Refused)] == [("FOO", 500), ("MAIL", 501)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("argument", "code", "sender"),
    [
        ("<a@b.test> SIZE=999999999", 552, "a@b.test"),
        ("<a@b.test> RET=FULL", 555, "a@b.test"),
        ("<> SIZE=999999999", 552, "None"),
        ("<a@@b> SIZE=999999999", 552, "None"),
    ],
)
def test_the_session_hears_whose_mail_was_refused(argument: str, code: int, sender: str) -> None:
    talk = Talk()
    talk.say("EHLO c.test", f"MAIL FROM:{argument}")
    (event,) = talk.told(Refused)
    assert isinstance(event, Refused)
    assert (event.reply.code, str(event.sender)) == (code, sender)


def test_a_lost_connection_resets_the_transaction_and_closes_once() -> None:
    talk = Talk().open()
    talk.machine.lost()
    talk.machine.lost()
    talk.turn()
    assert [type(event) for event in talk.events[-2:]] == [Reset, Close]
    assert len(talk.told(Close)) == 1


def test_a_mail_that_is_accepted_after_the_client_left_is_reset() -> None:
    talk = Talk()
    talk.say("EHLO c.test")
    talk.machine.receive(b"MAIL FROM:<>\r\n")
    assert talk.machine.next_event() == Mail(None, None, False)
    talk.machine.lost()
    talk.machine.answer(TRY_AGAIN.because("Ok"))
    assert talk.machine.next_event() == Close(linger=False)

    talk = Talk()
    talk.say("EHLO c.test")
    talk.machine.receive(b"MAIL FROM:<>\r\n")
    talk.machine.next_event()
    talk.machine.lost()
    talk.machine.answer(changed(TRY_AGAIN, code=250))
    assert talk.machine.next_event() == Reset()
    talk.machine.answer(None)
    assert talk.machine.next_event() == Close(linger=False)


def test_a_half_closed_client_is_still_served() -> None:
    talk = Talk().open()
    talk.machine.receive(b"DATA\r\nx\r\n.\r\nQUIT\r\n")
    talk.machine.end_of_input()
    talk.turn()
    assert len(talk.messages) == 1
    assert talk.replies.endswith(b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")


def test_a_half_close_in_the_middle_of_data_is_no_message() -> None:
    talk = Talk().open()
    talk.machine.receive(b"DATA\r\nx\r\n.\r")
    talk.machine.end_of_input()
    talk.turn()
    assert talk.messages == []
    assert [type(event) for event in talk.events[-2:]] == [Reset, Close]


def test_input_waits_while_an_answer_is_owed() -> None:
    talk = Talk()
    talk.say("EHLO c.test")
    talk.machine.receive(b"MAIL FROM:<>\r\nRCPT TO:<x@y.test>\r\n")
    assert talk.machine.next_event() == Mail(None, None, False)
    assert talk.machine.next_event() is None
    assert talk.machine.backlog == len(b"RCPT TO:<x@y.test>\r\n")
    talk.machine.answer(TRY_AGAIN)
    talk.turn()
    assert talk.told(Rcpt) == []
    assert talk.replies.splitlines()[-2:] == [
        b"451 4.3.0 Temporary failure, please try again later",
        b"503 5.5.1 Error: need MAIL command",
    ]


def test_a_flood_of_commands_lets_others_breathe() -> None:
    talk = Talk().open(*(f"x{number}@y.test" for number in range(1000)))
    before = len(talk.told(Breathe))
    assert len(talk.say(*["RCPT TO:<x@y.test>"] * 2000)) == 2000
    assert len(talk.told(Breathe)) - before == 7
    assert talk.say("NOOP") == ["250 2.0.0 Ok"]


def test_shutting_down_says_so() -> None:
    talk = Talk().open()
    talk.machine.shut(SHUTTING_DOWN)
    talk.turn()
    assert talk.replies.endswith(b"421 4.3.2 Service shutting down\r\n")
    assert talk.is_closed


def test_whoever_talks_before_the_banner_can_be_refused() -> None:
    for config, reply in ((replace(CONFIG, refuse_early_talkers=True), b"554"), (CONFIG, b"220")):
        talk = Talk.__new__(Talk)
        talk.events, talk.messages, talk.answers, talk.replies = [], [], {}, b""
        talk.machine = Machine(config, CLIENT)
        assert talk.machine.next_event() == Greet(CLIENT)
        talk.machine.receive(b"EHLO c.test\r\n")
        talk.machine.answer(None)
        talk.turn()
        assert talk.replies.startswith(reply)


def test_who_talks_before_the_banner_is_known_behind_a_proxy_too() -> None:
    header = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\r\n"
    for said, reply in ((b"", b"220"), (b"EHLO c.test\r\n", b"554 5.5.1")):
        talk = Talk(replace(PROXIED, refuse_early_talkers=True))
        talk.send(header + said)
        assert talk.replies.startswith(reply)


def test_as_many_messages_are_taken_as_ehlo_says() -> None:
    talk = Talk(replace(CONFIG, limits=Limits(transactions=50, commands=10)))
    assert "250 LIMITS MAILMAX=50 RCPTMAX=1000" in " ".join(talk.say("EHLO c.test")).replace("250-", "250 ")
    for _ in range(50):
        assert talk.say("MAIL FROM:<>", "RCPT TO:<x@y.test>", "DATA", ".")[-1].startswith("250")
    assert talk.say("MAIL FROM:<>") == ["421 4.7.0 Too many messages on this connection"]


def test_the_backend_can_refuse_the_client_at_the_door() -> None:
    talk = Talk.__new__(Talk)
    talk.events, talk.messages, talk.replies, talk.answers = [], [], b"", {Greet: TRY_AGAIN}
    talk.machine = Machine(SmtpConfig(), CLIENT)
    talk.turn()
    assert talk.replies.startswith(b"451 4.3.0")
    assert talk.is_closed
