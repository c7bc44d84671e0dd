"""The Partner App: what a partner sees of their own links, clicks, licenses and commission."""
