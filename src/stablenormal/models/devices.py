"""Names of the devices that models run on, and of the number formats that they compute in."""

DEVICES = ("cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
