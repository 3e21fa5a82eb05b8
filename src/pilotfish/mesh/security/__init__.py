"""Who may do what at a workload, and whose tokens it believes: which policies hold, and what they come to together."""
