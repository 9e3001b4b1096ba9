"""Judging a message: SPF, DKIM, DMARC, ARC, spam and virus, under one deadline, with the evidence kept."""
