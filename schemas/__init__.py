"""What the two sides of a federation say to each other, down to the last byte.

`docs/protocol.md` is this package in prose. Nothing here knows the broker; only `tensors`,
`quantization` and `feedback` know torch.
"""
