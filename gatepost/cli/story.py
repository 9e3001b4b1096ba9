"""An explanation, laid out for a person: who wrote to whom, what was judged, what was answered, and each rule's part in it.

One rendering serves replay and explain. A rule stands with its mark (matched, not matched, cannot tell), beneath it the conditions
with what they saw and the steps with what came of them; the last line says where the mail went.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import click

from gatepost.cli.layout import (
    bold,
    columns_of,
    faint,
    mark,
    padded,
    plural,
    shortened,
    visible,
    width,
    word,
    wrapped,
)

MARKS = {True: ("✓", "green"), False: ("·", "bright_black"), None: ("?", "yellow")}
TESTS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}
LABEL_COLUMNS = 10
NAMED = 3  # how many addresses are named before "and 7 more"

Explanation = Mapping[str, Any]


def render_explanation(explanation: Explanation) -> str:
    """The whole screen, without a final line break. `explanation` is one object of `gatepost replay --json`."""
    blocks = [_head(explanation), _rules(explanation), _summary(explanation)]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def _head(explanation: Explanation) -> list[str]:
    envelope, guessed = explanation["envelope"], explanation["envelope"].get("guessed", ())
    sender = visible(envelope["mail_from"]) if envelope["mail_from"] else "<> " + faint("(the null sender)")
    lines = [bold(visible(explanation["file"])) if explanation.get("file") else "", faint(explanation["message_id"])]
    title = "  ".join(line for line in lines if line)
    client = " ".join(
        part for part in (visible(envelope["client_ip"] or "no client address"), _helo(envelope["helo"])) if part
    )
    rows = [
        title,
        labelled("From", sender + _guess("mail_from" in guessed)),
        labelled("To", addresses(envelope["rcpt_to"]) + _guess("rcpt_to" in guessed)),
        labelled("Client", client),
        *verdict_rows(explanation["verdicts"]),
    ]
    if explanation.get("cut"):
        names = ", ".join(dict.fromkeys(_field_name(field) for field in explanation["cut"]))
        rows.append(labelled("Cut", f"{names} {faint('(forged: only we may write this)')}"))
    if explanation.get("reply"):
        rows.append(labelled("Reply", reply_text(explanation["reply"])))
    return rows


def labelled(label: str, text: str) -> str:
    return "  " + faint(padded(label, LABEL_COLUMNS)) + text


def _guess(is_guess: bool) -> str:
    return faint(" (guessed)") if is_guess else ""


def _helo(helo: str | None) -> str:
    return f"{faint('helo')} {visible(helo)}" if helo else ""


def _field_name(field: str) -> str:
    return visible(field.partition(":")[0].strip())


def addresses(listed: Iterable[str]) -> str:
    """The first few, and how many more."""
    known = [visible(address) for address in listed]
    shown = ", ".join(known[:NAMED])
    return f"{shown} and {len(known) - NAMED} more" if len(known) > NAMED else shown


def reply_text(reply: Mapping[str, Any]) -> str:
    colour = "green" if reply["code"] < 400 else "yellow" if reply["code"] < 500 else "red"
    codes = " ".join(str(part) for part in (reply["code"], reply.get("enhanced")) if part)
    return f"{click.style(codes, fg=colour, bold=True)} {visible(reply['text'])}"


def verdict_rows(verdicts: Mapping[str, Any]) -> list[str]:
    """As many to a line as fit; what nobody judged comes last, in one word."""
    judged = [verdict_text(name, verdict) for name, verdict in verdicts.items() if verdict["status"] != "DISABLED"]
    disabled = [name for name, verdict in verdicts.items() if verdict["status"] == "DISABLED"]
    if disabled:
        judged.append(faint(f"{', '.join(disabled)} not checked"))
    separator = f" {mark('·')} "
    lines: list[str] = []
    for piece in judged:
        joined = f"{lines[-1]}{separator}{piece}" if lines else piece
        if lines and columns_of(joined) + LABEL_COLUMNS + 2 <= width():
            lines[-1] = joined
        else:
            lines.append(piece)
    return [labelled("" if number else "Verdicts", line) for number, line in enumerate(lines)]


def verdict_text(name: str, verdict: Mapping[str, Any]) -> str:
    """`dkim PASS shop.example, list.example (fail: body hash)`, `dmarc FAIL spoof.example (policy reject)`, `arc GRAY (none)`."""
    results = [_result_text(name, verdict["status"], result) for result in verdict["results"]]
    return " ".join((name, word(verdict["status"]), ", ".join(dict.fromkeys(results)))).rstrip()


def _result_text(name: str, status: str, result: Mapping[str, Any]) -> str:
    properties, said = result["properties"], result["result"]
    # A word that only repeats the status, and the reason of a pass, tell nothing new.
    notes = [said] if said.upper() != status else []
    if result["reason"] and said != "pass" and result["reason"] != said:
        notes.append(result["reason"])
    noted = [": ".join(notes)]
    if name == "dmarc" and status == "FAIL" and properties.get("policy.p"):
        noted.append(f"policy {properties['policy.p']}")
    if properties.get("policy.score"):
        noted.append(f"score {properties['policy.score']}")
    note = visible(", ".join(each for each in noted if each))
    return " ".join(part for part in (visible(_judged(properties)), faint(f"({note})") if note else "") if part)


def _judged(properties: Mapping[str, str]) -> str:
    """The domain that a result is about."""
    for name in ("header.d", "header.from", "smtp.mailfrom", "smtp.helo"):
        if properties.get(name):
            return str(properties[name]).rpartition("@")[2]
    return ""


def _rules(explanation: Explanation) -> list[str]:
    rules, steps = explanation["rules"], explanation["steps"]
    names = [visible(rule["name"]) for rule in rules]
    column = min(max(map(columns_of, names), default=0), width() // 3)
    everybody = set(explanation["envelope"]["rcpt_to"])
    lines: list[str] = []
    for rule, name in zip(rules, names, strict=True):
        lines += _rule(rule, shortened(name, column), column)
        lines += _steps([step for step in steps if step["rule"] == rule["name"]], everybody)
    known = {rule["name"] for rule in rules}
    strays = [step for step in steps if step["rule"] not in known]
    return lines + _steps(strays, everybody)


def _rule(rule: Mapping[str, Any], name: str, column: int) -> list[str]:
    sign, colour = MARKS[rule["matched"]]
    lead = f"  {click.style(mark(sign), fg=colour, bold=True)} "
    title = name if rule["matched"] is False else bold(name)
    indent = " " * (column + 6)
    reason = wrapped(reason_text(rule), indent=indent)[len(indent) :].split("\n")
    first = lead + padded(title, column) + "  " + (faint(reason[0]) if rule["matched"] is False else reason[0])
    more = [faint(line) if rule["matched"] is False else line for line in reason[1:]]
    return [first.rstrip(), *more, *_conditions(rule["conditions"])]


def reason_text(rule: Mapping[str, Any]) -> str:
    """The rule's reason as the end of a sentence that begins with its name."""
    reason, matched = visible(rule["reason"]), rule["matched"]
    if matched is None:
        return reason if "cannot tell" in reason else f"cannot tell: {reason}"
    begin = "matched" if matched else "not matched"
    if not reason:
        return begin
    if matched:
        return f"{begin}, {reason}"
    return reason if reason.startswith("not ") else f"{begin} because {reason}"


