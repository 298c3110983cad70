"""The command line: a lazy group over one table of words; commands of a noun are made from the contracts.

``app`` is the root. *words* holds the table and makes commands from declarations or typed functions; *commands* are
those with code of their own. *calls* performs an operation: asks before a change, follows its job. *answers* writes
what came of it, for eyes, pipes or programs. ``options`` are understood by every command. Nothing heavy is imported
before it is used.
"""
