"""Files that survive a crash or a power cut, waiting for a full disk, safetensors files."""
