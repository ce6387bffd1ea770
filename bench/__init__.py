"""What LightMoon costs and yields on this machine, beside its peers on the same server.

Run it with `make bench`. Every figure is measured in one go, the targets of a comparison in turn (A B C A B C), and
each line is the median of its rounds.

- `project/`: the Django project under test. `peers/`: what LightMoon is compared with.
- `load/`: the load generator, a process of its own.
- `links/`: two processes that ask and answer over links, and over what those are made of.
- `scenarios/`: what is measured. `servers`, `databases`: what they start. `report`: how it is shown.
"""
