"""From splits to trained weights."""
