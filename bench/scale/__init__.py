"""What a cluster costs as it grows: unit costs that are measured on one machine, and what follows from them.

`python -m bench.scale` prints the tables of docs/scale.md, `python -m bench.scale --measure` measures the unit costs
anew. `units` are those, `measure` and `upkeep` find them, `model` calculates with them.
"""
