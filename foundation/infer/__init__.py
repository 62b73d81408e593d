"""A source proposed for an unknown file, as Python text.

Comes in: a CSV file that no source is declared for. Goes out: a class with types, vocabularies, key and references, and
the evidence as comments. Promised: the class accepts every well-formed record of the file.
"""
