"""Reports shows: the app that partners, marketing, finance and operators use."""
