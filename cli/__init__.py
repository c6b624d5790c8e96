"""The `medpipe` command: parse, read, call a pure block, write."""
