"""The Partner API: the operations of partner-api.yaml, for partners' own programs."""
