"""What one would build instead: two stacks of well-known libraries, each written as its users do.

They run in `.venv-bench`, beside the product, and share no code with it. README.md tells what each
guarantees and what it does not.
"""
