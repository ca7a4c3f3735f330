"""`python -m warren` is `warren`."""

from warren.cli import main

main()
