"""What a run tells about itself: the terminal, TensorBoard, metrics.csv, demos.

events.py                TensorBoard's event files, written at once and whole
gradient_noise_scale.py  The gradient noise scale
metrics.py               Metrics
progress.py              The progress bar of a training run
report.py                What a run tells about itself
validation.py            Validation
"""
