"""The example: the eight sources of the delivery data, and sample data like them, with faults on request.

Nothing but `foundation/__init__.py`, the command line and the notebooks imports it: all else takes sources as a
parameter.
"""
