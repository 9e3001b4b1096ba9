"""S3's read operations for functions: who asks, what it may see, and the answer in S3's words (semantics.md §9).

GetObject, HeadObject, HeadBucket, ListObjects (both versions), and CopyObject of an object onto itself, which forwarders call
first: here it changes nothing. Path style, and `BUCKET.localhost` as virtual-host style. Everything else is refused.

*Standards.* S3 API reference; RFC 9110 §13 (conditions, in the order of §13.2.2) and §14 (one range).
*Trust.* Each request is a function's. Its signature is checked first, then its key against what is lent to it (`actions.reach`);
what is out of reach is AccessDenied whether it exists or not.
*Failure.* `Refused` becomes S3's XML; a store that fails is ServiceUnavailable, which SDKs try again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from urllib.parse import unquote, unquote_to_bytes

from actions.reach import Reach, Store
from gatepost.s3_endpoint_answers import Answer, Found, Refused, elements, object_headers, xml_answer, xml_time
from gatepost.s3_endpoint_conditions import byte_range, check_conditions, precondition_failed
from gatepost.s3_endpoint_listing import ListRequest, Page, list_answer, list_request
from gatepost.s3_endpoint_signature import Secret, Signed, check_signature, query_pairs

_RESPONSE = {f"response-{name}": name for name in ("cache-control", "content-disposition", "content-type", "expires")}
_PRESIGNED = (
    "Algorithm",
    "Content-Sha256",
    "Credential",
    "Date",
    "Expires",
    "SignedHeaders",
    "Signature",
    "Security-Token",
)
_ALWAYS = {"x-id", *(f"X-Amz-{name}" for name in _PRESIGNED)}
_OF_OBJECT = _ALWAYS | _RESPONSE.keys()
_OF_LIST = _ALWAYS | {
    *(
        "list-type",
        "marker",
        "prefix",
        "delimiter",
        "max-keys",
        "continuation-token",
        "start-after",
        "encoding-type",
        "fetch-owner",
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An access key: its secret, and what it reads now; `reach` None: nothing."""

    secret: Secret
    reach: Reach | None = None


class Objects(Protocol):
    """The stores, read as they are; errors are `Temporary`, `Permanent` or `Malformed`. None: there is no such object."""

    async def head(self, store: Store, key: str) -> Found | None: ...

    async def get(self, store: Store, key: str) -> tuple[Found, bytes] | None: ...

    async def page(self, store: Store, request: ListRequest) -> Page: ...


