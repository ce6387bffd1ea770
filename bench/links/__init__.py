"""Two processes that ask and answer: over a link, and over what a link is compared with.

`ways` are the comparisons, `ask` is the process that asks and measures, `answer` the one that answers; `redis` starts
the Redis between them.
"""
