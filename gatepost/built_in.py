"""The rules of a first run: every recipient on loopback is taken and stored (semantics.md §8)."""

NAME = "built-in"
TEXT = """\
# The rules that `gatepost serve` uses when it finds no rules file: every message is stored under the state directory.
# Save this as rules.yaml beside your settings, name your domains, and go on from here.
version: 1
# domains: [example.com]
rule_sets:
  default:
    - name: keep-everything
      actions:
        - disk: {path: mail}
"""
