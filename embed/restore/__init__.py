"""Images with less noise or more pixels, and how far they can be believed."""
