"""One file for each act that reaches outside the workspace."""
