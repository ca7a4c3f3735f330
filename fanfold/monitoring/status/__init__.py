"""`fanfold status`: what a federation is doing, read without disturbing it."""
