"""The tracker takes clicks and conversions. It knows Redis and never ClickHouse."""
