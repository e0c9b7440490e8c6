"""The rules of paying safely, in the standard library only: no process, no I/O, no clock."""
