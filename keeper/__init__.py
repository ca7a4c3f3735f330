"""A keeper of masks: holds seeds, and tells only sums over whole sets, each update in one alone."""
