"""Signature Version 4: AWS's own examples, botocore's signer as oracle, and every part of a request changed after it was signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gatepost.s3_endpoint_answers import Refused
from gatepost.s3_endpoint_signature import SKEW, Secret, Signed, check_signature, signature_of

KEY = "ASIAEXAMPLEEXAMPLE20"
SECRET = Secret(secret="s3cret/with+signs", token="a token==")
EMPTY = hashlib.sha256(b"").hexdigest()
HOST = "127.0.0.1:4000"


def signed(
    method: str = "GET",
    path: str = "/mail/in/a",
    query: str = "",
    headers: dict[str, str] | None = None,
    *,
    signer: Any = S3SigV4Auth,
    credentials: Credentials | None = None,
    region: str = "eu-west-1",
    body: bytes = b"",
) -> Signed:
    """A request as botocore signs it, now."""
    url = f"http://{HOST}{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url, headers=headers or {}, data=body)
    signer(credentials or Credentials(KEY, SECRET.secret, SECRET.token), "s3", region).add_auth(request)
    prepared = request.prepare()
    parts = urlsplit(prepared.url)
    fields = {name.lower(): value for name, value in prepared.headers.items()} | {"host": HOST}
    return Signed(method=method, path=parts.path, query=parts.query, headers=fields, body=body)


def secret_of(key_id: str) -> Secret | None:
    return SECRET if key_id == KEY else None


def code_of(request: Signed, now: datetime | None = None) -> str:
    """S3's error code, or the access key that is good."""
    try:
        return check_signature(request, secret_of, now or datetime.now(UTC))
    except Refused as refused:
        return refused.code


EXAMPLES = [
    ("/test.txt", "", "host;range;x-amz-content-sha256;x-amz-date", {"range": "bytes=0-9"}),
    ("/", "max-keys=2&prefix=J", "host;x-amz-content-sha256;x-amz-date", {}),
    ("/", "lifecycle", "host;x-amz-content-sha256;x-amz-date", {}),
]
SIGNATURES = [
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
]


@pytest.mark.parametrize(("example", "signature"), zip(EXAMPLES, SIGNATURES, strict=True))
def test_examples_of_the_documentation(example: tuple[str, str, str, dict[str, str]], signature: str) -> None:
    path, query, names, more = example
    at = "20130524T000000Z"
    headers = {"host": "examplebucket.s3.amazonaws.com", "x-amz-content-sha256": EMPTY, "x-amz-date": at, **more}
    request = Signed(method="GET", path=path, query=query, headers=headers)
    key = ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524", "us-east-1")
    assert signature_of(request, names, EMPTY, at, key) == signature


def test_presigned_example_of_the_documentation() -> None:
    secret = Secret(secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", token="")
    query = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request = Signed(method="GET", path="/test.txt", query=query, headers={"host": "examplebucket.s3.amazonaws.com"})
    noon = datetime(2013, 5, 24, 12, tzinfo=UTC)
    assert check_signature(request, lambda _: secret, noon) == "AKIAIOSFODNN7EXAMPLE"
    with pytest.raises(Refused, match="Request has expired"):
        check_signature(request, lambda _: secret, noon + timedelta(days=1))
    with pytest.raises(Refused) as early:
        check_signature(request, lambda _: secret, noon - timedelta(days=1))
    assert early.value.code == "RequestTimeTooSkewed"


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(lambda key: "\0" not in key),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    method=st.sampled_from(["GET", "HEAD", "PUT"]),
)
def test_what_botocore_signs_is_good(key: str, value: str, method: str) -> None:
    query = f"prefix={quote(value, safe='')}&x-id=GetObject&acl" if value else ""
    request = signed(method, "/mail/" + quote(key, safe="/~"), query, {"Range": "bytes=0-1", "x-amz-acl": " a   b "})
    assert code_of(request) == KEY


@pytest.mark.parametrize("signer", [S3SigV4Auth, lambda *of: S3SigV4QueryAuth(*of, expires=60)])
@pytest.mark.parametrize(
    "changed",
    [
        {"method": "HEAD"},
        {"path": "/mail/in/b"},
        {"path": "/mail/in%2Fa"},
        {"query+": "&prefix=x"},
        {"headers+": {"host": "127.0.0.1:4001"}},
    ],
)
def test_request_that_was_changed_is_refused(signer: Any, changed: dict[str, Any]) -> None:
    request = signed(signer=signer)
    assert code_of(request) == KEY
    changes = {name: value for name, value in changed.items() if not name.endswith("+")}
    if "query+" in changed:
        changes["query"] = (request.query + changed["query+"]).lstrip("&")
    if "headers+" in changed:
        changes["headers"] = {**request.headers, **changed["headers+"]}
    assert code_of(replace(request, **changes)) == "SignatureDoesNotMatch"


@pytest.mark.parametrize("seconds", [SKEW.total_seconds() + 5, -SKEW.total_seconds() - 5])
def test_clock_that_is_too_far_off_is_refused(seconds: float) -> None:
    request = signed()
    now = datetime.now(UTC)
    assert code_of(request, now + timedelta(seconds=seconds * 0.9)) == KEY
    assert code_of(request, now + timedelta(seconds=seconds)) == "RequestTimeTooSkewed"


