"""The parts of benchmarks/throughput.py, one idea a file."""
