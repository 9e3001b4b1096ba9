"""The function host with real processes: what functions return, and everything they may do to us (semantics.md §9)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from acting import ID, RAW, context_of

from actions.function_host import Call, FunctionHost, FunctionSettings
from actions.function_process import OUTPUT_OCTETS
from actions.invoke_function import InvokeFunction, disposition
from mail.crlf import wire_bytes
from mail.errors import Permanent, Temporary
from mail.outcome import Control, Outcome, Result

OURS = str(Path(__file__).resolve().parents[2])
Host = Callable[..., InvokeFunction]

FUNCTIONS = """
import os, subprocess, sys, time

def quiet(event, context):
    return None

def stops(event, context):
    return {"disposition": "stop_rule_set"}

def echo(event, context):
    import json
    print(json.dumps({"event": event, "body": open(context.gatepost.message_path, "rb").read().decode(),
        "context": {name: str(getattr(context, name)) for name in ("aws_request_id", "function_name", "function_version",
        "invoked_function_arn", "memory_limit_in_mb", "log_group_name", "log_stream_name")},
        "gatepost": vars(context.gatepost), "left": context.get_remaining_time_in_millis(),
        "mode": oct(os.stat(context.gatepost.message_path).st_mode & 0o777)})[:900])

def look(event, context):
    import json
    print(json.dumps({"pid": os.getpid(), "session": os.getsid(0), "path": sys.path, "environment": dict(os.environ),
        "descriptors": sorted(os.listdir("/proc/self/fd")), "cwd": os.getcwd(), "flags": sys.flags.isolated}))

def raises(event, context):
    raise ValueError("no\\r\\nsuch " + "x" * 9000)

def odd(event, context):
    class Odd(Exception):
        def __str__(self):
            raise RuntimeError
    raise Odd

def hangs(event, context):
    print("waiting", flush=True)
    time.sleep(600)

def leaves_a_child_that_hangs(event, context):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with open(os.path.join(os.path.dirname(__file__), "child"), "w") as file:
        file.write(str(child.pid))
    time.sleep(600)

def leaves(event, context):
    sys.exit(3)

def dies(event, context):
    os._exit(7)

def dies_with_a_child_on_the_pipes(event, context):
    child = os.fork()
    if child == 0:
        time.sleep(600)
    with open(os.path.join(os.path.dirname(__file__), "child"), "w") as file:
        file.write(str(child))
    os._exit(7)

def forks(event, context):
    child = os.fork()
    if child:
        print(child)
    return {"disposition": "STOP_RULE"}

def prints(event, context):
    for _ in range(100):
        sys.stdout.write("x" * 1_000_000)
    return {"disposition": "STOP_RULE"}

def prints_raw(event, context):
    os.write(1, b"\\xff" * 200_000)
    os.write(2, b"y")

def reads(event, context):
    return {"disposition": "STOP_RULE"} if sys.stdin.read() == "" else None

def closes(event, context):
    sys.stdout.close()
    sys.stderr = None
    return {"disposition": "STOP_RULE"}

def eats(event, context):
    return len(bytearray(4 * 2**30))

def no_json(event, context):
    return {"disposition": object()}

def speaks_by_itself(event, context):
    body = b'{"result":' * 200_000
    for descriptor in range(3, 9):
        try:
            os.write(descriptor, len(body).to_bytes(4, "big") + body)
        except OSError:
            pass
    time.sleep(600)

def large(event, context):
    return "x" * 7_000_000

def counts(event, context):
    global count
    count = globals().get("count", 0) + 1
    print(count)
"""


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Both loops: uvloop's transports are of classes of their own."""
    if request.param == "asyncio":
        return asyncio.DefaultEventLoopPolicy()
    return pytest.importorskip("uvloop").EventLoopPolicy()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    hosts: list[FunctionHost] = []
    path, scratch = tmp_path / "functions", tmp_path / "scratch"
    path.mkdir()
    scratch.mkdir()
    (path / "handlers.py").write_text(FUNCTIONS)

    def make(**settings: Any) -> InvokeFunction:
        hosts.append(FunctionHost(FunctionSettings(path=(path,), processes=1, **settings)))
        return InvokeFunction(hosts[-1], scratch)

    yield make
    for made in hosts:
        await made.close()
    assert list(scratch.iterdir()) == []


