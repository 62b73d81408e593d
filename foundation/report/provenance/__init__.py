"""What a run used, whether it is up to date, and whether it gives the same again: RO-Crate manifests."""
