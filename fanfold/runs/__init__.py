"""Commands on the files of a finished run."""
