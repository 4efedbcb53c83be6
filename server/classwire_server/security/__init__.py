"""Who may call: certificates, callers and what each of them may do."""
