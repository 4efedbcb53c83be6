"""Results in Parquet: files, parts and columns. `classwire.cli.rows.parquet` reads the input."""
