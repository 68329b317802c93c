"""Measuring a sealed artefact and showing the result."""