class S3Reader:
    """`leases` says what an access key is, `clock` the time."""

    def __init__(self, objects: Objects, leases: Mapping[str, Lease], clock: Callable[[], datetime]) -> None:
        self._objects, self._leases, self._clock = objects, leases, clock

    async def answer(self, request: Signed) -> Answer:
        """Raises `Refused`, and what `Objects` raises."""
        key_id = check_signature(request, self._secret_of, self._clock())
        lease = self._leases.get(key_id)
        if lease is None or lease.reach is None:
            raise Refused("AccessDenied", "No call of the function that has this access key is under way.")
        bucket, key = bucket_and_key(request)
        query = dict(query_pairs(request.query))
        if not bucket:
            raise Refused("AccessDenied", "Buckets are not listed here.")
        if not lease.reach.of_bucket(bucket):
            raise Refused("AccessDenied", f"No rule of the message's rule set writes to the bucket {bucket}.")
        if not key:
            return await self._bucket(lease.reach, bucket, request.method, query)
        store = lease.reach.store(bucket, key)
        if store is None:
            raise Refused(
                "AccessDenied", "The key is neither of this message nor where this function's rule stores mail."
            )
        if unknown := sorted(query.keys() - _OF_OBJECT):
            raise Refused("NotImplemented", f"{unknown[0]} is not implemented here.")
        match request.method:
            case "GET":
                return await self._get(store, key, request.headers, query)
            case "HEAD":
                return await self._head(store, key, request.headers)
            case "PUT" if "x-amz-copy-source" in request.headers:
                return await self._copy(store, bucket, key, request.headers)
        raise Refused("MethodNotAllowed", "Objects are only read here.")

    def _secret_of(self, key_id: str) -> Secret | None:
        lease = self._leases.get(key_id)
        return None if lease is None else lease.secret

    async def _get(self, store: Store, key: str, headers: Mapping[str, str], query: Mapping[str, str]) -> Answer:
        found = await self._objects.get(store, key)
        if found is None:
            raise _no_such_key()
        described, body = found
        fields = object_headers(described) | {_RESPONSE[name]: query[name] for name in _RESPONSE if name in query}
        if not all(value.isprintable() and value.isascii() for value in fields.values()):
            raise Refused("InvalidArgument", "A response header holds characters that it may not.")
        if (status := check_conditions(described, headers)) is not None:
            return Answer(status=status, headers=fields)
        part = byte_range(headers.get("range", ""), len(body))
        if part is None:
            return Answer(headers=fields, body=body)
        first, last = part
        fields["content-range"] = f"bytes {first}-{last}/{len(body)}"
        return Answer(status=206, headers=fields, body=body[first : last + 1])

    async def _head(self, store: Store, key: str, headers: Mapping[str, str]) -> Answer:
        found = await self._objects.head(store, key)
        if found is None:
            raise _no_such_key()
        fields = object_headers(found)
        if (status := check_conditions(found, headers)) is not None:
            return Answer(status=status, headers=fields)
        part = byte_range(headers.get("range", ""), found.size)
        if part is None:
            return Answer(headers={**fields, "content-length": str(found.size)})
        first, last = part
        length = {"content-range": f"bytes {first}-{last}/{found.size}", "content-length": str(last - first + 1)}
        return Answer(status=206, headers={**fields, **length})

    async def _copy(self, store: Store, bucket: str, key: str, headers: Mapping[str, str]) -> Answer:
        source = unquote(headers["x-amz-copy-source"]).removeprefix("/").partition("?")[0]
        if source != f"{bucket}/{key}":
            raise Refused("AccessDenied", "An object is copied only onto itself here.")
        found = await self._objects.head(store, key)
        if found is None:
            raise _no_such_key()
        copied = {
            name.replace("x-amz-copy-source-", ""): value for name, value in headers.items() if "copy-source-" in name
        }
        if check_conditions(found, copied) is not None:
            raise precondition_failed()
        inner = elements({"LastModified": xml_time(found.modified), "ETag": found.etag})
        return xml_answer("CopyObjectResult", inner)

    async def _bucket(self, reach: Reach, bucket: str, method: str, query: Mapping[str, str]) -> Answer:
        if method == "HEAD":
            return Answer()
        if method != "GET":
            raise Refused("NotImplemented", "Of a bucket only listings are implemented here.")
        if unknown := sorted(query.keys() - _OF_LIST):
            raise Refused("NotImplemented", f"{unknown[0]} is not implemented here.")
        wanted = list_request(query)
        store = reach.lists(bucket, wanted.prefix)
        if store is None:
            said = "A listing needs a prefix that lies where this function's rule stores mail."
            raise Refused("AccessDenied", said)
        page = await self._objects.page(store, wanted) if wanted.most else Page(keys=())
        keys = tuple(listed for listed in page.keys if reach.store(bucket, listed.key) is not None)
        prefixes = tuple(prefix for prefix in page.prefixes if reach.lists(bucket, prefix) is not None)
        return list_answer(bucket, query, wanted, replace(page, keys=keys, prefixes=prefixes))


def bucket_and_key(request: Signed) -> tuple[str, str]:
    """Of a path, or of a host `BUCKET.localhost` and a path. Raises `Refused` for what is no URI of ours."""
    if not request.path.startswith("/"):
        raise Refused("InvalidURI", "Couldn't parse the specified URI.")
    host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
    path = request.path[1:]
    if host.endswith(".localhost"):
        return host.removesuffix(".localhost"), _decoded(path)
    bucket, _, key = path.partition("/")
    return _decoded(bucket), _decoded(key)


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise Refused("InvalidURI", "Couldn't parse the specified URI.") from None


def _no_such_key() -> Refused:
    return Refused("NoSuchKey", "The specified key does not exist.")
