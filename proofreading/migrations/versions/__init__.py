"""The changes of the tables, one module each, named by its version; `down_revision` is the one before."""
