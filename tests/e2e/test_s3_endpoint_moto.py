"""What functions read of a real bucket: our own client asks S3, and the reach of the function's rule still holds."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from aws_server import aws_server, without_real_aws

from actions.s3 import S3

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("actions", "gatepost")]
from acting import ID, context_of
from s3_world import CONTENT, OTHER, World, world_of

BUCKET = "functions-read-this"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with aws_server() as found:
        yield found


@pytest.fixture
def s3(url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    without_real_aws(monkeypatch)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
async def world(s3: Any, url: str, tmp_path: Path) -> AsyncIterator[World]:
    made = world_of(tmp_path, aws_endpoint=url, s3_addressing="path", keys_provider="aws")
    yield made
    await made.endpoint.close()
    await made.storage.clients.close()


async def stored(world: World, rule: str, **parameters: Any) -> None:
    parameters = {"bucket_name": BUCKET, **parameters}
    await S3(world.storage.buckets, world.storage.encryption).run(context_of("s3", parameters))
    world.rule(rule, **parameters)


async def test_object_of_the_bucket_is_read_by_our_client(world: World, s3: Any) -> None:
    await stored(world, "own", object_key_prefix="in", metadata={"spam": "{spam}"})
    ask = await world.client()
    got = await ask("get_object", Bucket=BUCKET, Key=f"in/{ID}", Range="bytes=2-9")
    assert (got["Body"], got["Metadata"]) == (CONTENT[2:10], {"spam": "DISABLED"})
    head = await ask("head_object", Bucket=BUCKET, Key=f"in/{ID}")
    assert head["ETag"] == s3.head_object(Bucket=BUCKET, Key=f"in/{ID}")["ETag"]
    copied = await ask("copy_object", Bucket=BUCKET, Key=f"in/{ID}", CopySource=f"{BUCKET}/in/{ID}")
    assert copied["CopyObjectResult"]["ETag"] == head["ETag"]


async def test_object_under_a_key_of_kms_comes_in_the_clear(world: World, s3: Any, url: str) -> None:
    kms = boto3.client("kms", endpoint_url=url, region_name="us-east-1")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    await stored(world, "own", object_key_prefix="sealed", kms_key_arn=key)
    got = await (await world.client())("get_object", Bucket=BUCKET, Key=f"sealed/{ID}")
    assert (got["Body"], got["Metadata"]) == (CONTENT, {})
    assert s3.get_object(Bucket=BUCKET, Key=f"sealed/{ID}")["Body"].read() != CONTENT


async def test_listing_of_the_bucket_shows_what_is_in_reach(world: World, s3: Any) -> None:
    world.rule("own", bucket_name=BUCKET, object_key_prefix="list")
    world.rule("other", bucket_name=BUCKET, object_key_prefix="list/hr")
    for key in (f"list/a/{OTHER}", f"list/b/{OTHER}", f"list/hr/{OTHER}", f"list/hr/{ID}", f"list/{OTHER}", "z"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    ask = await world.client()

    async def listed(**parameters: Any) -> list[str]:
        found, token = [], {}
        while True:
            page = await ask("list_objects_v2", Bucket=BUCKET, **parameters, **token)
            found += [each["Key"] for each in page.get("Contents", [])]
            found += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
            if not page["IsTruncated"]:
                return found
            token = {"ContinuationToken": page["NextContinuationToken"]}

    everything = [f"list/{OTHER}", f"list/a/{OTHER}", f"list/b/{OTHER}", f"list/hr/{ID}"]
    assert await listed(Prefix="list/") == everything
    assert await listed(Prefix="list/", MaxKeys=1) == everything
    assert await listed(Prefix="list/", Delimiter="/") == [f"list/{OTHER}", "list/a/", "list/b/"]
    assert await listed(Prefix="list/", Delimiter="/", MaxKeys=2) == [f"list/{OTHER}", "list/a/", "list/b/"]
    assert await ask.code("list_objects_v2", Bucket=BUCKET) == "AccessDenied"


async def test_bucket_does_not_widen_what_a_function_reaches(world: World, s3: Any) -> None:
    world.rule("own", bucket_name=BUCKET, object_key_prefix="mine/")
    s3.put_object(Bucket=BUCKET, Key="secret", Body=b"x")
    s3.put_object(Bucket=BUCKET, Key="mine/../secret", Body=b"x")  # S3 knows no paths
    ask = await world.client()
    for key in ("secret", "mine/../secret", "mine/./x"):
        assert await ask.code("get_object", Bucket=BUCKET, Key=key) == "AccessDenied"
    assert await ask.code("get_object", Bucket=BUCKET, Key="mine/absent") == "NoSuchKey"
    assert await ask.code("head_object", Bucket=BUCKET, Key="mine/absent") == "404"


async def test_store_that_refuses_us_shows_the_function_no_detail(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.rule("own", bucket_name="nobody-made-this", object_key_prefix="in/")
    ask = await world.client()
    with pytest.raises(ask.client.exceptions.ClientError, match="Reduce your request rate"):
        await ask("get_object", Bucket="nobody-made-this", Key=f"in/{ID}")
    assert "NoSuchBucket" in caplog.text
