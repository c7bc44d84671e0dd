"""What marketing uses: the funnel, as JSON, CSV and a page."""
