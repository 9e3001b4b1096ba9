"""What the S3 endpoint of functions answers: S3's XML, its error codes with their statuses, and object metadata as header fields.

*Standards.* S3 API reference: error responses, ListObjectsV2, CopyObject; RFC 2047 for metadata that is not ASCII, as S3 does.
*Trust.* Keys and metadata hold strangers' values: in XML they are escaped, in header fields encoded.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
STATUSES = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "EntityTooLarge": 400,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "MethodNotAllowed": 405,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NotImplemented": 501,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
}
_META = "x-amz-meta-"
_META_NAME = re.compile(r"[a-z0-9!#$&^_.+-]{1,128}\Z")
_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
# XML 1.0 §2.2: these have no form in a document, not even as references.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Refused(Exception):
    """A request that is answered with one of S3's error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object's description. `size` and `metadata` are those of the plain object; `etag` in its quotation marks."""

    size: int
    etag: str
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "binary/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    key: str
    size: int
    etag: str
    modified: datetime


def error_answer(refused: Refused, resource: str, request_id: str) -> Answer:
    parts = {"Code": refused.code, "Message": refused.message, "Resource": resource, "RequestId": request_id}
    return Answer(status=STATUSES[refused.code], headers=_XML, body=document("Error", elements(parts)))


def object_headers(found: Found) -> dict[str, str]:
    """The fields of HeadObject but Content-Length."""
    headers = {
        "accept-ranges": "bytes",
        "content-type": found.content_type,
        "etag": found.etag,
        "last-modified": format_datetime(found.modified, usegmt=True),
    }
    missing = 0
    for name, value in found.metadata.items():
        if _META_NAME.match(name):
            headers[_META + name] = value if _PLAIN.match(value) else _encoded_words(value)
        else:
            missing += 1
    return headers | ({"x-amz-missing-meta": str(missing)} if missing else {})


def document(root: str, inner: str) -> bytes:
    namespace = "" if root == "Error" else f' xmlns="{NAMESPACE}"'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{root}{namespace}>{inner}</{root}>'.encode()


def xml_answer(root: str, inner: str) -> Answer:
    return Answer(headers=_XML, body=document(root, inner))


def elements(parts: Mapping[str, str] | Iterable[tuple[str, str]]) -> str:
    """Elements with text; none for an empty text."""
    pairs = parts.items() if isinstance(parts, Mapping) else parts
    return "".join(f"<{name}>{escape(_NO_XML.sub('�', text))}</{name}>" for name, text in pairs if text)


def xml_time(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.000Z"


def _encoded_words(value: str) -> str:
    if not value:
        return ""
    return "=?UTF-8?B?" + base64.b64encode(value.encode("utf-8", "replace")).decode("ascii") + "?="


_XML = {"content-type": "application/xml"}
