"""The command line: a lazy group over one table of words; commands of a noun are made from the contracts."""
