"""One file for each sound chip; each exports CHIP."""
