"""From a source of labelled images to a versioned snapshot and its splits."""
