"""Mail from ourselves: what is signed before it leaves."""
