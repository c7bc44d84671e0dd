-- How long the trial of a solution license is, so that its end is known wherever its status is asked for. Null where the
-- fact does not say: then it is the program's default.
alter table solution_licenses add column if not exists trial_days Nullable(UInt16) after data_center;
