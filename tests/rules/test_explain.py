import json

from rule_examples import DISK, book, bounce, receipt, rule, status, stop, verdicts

from rules.explain import assume, explanation
from rules.machine import Evaluation


def test_explanation_tells_every_rule_and_every_step() -> None:
    compiled = book(
        rule("spoofs", bounce(), when=(status("dmarc", "FAIL"),)),
        rule("support", DISK, stop("Recipients"), recipients=("support@example.com",)),
        rule("off", enabled=False),
    )
    at = Evaluation.start(compiled, receipt("support+x@example.com", verdicts=verdicts(dmarc="pass")))
    while at.step is not None:
        at = at.advance(assume(at.step))
    told = explanation(at)
    assert told == {
        "rules": [
            {
                "name": "spoofs",
                "matched": False,
                "reason": "dmarc: FAIL does not hold (saw PASS)",
                "conditions": [{"condition": "dmarc: FAIL", "saw": "PASS", "result": False}],
            },
            {"name": "support", "matched": True, "reason": "takes support+x@example.com", "conditions": []},
            {"name": "off", "matched": False, "reason": "the rule is disabled", "conditions": []},
        ],
        "steps": [
            {
                "rule": "support",
                "action": "disk",
                "recipients": ["support+x@example.com"],
                "outcome": "would_run",
                "detail": "",
            },
            {
                "rule": "support",
                "action": "stop",
                "recipients": ["support+x@example.com"],
                "outcome": "would_run",
                "detail": "",
            },
        ],
    }
    assert json.loads(json.dumps(told)) == told
