"""Notebooks → executed notebooks, pages and indexes."""
