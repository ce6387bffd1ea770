"""What clients are made of: the manifest of all that they may know, and what is generated from it.

General layout: `state` types the fields that clients mirror; `manifest` collects; `javascript` and `openrpc` are
generators and read only the manifest; `page` is what the template tag puts into a page; `views` serve it all.
"""
