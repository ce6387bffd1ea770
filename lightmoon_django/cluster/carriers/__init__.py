"""The ways from node to node.

General layout: `unix` is for processes of one host, `layer` for machines that share a channel layer, `redis` does what
channels_redis does in fewer round trips. None knows another, and all may lose packets: links stand above them.
"""
