"""What does less than its reader may expect because the setting `verdicts.checks` leaves checks out.

That a condition asks for such a verdict is an error, which the rules' own loader finds.
"""

from gatepost.settings import Settings
from rules.model import RuleBook


def unchecked_warnings(settings: Settings, book: RuleBook) -> list[str]:
    """Actions and settings that rest on a verdict that nobody gives."""
    checks = settings.verdicts_checks
    without = "verdicts.checks leaves out"
    actions = {spec.type for rule in book.rule_set.rules if rule.enabled for spec in rule.actions}
    warnings = []
    if "bounce" in actions and book.bounce == "vouched" and "spf" not in checks:
        what = "no sender is vouched for and a bounce that cannot be decided in the SMTP session is suppressed"
        warnings.append(f"{without} spf, so {what}; write bounce: always in the rules, or name spf and dmarc")
    if settings.arc_trusted_sealers and not {"arc", "dmarc"} <= set(checks):
        warnings.append(f"{without} arc or dmarc, so arc.trusted_sealers lifts nothing")
    if settings.arc_domain and "arc" not in checks and "forward" in actions:
        warnings.append(
            f"{without} arc, so forwarded mail is not sealed: a seal states the check of the chain before it"
        )
    if settings.spam_engine == "builtin" and "spf" not in checks:
        warnings.append(f"{without} spf, so the spam engine builtin judges without what SPF and DMARC say")
    return warnings
