"""From folders of labelled images to a registered, trusted classifier."""
