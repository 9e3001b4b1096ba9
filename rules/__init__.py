"""Receipt rules: pure decisions over a receipt. No socket, no disk, no clock."""
