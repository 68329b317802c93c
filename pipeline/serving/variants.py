"""Names of a model's graphs: as it was trained, in 8-bit integers, and fp32 halved for a GPU."""

FP32, INT8, FP16 = "fp32", "int8", "fp16"
