"""Suites of verdicts as a stranger would run them: lists of hundreds of cases through `gatepost replay --batch`.

What is expected was derived from the RFCs' text, section by section, or is a public suite's own. Opinions are listed and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import arc_cases
import dkim_cases
import dmarc_cases
import pytest
import spf_cases
import yaml
from gateway_process import ROOT
from replay_suite import Case, differences, replayed

from tests.verdicts import spf_suite

EXAMPLES = ROOT / "tests" / "vectors" / "rfc-examples"


def examples() -> Iterator[Case]:
    zone = yaml.safe_load((EXAMPLES / "zone.yaml").read_text())
    for name, expect in (("rfc6376-appendix-a", ("pass",)), ("rfc8463-appendix-a", ("pass", "pass"))):
        raw = (EXAMPLES / f"{name}.eml").read_bytes().replace(b"\n", b"\r\n")
        yield Case(name=name, because=name, raw=raw, zone=zone, expect={"dkim": expect})
        raw = raw.replace(b"We lost", b"We won")
        yield Case(name=f"{name}, changed", because=name, raw=raw, zone=zone, expect={"dkim": ("fail",) * len(expect)})


SUITES: dict[str, tuple[Callable[[], Iterable[Case]], str]] = {
    "DKIM": (dkim_cases.cases, ""),
    "ARC": (arc_cases.cases, ""),
    "SPF": (spf_cases.cases, ""),
    "DMARC of both RFCs, by RFC 9989": (dmarc_cases.cases_of_both, ""),
    "DMARC of both RFCs, by RFC 7489": (dmarc_cases.cases_of_both, "verdicts: {dmarc: rfc7489}\n"),
    "DMARC of RFC 9989": (dmarc_cases.cases_of_rfc9989, ""),
    "DMARC of RFC 7489": (dmarc_cases.cases_of_rfc7489, "verdicts: {dmarc: rfc7489}\n"),
    "examples of RFCs": (examples, ""),
}
AT_LEAST = {"DKIM": 250, "ARC": 95, "SPF": 190, "DMARC of both RFCs, by RFC 9989": 95, "DMARC of RFC 9989": 30}


@pytest.mark.parametrize("suite", SUITES)
def test_a_batch_of_cases_comes_out_as_the_rfcs_say(suite: str, tmp_path: Path) -> None:
    made, settings = SUITES[suite]
    cases = list(made())
    assert len({case.name for case in cases}) == len(cases) >= AT_LEAST.get(suite, 4)
    different = differences(cases, replayed(cases, tmp_path, settings=settings))
    print(f"{suite}: {len(cases) - len(different)}/{len(cases)}")
    assert different == {}


def test_public_spf_suites_through_a_batch(tmp_path: Path) -> None:
    cases: list[Case] = []
    for path in (spf_suite.SUITE, spf_suite.SUITE_4408, spf_suite.SUITE_BLITIRI):
        cases += (_of_suite(case) for case in spf_suite.cases(path))
    told = replayed(cases, tmp_path)
    different = {
        f"{number}"
        for number, (case, line) in enumerate(zip(cases, told, strict=True))
        if line["verdicts"]["spf"]["results"][0]["result"] not in case.expect["spf"]
    }
    named = {cases[int(number)].name for number in different}
    print(f"SPF suites: {len(cases) - len(different)}/{len(cases)}, with a reason: {len(spf_suite.OPINIONS)}")
    assert named == set(spf_suite.OPINIONS)
    assert len(cases) == 203 + 191 + 21


def _of_suite(case: spf_suite.Case) -> Case:
    def plain(value: Any) -> Any:
        return value.decode() if isinstance(value, bytes) else value

    zone = {
        name: entry if isinstance(entry, str) else {k: plain(v) for k, v in entry.items()}
        for name, entry in case.zone.items()
    }
    sender = case.mail_from or None
    return Case(
        name=case.name,
        because="",
        raw=b"Subject: x\r\n\r\nx\r\n",
        zone=zone,
        mail_from=sender,
        client_ip=case.ip,
        helo=case.helo or None,
        expect={"spf": case.expected},
    )
