"""AWS Signature Version 4 as S3 checks it: in the Authorization field, or in the query of a presigned URL. Pure.

*Standards.* AWS: Authenticating Requests (Signature Version 4), for S3: the path is signed as it was sent, encoded once.
*Trust.* Nothing of the request counts before its signature does; every `x-amz-` field must be signed, and so must `host`.
*Failure.* `Refused` with S3's own code, whatever the request says. Signatures and tokens are compared in constant time.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

from gatepost.s3_endpoint_answers import Refused

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
SKEW = timedelta(minutes=15)
_MOST_SECONDS = 7 * 86_400
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM}\s+Credential=([^,\s]+)\s*,\s*SignedHeaders=([^,\s]+)\s*,\s*Signature=([0-9a-f]{{64}})\s*\Z"
)
_CREDENTIAL = re.compile(r"([A-Za-z0-9]{16,128})/([0-9]{8})/([a-z0-9-]{1,64})/s3/aws4_request\Z")
_SECONDS = re.compile(r"[0-9]{1,9}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A request as it came. `path` and `query` as on the wire; `headers` by lower-case name, several values joined by a comma."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What belongs to an access key."""

    secret: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """What the request says of its own signature."""

    credential: str
    names: str
    signature: str
    at: str
    token: str
    payload: str
    expires_seconds: int | None = None


def check_signature(request: Signed, secret_of: Callable[[str], Secret | None], now: datetime) -> str:
    """The access key that signed the request. Raises `Refused`."""
    pairs = query_pairs(request.query)
    claim = _claim(request.headers, dict(pairs))
    found = _CREDENTIAL.match(claim.credential)
    if found is None or claim.at[:8] != found[2]:
        raise Refused("AuthorizationHeaderMalformed", "The credential is not KEY/DATE/REGION/s3/aws4_request.")
    key_id, date, region = found.groups()
    _check_time(claim, now)
    secret = secret_of(key_id)
    if secret is None:
        raise Refused("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
    expected = signature_of(request, claim.names, claim.payload, claim.at, (secret.secret, date, region))
    if not hmac.compare_digest(expected.encode(), _octets(claim.signature)):
        said = "The request signature we calculated does not match the signature you provided."
        raise Refused("SignatureDoesNotMatch", said)
    if not hmac.compare_digest(secret.token.encode(), _octets(claim.token)):
        raise Refused("InvalidToken", "The provided token is malformed or otherwise invalid.")
    _check_payload(claim.payload, request.body)
    return key_id


def signature_of(
    request: Signed, names: str, payload: str, at: str, key: tuple[str, str, str], service: str = "s3"
) -> str:
    """The signature in hex over the fields `names` (`host;x-amz-date`), with the key of (secret, date, region)."""
    secret, date, region = key
    canonical = "\n".join(
        (
            request.method,
            request.path,
            _canonical_query(request.query),
            *(f"{name}:{_canonical_value(request.headers, name)}" for name in names.split(";")),
            "",
            names,
            payload,
        )
    )
    digest = hashlib.sha256(_octets(canonical)).hexdigest()
    text = "\n".join((ALGORITHM, at, f"{date}/{region}/{service}/aws4_request", digest))
    signing = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request", text):
        signing = hmac.new(signing, part.encode(), hashlib.sha256).digest()
    return signing.hex()


def query_pairs(query: str) -> list[tuple[str, str]]:
    """Names and values, decoded. A plus sign is a plus sign."""
    split = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote(name), unquote(value)) for name, _, value in split]


def _claim(headers: Mapping[str, str], query: Mapping[str, str]) -> _Claim:
    if "authorization" in headers:
        claim = _from_header(headers)
        required = {"host", "x-amz-date"} | {name for name in headers if name.startswith("x-amz-")}
    elif "X-Amz-Signature" in query or "X-Amz-Algorithm" in query:
        claim = _from_query(query)
        required = {"host"} | {name for name in headers if name.startswith("x-amz-")} - {"x-amz-content-sha256"}
    elif "AWSAccessKeyId" in query:
        raise _other_mechanism()
    else:
        raise Refused("AccessDenied", "The request is not signed.")
    named = claim.names.split(";")
    if named != sorted(set(named)) or not required <= set(named):
        raise Refused("AccessDenied", "There were headers present in the request which were not signed.")
    return claim


def _from_header(headers: Mapping[str, str]) -> _Claim:
    text = headers["authorization"]
    if not text.startswith(ALGORITHM + " "):
        raise _other_mechanism()
    found = _AUTHORIZATION.match(text)
    if found is None:
        raise Refused("AuthorizationHeaderMalformed", "The authorization header is malformed.")
    if "x-amz-content-sha256" not in headers:
        raise Refused("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    return _Claim(
        credential=found[1],
        names=found[2],
        signature=found[3],
        at=headers.get("x-amz-date", ""),
        token=headers.get("x-amz-security-token", ""),
        payload=headers["x-amz-content-sha256"],
    )


def _from_query(query: Mapping[str, str]) -> _Claim:
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise _other_mechanism()
    expires = query.get("X-Amz-Expires", "")
    if not _SECONDS.match(expires) or not 1 <= int(expires) <= _MOST_SECONDS:
        raise Refused("AuthorizationQueryParametersError", "X-Amz-Expires must be a number from 1 to 604800.")
    return _Claim(
        credential=query.get("X-Amz-Credential", ""),
        names=query.get("X-Amz-SignedHeaders", ""),
        signature=query.get("X-Amz-Signature", ""),
        at=query.get("X-Amz-Date", ""),
        token=query.get("X-Amz-Security-Token", ""),
        payload=query.get("X-Amz-Content-Sha256", UNSIGNED),
        expires_seconds=int(expires),
    )


def _other_mechanism() -> Refused:
    said = f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}."
    return Refused("InvalidRequest", said)


def _check_time(claim: _Claim, now: datetime) -> None:
    try:
        at = datetime.strptime(claim.at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise Refused("AccessDenied", "The date of the signature is not of the form YYYYMMDDTHHMMSSZ.") from None
    age = now - at
    if claim.expires_seconds is not None and age > timedelta(seconds=claim.expires_seconds):
        raise Refused("AccessDenied", "Request has expired")
    if age < -SKEW or (claim.expires_seconds is None and age > SKEW):
        said = "The difference between the request time and the current time is too large."
        raise Refused("RequestTimeTooSkewed", said)


def _check_payload(claimed: str, body: bytes) -> None:
    if claimed == UNSIGNED:
        return
    if claimed.startswith("STREAMING-"):
        raise Refused("NotImplemented", "Signed chunks are not taken here.")
    if not _SHA256.match(claimed) or not hmac.compare_digest(hashlib.sha256(body).hexdigest(), claimed):
        raise Refused("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.")


def _canonical_query(query: str) -> str:
    pairs = [(name, value) for name, value in query_pairs(query) if name != "X-Amz-Signature"]
    return "&".join(f"{name}={value}" for name, value in sorted((_encoded(n), _encoded(v)) for n, v in pairs))


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~", errors="surrogateescape")


def _octets(text: str) -> bytes:
    """As they came: what is no UTF-8 stands as surrogates in what aiohttp hands over."""
    return text.encode("utf-8", "surrogateescape")


def _canonical_value(headers: Mapping[str, str], name: str) -> str:
    return re.sub(" +", " ", headers.get(name, "")).strip()
