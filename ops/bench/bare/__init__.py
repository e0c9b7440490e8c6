"""The shortest honest pipeline of the same libraries, without a database: what all is held to.

It forgets what it did when it dies, pays twice when a command comes twice, and does not know what
became of a request whose answer got lost. It shares no code with the product.
"""
