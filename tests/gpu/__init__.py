"""What only a GPU can show. Without one, all of it is skipped."""
