"""The Django project that the benchmark serves."""
