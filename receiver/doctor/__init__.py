"""Walks the way of an alert, from a failed plan to the messages about it, and names the first link that is broken.

`look` reads, each part in a module of its own; `links` are pure judges over what was read, in the order of the way.
Nothing is changed anywhere, and what cannot be read is told as such, never as broken.
"""
