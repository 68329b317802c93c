"""One file for each stage of dvc.yaml: read, compute, write."""
