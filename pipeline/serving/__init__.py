"""What a served model needs; a copy travels inside every registered model."""