def test_field_of_amazon_that_is_not_signed_is_refused() -> None:
    request = signed()
    assert code_of(replace(request, headers={**request.headers, "x-amz-acl": "private"})) == "AccessDenied"
    assert code_of(replace(request, headers={**request.headers, "x-plain": "x"})) == KEY


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        (Credentials(KEY, "another", SECRET.token), "SignatureDoesNotMatch"),
        (Credentials("ASIAEXAMPLEEXAMPLE21", SECRET.secret, SECRET.token), "InvalidAccessKeyId"),
        (Credentials(KEY, SECRET.secret), "InvalidToken"),
        (Credentials(KEY, SECRET.secret, "another"), "InvalidToken"),
    ],
)
@pytest.mark.parametrize("signer", [S3SigV4Auth, lambda *of: S3SigV4QueryAuth(*of, expires=60)])
def test_other_credentials_are_refused(signer: Any, credentials: Credentials, code: str) -> None:
    assert code_of(signed(signer=signer, credentials=credentials)) == code


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        ("", "InvalidRequest"),
        ("AWS ASIAEXAMPLEEXAMPLE20:c2ln", "InvalidRequest"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", "InvalidRequest"),
        ("Bearer x", "InvalidRequest"),
        ("AWS4-HMAC-SHA256 Credential=x", "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 " + "x" * 100_000, "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential={c},SignedHeaders={n},Signature=" + "0" * 63, "AuthorizationHeaderMalformed"),
        ("AWS4-HMAC-SHA256 Credential={c},SignedHeaders={n},Signature=" + "0" * 64, "SignatureDoesNotMatch"),
        ("AWS4-HMAC-SHA256 Credential={c},SignedHeaders=host,Signature=" + "0" * 64, "AccessDenied"),
        ("AWS4-HMAC-SHA256 Credential={c},SignedHeaders={n};host,Signature=" + "0" * 64, "AccessDenied"),
        (
            "AWS4-HMAC-SHA256 Credential=ASIAEXAMPLEEXAMPLE20/20010101/us-east-1/s3/aws4_request,SignedHeaders={n},Signature="
            + "0" * 64,
            "AuthorizationHeaderMalformed",
        ),
    ],
)
def test_malformed_authorization_is_refused(authorization: str, code: str) -> None:
    request = signed()
    credential = request.headers["authorization"].partition("Credential=")[2].partition(",")[0]
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    text = authorization.replace("{c}", credential).replace("{n}", names)
    assert code_of(replace(request, headers={**request.headers, "authorization": text})) == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "AccessDenied"),
        ("AWSAccessKeyId=x&Signature=y&Expires=1", "InvalidRequest"),
        ("X-Amz-Signature=x", "InvalidRequest"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=604801", "AuthorizationQueryParametersError"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=-1", "AuthorizationQueryParametersError"),
        ("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=60&X-Amz-SignedHeaders=host", "AuthorizationHeaderMalformed"),
    ],
)
def test_request_without_a_good_signature_is_refused(query: str, code: str) -> None:
    assert code_of(Signed(method="GET", path="/mail/a", query=query, headers={"host": HOST})) == code


def test_body_that_is_not_the_signed_one_is_refused() -> None:
    request = signed("PUT", body=b"one")
    assert code_of(request) == KEY
    assert code_of(replace(request, body=b"two")) == "XAmzContentSHA256Mismatch"


def test_chunked_signatures_are_not_taken() -> None:
    request = signed("PUT")
    headers = {**request.headers, "x-amz-content-sha256": "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    at, region = headers["x-amz-date"], "eu-west-1"
    resigned = replace(request, headers=headers)
    signature = signature_of(resigned, names, headers["x-amz-content-sha256"], at, (SECRET.secret, at[:8], region))
    headers["authorization"] = headers["authorization"].rpartition("=")[0] + f"={signature}"
    assert code_of(replace(resigned, headers=headers)) == "NotImplemented"


ASKED = (
    f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}/{{day}}/eu/s3/aws4_request"
    "&X-Amz-SignedHeaders=host&X-Amz-Date={day}T000000Z"
)


@pytest.mark.parametrize(
    ("day", "more", "code"),
    [
        ("20260101", "&X-Amz-Expires=60&X-Amz-Signature=%C3%A9", "SignatureDoesNotMatch"),
        ("20260101", "&X-Amz-Expires=60&X-Amz-Signature=x&prefix=\udcff", "SignatureDoesNotMatch"),
        ("20260101", "&X-Amz-Expires=000000001" + "9" * 20 + "&X-Amz-Signature=x", "AuthorizationQueryParametersError"),
        (
            "20260101",
            "&X-Amz-Expires=000000001" + "9" * 5000 + "&X-Amz-Signature=x",
            "AuthorizationQueryParametersError",
        ),
        ("00010101", "&X-Amz-Expires=60&X-Amz-Signature=x", "AccessDenied"),
        ("99991231", "&X-Amz-Expires=604800&X-Amz-Signature=x", "RequestTimeTooSkewed"),
    ],
)
@pytest.mark.parametrize("host", [HOST, "\udcff"])
def test_noise_that_nobody_signed_is_refused_in_s3s_words(day: str, more: str, code: str, host: str) -> None:
    """An exception of ours would be logged with its traceback for whoever connects."""
    request = Signed(method="GET", path="/mail/a", query=ASKED.format(day=day) + more, headers={"host": host})
    assert code_of(request, datetime(2026, 1, 1, tzinfo=UTC)) == code
