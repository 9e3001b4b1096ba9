"""DKIM by the text of RFC 6376, RFC 8301 and RFC 8463: messages that are signed here, each with what must come of it and why."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from plain_signer import public_key, sealed
from replay_suite import Case

MESSAGE = (
    b"From: Ann <ann@acme.example>\r\nTo: bob@example.com\r\nSubject: hello  there\r\n"
    b"Date: Fri, 02 Jan 2026 03:04:05 +0000\r\n\r\nHello  Bob,\t \r\n\r\nregards\r\n"
)
TAGS = b"v=1; a=rsa-sha256; c=relaxed/relaxed; d=acme.example; s=s;\r\n h=from:to:subject:date; bh={bh};\r\n b={b}"
NAMES = ("from", "to", "subject", "date")
RSA = public_key("rsa2048")
ED25519 = public_key("ed25519")
RECORD = f"v=DKIM1; k=rsa; p={RSA}"
NOW = "2026-01-02T03:04:05Z"
NOW_UNIX = 1767323045
EMPTY_SHA256 = b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def signed(tags: bytes = TAGS, message: bytes = MESSAGE, **how: Any) -> bytes:
    how.setdefault("names", NAMES)
    return sealed(b"DKIM-Signature: " + tags + b"\r\n" + message, field=b"DKIM-Signature", **how)


def made(
    name: str,
    because: str,
    expect: str | tuple[str, ...],
    raw: bytes,
    *records: Any,
    zone: dict[str, Any] | None = None,
    now: str = NOW,
) -> Case:
    results = (expect,) if isinstance(expect, str) else expect
    zone = {"s._domainkey.acme.example": {"TXT": list(records or [RECORD])}} if zone is None else zone
    return Case(name=name, because=because, raw=raw, zone=zone, now=now, expect={"dkim": results})


def cases() -> Iterator[Case]:
    yield from _canonical_forms()
    yield from _bodies()
    yield from _tag_syntax()
    yield from _required_tags()
    yield from _tag_values()
    yield from _times()
    yield from _signed_fields()
    yield from _identities()
    yield from _key_records()
    yield from _several()
    yield from _keys_in_dns()
    yield from _ed25519()


def _canonical_forms() -> Iterator[Case]:
    for forms in ("simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"):
        tags = TAGS.replace(b"relaxed/relaxed", forms.encode())
        yield made(f"c={forms}", "RFC 6376 §3.4", "pass", signed(tags, forms=forms))
    for forms in ("simple", "relaxed"):
        tags = TAGS.replace(b"relaxed/relaxed", forms.encode())
        yield made(f"c={forms} alone", "RFC 6376 §3.5 c=", "pass", signed(tags, forms=f"{forms}/simple"))
    tags = TAGS.replace(b" c=relaxed/relaxed;", b"")
    yield made("no c=", "RFC 6376 §3.5 c=", "pass", signed(tags, forms="simple/simple"))
    for wrong in (b"nofws", b"relaxed/", b"/relaxed", b"simple/nowsp", b"relaxed/relaxed/relaxed", b""):
        tags = TAGS.replace(b"relaxed/relaxed", wrong)
        yield made(f"c={wrong.decode()}", "RFC 6376 §6.1.1", "permerror", signed(tags))
    relaxed = signed()
    yield made(
        "relaxed header survives refolding",
        "RFC 6376 §3.4.2",
        "pass",
        relaxed.replace(b"Subject: hello  there", b"SUBJECT :\t hello\r\n\t  there \t"),
    )
    yield made("relaxed header: a word changed", "RFC 6376 §3.4.2", "fail", relaxed.replace(b"hello  ", b"hallo  "))
    yield made("relaxed header: space removed", "RFC 6376 §3.4.2", "fail", relaxed.replace(b"hello  ", b"hello"))
    tags = TAGS.replace(b"relaxed/relaxed", b"simple/simple")
    simple = signed(tags, forms="simple/simple")
    yield made("simple header: a space more", "RFC 6376 §3.4.1", "fail", simple.replace(b"hello  t", b"hello   t"))
    yield made("simple header: another case", "RFC 6376 §3.4.1", "fail", simple.replace(b"Subject:", b"subject:"))
    folded = tags.replace(b"; bh", b";\r\n\t \tbh").replace(b"b={b}", b"b=\r\n\t{b}\r\n ")
    yield made(
        "simple with a folded signature field",
        "RFC 6376 §3.5 b=, §3.7",
        "pass",
        signed(folded, forms="simple/simple", folded=b"\r\n\t "),
    )
    yield made(
        "simple: b= folded in its middle", "RFC 6376 §3.5", "pass", signed(tags, forms="simple/simple", folded=b" ")
    )
    middle = TAGS.replace(b" b={b}", b" q=dns/txt").replace(b"v=1;", b"b = {b}\r\n ; v=1;")
    for forms in ("simple/simple", "relaxed/relaxed"):
        chosen = middle.replace(b"relaxed/relaxed", forms.encode())
        yield made(f"b= first, {forms}", "RFC 6376 §3.5", "pass", signed(chosen, forms=forms, folded=b"\r\n "))
    yield made(
        "relaxed: signature field refolded",
        "RFC 6376 §3.7",
        "pass",
        relaxed.replace(b"; c=relaxed", b";\r\n\t\t c=relaxed").replace(b"DKIM-Signature:", b"dkim-signature :"),
    )


def _bodies() -> Iterator[Case]:
    head, _, text = MESSAGE.partition(b"\r\n\r\n")
    bodies = {
        "empty": b"",
        "one CRLF": b"\r\n",
        "only CRLFs": b"\r\n" * 5,
        "CRLFs at the end": text + b"\r\n" * 4,
        "white space lines at the end": text + b" \t\r\n\r\n\t\r\n",
        "white space only": b" \r\n\t\r\n  \r\n",
        "white space at the start": b"\r\n \r\n  a\tb \r\n",
        "one line of spaces": b"   \r\n",
        "dots": b".\r\n..\r\n. \r\n",
        "NUL and 8 bit": b"\0\xff\xe9 \xc3\xa9\r\n",
        "vertical tab and form feed": b"a \v b \f \r\n\v\r\n",
        "a long line": b"x " * 5000 + b"\r\n",
    }
    for what, body in bodies.items():
        for form in ("simple", "relaxed"):
            forms = f"relaxed/{form}"
            tags = TAGS.replace(b"relaxed/relaxed", forms.encode())
            raw = signed(tags, head + b"\r\n\r\n" + body, forms=forms)
            yield made(f"body {what}, {form}", f"RFC 6376 §3.4.{3 if form == 'simple' else 4}", "pass", raw)
    raw = signed(TAGS.replace(b"{bh}", EMPTY_SHA256), head + b"\r\n\r\n")
    yield made("relaxed empty body is the empty string", "RFC 6376 §3.4.4", "pass", raw)
    simple = TAGS.replace(b"relaxed/relaxed", b"simple/simple")
    raw = signed(
        simple.replace(b"{bh}", b"frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        head + b"\r\n\r\n",
        forms="simple/simple",
    )
    yield made("simple empty body is CRLF", "RFC 6376 §3.4.3", "pass", raw)
    raw = signed()
    yield made(
        "relaxed body: white space changed", "RFC 6376 §3.4.4", "pass", raw.replace(b"Hello  Bob,\t ", b"Hello \tBob,")
    )
    yield made("relaxed body: lines added at the end", "RFC 6376 §3.4.4", "pass", raw + b" \r\n\t\r\n\r\n")
    yield made(
        "relaxed body: space added at a line's start", "RFC 6376 §3.4.4", "fail", raw.replace(b"regards", b" regards")
    )
    yield made("relaxed body: text added", "RFC 6376 §3.7", "fail", raw + b"x\r\n")
    raw = signed(simple, forms="simple/simple")
    yield made("simple body: lines added at the end", "RFC 6376 §3.4.3", "pass", raw + b"\r\n\r\n")
    yield made("simple body: a line of a space added", "RFC 6376 §3.4.3", "fail", raw + b" \r\n")
    for limit, form in ((0, "simple"), (0, "relaxed"), (5, "simple"), (13, "relaxed"), (14, "relaxed")):
        tags = TAGS.replace(b"relaxed/relaxed", f"relaxed/{form}; l={limit}".encode())
        raw = signed(tags, forms=f"relaxed/{form}", limit=limit)
        yield made(f"l={limit}, {form}", "RFC 6376 §3.5 l=", "pass", raw)
        yield made(f"l={limit}, {form}, text added", "RFC 6376 §8.2", "pass", raw + b"more\r\n")
    whole = len(b"Hello  Bob,\t \r\n\r\nregards\r\n")
    for limit, result in ((whole, "pass"), (whole + 1, "fail"), (10**9, "fail"), (10**75, "fail")):
        tags = TAGS.replace(b"relaxed/relaxed", f"relaxed/simple; l={limit}".encode())
        yield made(f"l={limit}", "RFC 6376 §3.5 l=", result, signed(tags, forms="relaxed/simple", limit=whole))
    for wrong in (b"-1", b"1e3", b"0x10", b"", b"1 0", b"9" * 77):
        tags = TAGS.replace(b"relaxed/relaxed", b"relaxed/simple; l=" + wrong)
        yield made(f"l={wrong[:5].decode()!r}", "RFC 6376 §3.5 l=", "permerror", signed(tags, forms="relaxed/simple"))


def _tag_syntax() -> Iterator[Case]:
    good = {
        "tags in another order": b"h=from:to:subject:date; bh={bh}; s=s; d=acme.example;"
        b" c=relaxed/relaxed; a=rsa-sha256; v=1; b={b}",
        "white space around =": TAGS.replace(b"v=1", b" v = 1 ")
        .replace(b"d=acme", b"d\t=\r\n acme")
        .replace(b"bh={bh}", b"bh = {bh} "),
        "a final semicolon": TAGS + b";",
        "a final semicolon and white space": TAGS + b" ; \t",
        "unknown tags": TAGS.replace(b"v=1;", b"v=1; xyz=1; X_2=a=b; r=y; fake=;"),
        "no white space at all": TAGS.replace(b"\r\n ", b"").replace(b" ", b""),
        "h= with white space around colons": TAGS.replace(b"from:to:subject:date", b"from :\r\n to : subject\t:\tdate"),
        "h= in capitals": TAGS.replace(b"from:to:subject:date", b"FROM:To:SuBject:DATE"),
        "bh= folded": TAGS.replace(b"c=relaxed/relaxed;", b"c=relaxed/relaxed; z=From:ann@acme.example|To:=20bob;"),
        "q= as it must be": TAGS.replace(b"v=1;", b"v=1; q=dns/txt;"),
        "q= with several methods": TAGS.replace(b"v=1;", b"v=1; q=dns/foo : dns/txt;"),
        "d= in capitals": TAGS.replace(b"d=acme.example", b"d=ACME.Example"),
        "s= in capitals": TAGS.replace(b"s=s;", b"s=S;"),
    }
    for what, tags in good.items():
        yield made(what, "RFC 6376 §3.2, §3.5", "pass", signed(tags))
    bad = {
        "a tag twice": TAGS.replace(b"v=1;", b"v=1; d=evil.example;"),
        "an unknown tag twice": TAGS.replace(b"v=1;", b"v=1; zz=1; zz=1;"),
        "an empty tag between": TAGS.replace(b"v=1;", b"v=1;;"),
        "a tag without =": TAGS.replace(b"v=1;", b"v=1; junk;"),
        "a tag name with a hyphen": TAGS.replace(b"v=1;", b"v=1; x-y=1;"),
        "a tag name that begins with a digit": TAGS.replace(b"v=1;", b"v=1; 1x=1;"),
        "a leading semicolon": b";" + TAGS,
        "tag names in capitals": TAGS.replace(b"v=1;", b"V=1;"),
        "D= instead of d=": TAGS.replace(b"d=acme", b"D=acme"),
    }
    for what, tags in bad.items():
        yield made(what, "RFC 6376 §3.2", "permerror", signed(tags))
    for what, value in {"empty": b"", "prose": b" hello", "one semicolon": b" ;"}.items():
        raw = b"DKIM-Signature:" + value + b"\r\n" + MESSAGE
        yield made(f"signature field {what}", "RFC 6376 §6.1.1", "permerror", raw)


def _required_tags() -> Iterator[Case]:
    whole = {b"v": b"1", b"a": b"rsa-sha256", b"c": b"relaxed/relaxed", b"d": b"acme.example", b"s": b"s"}
    whole |= {b"h": b"from:to:subject:date", b"bh": b"{bh}", b"b": b"{b}"}
    for missing in (b"v", b"a", b"d", b"s", b"h", b"bh", b"b"):
        tags = b"; ".join(name + b"=" + value for name, value in whole.items() if name != missing)
        raw = signed(tags if missing != b"b" else tags + b"; zz={b}")
        yield made(f"{missing.decode()}= is missing", "RFC 6376 §6.1.1", "permerror", raw)
        tags = b"; ".join(name + b"=" + (b"" if name == missing else value) for name, value in whole.items())
        raw = signed(tags if missing != b"b" else tags + b"; zz={b}")
        yield made(f"{missing.decode()}= is empty", "RFC 6376 §3.5", "permerror", raw)


def _tag_values() -> Iterator[Case]:
    for wrong in (b"2", b"0.5", b"DKIM1", b"01", b"1.0"):
        yield made(f"v={wrong.decode()}", "RFC 6376 §3.5 v=", "permerror", signed(TAGS.replace(b"v=1", b"v=" + wrong)))
    yield made("a=rsa-sha1", "RFC 8301 §3.1", "policy", signed(TAGS.replace(b"sha256", b"sha1"), sha1=True))
    for wrong in (b"rsa-sha512", b"dsa-sha256", b"rsa", b"sha256", b"ed25519-sha512", b"rsa_sha256"):
        tags = TAGS.replace(b"rsa-sha256", wrong)
        yield made(f"a={wrong.decode()}", "RFC 6376 §6.1.1", "permerror", signed(tags))
    for wrong in (b"dns", b"dns/a", b"http", b"dns/txtx", b""):
        tags = TAGS.replace(b"v=1;", b"v=1; q=" + wrong + b";")
        yield made(f"q={wrong.decode()}", "RFC 6376 §3.5 q=", "permerror", signed(tags))
    for wrong in (b"acme..example", b".acme.example", b"acme.example.", b"a b", b"acme_example/", b"[192.0.2.1]"):
        tags = TAGS.replace(b"d=acme.example", b"d=" + wrong)
        yield made(f"d={wrong.decode()}", "RFC 6376 §3.5 d=", "permerror", signed(tags))
    for wrong in (b"s..t", b".s", b"s.", b"s t", b"s/t", b"*"):
        tags = TAGS.replace(b" s=s;", b" s=" + wrong + b";")
        yield made(f"s={wrong.decode()}", "RFC 6376 §3.1", "permerror", signed(tags))
    for good in ("a.b.c", "2026-01", "s_1", "x" * 63):
        tags = TAGS.replace(b" s=s;", b" s=" + good.encode() + b";")
        zone = {f"{good}._domainkey.acme.example": {"TXT": [RECORD]}}
        yield made(f"s={good[:9]}", "RFC 6376 §3.1", "pass", signed(tags), zone=zone)
    raw = signed()
    yield made(
        "b= of another message", "RFC 6376 §6.1.3", "fail", raw.replace(b"ann@acme.example", b"eve@acme.example")
    )
    for wrong in (b"b=%%%", b"b=AAA", b"b=A A A A A"):
        yield made(
            f"{wrong.decode()}", "RFC 6376 §6.1.1", "permerror", signed(TAGS.replace(b"b={b}", wrong + b"; zz={b}"))
        )
    yield made("b= too short", "RFC 6376 §6.1.3", "fail", signed(TAGS.replace(b"b={b}", b"b=AAAA; zz={b}")))
    yield made("bh= of 3 octets", "RFC 6376 §6.1.3", "fail", signed(TAGS.replace(b"{bh}", b"AAAA")))
    yield made("bh= is no base64", "RFC 6376 §6.1.1", "permerror", signed(TAGS.replace(b"{bh}", b"?")))


def _times() -> Iterator[Case]:
    for what, times, result in (
        ("t= now", f"t={NOW_UNIX}", "pass"),
        ("t= long ago", "t=1", "pass"),
        ("t= of 12 digits", "t=999999999999", "policy"),
        ("t= tomorrow", f"t={NOW_UNIX + 86400}", "policy"),
        ("x= tomorrow", f"x={NOW_UNIX + 86400}", "pass"),
        ("x= an hour ago", f"x={NOW_UNIX - 3600}", "fail"),
        ("x= far away", "x=" + "9" * 40, "pass"),
        ("x= before t=", f"t={NOW_UNIX - 100}; x={NOW_UNIX - 200}", "permerror"),
        ("x= equal to t=", f"t={NOW_UNIX}; x={NOW_UNIX}", "pass"),
        ("x=0", "x=0", "fail"),
        ("t= no number", "t=now", "permerror"),
        ("t= negative", "t=-1", "permerror"),
        ("x= no number", "x=never", "permerror"),
        ("t= with a fraction", "t=1767323045.5", "permerror"),
    ):
        tags = TAGS.replace(b"v=1;", f"v=1; {times};".encode())
        yield made(what, "RFC 6376 §3.5 t=, x=", result, signed(tags))


def _signed_fields() -> Iterator[Case]:
    def names(text: str, message: bytes = MESSAGE, **how: Any) -> bytes:
        tags = TAGS.replace(b"from:to:subject:date", text.encode())
        return signed(tags, message, names=tuple(text.replace(" ", "").split(":")), **how)

    yield made("h= without from", "RFC 6376 §5.4", "permerror", names("to:subject:date"))
    yield made("h= of from alone", "RFC 6376 §5.4", "pass", names("from"))
    yield made("h= names what is not there", "RFC 6376 §5.4.2", "pass", names("from:x-none:cc:subject"))
    yield made("h= oversigned", "RFC 6376 §5.4.2", "pass", names("from:from:subject:subject:date:to:to"))
    over = names("from:from:subject:subject:date")
    yield made("h= oversigned, a Subject added", "RFC 6376 §8.15", "fail", b"Subject: new\r\n" + over)
    yield made(
        "h= oversigned, a From added", "RFC 6376 §8.15", "fail", over.replace(b"To: ", b"From: e@x.example\r\nTo: ")
    )
    once = names("from:subject:date")
    yield made("a Subject added above a signed one", "RFC 6376 §5.4.2", "pass", b"Subject: new\r\n" + once)
    yield made(
        "a Subject added below a signed one",
        "RFC 6376 §5.4.2",
        "fail",
        once.replace(b"Date:", b"Subject: new\r\nDate:"),
    )
    yield made("an unsigned field added", "RFC 6376 §5.4", "pass", b"X-Other: 1\r\n" + once)
    two = MESSAGE.replace(b"To:", b"Received: one\r\nReceived: two\r\nReceived: three\r\nTo:")
    yield made(
        "h= takes repeated fields from the bottom", "RFC 6376 §5.4.2", "pass", names("from:received:received", two)
    )
    raw = names("from:received:received", two)
    yield made("a trace field added on top", "RFC 6376 §5.4.2", "pass", b"Received: zero\r\n" + raw)
    yield made(
        "trace fields swapped", "RFC 6376 §5.4.2", "fail", raw.replace(b": two", b": x").replace(b": three", b": two")
    )
    yield made(
        "h= names the same field apart",
        "RFC 6376 §5.4.2",
        "pass",
        names("received:from:received:to:received:received", two),
    )
    yield made("h= names DKIM-Signature, there is no other", "RFC 6376 §3.7", "pass", names("from:dkim-signature"))
    yield made("h= ends with a colon", "RFC 6376 §3.5 h=: read as a name that is not there", "pass", names("from:to:"))
    empty = MESSAGE.replace(b"To:", b"X-Empty:\r\nX-Space: \t \r\nTo:")
    for forms in ("simple/simple", "relaxed/relaxed"):
        tags = TAGS.replace(b"relaxed/relaxed", forms.encode()).replace(b"to:subject:date", b"x-empty:x-space")
        raw = signed(tags, empty, names=("from", "x-empty", "x-space"), forms=forms)
        yield made(f"empty fields, {forms}", "RFC 6376 §3.4", "pass", raw)
    utf8 = MESSAGE.replace(b"hello", "grüße".encode())
    yield made("UTF-8 in a signed field", "RFC 6532 §3.2", "pass", names("from:subject", utf8))
    latin = MESSAGE.replace(b"hello", b"gr\xfc\xdfe")
    yield made("octets that are no UTF-8 in a signed field", "RFC 6376 §3.4", "pass", names("from:subject", latin))


def _identities() -> Iterator[Case]:
    for identity, result in (
        ("@acme.example", "pass"),
        ("ann@acme.example", "pass"),
        ("@mail.acme.example", "pass"),
        ("ann@MAIL.Acme.Example", "pass"),
        ("a=3Bb@acme.example", "pass"),
        ("=40@acme.example", "pass"),
        ("@evilacme.example", "permerror"),
        ("@example", "permerror"),
        ("@other.example", "permerror"),
        ("acme.example", "permerror"),
        ("ann@acme.example.evil.example", "permerror"),
        ("", "permerror"),
        ("@", "permerror"),
    ):
        tags = TAGS.replace(b"v=1;", f"v=1; i={identity};".encode())
        yield made(f"i={identity}", "RFC 6376 §3.5 i=", result, signed(tags))
    below = signed(TAGS.replace(b"v=1;", b"v=1; i=ann@mail.acme.example;"))
    yield made("t=s and i= below d=", "RFC 6376 §3.6.1 t=", "permerror", below, f"t=s; p={RSA}")
    yield made("t=y:s and i= below d=", "RFC 6376 §3.6.1 t=", "permerror", below, f"t = y : s; p={RSA}")
    yield made("t=s and i= equal to d=", "RFC 6376 §3.6.1 t=", "pass", signed(), f"t=s; p={RSA}")


def _key_records() -> Iterator[Case]:
    raw = signed()
    split = [f"v=DKIM1; p={RSA[:100]}", RSA[100:200], RSA[200:]]
    spaced = "v=DKIM1; p=" + " ".join(RSA[at : at + 50] for at in range(0, len(RSA), 50))
    good: dict[str, Any] = {
        "p= alone": f"p={RSA}",
        "v= and p=": f"v=DKIM1;p={RSA}",
        "all tags": f"v=DKIM1; h=sha256; k=rsa; n=a note=20here; s=email; t=y:s; p={RSA}; x=1",
        "several strings": split,
        "white space in p=": spaced,
        "a final semicolon": f"v=DKIM1; p={RSA};",
        "PKCS#1": f"v=DKIM1; p={public_key('rsa2048', form='PKCS1')}",
        "h= list": f"v=DKIM1; h=sha1 : sha256; p={RSA}",
        "h= with an unknown one": f"v=DKIM1; h=sha512:sha256; p={RSA}",
        "s=*": f"v=DKIM1; s=*; p={RSA}",
        "s= list": f"v=DKIM1; s=tlsrpt : email; p={RSA}",
        "unknown flags": f"v=DKIM1; t=z:foo; p={RSA}",
        "g=, which is obsolete": f"v=DKIM1; g=ann; p={RSA}",
        "g= empty": f"v=DKIM1; g=; p={RSA}",
        "unknown tags": f"v=DKIM1; zz=1; p={RSA}",
        "white space around =": f" v = DKIM1 ; k = rsa ; p = {RSA} ",
        "k= in capitals": f"v=DKIM1; k=RSA; p={RSA}",
        "another record beside it": None,
    }
    for what, record in good.items():
        records = [record] if record is not None else ["google-site-verification=x", RECORD]
        yield made(f"key record: {what}", "RFC 6376 §3.6.1", "pass", raw, *records)
    bad = {
        "p= empty, revoked": "v=DKIM1; p=",
        "p= of white space": "v=DKIM1; p= ",
        "no p=": "v=DKIM1; k=rsa",
        "empty": "",
        "v= is not first": f"k=rsa; v=DKIM1; p={RSA}",
        "v=DKIM2": f"v=DKIM2; p={RSA}",
        "v=dkim1": f"v=dkim1; p={RSA}",
        "h=sha1": f"v=DKIM1; h=sha1; p={RSA}",
        "h= empty": f"v=DKIM1; h=; p={RSA}",
        "s=other": f"v=DKIM1; s=other; p={RSA}",
        "k=dsa": f"v=DKIM1; k=dsa; p={RSA}",
        "k=ed25519 with an RSA key": f"v=DKIM1; k=ed25519; p={RSA}",
        "p= is no base64": "v=DKIM1; p=???",
        "p= is no key": "v=DKIM1; p=AAAA",
        "p= cut": f"v=DKIM1; p={RSA[:80]}",
        "p= twice": f"v=DKIM1; p={RSA}; p={RSA}",
        "prose": "this is no key",
        "Ed25519": f"v=DKIM1; k=ed25519; p={ED25519}",
    }
    for what, record in bad.items():
        yield made(f"key record: {what}", "RFC 6376 §6.1.2", "permerror", raw, record)
    yield made("key record of another key", "RFC 6376 §6.1.3", "fail", raw, f"p={public_key('rsa1024')}")
    short = signed(key="rsa1024")
    yield made("a key of 1024 bits", "RFC 8301 §3.2", "pass", short, f"p={public_key('rsa1024')}")
    changed = raw.replace(b"regards", b"rewards")
    yield made("t=y, failing", "RFC 6376 §3.6.1 t=", "none", changed, f"t=y; p={RSA}")
    yield made("t=y, passing", "RFC 6376 §3.6.1 t=", "pass", raw, f"t=y; p={RSA}")
    yield made(
        "two keys at a selector, the second is right",
        "RFC 6376 §3.6.2.2",
        "pass",
        raw,
        f"p={public_key('rsa1024')}",
        RECORD,
    )
    yield made("a revoked key beside a good one", "RFC 6376 §3.6.2.2", "pass", raw, "v=DKIM1; p=", RECORD)


def _several() -> Iterator[Case]:
    raw = signed()
    other = TAGS.replace(b"d=acme.example", b"d=list.example")
    both = sealed(b"DKIM-Signature: " + other + b"\r\n" + raw, field=b"DKIM-Signature", names=NAMES)
    zone = {name: {"TXT": [RECORD]} for name in ("s._domainkey.acme.example", "s._domainkey.list.example")}
    yield made("two signers, both right", "RFC 6376 §4.2", ("pass", "pass"), both, zone=zone)
    yield made("two signers, one without key", "RFC 6376 §6.1", ("permerror", "pass"), both)
    outer = TAGS.replace(b"from:to:subject:date", b"from:dkim-signature")
    covered = sealed(
        b"DKIM-Signature: " + outer + b"\r\n" + raw, field=b"DKIM-Signature", names=("from", "dkim-signature")
    )
    yield made("a signature that signs another", "RFC 6376 §3.7", ("pass", "pass"), covered)
    inner = covered.replace(b"\r\nDKIM-Signature: v=1;", b"\r\nDKIM-Signature: v=1; zz=1;", 1)
    yield made("a signature that signs another, which changed", "RFC 6376 §3.7", ("fail", "fail"), inner)
    broken = b"DKIM-Signature: v=1; a=rsa-sha256; nonsense\r\n" + raw
    yield made("a broken one above a good one", "RFC 6376 §6.1", ("permerror", "pass"), broken)
    yield made(
        "ten and one more",
        "semantics: 10 are judged",
        ("permerror",) * 10 + ("neutral",),
        b"DKIM-Signature: x\r\n" * 10 + raw,
    )
    yield made("unsigned", "RFC 8601 §2.7.1", (), MESSAGE)
    yield made(
        "DomainKeys only",
        "RFC 6376",
        (),
        b"DomainKey-Signature: a=rsa-sha1; q=dns; c=nofws; s=s; d=acme.example; b=AAAA\r\n" + MESSAGE,
    )


def _keys_in_dns() -> Iterator[Case]:
    raw = signed()
    name = "s._domainkey.acme.example"
    yield made("key: NXDOMAIN", "RFC 6376 §6.1.2", "permerror", raw, zone={})
    yield made("key: no TXT", "RFC 6376 §6.1.2", "permerror", raw, zone={name: {"A": ["192.0.2.1"]}})
    yield made("key: SERVFAIL", "RFC 6376 §6.1.2", "temperror", raw, zone={name: "SERVFAIL"})
    yield made("key: no answer", "RFC 6376 §6.1.2", "temperror", raw, zone={name: {"TXT": "TIMEOUT"}})
    alias = {name: {"CNAME": ["k.hoster.example"]}, "k.hoster.example": {"TXT": [RECORD]}}
    yield made("key: by CNAME", "RFC 6376 §3.6.2", "pass", raw, zone=alias)
    loop = {name: {"CNAME": ["k.hoster.example"]}, "k.hoster.example": {"CNAME": [name]}}
    yield made("key: a loop of CNAMEs", "RFC 6376 §6.1.2", "temperror", raw, zone=loop)


def _ed25519() -> Iterator[Case]:
    tags = TAGS.replace(b"rsa-sha256", b"ed25519-sha256")
    raw = signed(tags, key="ed25519")
    record = f"v=DKIM1; k=ed25519; p={ED25519}"
    yield made("Ed25519", "RFC 8463 §3", "pass", raw, record)
    yield made("Ed25519: changed", "RFC 8463 §3", "fail", raw.replace(b"ann@", b"eve@"), record)
    yield made("Ed25519: k= is missing", "RFC 8463 §4", "permerror", raw, f"v=DKIM1; p={ED25519}")
    yield made("Ed25519: an RSA key", "RFC 6376 §6.1.2", "permerror", raw, RECORD)
    for octets in (31, 33, 0, 64):
        short = base64.b64encode(bytes(octets)).decode()
        yield made(f"Ed25519: key of {octets} octets", "RFC 8463 §4.2", "permerror", raw, f"k=ed25519; p={short}")
    yield made(
        "Ed25519: signature too short",
        "RFC 8463 §3",
        "fail",
        signed(tags.replace(b"b={b}", b"b=AAAA; zz={b}"), key="ed25519"),
        record,
    )
    both = sealed(
        b"DKIM-Signature: " + tags.replace(b"s=s", b"s=e") + b"\r\n" + signed(),
        field=b"DKIM-Signature",
        names=NAMES,
        key="ed25519",
    )
    zone = {"s._domainkey.acme.example": {"TXT": [RECORD]}, "e._domainkey.acme.example": {"TXT": [record]}}
    yield made("Ed25519 and RSA", "RFC 8463 §3", ("pass", "pass"), both, zone=zone)