async def invoked(
    action: InvokeFunction, name: str, kind: str = "RequestResponse", module: str = "handlers"
) -> Outcome:
    return await action.run(context_of("lambda", {"function_arn": f"python:{module}:{name}", "invocation_type": kind}))


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


async def ended(process: int) -> None:
    for _ in range(200):
        if not is_running(process):
            return
        await asyncio.sleep(0.01)
    pytest.fail("the process still runs")


async def test_function_gets_the_event_the_context_and_the_message(host: Host) -> None:
    outcome = await invoked(host(), "echo", "Event")
    assert outcome.result is Result.DONE
    assert outcome.control is Control.CONTINUE
    # The printed line is long; what matters is at its beginning, and the next test reads the rest.
    assert outcome.data["output"].startswith('{"event": {"Records": [{"eventSource": "aws:ses", "eventVersion": "1.0"')


async def test_event_and_context_are_aws_ones(host: Host, tmp_path: Path) -> None:
    (tmp_path / "functions" / "keeps.py").write_text(
        "import json, os\n"
        "def f(event, context):\n"
        "    path = context.gatepost.message_path\n"
        "    kept = dict(event=event, body=open(path, 'rb').read().decode(), mode=os.stat(path).st_mode & 0o777,\n"
        "                left=context.get_remaining_time_in_millis(), gatepost=vars(context.gatepost),\n"
        "                context={k: v for k, v in vars(context).items() if isinstance(v, str)},\n"
        "                none=[context.identity, context.client_context])\n"
        "    context.log('a line\\n')\n"
        "    json.dump(kept, open(os.path.join(os.path.dirname(__file__), 'kept.json'), 'w'))\n"
    )
    outcome = await invoked(host(), "f", module="keeps")
    assert outcome.result is Result.DONE
    assert outcome.data["output"] == "a line\n"
    kept = json.loads((tmp_path / "functions" / "kept.json").read_text())
    record = kept["event"]["Records"][0]["ses"]
    assert record["mail"]["messageId"] == ID
    assert record["receipt"]["action"] == {
        "type": "Lambda",
        "functionArn": "python:keeps:f",
        "invocationType": "RequestResponse",
    }
    assert kept["body"] == "X-Ours: yes\r\n" + RAW.decode()
    assert kept["mode"] == 0o600
    assert 25_000 < kept["left"] <= 30_000
    assert kept["none"] == [None, None]
    assert kept["gatepost"]["key"] == f"{ID}/0/support/0"
    assert kept["context"]["function_version"] == "$LATEST"
    assert kept["context"]["log_group_name"] == "/aws/lambda/f"
    assert len(kept["context"]["aws_request_id"]) == 36


@pytest.mark.parametrize(("kind", "control"), [("RequestResponse", Control.STOP_RULE_SET), ("Event", Control.CONTINUE)])
async def test_only_a_synchronous_answer_counts(host: Host, kind: str, control: Control) -> None:
    assert (await invoked(host(), "stops", kind)).control is control


@pytest.mark.parametrize(
    ("result", "control"),
    [
        ({"disposition": "STOP_RULE"}, Control.STOP_RULE),
        ({"disposition": "stop_rule_set"}, Control.STOP_RULE_SET),
        ({"disposition": "CONTINUE"}, Control.CONTINUE),
        ({"disposition": "STOP"}, Control.CONTINUE),
        ({"disposition": None}, Control.CONTINUE),
        ({"disposition": ["STOP_RULE"]}, Control.CONTINUE),
        ("STOP_RULE", Control.CONTINUE),
        (None, Control.CONTINUE),
        ([], Control.CONTINUE),
    ],
)
def test_disposition_is_one_of_three_words(result: Any, control: Control) -> None:
    assert disposition(result) is control


