"""What the loader keeps is what the conditions compile, and what they show is what the loader reads."""

from pathlib import Path

import pytest

from rules.compiled import compile_book
from rules.conditions import CONDITIONS
from rules.conditions_text import condition_text
from rules.load import load_book, load_text
from rules.schema_conditions import CONDITION_WORDS

FOLDER = Path(__file__).parents[1] / "cases" / "rules_good"
GOOD = sorted(path for path in FOLDER.iterdir() if path.suffix in (".yaml", ".json"))
RULES = load_book(FOLDER / "every-condition.yaml").book.rule_set.rules
LISTS = "address_lists: {partners: [a.example], office: [192.0.2.0/24], blocked: [b.example]}"


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_every_good_book_compiles(path):
    compile_book(load_book(path).book)


def test_every_condition_has_a_schema_and_a_meaning():
    assert set(CONDITIONS) | {"all", "any", "not"} == CONDITION_WORDS


def test_the_sample_has_every_condition():
    used = set()

    def walk(name, value):
        used.add(name)
        nested = value if name in ("all", "any") else [value] if name == "not" else []
        for one in nested:
            walk(one["name"], one["value"])

    for rule in RULES:
        for condition in (*rule.when, *rule.unless):
            walk(condition.name, condition.value)
    assert used == CONDITION_WORDS - {"virus"}  # spam stands for both: without an engine they can only be DISABLED


@pytest.mark.parametrize("condition", [one for rule in RULES for one in (*rule.when, *rule.unless)], ids=condition_text)
def test_a_condition_as_the_trace_shows_it_is_read_back_as_itself(condition):
    text = f"{LISTS}\nrule_sets: {{a: [{{name: a, when: [{{{condition_text(condition)}}}], actions: [drop]}}]}}"
    loaded = load_text(text.encode(), "rules.yaml", FOLDER)
    assert [str(error) for error in loaded.errors] == []
    assert loaded.book.rule_set.rules[0].when == (condition,)
