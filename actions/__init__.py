"""Effects: the runner that walks each accepted message, and one file per action."""
