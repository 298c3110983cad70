"""The processes of a deployment: a supervisor, its workers on their seats, and one server alone."""