async def test_function_sees_its_own_directories_and_environment_and_nothing_of_ours(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    monkeypatch.setenv("PYTHONPATH", "/work")
    secret = os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(secret, True)
    try:
        outcome = await invoked(host(environment={"TABLE": "mail"}), "look")
    finally:
        os.close(secret)
    seen = json.loads(outcome.data["output"])
    assert seen["environment"]["TABLE"] == "mail"
    assert set(seen["environment"]) <= {"TABLE", "PATH", "LANG", "LC_CTYPE", "MALLOC_ARENA_MAX"}
    assert seen["path"][0] == str(tmp_path / "functions")
    assert not any(entry.startswith(OURS) or "site-packages" in entry for entry in seen["path"][1:])
    assert seen["descriptors"] == ["0", "1", "2", "3", "4", "5"]  # null, output twice, two pipes, the listing itself
    assert seen["session"] == seen["pid"] != os.getpid()
    assert seen["cwd"] == str(tmp_path / "functions")


@pytest.mark.parametrize("module", ["mail.ids", "actions", "aiohttp", "os", "subprocess", "missing"])
async def test_module_outside_the_directories_is_never_imported(host: Host, module: str) -> None:
    with pytest.raises(Temporary, match=r"Runtime\.ImportModuleError"):
        await invoked(host(), "anything", module=module)


async def test_module_that_is_hidden_by_pythons_own_says_so(host: Host, tmp_path: Path) -> None:
    (tmp_path / "functions" / "json.py").write_text("def f(event, context): return None\n")
    with pytest.raises(Temporary, match="hidden by one of Python's own"):
        await invoked(host(), "f", module="json")


@pytest.mark.parametrize(
    "arn",
    [
        "python:a.b",
        "python:a:b:c",
        "python:../x:f",
        "python:a;import os:f",
        "python::f",
        "python:a:_private",
        "python:a/b:f",
    ],
)
async def test_name_that_is_no_name_is_refused_for_good(host: Host, arn: str) -> None:
    with pytest.raises(Permanent):
        await host().run(context_of("lambda", {"function_arn": arn}))


async def test_arn_is_unmapped_where_nothing_calls_aws(host: Host) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:In"
    assert (await host().run(context_of("lambda", {"function_arn": arn}))).result is Result.UNMAPPED


async def test_exception_is_a_failure_with_its_type_and_the_beginning_of_its_text(host: Host) -> None:
    with pytest.raises(Temporary) as caught:
        await invoked(host(), "raises")
    assert str(caught.value).startswith("ValueError: no  such xxx")
    assert len(str(caught.value)) < 800
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("odd", "its message cannot be shown"),
        ("leaves", "SystemExit: 3"),
        ("dies", "the function ended its process"),
        ("dies_with_a_child_on_the_pipes", "the function ended its process"),
        ("speaks_by_itself", "sent no reply frame"),
        ("eats", "MemoryError"),
        ("no_json", r"Runtime\.MarshalError"),
        ("large", "more than 6291456"),
        ("nowhere", r"Runtime\.HandlerNotFound"),
    ],
)
async def test_whatever_a_function_does_the_next_call_works(host: Host, name: str, said: str) -> None:
    action = host()
    with pytest.raises(Temporary, match=said):
        await invoked(action, name)
    assert (await invoked(action, "stops")).control is Control.STOP_RULE_SET


async def test_function_that_hangs_is_killed_with_its_children(host: Host, tmp_path: Path) -> None:
    action = host(timeout_seconds=0.5)
    with pytest.raises(Temporary, match=r"longer than 0\.5 s and was killed"):
        await invoked(action, "leaves_a_child_that_hangs")
    child = int((tmp_path / "functions" / "child").read_text())
    await ended(child)
    with pytest.raises(Temporary, match="it printed last: waiting"):
        await invoked(action, "hangs")
    assert (await invoked(action, "stops")).control is Control.STOP_RULE_SET


@pytest.mark.parametrize("name", ["forks", "prints", "reads", "closes"])
async def test_odd_but_harmless_function_still_answers(host: Host, name: str) -> None:
    action = host()
    for _ in range(2):
        assert (await invoked(action, name)).control is Control.STOP_RULE


async def test_fork_that_comes_back_from_the_function_ends_in_silence(host: Host) -> None:
    action = host()
    outcome = await invoked(action, "forks")
    await ended(int(outcome.data["output"].split()[0]))
    assert (await invoked(action, "stops")).control is Control.STOP_RULE_SET


async def test_what_a_function_leaves_behind_dies_with_its_process(host: Host, tmp_path: Path) -> None:
    with pytest.raises(Temporary, match=r"ended its process \(exit status 7\)"):
        await invoked(host(), "dies_with_a_child_on_the_pipes")
    await ended(int((tmp_path / "functions" / "child").read_text()))


async def test_output_is_cut(tmp_path: Path, host: Host) -> None:
    del host
    settings = FunctionSettings(path=(tmp_path / "functions",), processes=1)
    functions = FunctionHost(settings)
    try:
        returned = await functions.call(
            Call(module="handlers", function="prints_raw", event={}, context={}, gatepost={})
        )
        assert len(returned.output) == OUTPUT_OCTETS
    finally:
        await functions.close()


