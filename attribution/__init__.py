"""Attribution owns ClickHouse: it loads facts, binds licenses to partners and keeps the ledger."""
