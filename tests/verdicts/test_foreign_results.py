"""Other hosts' Authentication-Results: go-msgauth's cases, every field found in the wild, and hostile text."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.verdict import AuthResult
from verdicts.auth_results import property_value
from verdicts.foreign_results import OCTETS, PROPERTIES, RESULTS, ForeignResults, read_foreign_results

VECTORS = Path(__file__).parent.parent / "vectors"
GO_MSGAUTH = json.loads((VECTORS / "authres-go-msgauth" / "cases.json").read_text())
WILD = json.loads((VECTORS / "authres-wild" / "fields.json").read_text())

# go-msgauth's names of a result's fields, in ours.
FIELDS = {"From": "smtp.mailfrom", "Auth": "smtp.auth", "Identifier": "header.i"}

# Fields of the wild that yield no result, and why.
WITHOUT_RESULT = {
    "bounce-sisimai/lhost-office365-01.eml": "quoted in a quoted-printable part: spf=3Dnone",
    "bounce-sisimai/lhost-office365-05.eml": "quoted in a quoted-printable part: spf=3Dnone, twice",
    "bounce-sisimai/lhost-office365-07.eml": "quoted in a quoted-printable part: spf=3Dnone, twice",
    "bounce-sisimai/lhost-office365-09.eml": "quoted in a quoted-printable part: spf=3Dnone",
    "scan-spamassassin/nice/authres": "one of its fields has version 2",
}


def read(text: str) -> ForeignResults:
    return read_foreign_results(text.encode())


def wire(value: str) -> bytes:
    return value.encode("latin-1").replace(b"\n", b"\r\n")


@pytest.mark.parametrize("case", GO_MSGAUTH, ids=lambda case: case["value"][:40] or "empty")
def test_go_msgauth_case(case: dict[str, Any]) -> None:
    """Exceptions: none."""
    found = read_foreign_results(case["value"].encode())
    assert (found.authserv_id or "", found.is_whole) == (case["authserv_id"], True)
    assert len(found.results) == len(case["results"])
    for result, expected in zip(found.results, case["results"], strict=True):
        fields = dict(expected["fields"])
        assert result.method == {"SenderID": "sender-id"}.get(expected["kind"], expected["kind"].lower())
        assert result.result == fields.pop("Value").removeprefix("Result").lower()
        assert result.reason == fields.pop("Reason", "")
        key = fields.pop("HeaderKey", None)
        told = {f"header.{key}": fields.pop("HeaderValue")} if key else {}
        assert result.properties == told | {FIELDS[name]: value for name, value in fields.items()}


def plainly(value: str) -> list[tuple[str, str]]:
    """The results that a person sees: words around "=" at the beginning of a part, comments aside."""
    text = re.sub(r"\([^()]*\)", " ", value.replace("\n", ""))
    parts = re.findall(r"(?:^|;|\s)\s*(?:[\w.-]+\s+(?=\S+;?$))?([A-Za-z][\w-]*)\s*=\s*([A-Za-z]+)(?=\s|;|$)", text)
    return [(method.lower(), result.lower()) for method, result in parts if method.lower() not in ("action", "reason")]


@pytest.mark.parametrize("field", WILD, ids=lambda field: field["file"].rpartition("/")[2])
def test_field_of_the_wild(field: dict[str, str]) -> None:
    found = read_foreign_results(wire(field["value"]))
    if not found.results:
        assert field["file"] in WITHOUT_RESULT or " none" in field["value"]
        return
    assert [(one.method, one.result) for one in found.results] == plainly(field["value"])


def test_the_wild_is_counted() -> None:
    found = [read_foreign_results(wire(field["value"])) for field in WILD]
    with_results = sum(bool(one.results) for one in found)
    whole = sum(one.is_whole for one in found)
    print(
        f"Authentication-Results: go-msgauth {len(GO_MSGAUTH)}/13; in the wild {with_results}/{len(WILD)} yield results,"
    )
    print(f"{whole} of them read to the last word; without results: {WITHOUT_RESULT}")
    assert (len(GO_MSGAUTH), len(WILD), with_results, whole) == (13, 109, 102, 81)
    missing = {field["file"] for field, one in zip(WILD, found, strict=True) if not one.results}
    assert missing == WITHOUT_RESULT.keys()


@pytest.mark.parametrize(
    ("text", "authserv_id", "results", "is_whole"),
    [
        ("", None, [], True),
        ("none", "none", [], True),
        ("a.example; none", "a.example", [], True),
        ('"a b"; spf=pass', "a b", [("spf", "pass", {})], True),
        ("(c) a.example (v) 1 (d) ; (e) spf (f) = (g) pass (h)", "a.example", [("spf", "pass", {})], True),
        ("a.example 2; spf=pass", "a.example", [], False),
        ("a.example 0001; spf=pass", "a.example", [("spf", "pass", {})], True),
        ("a.example " + "9" * 5000 + "; spf=pass", "a.example", [("spf", "pass", {})], False),
        ("a.example " + "0" * 5000 + "1; spf=pass", "a.example", [("spf", "pass", {})], True),
        ("a.example; spf/1=pass", "a.example", [("spf", "pass", {})], True),
        ("a.example; spf/2=pass; dkim=fail", "a.example", [("dkim", "fail", {})], False),
        # Microsoft: no id, no ptype, a final semicolon.
        (
            "spf=pass (sender IP is 192.0.2.1) smtp.mailfrom=b.example; "
            "dmarc=pass action=none header.from=b.example;compauth=pass reason=100",
            None,
            [
                ("spf", "pass", {"smtp.mailfrom": "b.example"}),
                ("dmarc", "pass", {"action": "none", "header.from": "b.example"}),
                ("compauth", "pass", {}),
            ],
            True,
        ),
        ("a.example; dkim=none header.d=; spf=none", "a.example", [("dkim", "none", {"header.d": ""}), ("spf", "none", {})], True),
        ("a.example; dkim=pass header.d= header.i=@b", "a.example", [("dkim", "pass", {"header.d": "", "header.i": "@b"})], True),
        ("a.example; spf=pass smtp . mailfrom = b", "a.example", [("spf", "pass", {"smtp.mailfrom": "b"})], True),
        ("a.example; spf=pass smtp.helo=srs0=x=y=b=l@c", "a.example", [("spf", "pass", {"smtp.helo": "srs0=x=y=b=l@c"})], True),
        ('a.example; spf=pass smtp.helo="x; dkim=pass"@b', "a.example", [("spf", "pass", {"smtp.helo": '"x; dkim=pass"@b'})], True),
        (r'a.example; x=pass p.q="a\"b\\c"', "a.example", [("x", "pass", {"p.q": 'a"b\\c'})], True),
        ("a.example; spf=pass junk smtp.helo=b", "a.example", [("spf", "pass", {"smtp.helo": "b"})], False),
        ("a.example; dkim=pass header.d=a header.d=b", "a.example", [("dkim", "pass", {"header.d": "a"})], False),
        ("a.example; spf=pass (open; dkim=pass", "a.example", [("spf", "pass", {})], False),
        ('a.example; spf=pass smtp.helo="b; dkim=pass', "a.example", [], False),
        ("a.example spf=pass smtp.helo=b", "a.example", [("spf", "pass", {"smtp.helo": "b"})], False),
        ("a.example; spf=pass\r\n\tsmtp.helo=b", "a.example", [("spf", "pass", {"smtp.helo": "b"})], True),
    ],
)  # fmt: skip
def test_values_and_what_they_say(
    text: str, authserv_id: str | None, results: list[tuple[str, str, dict[str, str]]], is_whole: bool
) -> None:
    found = read(text)
    told = [(one.method, one.result, dict(one.properties)) for one in found.results]
    assert (found.authserv_id, told, found.is_whole) == (authserv_id, results, is_whole)


def test_a_comment_a_quote_and_an_escape_hide_no_result_and_make_none() -> None:
    assert read(r"a.example; spf=fail (\); dkim=pass (x) ) ; dmarc=fail").results == (
        AuthResult(method="spf", result="fail"),
        AuthResult(method="dmarc", result="fail"),
    )
    assert [one.method for one in read(r'a; spf=pass reason="x\"; dkim=pass y"; dmarc=fail').results] == [
        "spf",
        "dmarc",
    ]


@pytest.mark.parametrize(
    "text",
    ["(" * 200_000, '"' * 200_001, "a;" * 100_000, " " * 200_000 + "=", "a=" * 100_000, "\\" * 200_001, "a .=" * 60_000,
     "a; b=c " + "d" * 150_000, "a; b=c " + "x.y= " * 50_000, "a; b=c" + " " * 150_000 + '"'],
)  # fmt: skip
def test_size_costs_little_whatever_it_says(text: str) -> None:
    started = time.process_time()
    found = read(text)
    assert time.process_time() - started < 0.5
    assert not found.is_whole
    assert len(found.results) <= RESULTS
    assert len(text) > OCTETS


def test_results_and_properties_are_bounded_and_say_so() -> None:
    found = read("a; " + "; ".join(f"m{number}=pass" for number in range(RESULTS + 5)))
    assert (len(found.results), found.is_whole) == (RESULTS, False)
    found = read("a; m=pass " + " ".join(f"p.x{number}=y" for number in range(PROPERTIES + 5)))
    assert (len(found.results[0].properties), found.is_whole) == (PROPERTIES, False)


word = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)
value = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(word, word, st.dictionaries(st.tuples(word, word).map(".".join), value, max_size=4)), max_size=5)
)
def test_what_is_written_strictly_is_read_again(results: list[tuple[str, str, dict[str, str]]]) -> None:
    clauses = [
        f"{method}={result}" + "".join(f" {name}={property_value(text)}" for name, text in properties.items())
        for method, result, properties in results
    ]
    found = read("; ".join(["host.example", *(clauses or ["none"])]))
    assert found.is_whole
    assert [(one.method, one.result, dict(one.properties)) for one in found.results] == results


@given(st.binary(max_size=400) | st.text('(); ="\\.a/1\r\n\t@', max_size=200).map(str.encode))
def test_nothing_raises(data: bytes) -> None:
    found = read_foreign_results(data)
    assert all(one.method and one.result and one.method == one.method.lower() for one in found.results)


RFC_8601_APPENDIX_B: dict[bytes, list[tuple[str, str, str]]] = {
    b"example.org 1; none": [],
    b"example.com;\r\n spf=pass smtp.mailfrom=example.net": [("spf", "pass", "example.net")],
    b"example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net": [
        ("auth", "pass", "sender@example.net"),
        ("spf", "pass", "example.net"),
    ],
    b"example.com; iprev=pass\r\n policy.iprev=192.0.2.200": [("iprev", "pass", "192.0.2.200")],
    b"example.com;\r\n dkim=pass (good signature) header.d=example.com": [("dkim", "pass", "example.com")],
    b'example.com;\r\n dkim=pass reason="good signature"\r\n header.i=@mail-router.example.net;\r\n'
    b' dkim=fail reason="bad signature"\r\n header.i=@newyork.example.com': [
        ("dkim", "pass", "@mail-router.example.net"),
        ("dkim", "fail", "@newyork.example.com"),
    ],
    b"foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n"
    b" policy (A dot can go here) . (like that) expired\r\n"
    b" (this surprised me) = (as I wasn't expecting it) 1362471462": [("dkim", "fail", "1362471462")],
}


@pytest.mark.parametrize("value", RFC_8601_APPENDIX_B)
def test_the_examples_of_rfc_8601_appendix_b_are_read_whole(value: bytes) -> None:
    found = read_foreign_results(value)
    assert found.is_whole
    expected = RFC_8601_APPENDIX_B[value]
    assert [(one.method, one.result, next(iter(one.properties.values()))) for one in found.results] == expected


# What large providers write, with other names: no authserv-id, `action=`, a final semicolon, comments without a space before them.
PROVIDERS: dict[bytes, tuple[str | None, dict[str, str]]] = {
    b'mx.google.com;\r\n       dkim=pass header.i=@acme.example header.s=20230601 header.b="abc/D+e1";\r\n'
    b"       arc=pass (i=1 spf=pass spfdomain=acme.example dkim=pass dkdomain=acme.example);\r\n"
    b"       spf=pass (google.com: domain of a@acme.example designates 192.0.2.1 as permitted sender)"
    b" smtp.mailfrom=a@acme.example;\r\n       dmarc=pass (p=NONE sp=QUARANTINE dis=NONE) header.from=acme.example": (
        "mx.google.com",
        {"dkim": "pass", "arc": "pass", "spf": "pass", "dmarc": "pass"},
    ),
    b"spf=pass (sender IP is 192.0.2.1)\r\n smtp.mailfrom=acme.example; dkim=none (message not signed)\r\n"
    b" header.d=none;dmarc=bestguesspass action=none\r\n header.from=acme.example;compauth=pass reason=109": (
        None,
        {"spf": "pass", "dkim": "none", "dmarc": "bestguesspass", "compauth": "pass"},
    ),
    b"atlas-production.v2-mail-prod1-gq1.omega.yahoo.com;\r\n dkim=pass header.i=@acme.example header.s=s1;\r\n"
    b" spf=pass smtp.mailfrom=acme.example;\r\n dmarc=pass(p=REJECT) header.from=acme.example;": (
        "atlas-production.v2-mail-prod1-gq1.omega.yahoo.com",
        {"dkim": "pass", "spf": "pass", "dmarc": "pass"},
    ),
    b"mx1.messagingengine.com;\r\n    bimi=skipped (DMARC Policy is not at enforcement);\r\n"
    b"    dkim=pass (2048-bit rsa key sha256) header.d=acme.example\r\n      header.b=AbCdEf12 header.a=rsa-sha256\r\n"
    b"      x-bits=2048;\r\n    iprev=pass smtp.remote-ip=192.0.2.1 (mail.acme.example);\r\n"
    b"    x-tls=pass smtp.version=TLSv1.3 smtp.cipher=TLS_AES_256_GCM_SHA384\r\n      smtp.bits=256/256": (
        "mx1.messagingengine.com",
        {"bimi": "skipped", "dkim": "pass", "iprev": "pass", "x-tls": "pass"},
    ),
}


@pytest.mark.parametrize("value", PROVIDERS)
def test_what_large_providers_write_is_read_whole(value: bytes) -> None:
    authserv_id, results = PROVIDERS[value]
    found = read_foreign_results(value)
    assert (found.is_whole, found.authserv_id) == (True, authserv_id)
    assert {one.method: one.result for one in found.results} == results
