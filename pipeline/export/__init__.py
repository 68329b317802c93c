"""From trained weights to the sealed artefact that serves."""
