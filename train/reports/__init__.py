"""What a run tells about itself: the terminal, TensorBoard, metrics.csv, demos.

demos.py                 Demos
events.py                TensorBoard's event files, written at once and whole
gradient_noise_scale.py  The gradient noise scale
metrics.py               Metrics
progress_line.py         The progress bar of a training run
run_log.py               The log of a run over several processes
transfer.py              Reading values off a device
update_log.py            What updates came to
validation.py            Validation
"""
