"""The base: another state of the code under test, which builds and measures beside it."""
