"""What a federation is doing, seen from outside: for people, without disturbing anybody."""
