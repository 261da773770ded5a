"""What benchmarks/representation.py is made of: sets, gate, folds, features, measures, statistics, table."""
