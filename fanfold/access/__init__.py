"""Who may take part: logins, credentials, certificates."""
