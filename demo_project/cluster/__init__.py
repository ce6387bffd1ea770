"""The demo as a cluster on one machine: `make cluster`, or `python -m demo_project.cluster`.

`__main__` is the order of things, `services` are PostgreSQL and Redis, `programs` the processes that host actors.
"""
