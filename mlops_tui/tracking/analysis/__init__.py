"""What many runs say together: groups over seeds, importance of parameters, figures."""
