"""What the settings make of functions: their environment, what they can import, and where they read stored mail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from acting import ID
from s3_world import put_file

from actions.function_host import Call, FunctionFailed, Returned
from actions.reach import Reach
from gatepost.functions import Functions, functions_of
from gatepost.settings import Settings
from gatepost.storage import storage_of
from rules.model import ActionSpec

HANDLERS = """
import json, os

def look(event, context):
    print(json.dumps({name: value for name, value in os.environ.items() if name.startswith("AWS_")}))

def download(event, context):
    import boto3, io
    out = io.BytesIO()
    boto3.client("s3").download_fileobj("mail", event["key"], out)
    read = boto3.resource("s3").Object("mail", event["key"]).get()["Body"].read()
    return [len(out.getvalue()), out.getvalue() == read]

def ours(event, context):
    import aiohttp

client = None

def keeps(event, context):
    import boto3
    global client
    client = client or boto3.client("s3")
    return len(client.get_object(Bucket="mail", Key=event["key"])["Body"].read())
"""
Make = Callable[..., Functions]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    put_file(tmp_path / "functions" / "handlers.py", HANDLERS.encode())
    made = []

    def functions(**settings: Any) -> Functions:
        given = Settings(data=tmp_path, functions_path=(tmp_path / "functions",), functions_processes=1, **settings)
        storage = storage_of(given)
        made.append((functions_of(given, storage, lambda: datetime.now(UTC)), storage))
        return made[-1][0]

    yield functions
    for each, storage in made:
        await each.close()
        await storage.clients.close()


async def called(
    functions: Functions, name: str, base: Path, *, rule: str = "own", module: str = "handlers"
) -> Returned:
    disk = ("own", ActionSpec(type="disk", parameters={"path": "mail", "object_key_prefix": "in/"}))
    reach = Reach(message_id=ID, rule=rule, actions=lambda: [disk], base=base)
    event = {"key": "in/one"}
    call = Call(module=module, function=name, event=event, context={}, gatepost={}, rule=rule, reach=reach)
    return await functions.host.call(call)


async def environment(functions: Functions, base: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads((await called(functions, "look", base)).output)
    return found


async def test_large_object_is_downloaded_by_threads_within_the_memory_of_a_function(
    make: Make, tmp_path: Path
) -> None:
    put_file(tmp_path / "mail/in/one", b"x" * 20_000_000)
    assert (await called(make(), "download", tmp_path)).result == [20_000_000, True]


async def test_client_that_a_function_keeps_works_in_every_call_and_in_no_other_rule(
    make: Make, tmp_path: Path
) -> None:
    put_file(tmp_path / "mail/in/one")
    functions = make()
    for _ in range(2):
        assert (await called(functions, "keeps", tmp_path)).result == 1
    with pytest.raises(FunctionFailed, match="AccessDenied"):
        await called(functions, "keeps", tmp_path, rule="other")
    assert (await called(functions, "keeps", tmp_path)).result == 1


async def test_sdk_can_be_imported_but_not_called_from_a_rule_nor_anything_else_of_ours(
    make: Make, tmp_path: Path
) -> None:
    functions = make()
    with pytest.raises(FunctionFailed, match="No module named 'aiohttp'"):
        await called(functions, "ours", tmp_path)
    with pytest.raises(FunctionFailed, match="no module 'boto3' in functions"):
        await called(functions, "client", tmp_path, module="boto3")


async def test_functions_may_be_left_without_stored_mail(make: Make, tmp_path: Path) -> None:
    assert await environment(make(functions_s3_endpoint="none"), tmp_path) == {}


async def test_functions_may_be_led_to_another_store(make: Make, tmp_path: Path) -> None:
    functions = make(functions_s3_endpoint="http://127.0.0.1:9000", aws_region="eu-west-1")
    assert await environment(functions, tmp_path) == {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3"])
async def test_who_lends_credentials_of_his_own_gets_none_of_ours_beside_them(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "mine")
    assert await environment(make(functions_environment=(name,)), tmp_path) == {name: "mine"}
