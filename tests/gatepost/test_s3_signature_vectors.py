"""AWS's published Signature Version 4 suite: every signed request has the signature that we calculate, and no changed one has.

The suite is for a service called `service`; S3 differs in one thing, which the exceptions name.
"""

import hashlib
import hmac
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest

from gatepost.s3_endpoint_signature import Signed, signature_of

SUITE = Path(__file__).parent.parent / "vectors" / "aws-sigv4"
KEY = ("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1")
AT = "20150830T123600Z"
NOT_NORMALISED = "S3 signs the path as it was sent, and never normalises it (AWS: Signature Version 4 for S3)"
EXCEPTIONS = dict.fromkeys(
    (
        "get-relative",
        "get-relative-relative",
        "get-slash",
        "get-slash-dot-slash",
        "get-slash-pointless-dot",
        "get-slashes",
    ),
    NOT_NORMALISED,
) | {"get-vanilla-with-session-token": "the suite's signature is not that of its own string to sign, which is ours"}
CASES = sorted(path for path in SUITE.rglob("*.sreq"))


def read(path: Path) -> tuple[Signed, str, str]:
    """The request, the names of its signed fields, and its signature."""
    head, _, body = path.read_bytes().replace(b"\r\n", b"\n").partition(b"\n\n")
    first, *lines = head.decode().split("\n")
    method, target = first.split(" ", 1)
    target = target.rpartition(" ")[0]
    headers: dict[str, list[str]] = {}
    last = ""
    for line in lines:
        if line[:1] in " \t":
            headers[last][-1] += " " + line.strip()
            continue
        name, _, value = line.partition(":")
        last = name.lower()
        headers.setdefault(last, []).append(value.strip())
    joined = {name: ",".join(values) for name, values in headers.items()}
    found = re.search(r"SignedHeaders=(\S+), Signature=([0-9a-f]{64})", joined.pop("authorization"))
    assert found is not None
    where, _, query = target.partition("?")
    where = quote(
        where, safe="/-_.~%"
    )  # as it stands on the wire: the suite writes spaces and letters beyond ASCII as they are
    return Signed(method=method, path=where, query=query, headers=joined, body=body), found[1], found[2]


def signature(request: Signed, names: str) -> str:
    return signature_of(request, names, hashlib.sha256(request.body).hexdigest(), AT, KEY, service="service")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_request_of_the_suite_has_its_signature_or_is_a_named_exception(path: Path) -> None:
    request, names, expected = read(path)
    assert (signature(request, names) == expected) is (path.stem not in EXCEPTIONS)


def test_the_string_to_sign_of_the_wrong_signature_is_ours() -> None:
    (path,) = (path for path in CASES if path.stem == "get-vanilla-with-session-token")
    request, names, _ = read(path)
    key = f"AWS4{KEY[0]}".encode()
    for part in (*KEY[1:], "service", "aws4_request", path.with_suffix(".sts").read_text()):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    assert signature(request, names) == key.hex()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_one_changed_octet_of_what_is_signed_makes_another_signature(path: Path) -> None:
    request, names, _ = read(path)
    was = signature(request, names)
    others = [replace(request, method=request.method + "X"), replace(request, path=request.path + "x")]
    others += [replace(request, query=f"{request.query}&x"), replace(request, body=request.body + b"x")]
    for name in names.split(";"):
        others.append(replace(request, headers={**request.headers, name: f"{request.headers[name]}x"}))
    assert was not in [signature(other, names) for other in others]


def test_the_suite_is_there_and_its_exceptions_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nSignature Version 4: {len(CASES)} requests, {len(EXCEPTIONS)} exceptions")
        for name, reason in EXCEPTIONS.items():
            print(f"  {name}: {reason}")
    assert len(CASES) > 30
    assert set(EXCEPTIONS) <= {path.stem for path in CASES}
