"""Samplers held against each other on recorded tables, where the true front is known."""

from nas.bench.comparing import bench
from nas.bench.report import BenchReport
from nas.bench.table import Table

__all__ = ["BenchReport", "Table", "bench"]
