"""From folders of new images to rows of predictions."""
