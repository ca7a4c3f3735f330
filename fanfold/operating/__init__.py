"""What an operator asks of `fanfold serve`, from anywhere that reaches the broker."""
