"""The base: another state of this code, which builds and measures beside this one."""
