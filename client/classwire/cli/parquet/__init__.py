"""Results in Parquet: the columns of the input, and those of the results behind them."""
