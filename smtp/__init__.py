"""The wire: a sans-IO session machine, the server over it, the listener."""
