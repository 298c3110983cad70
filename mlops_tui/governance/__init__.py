"""Who may do what, and the proof of what was done: identities, roles, approvals, the audit chain, residency."""