async def test_changed_file_is_loaded_again(host: Host, tmp_path: Path) -> None:
    action = host()
    file = tmp_path / "functions" / "changing.py"
    file.write_text("def f(event, context): print('old')\n")
    assert (await invoked(action, "f", module="changing")).data["output"] == "old\n"
    file.write_text("def f(event, context): print('new')\n")
    os.utime(file, ns=(1, 1))
    assert (await invoked(action, "f", module="changing")).data["output"] == "new\n"


async def test_process_serves_many_calls_and_is_then_replaced(host: Host) -> None:
    action = host(calls=2)
    printed = [(await invoked(action, "counts")).data["output"].strip() for _ in range(5)]
    assert printed == ["1", "2", "1", "2", "1"]


async def test_calls_beyond_the_processes_wait_their_turn(host: Host) -> None:
    action = host()
    outcomes = await asyncio.gather(*(invoked(action, "stops") for _ in range(5)))
    assert {outcome.control for outcome in outcomes} == {Control.STOP_RULE_SET}


async def test_process_serves_one_rule_and_makes_room_for_another(tmp_path: Path, host: Host) -> None:
    del host
    functions = FunctionHost(FunctionSettings(path=(tmp_path / "functions",), processes=2))

    async def counted(rule: str) -> str:
        call = Call(module="handlers", function="counts", event={}, context={}, gatepost={}, rule=rule)
        return (await functions.call(call)).output.strip()

    try:
        assert [await counted(rule) for rule in ("a", "b", "a", "b")] == ["1", "1", "2", "2"]
        assert await counted("c") == "1"  # the process of a ends, which waited longest
        assert [await counted(rule) for rule in ("b", "a")] == ["3", "1"]
        assert len(functions._idle) == 2
    finally:
        await functions.close()


async def test_lent_package_is_found_by_its_name_alone_and_behind_the_users_own(tmp_path: Path, host: Host) -> None:
    packages = tmp_path / "packages"
    for name in ("lent", "hidden", "common"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text(f"where = {name!r}\n")
    (packages / "lent" / "inner.py").write_text("where = 'inner'\n")
    (tmp_path / "functions" / "common.py").write_text("where = 'the user'\n")
    (tmp_path / "functions" / "imports.py").write_text(
        "import sys\n"
        "def f(event, context):\n"
        "    import common, lent, lent.inner\n"
        "    print(common.where, lent.where, lent.inner.where, any('packages' in entry for entry in sys.path))\n"
        "    import hidden\n"
    )
    action = host(packages={name: str(packages) for name in ("lent", "common")})
    with pytest.raises(Temporary, match=r"No module named 'hidden'.*the user lent inner False"):
        await invoked(action, "f", module="imports")
    with pytest.raises(Temporary, match="no module 'lent' in functions"):
        await invoked(action, "f", module="lent")


async def test_other_interpreter_keeps_its_own_packages(host: Host) -> None:
    outcome = await invoked(host(python=sys.executable), "look")
    assert any("site-packages" in entry for entry in json.loads(outcome.data["output"])["path"])


async def test_interpreter_that_is_not_there_is_temporary(host: Host) -> None:
    with pytest.raises(Temporary, match="cannot start /nonexistent/python"):
        await invoked(host(python="/nonexistent/python"), "quiet")


async def test_cancelled_call_kills_its_process_and_frees_its_turn(host: Host) -> None:
    action = host()
    call = asyncio.create_task(invoked(action, "hangs"))
    await asyncio.sleep(0.2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (await invoked(action, "stops")).control is Control.STOP_RULE_SET


@pytest.mark.parametrize(
    ("name", "message", "printed"), [("invoices", "invoice", '"octets"'), ("loops", "personal", "")]
)
async def test_sample_functions_run_in_the_host(name: str, message: str, printed: str) -> None:
    samples = Path(OURS) / "samples"
    functions = FunctionHost(FunctionSettings(path=(samples / "functions",), processes=1))
    raw = wire_bytes((samples / "messages" / f"{message}.eml").read_bytes())[0]
    parameters = {"function_arn": f"python:{name}:handler", "invocation_type": "RequestResponse"}
    try:
        outcome = await InvokeFunction(functions).run(context_of("lambda", parameters, raw=raw))
    finally:
        await functions.close()
    assert (outcome.result, outcome.control) == (Result.DONE, Control.CONTINUE)
    assert printed in outcome.data.get("output", "")
