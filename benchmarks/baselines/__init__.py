"""What the speed is compared with, and the only benchmarks that import a model runtime."""
