"""rspamd's 70 functional cases, end to end through `judge`, with the opinions that we do not share."""

import pytest
from rspamd_suite import Case, load

ZONE, CASES = load()

# Name of the case: why our answer differs.
EXCEPTIONS = {
    "SPF FAIL UNRESOLVEABLE INCLUDE": "an include without a record is permerror (RFC 7208 §5.2)",
    "SPF ALLOW DNS REQUESTS AT LIMIT": "more than 10 terms with DNS are permerror (RFC 7208 §4.6.4)",
    "SPF EXTERNAL RELAY": "no client address: rspamd takes it from a Received field by a setting of its own",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_rspamd_case(case: Case) -> None:
    judgement = await case.run(ZONE)
    symbols = case.symbols(judgement)
    agrees = set(case.expect) <= symbols and not set(case.not_expect) & symbols
    assert judgement.crashes == ()
    assert agrees == (case.name not in EXCEPTIONS), (symbols, judgement.verdicts)


def test_suite_is_complete() -> None:
    print(f"rspamd: {len(CASES) - len(EXCEPTIONS)}/{len(CASES)}, exceptions: {EXCEPTIONS}")
    assert (len(CASES), len(EXCEPTIONS)) == (70, 3)
    assert EXCEPTIONS.keys() <= {case.name for case in CASES}
