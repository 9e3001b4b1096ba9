import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_examples import mailbox, rule

from mail.address import Mailbox
from rules.recipients import RecipientIndex, mailbox_keys, matches

# SES: receipt rules, recipient conditions, row by row.
TAKES = [
    ("user@example.com", "user@example.com"),
    ("user@example.com", "user+anything@example.com"),
    ("user@example.com", "user+a+b@example.com"),
    ("user@example.com", "USER@EXAMPLE.COM"),
    ("User@example.com", "uSER+Label@example.com"),
    ("user+label@example.com", "user+label@example.com"),
    ("user+label@example.com", "user+LABEL@example.com"),
    ("example.com", "anybody@example.com"),
    ("sub.example.com", "anybody@sub.example.com"),
    (".example.com", "anybody@sub.example.com"),
    (".example.com", "anybody@deep.sub.example.com"),
    ('"a b"@example.com', '"a b"@example.com'),
    ('"a b"@example.com', '"a b+label"@example.com'),
    ("+odd@example.com", "+odd@example.com"),
]
LEAVES = [
    ("user@example.com", "users@example.com"),
    ("user@example.com", "user@sub.example.com"),
    ("user+label@example.com", "user@example.com"),
    ("user+label@example.com", "user+other@example.com"),
    ("user+label@example.com", "user+label+more@example.com"),
    ("example.com", "anybody@sub.example.com"),
    ("example.com", "anybody@badexample.com"),
    ("sub.example.com", "anybody@example.com"),
    (".example.com", "anybody@example.com"),
    (".example.com", "anybody@badexample.com"),
    (".1]", "anybody@[192.0.2.1]"),
    ("x@example.com", '"x@example.com"@other.example'),
]


@pytest.mark.parametrize(("pattern", "address"), TAKES)
def test_recipient_condition_takes(pattern: str, address: str) -> None:
    assert matches(pattern, mailbox(address))
    assert RecipientIndex([rule("r", recipients=(pattern,))], ()).wants(mailbox(address)) == (0,)


@pytest.mark.parametrize(("pattern", "address"), LEAVES)
def test_recipient_condition_leaves(pattern: str, address: str) -> None:
    assert not matches(pattern, mailbox(address))
    assert RecipientIndex([rule("r", recipients=(pattern,))], ()).wants(mailbox(address)) == ()


def naive(pattern: str, address: Mailbox) -> bool:
    """SES §1.4 written down once more, without keys."""
    local, at, domain = pattern.lower().rpartition("@")
    if domain.startswith("."):
        return address.domain.endswith(domain)
    if address.domain != domain:
        return False
    theirs = address.local_part.lower()
    return not at or theirs == local or ("+" not in local[1:] and theirs.startswith(local + "+"))


DOMAINS = st.sampled_from(["example.com", "a.example.com", "b.a.example.com", "other.example", "com"])
LOCALS = st.sampled_from(["u", "U", "v", "u+x", "u+X", "u+x+y", "u+", "+u", "+u+x", "v+x"])
PATTERNS = st.one_of(DOMAINS, DOMAINS.map(lambda domain: "." + domain), st.builds("{}@{}".format, LOCALS, DOMAINS))


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.lists(PATTERNS, max_size=4), st.booleans()), max_size=12),
    st.builds(lambda local, domain: Mailbox(local_part=local, domain=domain), LOCALS, DOMAINS),
    st.sets(DOMAINS, max_size=3),
)
def test_index_answers_as_matching_every_rule_does(
    shapes: list[tuple[list[str], bool]], address: Mailbox, domains: set[str]
) -> None:
    rules = [rule(f"r{n}", recipients=tuple(named), enabled=enabled) for n, (named, enabled) in enumerate(shapes)]
    ours = not domains or address.domain in domains
    expected = tuple(
        position
        for position, one in enumerate(rules)
        if ours and one.enabled and (not one.recipients or any(naive(named, address) for named in one.recipients))
    )
    assert RecipientIndex(rules, domains).wants(address) == expected


class CountingDict(dict[str, tuple[int, ...]]):
    probes = 0

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        CountingDict.probes += 1
        return super().get(key, default)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rules", "recipients"), [(1, 1), (1, 100_000), (10_000, 10)])
def test_lookup_costs_the_same_for_one_rule_and_for_a_hundred_thousand_recipients(rules: int, recipients: int) -> None:
    index = RecipientIndex(
        [rule(f"r{r}", recipients=tuple(f"u{r}-{n}@example.com" for n in range(recipients))) for r in range(rules)],
        ("example.com",),
    )
    index._by_key = CountingDict(index._by_key)  # type: ignore[assignment]
    CountingDict.probes = 0
    assert index.wants(mailbox("u0-0+label@example.com")) == (0,)
    # itself, without label, the domain, and the one parent
    assert CountingDict.probes == 4


def test_keys_of_a_mailbox_are_bounded_by_its_labels() -> None:
    deep = Mailbox(local_part="u+x", domain=".".join(["a"] * 127))
    assert len(mailbox_keys(deep)) == 127 + 2


def test_a_hundred_thousand_recipients_fit_in_little_memory() -> None:
    one = rule("r", recipients=tuple(f"user{n}@example.com" for n in range(100_000)))
    tracemalloc.start()
    index = RecipientIndex([one], ())
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.wants(mailbox("user99999@example.com")) == (0,)
    assert used < 30_000_000


def test_nobody_outside_the_domains_is_wanted_even_by_a_catch_all() -> None:
    index = RecipientIndex([rule("all")], ("example.com",))
    assert index.wants(mailbox("a@example.com")) == (0,)
    assert index.wants(mailbox("a@sub.example.com")) == ()
    assert not index.is_ours("sub.example.com")
    assert not index.is_ours("")
    assert RecipientIndex([], (".example.com",)).is_ours("SUB.example.com")
    assert not RecipientIndex([], (".example.com",)).is_ours("example.com")


def test_without_domains_every_domain_is_ours() -> None:
    assert RecipientIndex([], ()).is_ours("any.example")


def test_disabled_rule_wants_nobody() -> None:
    assert RecipientIndex([rule("r", enabled=False)], ()).wants(mailbox("a@example.com")) == ()
