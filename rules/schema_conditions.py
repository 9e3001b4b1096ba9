"""What a condition's value may be, and the one form in which it is kept (semantics.md §2).

Everything is JSON-able: dicts with text keys, lists, text, numbers, booleans. A nested condition is `{"name": ..., "value": ...}`,
never a `Condition`, so a book is the same before and after `decode_book`. The kept form of each `Condition.value`:

=================================================  ============================================================================
spf dkim dmarc arc spam virus                      `{"status": ["FAIL", ...]}` any of SES's words, upper case
spf dkim dmarc arc                                 `{"result": ["softfail", ...]}` any of RFC 8601's words, lower case
spam                                               `{"score": {"gte": 6.0}}` every key of gt gte lt lte must hold; floats
spam virus                                         `{"symbol": ["NAME", ...]}` any, as written; compare without case
arc                                                `{"trusted": true}` or false
dmarc_policy                                       `{"policy": ["reject", ...]}` any of none, quarantine, reject
authenticated_domain from_domain_aligned           STRING of domains
  spf_domain dkim_domain helo reverse_dns
mail_from from sender reply_to to cc recipient     STRING of addresses
subject                                            STRING
header                                             `{"name": "List-Id"}` and STRING's two keys, or `{"name": "X", "exists": true}`
size recipients_count attachments_count            `{"gt": 5000000}` keys gt gte lt lte, each must hold; integers (octets, count)
source_ip                                          `{"cidrs": ["192.0.2.0/24", "2001:db8::/32"]}` canonical, host bits cleared, any;
                                                   or `{"in_list": ["name", ...]}`: the CIDR entries of these address lists
dnsbl                                              `{"lists": ["zen.dnsbl.example", ...]}` any, lower case
tls                                                `true`, `false`, or `{"min": "TLSv1.2"}` (TLSv1, TLSv1.1, TLSv1.2, TLSv1.3)
attachment                                         one or more of `"name": ["*.exe", ...]` (glob, any), `"type": ["image/*", ...]`
                                                   (lower case, any), `"size": {"gt": 1}`: one attachment that meets all keys
auto_generated mailing_list line_too_long          `true` or `false`
  encrypted
all any                                            a list of nested conditions, at least one
not                                                one nested condition
=================================================  ============================================================================

STRING is `{"op": OP, "values": ["...", ...]}`, at least one value. OP is equals, not_equals, starts_with, ends_with, contains,
matches or in_list; any value that fits makes it true, except that `not_equals` is exactly the negation of `equals` (it equals none
of them, and no field of several does). The values of in_list are names in `RuleBook.address_lists`; those of matches are RE2
patterns as written, to be compiled without regard to case. Values of equals and not_equals: for domains `a.example` (exactly) or
`.a.example` (its subdomains), for addresses recipient syntax (`user@a.example` with its labels, `a.example`, `.a.example`), both
lower case with A-labels, and "" for the null reverse-path (`mail_from` only; `<>` is read as ""). Other values stay as written.

An item with several conditions, or a STRING with several operators, is kept as one `all`; a list with mappings in it, as one `any`.
An entry of an address list is an address, `a.example`, `.a.example`, or a CIDR (`192.0.2.0/24`, `192.0.2.1/32`).
"""
