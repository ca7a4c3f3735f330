"""The messages between coordinator and participants, down to the last byte.

`docs/protocol.md` describes the same in prose. Nothing here uses the broker; only `tensor_codec`,
`quantization` and `error_feedback` import torch.
"""
