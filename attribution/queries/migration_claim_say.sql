-- Says that a process claims this database's schema, or has ended.
-- Parameters: claim, holder, is_ended.
insert into schema_claims (claim, holder, is_ended)
select {claim:UUID}, {holder:String}, {is_ended:Bool}
