"""Durable state: messages, jobs, the ledger, history and rule-set versions."""
