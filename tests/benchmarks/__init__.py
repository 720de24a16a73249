"""Commands that print figures. They import torch at their top, so threads are prepared for it here."""

from dualdiffusion.machine.threads import prepare_cpu

prepare_cpu()
