"""Functions that go wrong in every way, behind the real program: mail goes on, nothing is lost, and after repair all is done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gateway_process import GatewayProcess, Start, until
from sample_gateway import ZONE

FAULTS = {
    "raises": ("raise ValueError('no such table')", "ValueError: no such table"),
    "hangs": ("time.sleep(600)", "took longer than 2 s and was killed"),
    "exits": ("os._exit(3)", "ended its process (exit status 3)"),
    "forks": (
        "child = os.fork()\n        if child == 0: time.sleep(600)\n        print(child, flush=True)\n        os._exit(0)",
        "ended its process (exit status 0)",
    ),
    "prints": (
        "[sys.stdout.write('x' * 10**6) for _ in range(100)]\n        raise MemoryError('full')",
        "MemoryError: full",
    ),
    "eats": ("bytearray(4 * 2**30)", "MemoryError"),
    "vanishes": ("import not_there", "No module named 'not_there'"),
}
FUNCTION = "import os, sys, time\ndef handler(event, context):\n        {}\n"
RULES = """\
version: 1
domains: [example.com]
rule_sets:
  default:
""" + "".join(
    f"    - name: {name}\n      recipients: [{name}@example.com]\n      actions:\n"
    f'        - lambda: {{function_arn: "python:{name}:handler", invocation_type: Event}}\n'
    f"        - disk: {{path: mail, object_key_prefix: {name}/}}\n"
    for name in FAULTS
)
RAW = b"From: a@b.example\r\nSubject: x\r\n\r\nx\r\n"


@pytest.fixture(scope="module")
def running(shared_gateway: Start, tmp_path_factory: pytest.TempPathFactory) -> GatewayProcess:
    base = tmp_path_factory.mktemp("faults")
    functions = base / "functions"
    functions.mkdir()
    for name, (fault, _) in FAULTS.items():
        (functions / f"{name}.py").write_text(FUNCTION.format(fault))
    config = base / "gatepost.yaml"
    config.write_text(f"version: 1\nfunctions: {{path: ['{functions}'], timeout: 2s, memory: 256MiB}}\n")
    return shared_gateway(rules=RULES, config=config, dns=ZONE)


def test_mail_goes_on_beside_functions_that_fail_and_after_repair_all_is_done(running: GatewayProcess) -> None:
    ids = {name: running.deliver(RAW, rcpt_to=[f"{name}@example.com"]) for name in FAULTS}

    def told(name: str) -> dict[str, str]:
        (story,) = running.stories([ids[name]])
        return {step["action"]: f"{step['outcome']}: {step['detail']}" for step in story["steps"]}

    for name, (_, said) in FAULTS.items():
        until(lambda name=name: "lambda" in told(name), f"an attempt of {name}")
        until(lambda name=name: told(name).get("disk", "").startswith("done"), f"disk behind {name}")
        until(lambda name=name, said=said: said in told(name)["lambda"], f"{name} says {said}")
        assert told(name)["lambda"].startswith("retrying")

    assert running.config is not None
    functions = running.config.parent / "functions"
    for name in FAULTS:
        (functions / f"{name}.py").write_text(FUNCTION.format("return None"))
    assert running.cli("queue", "retry", "--action", "lambda", "--yes").returncode == 0
    running.wait_done(*ids.values())
    assert all(told(name)["lambda"].startswith("done") for name in FAULTS)


@pytest.mark.parametrize("arn", ["python:../x:handler", "python:/etc/x:y", "python:x;import os:y", "python:x:_y/z"])
def test_path_in_a_function_name_is_refused_when_the_rules_are_loaded(
    running: GatewayProcess, arn: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(f"rule_sets:\n  default:\n    - name: a\n      actions: [lambda: {{function_arn: '{arn}'}}]\n")
    done = running.cli("check", rules)
    assert done.returncode == 1
    assert b"is not a function" in done.stderr


def test_environment_of_a_function_holds_nothing_of_ours(gateway: Start, tmp_path: Path) -> None:
    (tmp_path / "look.py").write_text(
        "import json, os\n"
        "def handler(event, context):\n"
        f"    open({str(tmp_path / 'seen')!r}, 'w').write(json.dumps(dict(os.environ)))\n"
    )
    rules = (
        "domains: [example.com]\nrule_sets:\n  default:\n"
        '    - {name: a, actions: [lambda: {function_arn: "python:look:handler"}]}\n'
    )
    config = tmp_path / "gatepost.yaml"
    config.write_text(f"version: 1\nfunctions: {{path: ['{tmp_path}'], environment: [TABLE]}}\n")
    secrets = {
        "TABLE": "mail",
        "HOOK_SECRET": "s3cret-1",
        "AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL",
        "AWS_SECRET_ACCESS_KEY": "s3cret-2",
        "AWS_SESSION_TOKEN": "s3cret-3",
        "AWS_PROFILE": "real",
    }
    running = gateway(rules=rules, config=config, dns=ZONE, variables=secrets)
    running.wait_done(running.deliver(RAW, rcpt_to=["x@example.com"]))
    seen = json.loads((tmp_path / "seen").read_text())
    assert seen.pop("AWS_ENDPOINT_URL_S3").startswith("http://127.0.0.1:")
    assert seen.pop("AWS_ACCESS_KEY_ID").startswith("ASIA")
    own = {seen.pop("AWS_SECRET_ACCESS_KEY"), seen.pop("AWS_SESSION_TOKEN")}
    assert not own & set(secrets.values())
    assert seen.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"
    assert seen == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "1",
        "TABLE": "mail",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
