"""What operators use: the admin API and its pages."""
