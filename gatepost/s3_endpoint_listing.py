"""ListObjectsV2 and ListObjects: what is asked for, and the page that answers it (S3 API reference). Pure.

The first version, which boto3's `Bucket.objects` asks, goes on from a marker: a key, or a common prefix that is passed over.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote

from gatepost.s3_endpoint_answers import Answer, Listed, Refused, elements, xml_answer, xml_time

MOST_KEYS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Keys and, with a delimiter, common prefixes; `more` is where the next page goes on, "" at the end."""

    keys: tuple[Listed, ...]
    prefixes: tuple[str, ...] = ()
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    prefix: str
    delimiter: str
    most: int
    after: str  # a key, or a common prefix that is passed over whole
    past_prefix: bool = False


def list_request(query: Mapping[str, str]) -> ListRequest:
    text = query.get("max-keys", str(MOST_KEYS))
    if not (text.isascii() and text.isdigit()):
        raise Refused("InvalidArgument", "Provided max-keys not an integer or within integer range")
    if query.get("encoding-type", "url") != "url":
        raise Refused("InvalidArgument", "Invalid Encoding Method specified in Request")
    wanted = ListRequest(
        prefix=query.get("prefix", ""),
        delimiter=query.get("delimiter", ""),
        most=min(int(text[:9]), MOST_KEYS),
        after=query.get("start-after", ""),
    )
    if not _is_second(query):
        marker = query.get("marker", "")
        return replace(wanted, after=marker, past_prefix=bool(wanted.delimiter) and marker.endswith(wanted.delimiter))
    token = query.get("continuation-token")
    if token is None:
        return wanted
    try:
        went = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        went = ""
    if went[:1] not in ("k", "p"):
        raise Refused("InvalidArgument", "The continuation token provided is incorrect")
    return replace(wanted, after=went[1:], past_prefix=went[0] == "p")


def list_answer(bucket: str, query: Mapping[str, str], wanted: ListRequest, page: Page) -> Answer:
    encode = (lambda text: quote(text, safe="/-_.~*!'()")) if "encoding-type" in query else str
    if not _is_second(query):
        return xml_answer(
            "ListBucketResult", elements(_first_head(bucket, query, wanted, page, encode)) + _found(page, encode)
        )
    more = base64.b64encode(page.more.encode(), altchars=b"-_").decode("ascii") if page.more else ""
    head = {
        "Name": bucket,
        "Prefix": encode(wanted.prefix),
        "Delimiter": encode(wanted.delimiter),
        "MaxKeys": str(wanted.most),
        "EncodingType": query.get("encoding-type", ""),
        "KeyCount": str(len(page.keys) + len(page.prefixes)),
        "IsTruncated": "true" if more else "false",
        "ContinuationToken": query.get("continuation-token", ""),
        "NextContinuationToken": more,
        "StartAfter": encode(query.get("start-after", "")),
    }
    return xml_answer("ListBucketResult", elements(head) + _found(page, encode))


def _is_second(query: Mapping[str, str]) -> bool:
    return query.get("list-type") == "2"


def _first_head(
    bucket: str, query: Mapping[str, str], wanted: ListRequest, page: Page, encode: Callable[[str], str]
) -> dict[str, str]:
    return {
        "Name": bucket,
        "Prefix": encode(wanted.prefix),
        "Marker": encode(wanted.after),
        "NextMarker": encode(page.more[1:]),
        "Delimiter": encode(wanted.delimiter),
        "MaxKeys": str(wanted.most),
        "EncodingType": query.get("encoding-type", ""),
        "IsTruncated": "true" if page.more else "false",
    }


def _found(page: Page, encode: Callable[[str], str]) -> str:
    inner = ""
    for listed in page.keys:
        described = {
            "Key": encode(listed.key),
            "LastModified": xml_time(listed.modified),
            "ETag": listed.etag,
            "Size": str(listed.size),
            "StorageClass": "STANDARD",
        }
        inner += f"<Contents>{elements(described)}</Contents>"
    for prefix in page.prefixes:
        inner += f"<CommonPrefixes>{elements({'Prefix': encode(prefix)})}</CommonPrefixes>"
    return inner
