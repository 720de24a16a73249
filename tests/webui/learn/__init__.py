"""New generators on the page."""
