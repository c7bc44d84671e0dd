"""What finance sees: partners' withdrawals."""
