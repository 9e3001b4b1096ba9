"""The S3 endpoint of functions, asked by boto3: what a function sees of its own mail, and what it never sees."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from acting import ID
from s3_world import CONTENT, OTHER, Ask, World, put_file, s3_client, world_of

from actions.object_key import SIDECAR
from gatepost.s3_endpoint_answers import Found
from gatepost.s3_endpoint_conditions import check_conditions
from gatepost.s3_endpoint_signature import UNSIGNED, Signed, signature_of

KEY = f"in/{ID}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = world_of(tmp_path)
    yield made
    await made.endpoint.close()
    await made.storage.clients.close()


@pytest.fixture
async def stored(world: World) -> World:
    await world.store("own", path="mail", object_key_prefix="in", metadata={"spam": "{spam}"})
    return world


async def test_object_comes_as_boto3_gives_it(stored: World) -> None:
    s3 = await stored.client()
    got = await s3("get_object", Bucket="mail", Key=KEY)
    assert got["Body"] == CONTENT
    assert got["ContentLength"] == len(CONTENT)
    assert got["ContentType"] == "binary/octet-stream"
    assert got["Metadata"] == {"spam": "DISABLED"}
    assert abs(datetime.now(UTC) - got["LastModified"]) < timedelta(minutes=5)
    head = await s3("head_object", Bucket="mail", Key=KEY)
    assert {name: head[name] for name in ("ETag", "ContentLength", "LastModified", "Metadata")} == {
        name: got[name] for name in ("ETag", "ContentLength", "LastModified", "Metadata")
    }


async def test_forwarders_copy_an_object_onto_itself_first(stored: World) -> None:
    s3 = await stored.client()
    before = (stored.base / "mail" / KEY).stat()
    source = {"Bucket": "mail", "Key": KEY}
    for copy_source in (source, f"mail/{KEY}", f"/mail/{KEY}"):
        copied = await s3(
            "copy_object",
            Bucket="mail",
            CopySource=copy_source,
            Key=KEY,
            ACL="private",
            ContentType="text/plain",
            StorageClass="STANDARD",
        )
        assert copied["CopyObjectResult"]["ETag"] == (await s3("head_object", Bucket="mail", Key=KEY))["ETag"]
    assert (stored.base / "mail" / KEY).stat() == before


@pytest.mark.parametrize(
    ("wanted", "part", "status"),
    [
        ("bytes=0-3", slice(0, 4), 206),
        ("bytes=5-", slice(5, None), 206),
        ("bytes=-6", slice(-6, None), 206),
        ("bytes=-999999", slice(None), 206),
        ("bytes=2-999999", slice(2, None), 206),
        ("bytes=0-1,4-5", slice(None), 200),
        ("bytes=9-3", slice(None), 200),
        ("lines=1-2", slice(None), 200),
    ],
)
async def test_range_is_one_or_none(stored: World, wanted: str, part: slice, status: int) -> None:
    s3 = await stored.client()
    got = await s3("get_object", Bucket="mail", Key=KEY, Range=wanted)
    assert got["Body"] == CONTENT[part]
    assert got["ResponseMetadata"]["HTTPStatusCode"] == status
    head = await s3("head_object", Bucket="mail", Key=KEY, Range=wanted)
    assert head["ContentLength"] == len(CONTENT[part])


@pytest.mark.parametrize("wanted", ["bytes=99999-", "bytes=-0"])
async def test_range_beyond_the_end_is_refused(stored: World, wanted: str) -> None:
    assert await (await stored.client()).code("get_object", Bucket="mail", Key=KEY, Range=wanted) == "InvalidRange"


async def test_conditions_are_judged(stored: World) -> None:
    s3 = await stored.client()
    got = await s3("head_object", Bucket="mail", Key=KEY)
    tag, at = got["ETag"], got["LastModified"]
    second = timedelta(seconds=1)
    for given, code in [
        ({"IfMatch": tag}, ""),
        ({"IfMatch": '"other"'}, "PreconditionFailed"),
        ({"IfNoneMatch": tag}, "304"),
        ({"IfNoneMatch": "*"}, "304"),
        ({"IfNoneMatch": '"other"', "IfModifiedSince": at}, ""),
        ({"IfModifiedSince": at}, "304"),
        ({"IfModifiedSince": at - second}, ""),
        ({"IfUnmodifiedSince": at}, ""),
        ({"IfUnmodifiedSince": at - second}, "PreconditionFailed"),
        ({"IfMatch": tag, "IfUnmodifiedSince": at - second}, ""),
    ]:
        assert await s3.code("get_object", Bucket="mail", Key=KEY, **given) == code, given
    source = {"Bucket": "mail", "Key": KEY, "CopySource": f"mail/{KEY}"}
    assert await s3.code("copy_object", **source, CopySourceIfMatch=tag) == ""
    assert await s3.code("copy_object", **source, CopySourceIfMatch='"other"') == "PreconditionFailed"


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan {} 00:00:00 GMT", "Mon, 01 Jan 2020 00:00:00 +{}", "Mon, {} Jan 2020 00:00:00 GMT"]
)
@pytest.mark.parametrize("digits", [5, 25, 5000])
def test_a_date_that_is_none_is_no_condition(date: str, digits: int) -> None:
    """RFC 9110 §13.1.3: the field is ignored."""
    found = Found(size=1, etag='"x"', modified=datetime(2026, 1, 1, tzinfo=UTC))
    assert check_conditions(found, {"if-modified-since": date.format("9" * digits)}) is None


async def test_encrypted_object_comes_in_the_clear(world: World) -> None:
    world.storage.files.create("mail", datetime.now(UTC))
    await world.store("own", path="mail", object_key_prefix="in", kms_key_arn="alias/mail", metadata={"a": "b"})
    assert CONTENT not in (world.base / "mail" / KEY).read_bytes()
    s3 = await world.client()
    got = await s3("get_object", Bucket="mail", Key=KEY)
    assert (got["Body"], got["Metadata"], got["ContentLength"]) == (CONTENT, {"a": "b"}, len(CONTENT))
    assert (await s3("head_object", Bucket="mail", Key=KEY))["ContentLength"] == len(CONTENT)
    (listed,) = (await s3("list_objects_v2", Bucket="mail", Prefix="in/"))["Contents"]
    assert listed["Size"] == len(CONTENT)


async def test_encrypted_object_in_anothers_place_is_not_opened(world: World) -> None:
    world.storage.files.create("mail", datetime.now(UTC))
    await world.store("own", path="mail", object_key_prefix="in", kms_key_arn="alias/mail")
    (world.base / "mail" / KEY).rename(world.base / "mail" / "in" / OTHER)
    assert await (await world.client()).code("get_object", Bucket="mail", Key=f"in/{OTHER}") == "AccessDenied"


async def test_changed_encrypted_object_is_not_opened(world: World) -> None:
    world.storage.files.create("mail", datetime.now(UTC))
    await world.store("own", path="mail", object_key_prefix="in", kms_key_arn="alias/mail")
    path = world.base / "mail" / KEY
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert await (await world.client()).code("get_object", Bucket="mail", Key=KEY) == "AccessDenied"


async def test_function_of_another_rule_sees_its_own_message_alone(stored: World) -> None:
    put_file(stored.base / "mail" / "in" / OTHER)
    stored.rule("other", path="mail", object_key_prefix="hr/")
    own, other = await stored.client("own"), await stored.client("other")
    assert await own.code("get_object", Bucket="mail", Key=f"in/{OTHER}") == ""
    for operation in ("get_object", "head_object"):
        denied = "AccessDenied" if operation == "get_object" else "403"
        assert await other.code(operation, Bucket="mail", Key=f"in/{OTHER}") == denied
        assert await other.code(operation, Bucket="mail", Key=KEY) == ""
    assert await other.code("list_objects_v2", Bucket="mail", Prefix="in/") == "AccessDenied"
    third = await stored.client("other", message_id=OTHER)
    assert await third.code("get_object", Bucket="mail", Key=KEY) == "AccessDenied"


async def test_credentials_are_good_while_a_call_runs(stored: World) -> None:
    credentials = await stored.endpoint.issue()
    s3 = Ask(s3_client(credentials.environment))
    assert await s3.code("get_object", Bucket="mail", Key=KEY) == "AccessDenied"
    stored.endpoint.lend(credentials.key_id, stored.reach("own"))
    assert await s3.code("get_object", Bucket="mail", Key=KEY) == ""
    stored.endpoint.lend(credentials.key_id, None)
    assert await s3.code("get_object", Bucket="mail", Key=KEY) == "AccessDenied"
    stored.endpoint.revoke(credentials.key_id)
    assert await s3.code("get_object", Bucket="mail", Key=KEY) == "InvalidAccessKeyId"


async def test_absent_object_is_no_such_key_only_within_reach(stored: World) -> None:
    s3 = await stored.client()
    assert await s3.code("get_object", Bucket="mail", Key="in/absent") == "NoSuchKey"
    assert await s3.code("head_object", Bucket="mail", Key="in/absent") == "404"
    assert await s3.code("get_object", Bucket="mail", Key="out/absent") == "AccessDenied"
    assert await s3.code("get_object", Bucket="nowhere", Key=KEY) == "AccessDenied"


@pytest.mark.parametrize(
    "key",
    [
        "in/../secret",
        "in/../../secret",
        f"../{ID}",
        f"in/./{ID}",
        f"in/{ID}/..",
        "in/\0",
        f"in/{ID}\0",
    ],
)
async def test_traversal_is_denied(stored: World, key: str) -> None:
    put_file(stored.base / "mail" / "secret")
    put_file(stored.base / "secret")
    assert await (await stored.client()).code("get_object", Bucket="mail", Key=key) == "AccessDenied"


@pytest.mark.parametrize(
    "path", ["/mail/in/%2e%2e/secret", "/mail/in%2F..%2Fsecret", "/mail/in/..%2fsecret", "/mail%2Fin/x"]
)
async def test_encoded_traversal_is_denied(stored: World, path: str) -> None:
    put_file(stored.base / "mail" / "secret")
    assert b"<Code>AccessDenied</Code>" in await raw_request(stored, path)


async def test_encoded_slash_is_a_slash(stored: World) -> None:
    assert (await raw_request(stored, f"/mail/in%2F{ID}")).endswith(CONTENT)


@pytest.mark.parametrize("path", ["/mail/%ff", "/%ff/x", "mail", "http://127.0.0.1/mail/x", "*"])
async def test_what_is_no_uri_of_ours_is_refused(stored: World, path: str) -> None:
    answer = await raw_request(stored, path)
    assert answer.split()[1].startswith(b"4")
    assert b"root:" not in answer


async def raw_request(world: World, path: str, more: dict[str, str] | None = None) -> bytes:
    """What stands on the wire: signed with this very path, which no client would send."""
    environment = await world.environment()
    host = urlsplit(environment["AWS_ENDPOINT_URL_S3"]).netloc
    at = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    headers = {
        "host": host,
        "x-amz-content-sha256": UNSIGNED,
        "x-amz-date": at,
        "x-amz-security-token": environment["AWS_SESSION_TOKEN"],
        **(more or {}),
    }
    names = ";".join(sorted(name for name in headers if name == "host" or name.startswith("x-amz-")))
    bare, _, query = path.partition("?")
    request = Signed(method="GET", path=bare, query=query, headers=headers)
    key = (environment["AWS_SECRET_ACCESS_KEY"], at[:8], "eu-west-1")
    credential = f"{environment['AWS_ACCESS_KEY_ID']}/{at[:8]}/eu-west-1/s3/aws4_request"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},"
        f"Signature={signature_of(request, names, UNSIGNED, at, key)}"
    )
    lines = [
        f"GET {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in headers.items()),
        "connection: close",
        "",
        "",
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(host.rpartition(":")[2]))
    writer.write("\r\n".join(lines).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_links_in_the_store_lead_nowhere(stored: World) -> None:
    outside = stored.base / "outside"
    put_file(outside / "secret")
    (stored.base / "mail/in/file").symlink_to(outside / "secret")
    (stored.base / "mail/in/directory").symlink_to(outside)
    s3 = await stored.client()
    for key in ("in/file", "in/directory/secret"):
        assert await s3.code("get_object", Bucket="mail", Key=key) == "NoSuchKey"
    listed = await s3("list_objects_v2", Bucket="mail", Prefix="in/")
    assert [each["Key"] for each in listed["Contents"]] == [KEY]


async def test_what_is_no_object_is_no_such_key(stored: World) -> None:
    os.mkfifo(stored.base / "mail/in/pipe")
    put_file(stored.base / "mail/in/.half-written")
    s3 = await stored.client()
    for key in ("in/pipe", "in/.half-written", KEY + SIDECAR, "in/", f"in/{ID}/below", "in/" + "x" * 600):
        assert await s3.code("get_object", Bucket="mail", Key=key) == "NoSuchKey", key


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("put_object", {"Key": KEY, "Body": b"x"}, "MethodNotAllowed"),
        ("put_object", {"Key": KEY, "Body": b"x" * 100_000}, "EntityTooLarge"),
        ("delete_object", {"Key": KEY}, "MethodNotAllowed"),
        ("create_multipart_upload", {"Key": KEY}, "NotImplemented"),
        ("get_object_acl", {"Key": KEY}, "NotImplemented"),
        ("get_object_tagging", {"Key": KEY}, "NotImplemented"),
        ("get_object", {"Key": KEY, "VersionId": "1"}, "NotImplemented"),
        ("list_objects", {"Prefix": "../"}, "AccessDenied"),
        ("get_bucket_location", {}, "NotImplemented"),
        ("get_bucket_policy", {}, "NotImplemented"),
        ("delete_bucket", {}, "NotImplemented"),
        ("list_objects_v2", {"Prefix": "in/", "ContinuationToken": "zzz"}, "InvalidArgument"),
        ("copy_object", {"Key": "in/new", "CopySource": f"mail/{KEY}"}, "AccessDenied"),
        ("copy_object", {"Key": KEY, "CopySource": "mail/in/absent"}, "AccessDenied"),
        ("copy_object", {"Key": "in/absent", "CopySource": "mail/in/absent"}, "NoSuchKey"),
        ("copy_object", {"Key": KEY, "CopySource": f"other/{KEY}"}, "AccessDenied"),
    ],
)
async def test_everything_else_is_refused_in_s3s_words(
    stored: World, operation: str, parameters: dict[str, Any], code: str
) -> None:
    s3 = await stored.client(s3={"payload_signing_enabled": False})
    assert await s3.code(operation, Bucket="mail", **parameters) == code
    assert (stored.base / "mail" / KEY).read_bytes() == CONTENT
    assert not (stored.base / "mail/in/new").exists()


async def test_buckets_are_not_listed(stored: World) -> None:
    assert await (await stored.client()).code("list_buckets") == "AccessDenied"


async def test_request_that_is_not_signed_learns_nothing(stored: World) -> None:
    environment = await stored.environment()

    def ask() -> tuple[int, bytes]:
        try:
            with urlopen(f"{environment['AWS_ENDPOINT_URL_S3']}/mail/{KEY}") as answer:
                return answer.status, answer.read()
        except OSError as error:
            return error.code, error.read()  # type: ignore[attr-defined]

    status, body = await asyncio.to_thread(ask)
    assert status == 403
    assert b"<Code>AccessDenied</Code><Message>The request is not signed.</Message>" in body


async def test_presigned_url_is_good_for_its_time(stored: World) -> None:
    environment = await stored.environment()
    s3 = s3_client(environment, signature_version="s3v4")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "mail", "Key": KEY}, ExpiresIn=60)

    def ask() -> tuple[int, bytes]:
        try:
            with urlopen(url) as answer:
                return answer.status, answer.read()
        except OSError as error:
            return error.code, error.read()  # type: ignore[attr-defined]

    assert await asyncio.to_thread(ask) == (200, CONTENT)
    stored.now.append(datetime.now(UTC) + timedelta(seconds=61))
    status, body = await asyncio.to_thread(ask)
    assert (status, b"Request has expired" in body) == (403, True)


async def test_virtual_host_names_the_bucket(stored: World) -> None:
    port = urlsplit((await stored.environment())["AWS_ENDPOINT_URL_S3"]).port
    assert (await raw_request(stored, f"/{KEY}", {"host": f"mail.localhost:{port}"})).endswith(CONTENT)


async def test_huge_header_is_refused(stored: World) -> None:
    answer = await raw_request(stored, f"/mail/{KEY}", {"x-filler": "x" * 20_000})
    assert answer.split()[1].startswith(b"4")
    assert await (await stored.client()).code("get_object", Bucket="mail", Key=KEY) == ""


async def test_response_headers_that_are_asked_for_cannot_split_the_answer(stored: World) -> None:
    s3 = await stored.client()
    got = await s3("get_object", Bucket="mail", Key=KEY, ResponseContentType="message/rfc822")
    assert got["ContentType"] == "message/rfc822"
    split = await s3.code("get_object", Bucket="mail", Key=KEY, ResponseContentType="text/plain\r\nx-evil: 1")
    assert split == "InvalidArgument"


async def test_metadata_that_is_no_ascii_is_encoded_as_s3_does(stored: World) -> None:
    (stored.base / "mail" / (KEY + SIDECAR)).write_text(
        '{"a": "b\\r\\nx-evil: 1", "c": "\\u00e9", "No Name": "x", "d": ""}'
    )
    got = await (await stored.client())("head_object", Bucket="mail", Key=KEY)
    headers = got["ResponseMetadata"]["HTTPHeaders"]
    assert "x-evil" not in headers
    assert headers["x-amz-meta-c"] == "=?UTF-8?B?w6k=?="
    assert headers["x-amz-missing-meta"] == "1"


async def test_store_that_fails_is_asked_again_by_the_sdk(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("gatepost.s3_endpoint_objects.read_file_object", fails)
    assert await (await stored.client()).code("get_object", Bucket="mail", Key=KEY) == "ServiceUnavailable"


async def test_fault_of_ours_shows_nothing(stored: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise KeyError("s3cret")

    monkeypatch.setattr("gatepost.s3_endpoint_objects.read_file_object", fails)
    assert await (await stored.client()).code("get_object", Bucket="mail", Key=KEY) == "InternalError"


async def test_endpoint_is_on_loopback_alone_and_closes(stored: World) -> None:
    parts = urlsplit((await stored.environment())["AWS_ENDPOINT_URL_S3"])
    assert parts.hostname == "127.0.0.1"
    await stored.endpoint.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", parts.port or 0)) != 0


async def test_answers_that_nobody_reads_are_few_and_end_with_their_connections(stored: World) -> None:
    put_file(stored.base / "mail/in/large", b"x" * (8 << 20))
    environment = await stored.environment()
    s3 = s3_client(environment, signature_version="s3v4")
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": "mail", "Key": "in/large"}))
    stalled = []
    for _ in range(12):
        reader, writer = await asyncio.open_connection("127.0.0.1", url.port or 0, limit=1024)
        writer.write(f"GET {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        stalled.append((reader, writer))
    waiting = asyncio.create_task(Ask(s3)("get_object", Bucket="mail", Key=KEY))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    for _, writer in stalled:
        writer.transport.abort()
    assert (await asyncio.wait_for(waiting, 20))["Body"] == CONTENT
