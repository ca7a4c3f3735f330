"""What runs on the I/O thread, the only one that calls pika."""
