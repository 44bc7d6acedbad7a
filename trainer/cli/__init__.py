"""One file a command: flags, refusals and what is printed; nothing is computed here."""
