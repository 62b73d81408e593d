"""What a run used, as an RO-Crate manifest; whether the last run is up to date; whether a run gives the same again."""
