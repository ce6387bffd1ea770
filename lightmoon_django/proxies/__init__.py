"""What clients are made of: the manifest of all that they may know, and what is generated from it.

General layout: `state` types the fields that clients mirror; `manifest` collects; `javascript`, `typescript` (with
`tstypes`) and `openrpc` are generators and read only the manifest; `jsdoc` makes their comments; `page` is what the
template tag puts into a page; `views` serve it all.
"""
