"""Mail by SMTP speaks no HTTP: its cases are in test_i40_smtp.py, against real servers."""
CASES = {}
OTHERS = {"email/smtp": "test_i40_smtp.py"}
