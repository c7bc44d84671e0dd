-- Forget loads before a number whose facts are in a published round: the sums live on in the newest one.
-- Parameters: before, a load's number.
alter table loads
delete where load_id < {before:UInt64}
    and load_id < (select max(through_load) from rounds)
