"""The command darkroom: parse, call, print."""
