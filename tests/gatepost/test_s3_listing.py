"""ListObjectsV2 over a disk store and over S3: S3's order, pages and common prefixes, and nothing out of reach."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from acting import ID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_world import OTHER, Ask, World, put_file, world_of

from gatepost import stored_listing
from gatepost.s3_endpoint_listing import ListRequest
from gatepost.s3_endpoint_objects import _disk_page
from gatepost.stored_listing import Walk

NAMES = ["a", "a.b", "a-", "a/", "b", "é", "z~", "\U0001f4e7"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = world_of(tmp_path)
    made.rule("own", path="mail")
    yield made
    await made.endpoint.close()
    await made.storage.clients.close()


async def keys(s3: Ask, **parameters: Any) -> list[str]:
    """Every key and common prefix, over all pages."""
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        page = await s3("list_objects_v2", Bucket="mail", **parameters, **token)
        names = [each["Key"] for each in page.get("Contents", [])]
        names += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(names)
        found += names
        if not page["IsTruncated"]:
            return found
        token = {"ContinuationToken": page["NextContinuationToken"]}


async def test_listing_is_as_boto3_gives_it(world: World) -> None:
    put_file(world.base / "mail/in/one", b"123")
    s3 = await world.client()
    page = await s3("list_objects_v2", Bucket="mail", Prefix="in/")
    (listed,) = page["Contents"]
    head = await s3("head_object", Bucket="mail", Key="in/one")
    assert (listed["Key"], listed["Size"], listed["ETag"]) == ("in/one", 3, head["ETag"])
    assert (listed["LastModified"], listed["StorageClass"]) == (head["LastModified"], "STANDARD")
    assert (page["Name"], page["Prefix"], page["MaxKeys"], page["IsTruncated"]) == ("mail", "in/", 1000, False)


async def test_pages_and_common_prefixes(world: World) -> None:
    for key in ("a/1", "a/2", "a.b", "b/c/1", "b/2", "c"):
        put_file(world.base / "mail" / key)
    s3 = await world.client()
    assert await keys(s3) == ["a.b", "a/1", "a/2", "b/2", "b/c/1", "c"]
    assert await keys(s3, MaxKeys=1) == ["a.b", "a/1", "a/2", "b/2", "b/c/1", "c"]
    assert sorted(await keys(s3, Delimiter="/")) == ["a.b", "a/", "b/", "c"]
    assert await keys(s3, Delimiter="/", MaxKeys=1) == ["a.b", "a/", "b/", "c"]
    assert sorted(await keys(s3, Delimiter="/", Prefix="b/")) == ["b/2", "b/c/"]
    assert await keys(s3, StartAfter="a/1") == ["a/2", "b/2", "b/c/1", "c"]
    assert await keys(s3, MaxKeys=0) == []
    assert await keys(s3, Prefix="nothing/") == []


async def first_version(s3: Ask, **parameters: Any) -> list[str]:
    """As boto3's `Bucket.objects` and its paginator go on: from NextMarker, or else from the last key."""
    found: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = await s3("list_objects", Bucket="mail", **parameters, **marker)
        found += [each["Key"] for each in page.get("Contents", [])]
        found += [each["Prefix"] for each in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            return found
        marker = {"Marker": page["NextMarker"]}


async def test_the_first_version_finds_the_same(world: World) -> None:
    for key in ("a/1", "a/2", "a.b", "b/c/1", "b/2", "c", "ä b"):
        put_file(world.base / "mail" / key)
    s3 = await world.client()
    (listed,) = (await s3("list_objects", Bucket="mail", Prefix="b/c/"))["Contents"]
    assert (listed["Key"], listed["StorageClass"]) == ("b/c/1", "STANDARD")
    for parameters in ({}, {"MaxKeys": 1}, {"Delimiter": "/", "MaxKeys": 1}, {"Prefix": "b/", "Delimiter": "/"}):
        assert sorted(await first_version(s3, **parameters)) == sorted(await keys(s3, **parameters))


async def test_a_bucket_is_there_if_a_rule_writes_to_it(world: World) -> None:
    s3 = await world.client()
    assert (await s3("head_bucket", Bucket="mail"))["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert await s3.code("head_bucket", Bucket="other") == "403"


async def test_keys_that_need_encoding_come_back(world: World) -> None:
    names = ["a b+c&<>\"'", "é\U0001f4e7", "100%25", "tab\there", "esc\x1b"]
    for name in names:
        put_file(world.base / "mail" / name)
    assert await keys(await world.client()) == sorted(names)


async def test_what_is_no_object_is_not_listed(world: World) -> None:
    put_file(world.base / "mail/in/one")
    for name in (".hidden", "one.metadata.json", ".git/config"):
        put_file(world.base / "mail/in" / name)
    put_file(Path(os.fsdecode(os.fsencode(world.base) + b"/mail/in/\xff")))
    (world.base / "mail/in/empty").mkdir()
    (world.base / "mail/in/link").symlink_to("/etc")
    os.mkfifo(world.base / "mail/in/pipe")
    assert await keys(await world.client()) == ["in/one"]  # though what stands beside it is no metadata


async def test_keys_of_other_rules_are_left_out(world: World) -> None:
    world.rule("other", path="mail", object_key_prefix="hr/")
    for key in (f"hr/{OTHER}", f"hr/{ID}", OTHER):
        put_file(world.base / "mail" / key)
    s3 = await world.client()
    assert await keys(s3) == sorted([f"hr/{ID}", OTHER])
    assert await keys(s3, Delimiter="/") == [OTHER]
    assert await keys(s3, Prefix=f"hr/{ID}") == [f"hr/{ID}"]
    assert await s3.code("list_objects_v2", Bucket="mail", Prefix="hr/") == "AccessDenied"


async def test_page_ends_early_where_very_much_was_passed_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        put_file(world.base / f"mail/{number:02}/x")
    monkeypatch.setattr(stored_listing, "MOST_LOOKED_AT", 7)
    s3 = await world.client()
    assert await keys(s3) == [f"{number:02}/x" for number in range(30)]


def page_by_page(root: Path, prefix: str, delimiter: str, most: int) -> list[str]:
    found: list[str] = []
    request = ListRequest(prefix=prefix, delimiter=delimiter, most=most, after="")
    while True:
        page = _disk_page(root, request)
        found += sorted([listed.key for listed in page.keys] + list(page.prefixes))
        if not page.more:
            return found
        past = page.more[0] == "p"
        request = ListRequest(prefix=prefix, delimiter=delimiter, most=most, after=page.more[1:], past_prefix=past)


@given(
    paths=st.sets(
        st.lists(st.sampled_from(["a", "a.b", "a-", "b", "é", "z~", "\U0001f4e7"]), min_size=1, max_size=3).map(tuple)
    ),
    prefix=st.sampled_from(["", "a", "a/", "a.", "a/b/", "é", "b/a"]),
    delimiter=st.sampled_from(["", "/", "a", "."]),
    most=st.integers(1, 4),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_walk_finds_what_a_sorted_list_of_keys_holds(
    tmp_path_factory: pytest.TempPathFactory,
    paths: set[tuple[str, ...]],
    prefix: str,
    delimiter: str,
    most: int,
) -> None:
    root = tmp_path_factory.mktemp("store")
    made = []
    for path in sorted(paths, key=len, reverse=True):
        place = root.joinpath(*path)
        if not place.exists():  # a directory may have its name
            put_file(place)
            made.append("/".join(path))
    wanted = sorted(key for key in made if key.startswith(prefix))
    expected = []
    for key in wanted:
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        shown = key if at < 0 else key[: at + len(delimiter)]
        if shown not in expected[-1:]:
            expected.append(shown)
    assert [entry.key for entry in Walk(root, prefix)] == wanted
    assert page_by_page(root, prefix, delimiter, most) == expected
