"""The ground: files that outlive a power cut, full disks, safetensors files."""