def _conditions(conditions: Iterable[Mapping[str, Any]]) -> list[str]:
    listed = [(visible(each["condition"]), each) for each in conditions]
    room = width() - 12
    column = min(max((columns_of(text) for text, _ in listed), default=0), room * 3 // 5)
    lines = []
    for text, each in listed:
        sign, colour = TESTS[_helps(text, each["result"])]
        saw = shortened(saw_text(each["saw"]), max(20, room - column - 4))
        lines.append(
            f"      {click.style(mark(sign), fg=colour)} {padded(shortened(text, column), column)}  {faint('saw')} {saw}"
        )
    return lines


def _helps(condition: str, result: bool | None) -> bool | None:
    """Whether the condition lets the rule match: an `unless` that holds prevents it."""
    if result is None or not condition.startswith("unless "):
        return result
    return not result


def saw_text(saw: Any) -> str:
    """A value that a condition looked at: words plain, text with spaces in quotes, lists with commas."""
    match saw:
        case None:
            return "nothing"
        case bool():
            return "true" if saw else "false"
        case str():
            shown = visible(saw)
            return f'"{shown}"' if not shown or " " in shown or "," in shown else shown
        case list() | tuple():
            return ", ".join(saw_text(each) for each in saw) or "nothing"
        case dict():
            return ", ".join(f"{visible(str(key))} {saw_text(value)}" for key, value in saw.items())
        case _:
            return visible(json.dumps(saw))


def _steps(steps: list[Mapping[str, Any]], everybody: set[str]) -> list[str]:
    column = max((columns_of(visible(step["action"])) for step in steps), default=0)
    fates = max((len(step["outcome"]) for step in steps), default=0)
    lines = []
    for step in steps:
        what = padded(bold(visible(step["action"])), column)
        fate = padded(word(step["outcome"], step["outcome"].replace("_", " ")), fates)
        lead = f"      {mark('→')} {what}  {fate}  "
        apart = step["recipients"] and set(step["recipients"]) != everybody
        for_whom = f"(for {addresses(step['recipients'])})" if apart else ""
        said = " ".join(part for part in (visible(step["detail"]), for_whom) if part)
        lines.append(wrapped(said, indent=" " * columns_of(lead), first=lead).rstrip())
    return lines


def _summary(explanation: Explanation) -> list[str]:
    fields = [_field_name(field) for field in explanation.get("prepended", ())]
    lines = []
    if fields:
        listed = wrapped(f"{plural(len(fields), 'field')} on top: {', '.join(fields)}", indent="  ")
        lines += [faint(line) for line in listed.split("\n")]
    return [*lines, bold(f"  {sentence(explanation)}")]


def sentence(explanation: Explanation) -> str:
    """Where the mail went, in one line: `Accepted. 2 of 5 rules matched: support, archive. 3 steps: 2 done, 1 retrying.`"""
    rules, steps = explanation["rules"], explanation["steps"]
    matched = [visible(rule["name"]) for rule in rules if rule["matched"]]
    unknown = [visible(rule["name"]) for rule in rules if rule["matched"] is None]
    parts = [_answered(explanation.get("reply"))]
    if matched:
        parts.append(f"{len(matched)} of {plural(len(rules), 'rule')} matched: {addresses(matched)}.")
    else:
        parts.append(f"None of {plural(len(rules), 'rule')} matched." if rules else "No rule was asked.")
    if unknown:
        parts.append(f"Cannot tell: {addresses(unknown)}.")
    counts = Counter(step["outcome"].replace("_", " ") for step in steps)
    if counts:
        listed = ", ".join(f"{count} {visible(outcome)}" for outcome, count in counts.items())
        parts.append(f"{plural(len(steps), 'step')}: {listed}.")
    else:
        parts.append("Nothing is done with it.")
    return " ".join(part for part in parts if part)


def _answered(reply: Mapping[str, Any] | None) -> str:
    if not reply:
        return ""
    return "Accepted." if reply["code"] < 400 else "Deferred." if reply["code"] < 500 else "Refused."
