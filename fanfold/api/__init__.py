"""What scripts, notebooks and the command line call: settings from options, and whole runs."""
