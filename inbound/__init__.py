"""Mail from strangers: admission, judgement and the one commit before 250."""
