"""Taking part in every allowed run that a resident coordinator opens, in one process."""
