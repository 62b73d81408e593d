"""Beyond one machine: the same reading and validation on a Dask cluster, into a folder of Parquet.

Comes in: a delivery and a cluster. Goes out: Parquet with a manifest, which `open_database` reads back as it does a
database file. Promised: the same rows and the same rejects as a load into SQLite. Dask and DuckDB are used here alone;
they are imported by the modules named below, not by the room.
"""
