"""The vocabulary of mail: pure values in the standards' own words.

Frozen, slotted, keyword-only. Times are aware UTC, sizes are octets with CRLF, domains are lower-case A-labels,
local-parts keep their case, and the null reverse-path is `None`.
"""
