"""The commands, one file each. Results go to stdout, logs to stderr."""
