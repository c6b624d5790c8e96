"""medpipe: from medical scans and a table of patients to results a reviewer can trust."""
