"""The baselines of speed, and the only benchmarks that import a model runtime."""
